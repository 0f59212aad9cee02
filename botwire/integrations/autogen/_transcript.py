"""What agents of a team said to each other, as messages that other frameworks read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias, cast

from autogen_agentchat import messages as agentchat
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, TextMessage

from botwire import Message
from botwire.integrations.autogen._messages import NATIVE

ChatItem: TypeAlias = BaseChatMessage | BaseAgentEvent
ChatMessage: TypeAlias = Mapping[str, Any]
"""A message of agentchat as its ``dump`` gives it, and as teams' states hold it."""


def message_id(message: ChatMessage) -> str:
    """The message's id; agentchat gives each one."""
    return str(message.get("id"))


def to_transcript(message: ChatMessage) -> Message:
    """The message as others read it, with all that agentchat has of it under ``native``."""
    source = str(message.get("source", ""))
    return Message(
        "user" if source == "user" else "assistant",
        _content(message.get("content")),
        None if source == "user" else source,
        id=message_id(message),
        native={NATIVE: {"chat": dict(message)}},
        created_at=_time(message.get("created_at")),
    )


def from_transcript(row: Message, types: Sequence[type[ChatItem]]) -> ChatItem:
    """The message of agentchat that a row is; the row's text, if it is none or its class is not among those known."""
    native = row.native.get(NATIVE)
    dump = cast("dict[str, Any]", native).get("chat") if isinstance(native, dict) else None
    if isinstance(dump, dict):
        kind = _class(str(cast("ChatMessage", dump).get("type")), types)
        if kind is not None:
            return kind.load(cast("ChatMessage", dump))
    text = TextMessage(content=row.text, source=row.name or row.role)
    text.id, text.created_at = row.id or text.id, row.created_at or text.created_at
    return text


def _class(name: str, types: Sequence[type[ChatItem]]) -> type[ChatItem] | None:
    for kind in types:
        if kind.__name__ == name:
            return kind
    found = getattr(agentchat, name, None)
    return found if isinstance(found, type) and issubclass(found, (BaseChatMessage, BaseAgentEvent)) else None


def _content(content: Any) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(item, str) or _is_image(item) for item in cast("list[Any]", content)):
        return [_part(item) for item in cast("list[Any]", content)]
    return json.dumps(content, ensure_ascii=False)  # what a StructuredMessage holds


def _is_image(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(cast("dict[str, Any]", item).get("data"), str)


def _part(item: Any) -> dict[str, Any]:
    if isinstance(item, str):
        return {"type": "text", "text": item}
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{item['data']}"}}


def _time(created_at: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(created_at)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
