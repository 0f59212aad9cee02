"""Batches as the script takes them, and what it answers.

What needs Python's exact numbers and JSON (``Change``, merged metadata) is computed here from what was read before, and the
script is told what that was: if it is no longer so, it does nothing, and all begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from botwire._codec import decode, encode
from botwire._errors import BotWireError, InvalidValue, StoreCorrupt, VersionConflict
from botwire.stores._protocol import (
    KEEP,
    Append,
    Appended,
    Change,
    Changed,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    EntryRow,
    Operation,
    Pop,
    Restore,
    RestoreLog,
    Result,
    Set,
    SetLog,
    Trim,
)
from botwire.stores._rules import apply_change, merge_patch
from botwire.stores.redis._keys import log_name, utf8
from botwire.stores.redis._rows import info_of, row_of_pop

LARGEST = 1 << 53
"""From here on Lua's numbers, and the scores of sorted sets, are not exact."""


class Present(NamedTuple):
    """What was read before: of entries that a ``Change`` computes from, metadata that is merged, agents of sessions that are deleted."""

    now: int
    entries: dict[str, EntryRow | BotWireError | None]
    metadata: dict[bytes, str]
    logs: dict[str, list[bytes]]


NOTHING = Present(0, {}, {}, {})


def wants(operations: Sequence[Operation]) -> tuple[list[str], list[bytes], list[str]]:
    """The entries, the logs' metadata and the sessions to read before these operations can be sent."""
    keys = [each.key for each in operations if isinstance(each, Change)]
    logs = [
        log_name(each.session, each.agent) for each in operations if isinstance(each, SetLog) and each.merge and each.metadata is not KEEP
    ]
    sessions = [each.session for each in operations if isinstance(each, DeleteLog) and each.agent is None]
    return list(dict.fromkeys(keys)), list(dict.fromkeys(logs)), list(dict.fromkeys(sessions))


class Encoded:
    """The operations of a batch as arguments of the script."""

    def __init__(self, operations: Sequence[Operation], present: Present) -> None:
        self.names: list[bytes] = []
        """The logs that the operations are on."""
        self.guards: list[bytes] = []
        self.arguments: list[bytes] = []
        self.heard: list[bytes] = []
        """What listeners are told."""
        self.failure: BotWireError | None = None
        """Why an operation cannot be done, if the script gets that far."""
        self._numbers: dict[bytes, int] = {}
        self._present = present
        self._values: dict[str, str | None] = {}  # what this batch has made of entries so far
        self._cleared: list[str] = []
        self._metadata: dict[bytes, str] = {}
        for operation in operations:
            _ENCODE[type(operation)](self, operation)
            if self.failure is not None:
                break

    def guards_count(self) -> int:
        """How many guards there are."""
        return len(self.guards) // 3

    # ------------------------------------------------------------------------------------- entries

    def set(self, operation: Set) -> None:
        """See ``Set``."""
        key, value, if_version, ttl = operation
        wanted = b"" if if_version is None else b"%d" % if_version
        self.arguments += (b"S", self._key(key), utf8(value), ttl_text(ttl), wanted)
        self._values[key] = value

    def delete(self, operation: Delete) -> None:
        """See ``Delete``."""
        wanted = b"" if operation.if_version is None else b"%d" % operation.if_version
        self.arguments += (b"D", self._key(operation.key), wanted)
        self._values[operation.key] = None

    def change(self, operation: Change) -> None:
        """See ``Change``."""
        try:
            value, answer = apply_change(operation, self._value_before(operation.key))
        except BotWireError as error:
            self.failure = error
            self.arguments.append(b"F")
            return
        self.arguments += (b"C", self._key(operation.key), utf8(value), utf8(answer), ttl_text(operation.ttl))
        self._values[operation.key] = value

    def _value_before(self, key: str) -> str | None:
        """What the entry's text is at this point of the batch."""
        if key in self._values:
            return self._values[key]
        if any(key.startswith(prefix) for prefix in self._cleared):
            return None
        row = self._present.entries[key]
        if isinstance(row, BotWireError):
            raise row
        expected = b"" if row is None else b"%d %d %d" % (row.version, row.created_at, row.updated_at)
        self.guards += (b"E", utf8(key), expected)
        return None if row is None else row.value

    def clear(self, operation: Clear) -> None:
        """See ``Clear``."""
        self.arguments += (b"X", utf8(operation.prefix))
        self.heard.append(b"*")
        self._cleared.append(operation.prefix)
        self._values = {key: None if key.startswith(operation.prefix) else value for key, value in self._values.items()}

    def restore(self, operation: Restore) -> None:
        """See ``Restore``."""
        row = operation.row
        expires = b"-" if row.expires_at is None else _number(row.expires_at)
        self.arguments += (b"R", self._key(row.key), _number(row.version), _number(row.created_at), _number(row.updated_at), expires)
        self.arguments.append(utf8(row.value))
        over = row.expires_at is not None and row.expires_at <= self._present.now
        self._values[row.key] = None if over else row.value

    def _key(self, key: str) -> bytes:
        name = utf8(key)
        self.heard.append(b"k" + name)
        return name

    # ---------------------------------------------------------------------------------------- logs

    def _log(self, session: str, agent: str) -> bytes:
        """The number by which the script knows a log."""
        self.heard.append(b"s" + utf8(session))
        return self._numbered(log_name(session, agent))

    def _numbered(self, name: bytes) -> bytes:
        if name not in self._numbers:
            self.names.append(name)
            self._numbers[name] = len(self.names)
        return b"%d" % self._numbers[name]

    def append(self, operation: Append) -> None:
        """See ``Append``."""
        session, agent, bodies, ttl = operation
        self.arguments += (b"A", self._log(session, agent), ttl_text(ttl), b"%d" % len(bodies))
        self.arguments += [utf8(body) for body in bodies]

    def pop(self, operation: Pop) -> None:
        """See ``Pop``."""
        self.arguments += (b"P", self._log(operation.session, operation.agent))

    def trim(self, operation: Trim) -> None:
        """See ``Trim``."""
        self.arguments += (b"T", self._log(operation.session, operation.agent), b"%d" % operation.keep_last, *_place(operation))

    def clear_log(self, operation: ClearLog) -> None:
        """See ``ClearLog``."""
        self.arguments += (b"Z", self._log(operation.session, operation.agent), *_place(operation))

    def set_log(self, operation: SetLog) -> None:
        """See ``SetLog``."""
        session, agent, ttl, metadata, merge = operation
        number, name = self._log(session, agent), log_name(session, agent)
        if metadata is KEEP:
            self.arguments += (b"M", number, ttl_text(ttl), b"0", b"")
            return
        if merge:
            what = f"the metadata of session {session!r}"
            try:
                metadata = encode(merge_patch(decode(self._metadata_before(name, number), what), decode(metadata, what)), what)
            except BotWireError as error:
                self.failure = error
                self.arguments.append(b"F")
                return
        self._metadata[name] = metadata
        self.arguments += (b"M", number, ttl_text(ttl), b"1", utf8(metadata))

    def _metadata_before(self, name: bytes, number: bytes) -> str:
        if name not in self._metadata:
            self._metadata[name] = self._present.metadata[name]
            self.guards += (b"M", number, utf8(self._metadata[name]))
        return self._metadata[name]

    def delete_log(self, operation: DeleteLog) -> None:
        """See ``DeleteLog``."""
        session, agent = operation
        start = log_name(session, "")
        names = [start + utf8(agent)] if agent is not None else [*self._present.logs[session], *self._ours(start)]
        self.heard.append(b"s" + utf8(session))
        numbers = [self._numbered(name) for name in dict.fromkeys(names)]
        self.arguments += (b"K", b"" if agent is not None else start, b"%d" % len(numbers), *numbers)
        self._metadata.update(dict.fromkeys(names, "{}"))

    def _ours(self, start: bytes) -> list[bytes]:
        return [name for name in self.names if name.startswith(start)]

    def restore_log(self, operation: RestoreLog) -> None:
        """See ``RestoreLog``."""
        info, rows = operation
        ttl = b"-" if info.ttl is None else _number(info.ttl)
        expires = b"-" if info.expires_at is None else _number(info.expires_at)
        number = self._log(info.session, info.agent)
        self.arguments += (b"B", number, _number(info.head), _number(info.created_at), _number(info.updated_at), ttl, expires)
        self.arguments += (utf8(info.epoch), utf8(info.metadata), b"%d" % len(rows))
        for row in rows:
            self.arguments += (_number(row.seq, least=1), _number(row.created_at), utf8(row.body))
        self._metadata[log_name(info.session, info.agent)] = info.metadata


def ttl_text(ttl: Any) -> bytes:
    """A time to live as the script takes it."""
    return b"=" if ttl is KEEP else b"-" if ttl is None else _number(ttl)


def _number(number: int, least: int = 0) -> bytes:
    if not least <= number < LARGEST:
        raise InvalidValue(f"{number} is no version, number or time in microseconds that Redis holds exactly: {least} to 2**53 - 1")
    return b"%d" % number


def _place(operation: Trim | ClearLog) -> tuple[bytes, bytes, bytes]:
    place = operation.if_at
    return (b"", b"", b"") if place is None else (utf8(place.epoch), b"%d" % place.head, b"%d" % place.count)


_ENCODE: dict[type, Callable[[Encoded, Any], None]] = {
    Set: Encoded.set,
    Delete: Encoded.delete,
    Change: Encoded.change,
    Clear: Encoded.clear,
    Restore: Encoded.restore,
    Append: Encoded.append,
    Pop: Encoded.pop,
    Trim: Encoded.trim,
    ClearLog: Encoded.clear_log,
    SetLog: Encoded.set_log,
    DeleteLog: Encoded.delete_log,
    RestoreLog: Encoded.restore_log,
}

# ------------------------------------------------------------------------------------------ answers


def results_of(operations: Sequence[Operation], answers: Sequence[Any]) -> list[Result]:
    """The results of the operations, of what the script answered to each."""
    return [_DECODE[type(operation)](operation, answer) for operation, answer in zip(operations, answers, strict=True)]


def _count(_: Any, answer: bytes) -> int:
    return int(answer)


def _nothing(_: Any, __: bytes) -> None:
    return None


_DECODE: dict[type, Callable[[Any, Any], Any]] = {
    Set: _count,
    Delete: lambda _, answer: answer == b"1",
    Change: lambda _, answer: Changed(int(answer[0]), answer[1].decode()),
    Clear: _count,
    Restore: _nothing,
    Append: lambda _, answer: Appended(answer[2].decode(), int(answer[0]), int(answer[1])),
    Pop: lambda _, answer: row_of_pop(answer) if answer else None,
    Trim: _count,
    ClearLog: _count,
    SetLog: lambda operation, answer: info_of(operation.session, operation.agent, answer[0], answer[1]),
    DeleteLog: _count,
    RestoreLog: _nothing,
}


def conflict(namespace: str, operation: Any, kind: bytes, current: int) -> VersionConflict:
    """Why an operation was refused: another version, or another place."""
    if kind == b"P":
        text = f"session {operation.session!r} in namespace {namespace!r} was changed by another writer; read it again"
        return VersionConflict(text, current)
    asked = "to be absent" if operation.if_version == 0 else f"at version {operation.if_version}"
    found = "is absent" if current == 0 else f"is at version {current}"
    return VersionConflict(f"{operation.key!r} in namespace {namespace!r} was expected {asked} but {found}; read it again", current)


def unreadable(namespace: str, key: str) -> StoreCorrupt:
    """An entry whose header cannot be read."""
    return StoreCorrupt(f"the entry {key!r} in namespace {namespace!r} cannot be read: it has no header; set() it anew, or delete it")
