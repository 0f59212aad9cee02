"""CrewAI's message dicts as botwire's messages, and back.

CrewAI has two shapes of one message: what a model is given (``LLMMessage``: only the members that it has), and what the
state of a conversational Flow holds (``ConversationMessage``: all members, also those that are None). The neutral fields
hold what every framework reads; under ``native["crewai"]`` lies only what they do not determine.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import re
from collections.abc import Sequence
from typing import Any, TypeGuard, cast

from botwire import InvalidValue, Message, Session, ToolCall
from botwire.stores import encode_value

logger = logging.getLogger("botwire")

Shape = dict[str, Any]

ROLES = ("user", "assistant", "system", "tool")
EMPTY: Shape = {"name": None, "tool_call_id": None, "tool_calls": None, "files": None, "metadata": {}}
"""The members that a message in a Flow's state has besides role and content, when they say nothing."""

_has_name_of_a_sender = re.compile(r"[^\s<|\\/>]{1,64}").fullmatch
"""What providers take for a name; they refuse the whole conversation for another one."""


def are_messages(value: object) -> TypeGuard[list[Shape]]:
    """Whether a JSON value is a list of nothing but messages."""
    return isinstance(value, list) and all(
        isinstance(item, dict) and cast("Shape", item).get("role") in ROLES for item in cast("list[Any]", value)
    )


def is_full(shapes: Sequence[Shape]) -> bool:
    """Whether all messages have all members, as in the state of a conversational Flow."""
    return all(EMPTY.keys() <= shape.keys() and "content" in shape for shape in shapes)


def to_botwire(shape: Shape, *, full: bool = False) -> Message:
    """The botwire message from which ``from_botwire`` makes an equal dict.

    Raises:
        InvalidValue: if a member is nothing that JSON can hold; names it.
    """
    encode_value(shape, "message")
    neutral = _neutral(shape)
    derived = _derived(neutral, full)
    members = {name: value for name, value in shape.items() if name not in derived or not same(value, derived[name])}
    without = [name for name in derived if name not in shape]
    if members or without:
        native: Shape = {"members": members} if members else {}
        neutral.native = {"crewai": {**native, "without": without} if without else native}
    return neutral


def from_botwire(message: Message, *, full: bool = False) -> Shape:
    """The dict of a botwire message, whichever framework wrote it; with all members if ``full``."""
    shape = _derived(message, full)
    native = message.native.get("crewai")
    if native is None:
        return shape
    try:
        found = {**shape, **native.get("members", {})}
        return {name: value for name, value in found.items() if name not in native.get("without", ())}
    except (AttributeError, TypeError) as error:
        logger.warning("message %s holds CrewAI data that cannot be read (%r); its neutral fields are used", message.seq, error)
        return shape


def for_model(message: Message) -> Shape:
    """The dict to give a model: without what is for people, and without a name that providers refuse."""
    shape = from_botwire(message)
    shape.pop("metadata", None)
    if shape["role"] != "tool" and not _has_name_of_a_sender(shape.get("name") or ""):
        shape.pop("name", None)
    return shape


def digest(shape: Shape) -> str:
    """A text that is the same for equal messages, whether or not their empty members are there."""
    members = {**EMPTY, **shape}
    try:
        text = json.dumps(members, sort_keys=True)
    except ValueError:  # an int of more digits than Python turns into text by default
        text = encode_value(members)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        ours, theirs = cast("Shape", one), cast("Shape", other)
        return ours.keys() == theirs.keys() and all(same(value, theirs[name]) for name, value in ours.items())
    if isinstance(one, list):
        pairs = cast("list[Any]", one), cast("list[Any]", other)
        return len(pairs[0]) == len(pairs[1]) and all(same(*pair) for pair in zip(*pairs, strict=True))
    return bool(one == other)


# -------------------------------------------------------------------------------------- one message


def _neutral(shape: Shape) -> Message:
    metadata = shape.get("metadata")
    return Message(
        shape["role"],
        _content(shape.get("content")),
        _text(shape.get("name")),
        _calls(shape.get("tool_calls")),
        _text(shape.get("tool_call_id")),
        metadata={**cast("Shape", metadata)} if isinstance(metadata, dict) else {},
    )


def _derived(message: Message, full: bool) -> Shape:
    """What the neutral fields say about the members."""
    given: Shape = {"role": message.role, "content": message.content}
    if message.name is not None:
        given["name"] = message.name
    if message.tool_call_id is not None:
        given["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        given["tool_calls"] = [call.to_dict() for call in message.tool_calls]
    if message.metadata:
        given["metadata"] = message.metadata
    return {**given, **{name: copy.copy(value) for name, value in EMPTY.items() if name not in given}} if full else given


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _content(content: Any) -> str | list[Shape] | None:
    if not isinstance(content, list):
        return _text(content)
    parts: list[Shape] = []
    for part in cast("list[Any]", content):
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        elif isinstance(part, dict):
            members = cast("Shape", part)
            parts.append(members if isinstance(members.get("type"), str) else {**members, "type": "other"})
    return parts


def _calls(calls: Any) -> list[ToolCall]:
    """The calls that are calls; a list of anything else stays CrewAI's own."""
    found: list[ToolCall] = []
    for call in cast("list[Any]", calls) if isinstance(calls, list) else []:
        try:
            found += Message.from_dict({"role": "assistant", "content": None, "tool_calls": [call]}).tool_calls
        except InvalidValue as error:
            logger.warning("a tool call that other frameworks cannot read is kept for CrewAI alone: %s", error)
    return found


# ------------------------------------------------------------------------------------- a session


def read_window(session: Session, size: int | None) -> list[Message]:
    """The last ``size`` messages without orphaned tool results, and a system message that begins the session besides.

    Costs no more for a long session. Where the last ``size`` are nothing but tool results, it begins with what asked for them.
    """
    if size is None:
        return without_orphans(session.messages())
    asked = size
    info, found = session.snapshot(last=asked)
    while len(found) == asked and all(message.role == "tool" for message in found):
        asked *= 2
        info, found = session.snapshot(last=asked)
    begin = max((index for index, message in enumerate(found) if message.role != "tool"), default=0)
    kept = without_orphans(found[min(begin, max(0, len(found) - size)) :])
    there, lead = (info, found[:1]) if found and found[0].seq == 1 else session.snapshot(before=2)
    if lead and lead[0].role == "system" and not (kept and kept[0].seq == lead[0].seq) and info and there and info.epoch == there.epoch:
        return lead + kept
    return kept


def without_orphans(messages: Sequence[Message]) -> list[Message]:
    """The messages but for tool results whose call is not among those before them: providers refuse such a conversation."""
    called: set[str | None] = set()
    kept: list[Message] = []
    for message in messages:
        if message.role == "tool" and not (message.tool_call_id in called if message.tool_call_id else kept):
            continue
        called.update(call.id for call in message.tool_calls)
        kept.append(message)
    return kept
