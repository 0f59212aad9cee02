"""AutoGen's messages for models as botwire's, and back.

The neutral fields hold what every framework reads. ``native["autogen"]`` holds only what they do not tell. The results of
several calls are one message in AutoGen and one each in the common chat shape, so they are written as several, of
which the first says how many belong together.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any, TypeAlias, cast

from autogen_core import FunctionCall, Image
from autogen_core.models import AssistantMessage, FunctionExecutionResult, FunctionExecutionResultMessage, SystemMessage, UserMessage
from PIL import Image as Pillow
from pydantic import ValidationError

from botwire import InvalidValue, Message, ToolCall

ModelMessage: TypeAlias = SystemMessage | UserMessage | AssistantMessage | FunctionExecutionResultMessage
"""What AutoGen calls an LLMMessage."""

NATIVE = "autogen"
_CLASSES = (SystemMessage, UserMessage, AssistantMessage, FunctionExecutionResultMessage)
_SOURCES = {"user": "user", "assistant": "assistant"}
"""Whose name goes without saying, by role."""


# --------------------------------------------------------------------------------- AutoGen to botwire


def to_botwire(message: ModelMessage) -> list[Message]:
    """The botwire messages of which ``from_botwire`` makes an equal one: one, or as many as there are results.

    Raises:
        InvalidValue: if there are none; says why.
    """
    if type(message) not in _CLASSES:
        raise InvalidValue(f"{type(message).__name__} is not one of autogen_core's messages for models, and would not come back as it is")
    try:
        type(message).model_validate(dict(message), strict=True)
    except ValidationError as error:
        raise InvalidValue(f"{type(message).__name__} would not come back equal: {error}") from error
    if isinstance(message, FunctionExecutionResultMessage):
        return _result_rows(message)
    if isinstance(message, AssistantMessage):
        return [_assistant_row(message)]
    if isinstance(message, UserMessage):
        content = message.content if isinstance(message.content, str) else [_part(item) for item in message.content]
        return [Message("user", content, _name("user", message.source))]
    return [Message("system", message.content)]


def _name(role: str, source: str) -> str | None:
    return None if source == _SOURCES[role] else source


def _part(item: str | Image) -> dict[str, Any]:
    if isinstance(item, str):
        return {"type": "text", "text": item}
    return {"type": "image_url", "image_url": {"url": item.data_uri}}


def _assistant_row(message: AssistantMessage) -> Message:
    name, content = _name("assistant", message.source), message.content
    if isinstance(content, str):
        native = {} if message.thought is None else {NATIVE: {"thought": message.thought}}
        return Message("assistant", content, name, native=native)
    for call in content:
        if not isinstance(cast("Any", call.arguments), str):
            raise InvalidValue(f"the arguments of the call of {call.name!r} must be JSON text, not {type(call.arguments).__name__}")
    calls = [ToolCall(call.id, call.name, call.arguments) for call in content]
    told = ({} if calls else {"calls": True}) | ({"thought": ""} if message.thought == "" else {})
    return Message("assistant", message.thought, name, calls, native={NATIVE: told} if told else {})


def _result_rows(message: FunctionExecutionResultMessage) -> list[Message]:
    rows = [_result_row(result) for result in message.content] or [Message("tool", "")]
    rows[0].native.setdefault(NATIVE, {})["results"] = len(message.content)
    return rows


def _result_row(result: FunctionExecutionResult) -> Message:
    native = {} if result.is_error is None else {NATIVE: {"is_error": result.is_error}}
    return Message("tool", result.content, result.name, tool_call_id=result.call_id, native=native)


# --------------------------------------------------------------------------------- botwire to AutoGen


def from_botwire(rows: Sequence[Message]) -> list[ModelMessage]:
    """The AutoGen messages of botwire's, whichever framework wrote them.

    Results that another framework wrote one by one are one message if they follow each other.
    """
    messages: list[ModelMessage] = []
    names: dict[str, str] = {}
    at = 0
    while at < len(rows):
        if rows[at].role != "tool":
            names.update({call.id: call.name for call in rows[at].tool_calls if call.id is not None})
            messages.append(_spoken(rows[at]))
            at += 1
            continue
        count, group = _group(rows, at)
        messages.append(FunctionExecutionResultMessage(content=[_result(row, names) for row in group]))
        at += count
    return messages


def continues(row: Message) -> bool:
    """Whether this row may belong to the same message as a result before it."""
    return row.role == "tool" and "results" not in _native(row)


def _group(rows: Sequence[Message], at: int) -> tuple[int, Sequence[Message]]:
    """How many rows from here on are one message of results, and those of them that hold one."""
    marked, end = _native(rows[at]).get("results"), at + 1
    if marked == 0:
        return 1, ()
    while end < len(rows) and continues(rows[end]) and (type(marked) is not int or end - at < marked):
        end += 1
    return end - at, rows[at:end]


def _native(row: Message) -> dict[str, Any]:
    native = row.native.get(NATIVE)
    return cast("dict[str, Any]", native) if isinstance(native, dict) else {}


def _spoken(row: Message) -> ModelMessage:
    if row.role == "system":
        return SystemMessage(content=row.text)
    source = row.name if row.name is not None else _SOURCES[row.role]
    if row.role == "user":
        return UserMessage(content=_content(row), source=source)
    native = _native(row)
    thought = native["thought"] if isinstance(native.get("thought"), str) else None
    if row.tool_calls or native.get("calls") is True:
        calls = [_call(call) for call in row.tool_calls]
        return AssistantMessage(content=calls, thought=row.text or thought, source=source)
    return AssistantMessage(content=row.text, thought=thought, source=source)


def _call(call: ToolCall) -> FunctionCall:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)
    return FunctionCall(id=call.id or "", name=call.name, arguments=arguments)


def _result(row: Message, names: dict[str, str]) -> FunctionExecutionResult:
    call_id, failed = row.tool_call_id or "", _native(row).get("is_error")
    name = row.name if row.name is not None else names.get(call_id, "")
    return FunctionExecutionResult(content=row.text, name=name, call_id=call_id, is_error=failed if isinstance(failed, bool) else None)


def _content(row: Message) -> str | list[str | Image]:
    if not isinstance(row.content, list):
        return row.text
    return [_item(part) for part in row.content]


def _item(part: dict[str, Any]) -> str | Image:
    """A part of a user's message; in words, if AutoGen has no form for it."""
    text = part.get("text")
    if isinstance(text, str):
        return text
    url = _image_url(part)
    if url is None:
        return f"[{part['type']}]"
    head, comma, data = url.partition(";base64,")
    if not (comma and head.startswith("data:")):
        return f"[image: {url}]"
    try:
        return Image(Pillow.open(BytesIO(base64.b64decode(data))))
    except (OSError, ValueError):
        return "[an image that cannot be read]"


def _image_url(part: dict[str, Any]) -> str | None:
    """Where a part's image is, in the shapes in which frameworks say so."""
    given = part.get("image_url")
    url = cast("dict[str, Any]", given).get("url") if isinstance(given, dict) else given
    if isinstance(url, str):
        return url
    if part["type"] == "image" and isinstance(part.get("base64"), str):
        return f"data:{part.get('mime_type', 'image/png')};base64,{part['base64']}"
    return cast("str", part["url"]) if part["type"] == "image" and isinstance(part.get("url"), str) else None
