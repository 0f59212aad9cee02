"""Results as they are sent: exact, compact, and within the byte budget."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import mcp_types as types

from botwire.integrations.mcp._failures import Refusal

ENVELOPE = 700
"""Bytes kept for what is around a result: the answer's id, the server's name, the flags."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_escaped = json.JSONEncoder(separators=(",", ":")).encode


def text_of(value: Any) -> str:
    """Compact JSON."""
    return _compact(value)


def can_be_sent(value: Any) -> bool:
    """Whether MCP's transports carry the value as it is: a lone surrogate or an integer of thousands of digits they cannot."""
    try:
        _compact(value).encode()
    except ValueError:
        return False
    return True


def sent_bytes(item: Any) -> int:
    """How many bytes a part of a structured result takes at most: once as it is, once more inside the result's text."""
    return len(_escaped(item)) + len(_escaped(_compact(item))) + 2


def answer(structured: dict[str, Any]) -> types.CallToolResult:
    """A result: structured, and the same as text for clients that know only text."""
    text = text_of(structured)
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=structured)


def failure(refusal: Refusal) -> types.CallToolResult:
    """An error that the model sees."""
    text = str(refusal).encode("utf-8", "backslashreplace").decode()  # a message may quote what the transport cannot carry
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True, _meta={"botwire/error": refusal.details})


def moment(at: datetime) -> str:
    """A time, as ``2026-11-22T18:00:00.123456Z``."""
    return at.isoformat().replace("+00:00", "Z")


def moment_of(us: int) -> str:
    """A store's time, microseconds since 1970, in the same form."""
    return moment(_EPOCH + timedelta(microseconds=us))


class Budget:
    """What is left of the bytes that one result may have."""

    def __init__(self, most: int) -> None:
        self.left = most - ENVELOPE

    def takes(self, item: Any) -> bool:
        """Whether the item still fits; if so, it is counted."""
        size = sent_bytes(item)
        if size > self.left:
            return False
        self.left -= size
        return True
