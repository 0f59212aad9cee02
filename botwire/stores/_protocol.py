"""What a store is: two primitives, entries and logs, text in and text out.

A store keeps apart namespaces, knows nothing of JSON values, messages, limits or names (those live once,
above it), and reads the clock itself. Reads are methods. Writes are data: a batch of operations that
happen together or not at all. So one commit, one request and one pipeline can carry many batches, and
every write takes the same way through client, server and store.

Times are whole microseconds since 1970-01-01 UTC; a time to live is in microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from botwire.stores._batches import (
    KEEP,
    RETRY_PREFIX,
    Append,
    Appended,
    Batch,
    Cap,
    Change,
    Changed,
    Charge,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    LogPlace,
    Operation,
    Outcome,
    Pop,
    Restore,
    RestoreLog,
    Result,
    Set,
    SetLog,
    Terms,
    Trim,
    Ttl,
)
from botwire.stores._rows import (
    DayUsage,
    EntryHit,
    EntryRow,
    EntryStamp,
    LogHit,
    LogInfo,
    LogPage,
    LogRow,
    Usage,
)

__all__ = [
    "KEEP",
    "RETRY_PREFIX",
    "Append",
    "Appended",
    "Batch",
    "Cap",
    "Change",
    "Changed",
    "Charge",
    "Clear",
    "ClearLog",
    "DayUsage",
    "Delete",
    "DeleteLog",
    "EntryHit",
    "EntryRow",
    "EntryStamp",
    "Heard",
    "Listener",
    "LogHit",
    "LogInfo",
    "LogPage",
    "LogPlace",
    "LogRow",
    "Operation",
    "Outcome",
    "Pop",
    "Restore",
    "RestoreLog",
    "Result",
    "Set",
    "SetLog",
    "Store",
    "Terms",
    "Trim",
    "Ttl",
    "Usage",
]


class Heard(NamedTuple):
    """What may have changed: entries by key and sessions by id; None for any of them.

    A hint to look, not the change itself: it may name what did not change, and names nothing twice for two changes.
    """

    keys: frozenset[str] | None
    sessions: frozenset[str] | None


class Listener(Protocol):
    """Hears of writes to a namespace by whoever made them, in whatever process. For one thread at a time."""

    def wait(self, timeout: float) -> Heard | None:
        """What may have changed since the last call, or since ``listen``, as soon as there is any.

        None when there was nothing within ``timeout`` seconds. After trouble with the connection it answers
        ``Heard(None, None)`` once it listens again, so that whoever looks then has missed nothing.
        """
        ...

    def close(self) -> None:
        """Stop listening; a ``wait`` under way in another thread returns."""
        ...


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

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> list[EntryStamp]:
        """Like ``scan``, without the values."""
        ...

    def count(self, namespace: str, prefix: str = "") -> int: ...

    def usage(self, namespace: str) -> Usage:
        """How much a namespace holds. May look at all of it."""
        ...

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

    def listen(self, namespace: str, session: str | None = None) -> Listener:
        """Hear of what is written to entries, or to one session, once this returns: who reads now and then waits misses nothing.

        Without ``session``, sessions may be heard of too, but need not be.
        """
        ...

    def check(self) -> dict[str, Any]:
        """Examine the store: ``{"ok": bool, "problems": [str], ...figures}``.

        ``advice``, if it is among the figures, lists what of the settings endangers data: ``(level, what, detail)``, the level
        being ``ok``, ``warning`` or ``problem``.
        """
        ...

    def close(self) -> None:
        """Give back what the store holds; calling again does nothing, other calls raise ``Closed``."""
        ...
