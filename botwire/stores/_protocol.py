"""What a store is: two primitives, entries and logs, text in and text out.

A store keeps apart namespaces, knows nothing of JSON values, messages, limits or names (those live once,
above it), and reads the clock itself. Reads are methods. Writes are data: a batch of operations that
happen together or not at all. So one commit, one request and one pipeline can carry many batches, and
every write takes the same way through client, server and store.

Times are whole microseconds since 1970-01-01 UTC; a time to live is in microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from botwire._errors import BotWireError


class _Keep(Enum):
    KEEP = "keep"

    def __repr__(self) -> str:
        return self.name


KEEP: Final = _Keep.KEEP
"""In place of a time to live or a text: leave what is there."""

Ttl: TypeAlias = int | Literal[_Keep.KEEP] | None
"""Microseconds from the write on, ``None`` for no expiry, ``KEEP`` for what the entry has now."""


# ---------------------------------------------------------------------------------------------- rows


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


class Batch(NamedTuple):
    """Operations on one namespace that happen together, in order, or not at all.

    A batch with a ``request_id`` that was applied before is not applied again: it gets the results of the first
    time. Ids are kept for a day at least, those that begin with ``RETRY_PREFIX`` for an hour; apart for each
    namespace, and within it for each session if the first operation is one on a session. The same id with other
    operations is a ``RequestConflict``.
    """

    namespace: str
    operations: tuple[Operation, ...]
    request_id: str | None = None


Outcome: TypeAlias = "list[Result] | BotWireError"
"""What became of a batch: a result for each operation, or why none of it happened."""


class Store(Protocol):
    """Where memory lies. Any object with these methods is one; ``botwire.testing.StoreContract`` tests it.

    All methods may be called from many threads at once, and raise ``StoreUnavailable``, ``StoreCorrupt`` or
    ``Unauthorized`` when the store as a whole cannot serve. What has expired is nowhere visible.
    """

    url: str
    """What this store is, for people: never with a password or token."""

    def write(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Apply each batch, or not, on its own; return when all that was applied is durable."""
        ...

    def get(self, namespace: str, key: str) -> EntryRow | None: ...

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, EntryRow]:
        """The entries there are among ``keys``, as they were at one moment."""
        ...

    def scan(self, namespace: str, prefix: str, after: str | None, limit: int) -> list[EntryRow]:
        """The first ``limit`` entries, by key in code point order, that start with ``prefix`` and come after ``after``."""
        ...

    def scan_keys(self, namespace: str, prefix: str, after: str | None, limit: int) -> list[str]:
        """Like ``scan``, the keys alone."""
        ...

    def count(self, namespace: str, prefix: str = "") -> int: ...

    def namespaces(self, after: str | None, limit: int) -> list[str]:
        """Namespaces that hold an entry or a session, in code point order."""
        ...

    def read_log(
        self,
        namespace: str,
        session: str,
        agent: str,
        *,
        after: int | None = None,
        before: int | None = None,
        last: int | None = None,
        limit: int | None = None,
    ) -> LogPage:
        """Messages with ``after < seq < before``: the ``last`` ones of them, or the first ``limit``."""
        ...

    def scan_logs(self, namespace: str, after: tuple[str, str] | None, limit: int) -> list[LogInfo]:
        """Logs by (session, agent) in code point order, after the one named."""
        ...

    def search(self, namespace: str, words: Sequence[str], limit: int) -> list[EntryHit]:
        """Entries that contain every word (casefolded) in key or value, best first, by ``botwire.stores._search``."""
        ...

    def search_log(
        self, namespace: str, words: Sequence[str], limit: int, session: str | None = None, agent: str | None = None
    ) -> list[LogHit]:
        """Messages that contain every word, in one log, one session, or all sessions of the namespace."""
        ...

    def check(self) -> dict[str, Any]:
        """Examine the store: ``{"ok": bool, "problems": [str], ...figures}``."""
        ...

    def close(self) -> None:
        """Give back what the store holds; calling again does nothing, other calls raise ``Closed``."""
        ...
