"""Messages of all 13 classes, and what their fields may hold."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

CALL = {"name": "add", "args": {"a": 1, "b": [2.0, None]}, "id": "call-1", "type": "tool_call"}
BROKEN = {"name": "add", "args": '{"a": 1', "id": "call-2", "error": "not JSON", "type": "invalid_tool_call"}
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "input_token_details": {"cache_read": 1}}

CASES: dict[str, BaseMessage] = {
    "human": HumanMessage("hi"),
    "human with name and id": HumanMessage("hi", name="Ada", id="h-1"),
    "human with image": HumanMessage(
        [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    ),
    "human with strings as parts": HumanMessage(["one", {"type": "text", "text": "two"}]),
    "human with a part without type": HumanMessage([{"text": "no type"}]),
    "human of standard blocks": HumanMessage(content_blocks=[{"type": "image", "base64": "AA==", "mime_type": "image/png"}]),
    "human with bytes in a part": HumanMessage([{"type": "media", "data": b"\x00\xff", "mime_type": "image/png"}]),
    "human with empty parts": HumanMessage([]),
    "human with hard text": HumanMessage('nul \x00, lone \ud800, emoji 🙂, "quotes", \u2028'),
    "human with extra fields": HumanMessage("hi", tenant="acme", score=0.5),
    "human with additional kwargs": HumanMessage("hi", additional_kwargs={"a": {"b": [1, 2]}}),
    "system": SystemMessage("be brief"),
    "system of a developer": SystemMessage("be brief", additional_kwargs={"__openai_role__": "developer"}),
    "ai": AIMessage("hello", id="run-1", name="bot"),
    "ai with call": AIMessage("", tool_calls=[CALL]),
    "ai with calls and text": AIMessage("wait", tool_calls=[CALL, {**CALL, "id": None}]),
    "ai with broken call": AIMessage("", tool_calls=[CALL], invalid_tool_calls=[BROKEN]),
    "ai with tuple in arguments": AIMessage("", tool_calls=[{**CALL, "args": {"pair": (1, 2)}}]),
    "ai with tool use parts": AIMessage(
        [{"type": "text", "text": "ok"}, {"type": "tool_use", "id": "call-1", "name": "add", "input": {"a": 1}}], tool_calls=[CALL]
    ),
    "ai with thinking": AIMessage([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "yes"}]),
    "ai with usage": AIMessage("hello", usage_metadata=USAGE, response_metadata={"model_name": "m", "logprobs": {"content": []}}),
    "ai with infinite logprob": AIMessage("hello", response_metadata={"logprob": float("-inf"), "other": float("nan")}),
    "ai that looks serialised": AIMessage("x", additional_kwargs={"lc": 1, "type": "constructor", "id": ["a"], "kwargs": {}}),
    "ai that looks tagged": AIMessage("x", additional_kwargs={"$bytes": "AA=="}, response_metadata={"a": {"$dict": []}}),
    "ai that looks tagged beside what is": AIMessage(
        "x", response_metadata={"a": {"$bytes": "AA=="}, "b": b"\x00", "c": {"$dict": [[1, 2]]}}
    ),
    "ai with big int": AIMessage("x", response_metadata={"n": 2**70, "m": -(10**400)}),
    "ai chunk": AIMessageChunk("hel", id="run-1", chunk_position="last"),
    "ai chunk with call chunks": AIMessageChunk(
        "", tool_call_chunks=[{"name": "add", "args": '{"a"', "id": "c", "index": 0, "type": "tool_call_chunk"}]
    ),
    "human chunk": HumanMessageChunk("hi"),
    "system chunk": SystemMessageChunk("be"),
    "tool": ToolMessage("3", tool_call_id="call-1", name="add"),
    "tool that failed": ToolMessage("no", tool_call_id="call-1", status="error"),
    "tool with artifact": ToolMessage("3", tool_call_id="call-1", artifact={"rows": [[1, "a"]], "none": None}),
    "tool with documents": ToolMessage(
        "2 found", tool_call_id="c", artifact=[Document("text", id="d1", metadata={"page": 1, "at": date(2026, 1, 2)})]
    ),
    "tool with everything tagged": ToolMessage(
        "x",
        tool_call_id="c",
        artifact={
            "bytes": b"\xff\x00",
            "bytearray": bytearray(b"ab"),
            "datetime": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
            "timedelta": timedelta(days=-1, microseconds=3),
            "uuid": uuid.UUID(int=7),
            "decimal": Decimal("1.10"),
            "set": {1, 2},
            "frozenset": frozenset({"a"}),
            "tuple": (1, (2, [3])),
            "keys": {1: "a", (2, 3): "b", None: "c"},
        },
    ),
    "tool chunk": ToolMessageChunk("3", tool_call_id="call-1"),
    "function": FunctionMessage("3", name="add"),
    "function chunk": FunctionMessageChunk("3", name="add"),
    "chat of a known role": ChatMessage("hi", role="assistant"),
    "chat of another role": ChatMessage("order!", role="moderator"),
    "chat chunk": ChatMessageChunk("hi", role="moderator"),
    "remove": RemoveMessage("h-1"),
}


class Opaque:
    """What has no form but its own."""


REFUSED: dict[str, tuple[Any, str]] = {
    "an object in an artifact": (
        ToolMessage("x", tool_call_id="c", artifact={"a": [Opaque()]}),
        r"ToolMessage\.artifact\['a'\]\[0\]: a Opaque",
    ),
    "an object in response metadata": (AIMessage("x", response_metadata={"raw": Opaque()}), r"AIMessage\.response_metadata\['raw'\]"),
    "an object in an extra field": (HumanMessage("x", thing=Opaque()), r"HumanMessage\.thing"),
    "an object in the arguments of a call": (
        AIMessage("", tool_calls=[{**CALL, "args": {"o": Opaque()}}]),
        r"AIMessage\.tool_calls\[0\]\['args'\]\['o'\]",
    ),
}
