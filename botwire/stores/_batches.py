"""Writes as data: operations, and the batches of them that happen together or not at all.

Times are whole microseconds since 1970-01-01 UTC; a time to live is in microseconds.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias

from botwire._errors import BotWireError
from botwire.stores._rows import EntryRow, LogInfo, LogRow


class _Keep(Enum):
    KEEP = "keep"

    def __repr__(self) -> str:
        return self.name


KEEP: Final = _Keep.KEEP
"""In place of a time to live or a text: leave what is there."""

Ttl: TypeAlias = int | Literal[_Keep.KEEP] | None
"""Microseconds from the write on, ``None`` for no expiry, ``KEEP`` for what the entry has now."""


# ---------------------------------------------------------------------------- operations on entries


class Set(NamedTuple):
    """Create or replace an entry. Result: its version.

    ``if_version`` 0: only if absent; otherwise only if at that version, else ``VersionConflict``.
    """

    key: str
    value: str
    if_version: int | None = None
    ttl: Ttl = None


class Delete(NamedTuple):
    """Remove an entry. Result: whether it was there."""

    key: str
    if_version: int | None = None


class Change(NamedTuple):
    """Compute an entry's value from its present one by a rule of ``botwire.stores._rules``. Result: Changed."""

    key: str
    rule: Literal["increment", "append", "merge"]
    argument: str  # JSON text
    max_items: int | None = None
    max_bytes: int | None = None
    ttl: Ttl = KEEP


class Changed(NamedTuple):
    """What a Change answers: the new version, and the rule's answer as JSON text."""

    version: int
    answer: str


class Clear(NamedTuple):
    """Remove every entry whose key starts with ``prefix``. Result: how many there were."""

    prefix: str = ""


class Restore(NamedTuple):
    """Put an entry back with its version and times, over what is there. Result: None."""

    row: EntryRow


# ------------------------------------------------------------------------------- operations on logs


class Append(NamedTuple):
    """Add messages to a log, creating it if need be. Result: Appended.

    Sequence numbers are contiguous within the call and gapless over all writers.
    ``ttl`` other than KEEP becomes the log's; every append counts it anew from now.
    """

    session: str
    agent: str
    bodies: tuple[str, ...]
    ttl: Ttl = KEEP


class Appended(NamedTuple):
    """Where an Append put its messages: sequence numbers first to last, both included."""

    epoch: str
    first: int
    last: int


class Pop(NamedTuple):
    """Remove the last message. Result: its LogRow, or None if there was none."""

    session: str
    agent: str


class LogPlace(NamedTuple):
    """Where a log is. As long as this stays the same, so do its messages."""

    epoch: str
    head: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride] - as in LogInfo


class Trim(NamedTuple):
    """Remove all but the last ``keep_last`` messages. Result: how many were removed.

    ``if_at``: only if the log is there, else ``VersionConflict`` with its head.
    """

    session: str
    agent: str
    keep_last: int
    if_at: LogPlace | None = None


class ClearLog(NamedTuple):
    """Remove all messages and begin a new epoch at sequence number 1; metadata and ttl stay. Result: how many were removed.

    ``if_at``: only if the log is there, else ``VersionConflict`` with its head; so that nobody clears what they have not read.
    """

    session: str
    agent: str
    if_at: LogPlace | None = None


class SetLog(NamedTuple):
    """Change a log's ttl or metadata, creating it if need be. Result: its LogInfo.

    ``metadata`` is the JSON text of an object; with ``merge`` it is merged by RFC 7396, otherwise it replaces.
    """

    session: str
    agent: str
    ttl: Ttl = KEEP
    metadata: str | Literal[_Keep.KEEP] = KEEP
    merge: bool = False


class DeleteLog(NamedTuple):
    """Remove a log with its messages and metadata; ``agent`` None: all logs of the session. Result: how many logs."""

    session: str
    agent: str | None


class RestoreLog(NamedTuple):
    """Put messages back under their sequence numbers, and the log's state. Result: None.

    Rows already there under the same number are replaced; a log of another epoch is removed first.
    """

    info: LogInfo
    rows: tuple[LogRow, ...]


Operation: TypeAlias = Set | Delete | Change | Clear | Restore | Append | Pop | Trim | ClearLog | SetLog | DeleteLog | RestoreLog
Result: TypeAlias = int | bool | Changed | Appended | LogRow | LogInfo | None


RETRY_PREFIX: Final = "retry:"
"""How a request id begins that a client gave a batch by itself, so that it can send it again when no answer came."""


class Charge(NamedTuple):
    """Count ``amount`` on a meter of the namespace, which begins at 0 and is forgotten at ``expires_at``.

    Where that would bring the meter over ``limit``, it is left as it is and the batch is a ``QuotaExceeded``.
    """

    meter: str
    amount: int
    limit: int
    expires_at: int


class Cap(NamedTuple):
    """What the namespace may hold after the batch; None for no limit. A batch that only takes away is never over it."""

    bytes: int | None = None  # of values and message bodies, as UTF-8
    keys: int | None = None
    sessions: int | None = None


class Terms(NamedTuple):
    """What a batch must keep within to be applied, else ``QuotaExceeded``: checked and counted in the same transaction.

    A batch that is not applied is not charged, and neither is the repetition of a request.
    """

    charges: tuple[Charge, ...] = ()
    cap: Cap | None = None


class Batch(NamedTuple):
    """Operations on one namespace that happen together, in order, or not at all.

    A batch with a ``request_id`` that was applied before is not applied again: it gets the results of the first
    time. Ids are kept for a day at least, those that begin with ``RETRY_PREFIX`` for an hour; apart for each
    namespace, and within it for each session if the first operation is one on a session. The same id with other
    operations is a ``RequestConflict``; the terms are no part of what is compared.
    """

    namespace: str
    operations: tuple[Operation, ...]
    request_id: str | None = None
    terms: Terms | None = None


Outcome: TypeAlias = "list[Result] | BotWireError"
"""What became of a batch: a result for each operation, or why none of it happened."""
