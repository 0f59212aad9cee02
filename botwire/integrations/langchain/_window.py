"""Which messages of a long session a model is shown: the last ones, cut where a provider accepts them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from botwire import Message, SessionInfo

Snapshot = tuple[SessionInfo | None, list[Message]]
Reads = Generator[dict[str, int], Snapshot, list[Message]]
"""Yields the arguments of a ``Session.snapshot``, is sent its result, returns messages. So sync and async share it."""


def read_all() -> Reads:
    """All messages."""
    return (yield {})[1]


def read_window(size: int) -> Reads:
    """The last ``size`` messages without orphaned tool results, and a leading system message if there is one.

    Its cost does not grow with the session.
    """
    info, window = yield {"last": size}
    kept = without_orphans(window)
    while window and not kept and (window[0].seq or 0) > 1:  # nothing but results: go back to what asked for them
        there, earlier = yield {"last": size, "before": window[0].seq or 0}
        if not earlier or _epoch(there) != _epoch(info):
            break
        window = earlier + window
        kept = _from_last_question(window)
    if not window or window[0].seq == 1:
        lead = window[:1]
    else:
        there, lead = yield {"before": 2}
        lead = lead if _epoch(there) == _epoch(info) else []  # cleared meanwhile: not the same conversation
    if lead and lead[0].role == "system" and not (kept and kept[0].seq == lead[0].seq):
        kept = lead + kept
    return kept


def without_orphans(messages: Sequence[Message]) -> list[Message]:
    """The messages but for tool results whose call is not among those before them: providers refuse such a conversation."""
    called: set[str | None] = set()
    kept: list[Message] = []
    for message in messages:
        if message.role == "tool":
            answers = message.tool_call_id in called if message.tool_call_id else bool(kept)
            if not answers:
                continue
        called.update(call.id for call in message.tool_calls)
        kept.append(message)
    return kept


def _from_last_question(messages: Sequence[Message]) -> list[Message]:
    asked = [index for index, message in enumerate(messages) if message.role != "tool"]
    return without_orphans(messages[asked[-1] :]) if asked else []


def _epoch(info: Any) -> str | None:
    return None if info is None else info.epoch
