"""What reading gives back: entries, sessions, search hits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botwire._codec import decode
from botwire._message import Message
from botwire.stores._protocol import EntryRow, LogInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(us: int) -> datetime:
    """The moment, in UTC, that is ``us`` microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=us)


def to_us(moment: datetime) -> int:
    """The reverse of ``to_datetime``: exact, where a float of seconds would round."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value, and what the store knows about it. Times are in UTC."""

    key: str
    value: Any
    version: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None

    @classmethod
    def from_row(cls, row: EntryRow, namespace: str) -> Entry:
        """The entry of a stored row.

        Raises:
            StoreCorrupt: if its value cannot be read back.
        """
        expires_at = None if row.expires_at is None else to_datetime(row.expires_at)
        value = decode_value(row.value, namespace, row.key)
        return cls(row.key, value, row.version, to_datetime(row.created_at), to_datetime(row.updated_at), expires_at)


@dataclass(frozen=True, slots=True)
class EntryChange:
    """That an entry is no longer as it was: ``entry`` is what it is now, None if it was removed or has expired."""

    key: str
    entry: Entry | None

    @property
    def deleted(self) -> bool:
        """Whether there is no such entry any more."""
        return self.entry is None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a store knows about a session besides its messages. Times are in UTC, ``ttl`` in seconds.

    ``head`` is the last sequence number given out, ``count`` the number of messages now. ``epoch`` changes when
    the session is cleared or begun anew: whoever cached messages of another epoch must drop them.
    """

    session_id: str
    agent: str | None
    epoch: str
    head: int
    count: int
    created_at: datetime
    updated_at: datetime
    ttl: float | None
    expires_at: datetime | None
    metadata: dict[str, Any]

    @classmethod
    def from_log(cls, info: LogInfo) -> SessionInfo:
        """The session of a stored log.

        Raises:
            StoreCorrupt: if its metadata cannot be read back.
        """
        return cls(
            info.session,
            info.agent or None,
            info.epoch,
            info.head,
            info.count,
            to_datetime(info.created_at),
            to_datetime(info.updated_at),
            None if info.ttl is None else info.ttl / 1_000_000,
            None if info.expires_at is None else to_datetime(info.expires_at),
            decode(info.metadata, f"the metadata of session {info.session!r}"),
        )


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An entry that a search found: a higher score is a better match, the snippet is text around it."""

    entry: Entry
    score: float
    snippet: str

    @property
    def key(self) -> str:
        return self.entry.key

    @property
    def value(self) -> Any:
        return self.entry.value


@dataclass(frozen=True, slots=True)
class MessageHit:
    """A message that a search found, and the session it is in."""

    session_id: str
    agent: str | None
    message: Message
    score: float
    snippet: str


def decode_value(text: str, namespace: str, key: str) -> Any:
    """The value of an entry's text.

    Raises:
        StoreCorrupt: if it cannot be read back; names namespace and key.
    """
    return decode(text, f"the value of {key!r} in namespace {namespace!r}")
