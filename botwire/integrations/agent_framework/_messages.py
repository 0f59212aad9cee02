"""Agent Framework's messages as botwire's, and back.

The neutral fields hold what every framework reads. Where they do not tell all of a message, ``native["agent_framework"]``
holds it as its own ``to_dict`` gives it. Results of several calls are one message there and one each in the common chat
shape, so they are written as several, of which the first says how many belong together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agent_framework import Content
from agent_framework import Message as AgentMessage

from botwire import InvalidValue, Message, ToolCall

logger = logging.getLogger("botwire")

NATIVE = "agent_framework"
_ROLES = {"assistant": "assistant", "developer": "system", "system": "system", "tool": "tool", "user": "user"}


# ------------------------------------------------------------------------- Agent Framework to botwire


def to_botwire(messages: Sequence[AgentMessage], earlier: Sequence[AgentMessage] = ()) -> list[list[Message]]:
    """The botwire messages of each of these, from which ``from_botwire`` makes equal ones.

    Args:
        messages: the messages.
        earlier: what was said before, where the name of a tool may be found whose result is among them.

    Raises:
        InvalidValue: if a message would lose something; names it.
    """
    said = [content for message in (*earlier, *messages) for content in message.contents]
    names = {content.call_id: content.name for content in said if content.type == "function_call"}
    return [_rows(message, names) for message in messages]


def _rows(message: AgentMessage, names: Mapping[str | None, str | None]) -> list[Message]:
    data = message.to_dict()
    _check(message.additional_properties, data, "additional_properties")
    results = [content for content in message.contents if content.type == "function_result"]
    rows = [_result_row(result, names) for result in results]
    if not results or len(results) < len(message.contents) or message.role != "tool":
        rows.insert(0, _spoken_row(message))
    rows[0].id = message.message_id
    native: dict[str, Any] = {"rows": len(rows)} if results else {}
    if _built(rows).to_dict() != data:
        native["message"] = data
    if native:
        rows[0].native[NATIVE] = native
    return rows


def _check(properties: Mapping[str, Any], data: Mapping[str, Any], what: str) -> None:
    """Agent Framework leaves out of a dict what it cannot serialise, and says nothing."""
    lost = [name for name, value in properties.items() if value is not None and name not in data.get(what, {})]
    if lost:
        raise InvalidValue(f"Message.{what}[{lost[0]!r}] cannot be stored so that it comes back equal; convert it to JSON first")


def _spoken_row(message: AgentMessage) -> Message:
    role = _ROLES.get(message.role, "user")
    calls = [_call(content) for content in message.contents if content.type == "function_call"]
    parts = [part for content in message.contents if (part := _part(content)) is not None]
    content: str | list[dict[str, Any]] | None = parts
    if len(parts) == 1 and parts[0]["type"] == "text":
        content = cast("str", parts[0]["text"])
    elif not parts:
        content = None if calls else ""
    extra = {"role": "developer"} if message.role == "developer" else {}
    return Message(cast("Any", role), content, message.author_name, calls, extra=extra)


def _call(content: Content) -> ToolCall:
    arguments = content.arguments
    given = dict(arguments) if isinstance(arguments, Mapping) else arguments
    return ToolCall(content.call_id, content.name or "", given or "")


def _part(content: Content) -> dict[str, Any] | None:
    if content.type == "text":
        return {"type": "text", "text": content.text or ""}
    if content.type not in ("data", "uri"):
        return None
    if (content.media_type or "").startswith("image/"):
        return {"type": "image_url", "image_url": {"url": content.uri}}
    return {"type": "file", "file": {"url": content.uri, "media_type": content.media_type}}


def _result_row(content: Content, names: Mapping[str | None, str | None]) -> Message:
    result = content.result
    text = result if isinstance(result, str) else "" if result is None else str(result)
    return Message("tool", text, names.get(content.call_id), tool_call_id=content.call_id)


# ------------------------------------------------------------------------- botwire to Agent Framework


def from_botwire(rows: Sequence[Message]) -> list[AgentMessage]:
    """The messages of botwire's, whichever framework wrote them.

    Results that another framework wrote one by one are one message if they follow each other.
    """
    messages: list[AgentMessage] = []
    at = 0
    while at < len(rows):
        count = _group(rows, at)
        messages.append(_message(rows[at : at + count]))
        at += count
    return messages


def _group(rows: Sequence[Message], at: int) -> int:
    """How many rows from here on are one message."""
    marked, end = _native(rows[at]).get("rows"), at + 1
    most = marked if type(marked) is int else None if rows[at].role == "tool" else 1
    while end < len(rows) and rows[end].role == "tool" and "rows" not in _native(rows[end]) and (most is None or end - at < most):
        end += 1
    return end - at


def _native(row: Message) -> dict[str, Any]:
    native = row.native.get(NATIVE)
    return cast("dict[str, Any]", native) if isinstance(native, dict) else {}


def _message(rows: Sequence[Message]) -> AgentMessage:
    native = _native(rows[0])
    if "message" in native and native.get("rows", 1) == len(rows):
        try:
            return AgentMessage.from_dict(native["message"])
        except Exception as error:  # noqa: BLE001 - whatever it is, one unreadable message makes no session unreadable
            logger.warning(
                "message %s holds Agent Framework data that cannot be read (%r); its neutral fields are used", rows[0].seq, error
            )
    return _built(rows)


def _built(rows: Sequence[Message]) -> AgentMessage:
    """The message that the neutral fields tell."""
    contents = [content for row in rows for content in (_results(row) if row.role == "tool" else _contents(row))]
    first = rows[0]
    role = "developer" if first.extra.get("role") == "developer" else first.role
    return AgentMessage(role, contents, author_name=None if role == "tool" else first.name, message_id=first.id)


def _results(row: Message) -> list[Content]:
    return [Content.from_function_result(row.tool_call_id or "", result=row.text)]


def _contents(row: Message) -> list[Content]:
    if isinstance(row.content, list):
        contents = [_content(part) for part in row.content]
    else:
        contents = [Content.from_text(row.content)] if row.content else []
    return contents + [Content.from_function_call(call.id or "", call.name, arguments=call.arguments or None) for call in row.tool_calls]


def _content(part: dict[str, Any]) -> Content:
    """A part of a message; in words, if Agent Framework has no form for it."""
    if isinstance(part.get("text"), str):
        return Content.from_text(part["text"])
    given: Any = part.get("image_url") or part.get("file")
    url = cast("dict[str, Any]", given).get("url") if isinstance(given, dict) else given
    if part["type"] == "image" and isinstance(part.get("base64"), str):
        url = f"data:{part.get('mime_type', 'image/png')};base64,{part['base64']}"
    if not isinstance(url, str):
        return Content.from_text(f"[{part['type']}]")
    kind = cast("dict[str, Any]", given).get("media_type") if isinstance(given, dict) else None
    return Content.from_uri(url, media_type=kind or _media_type(url))


def _media_type(url: str) -> str:
    """What a data URI says it is; of any other URL, that it is an image, since it stood where images stand."""
    return url[5:].partition(";")[0] if url.startswith("data:") else "image/*"
