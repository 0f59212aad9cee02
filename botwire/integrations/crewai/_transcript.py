"""A Flow's list of messages as a botwire session: what is to be written so that the session equals the list.

New messages are appended. Only where the flow has changed or removed some is the session replaced, and only if nobody else
has written to it since this run of the flow read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import starmap

from botwire import Message, Session, SessionInfo, VersionConflict
from botwire.integrations.crewai._messages import Shape, digest, from_botwire, is_full, same, to_botwire
from botwire.stores import Append, Appended, ClearLog, LogPlace, Operation, Result, Ttl, encode_message

NOWHERE = LogPlace("", 0, 0)
"""The place of a session that is not there."""

_SHARED = ("role", "content", "name", "tool_call_id", "tool_calls")


@dataclass(slots=True)
class Seen:
    """What one run of a flow has read and written of its session.

    ``place`` is where the session is as long as it holds what ``digests`` tells of and nothing else; None if it holds more.
    """

    digests: list[str] = field(default_factory=list[str])
    place: LogPlace | None = NOWHERE
    full: bool = False


def seen(info: SessionInfo | None, messages: Sequence[Message], shapes: Sequence[Shape], *, full: bool) -> Seen:
    """What is known of a session that was read."""
    place = NOWHERE if info is None else LogPlace(info.epoch, info.head, info.count)
    unreadable = place.count != len(messages)
    return Seen([digest(shape) for shape in shapes], None if unreadable else place, full)


def operations(known: Seen, shapes: Sequence[Shape], session: Session, ttl: Ttl) -> list[Operation]:
    """What makes the session equal the list.

    Raises:
        InvalidValue: if a message cannot be stored exactly.
        VersionConflict: if the list changes messages of a session to which others have written.
    """
    full = is_full(shapes)
    if _continues(known, shapes, full=full):
        added = [to_botwire(shape, full=full) for shape in shapes[len(known.digests) :]]
        return [_append(session, added, ttl)] if added else []
    info, stored = session.snapshot()
    if info is None or known.place != (info.epoch, info.head, info.count):
        text = (
            f"session {session.session_id!r} holds messages that this run of the flow has not read, and the flow has changed earlier ones;"
            " nothing of this save is stored. Run the turn again: it begins with what is stored"
        )
        raise VersionConflict(text, 0 if info is None else info.head)
    kept = _with_originals(shapes, stored, full=full)
    return [ClearLog(session.session_id, "", known.place), *([_append(session, kept, ttl)] if kept else [])]


def written(known: Seen, shapes: Sequence[Shape], done: Sequence[Operation], results: Sequence[Result]) -> None:
    """Take note of what became of those operations."""
    place, added = known.place, False
    for operation, result in zip(done, results, strict=True):
        if isinstance(operation, ClearLog):
            place = None
        elif isinstance(operation, Append) and isinstance(result, Appended):
            added = True
            alone = result.first == 1 or (place is not None and (place.epoch, place.head) == (result.epoch, result.first - 1))
            before = 0 if result.first == 1 or place is None else place.count
            place = LogPlace(result.epoch, result.last, before + len(operation.bodies)) if alone else None
    known.place, known.digests = place, [digest(shape) for shape in shapes]
    known.full = is_full(shapes) if added or shapes else known.full


def _continues(known: Seen, shapes: Sequence[Shape], *, full: bool) -> bool:
    """Whether the list is what was seen, and more behind it."""
    if known.digests and known.full and not full:
        return False  # the messages there lack what tells a member that is None from one that is not there
    before = len(known.digests)
    return len(shapes) >= before and all(starmap(_equals, zip(shapes[:before], known.digests, strict=True)))


def _equals(shape: Shape, text: str) -> bool:
    return digest(shape) == text


def _append(session: Session, messages: Sequence[Message], ttl: Ttl) -> Append:
    return Append(session.session_id, "", tuple(map(encode_message, messages)), ttl)


def _with_originals(shapes: Sequence[Shape], stored: Sequence[Message], *, full: bool) -> list[Message]:
    """The messages of a changed list; those that stay keep what other frameworks and the store know of them."""
    originals: dict[str, list[Message]] = {}
    for message in reversed(stored):
        originals.setdefault(_shared(from_botwire(message, full=full)), []).append(message)
    kept: list[Message] = []
    for shape in shapes:
        there = originals.get(_shared(shape))
        original = there.pop() if there else None
        if original is not None and same(from_botwire(original, full=full), shape):
            kept.append(original)
            continue
        message = to_botwire(shape, full=full)
        if original is not None:
            message.id, message.created_at, message.extra = original.id, original.created_at, original.extra
            message.native = {**original.native, **message.native}
        kept.append(message)
    return kept


def _shared(shape: Shape) -> str:
    return digest({name: shape.get(name) for name in _SHARED})
