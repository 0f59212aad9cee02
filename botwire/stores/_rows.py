"""What stores give back: entries, messages, sessions, hits, stamps, figures.

Times are whole microseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from typing import NamedTuple


class EntryRow(NamedTuple):
    """One entry as stored."""

    key: str
    value: str  # JSON text
    version: int
    created_at: int
    updated_at: int
    expires_at: int | None


class LogRow(NamedTuple):
    """One message of a log as stored. ``created_at`` is when it was appended; the body may hold a time of its own."""

    seq: int
    body: str  # JSON text
    created_at: int


class LogInfo(NamedTuple):
    """What a store knows about a log besides its messages.

    ``head`` is the last sequence number given out; ``count`` the messages there are now; ``epoch`` is
    random text that changes when the log is cleared or begun anew.
    """

    session: str
    agent: str
    epoch: str
    head: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride] - of a tuple's methods, count is no loss
    created_at: int
    updated_at: int
    ttl: int | None
    expires_at: int | None
    metadata: str  # JSON text of an object


class LogPage(NamedTuple):
    """Some messages of a log, oldest first, and the log's state at that moment (None: no such log)."""

    info: LogInfo | None
    rows: list[LogRow]


class EntryHit(NamedTuple):
    """An entry that a search found; a higher score is a better match."""

    row: EntryRow
    score: float
    snippet: str


class LogHit(NamedTuple):
    """A message that a search found; a higher score is a better match."""

    session: str
    agent: str
    row: LogRow
    score: float
    snippet: str


class EntryStamp(NamedTuple):
    """An entry without its value: enough to tell whether it changed. A written entry has another version or time."""

    key: str
    version: int
    updated_at: int
    expires_at: int | None


class DayUsage(NamedTuple):
    """What was last written on one day (UTC) and is still there."""

    day: str  # 2026-11-22
    entries: int
    messages: int
    bytes: int


class Usage(NamedTuple):
    """What a namespace holds: numbers, and bytes of values and of message bodies as UTF-8."""

    entries: int
    entry_bytes: int
    sessions: int  # sessions, not logs: an agent's transcript is no session of its own
    messages: int
    message_bytes: int
    days: tuple[DayUsage, ...]  # those that hold anything, oldest first
