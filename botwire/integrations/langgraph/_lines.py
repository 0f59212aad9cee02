"""Lines: the checkpoints of one namespace of a thread, how they are added and read.

What a line's last values were is kept in memory, so that adding a checkpoint reads nothing. It is not trusted: each
write names the version of the line's head that it was made for, and is made again if another writer was faster.
"""

from __future__ import annotations

import gc
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langgraph.checkpoint.serde.base import SerializerProtocol

from botwire import BotWireError, OutcomeUnknown, StoreCorrupt, VersionConflict
from botwire.integrations.langgraph import _keys, _pages
from botwire.integrations.langgraph._pages import Log, MissingPage, Reader, Value, encode_page
from botwire.integrations.langgraph._records import Head, Record, Stored, decode_bytes, encode_bytes, head_text, inline, parse_head
from botwire.stores import Batch, EntryRow, Operation, Result, Set, Store

ATTEMPTS = 100
"""How often a write is made anew because another writer was faster, before it gives up."""

MOST_KEPT = 64 * 1024 * 1024
"""Bytes of last values kept in memory."""

SCAN = 100
"""Entries asked for at a time."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of a line. ``version`` is its head's: 0 if there is none yet, None if it is not known."""

    epoch: str
    version: int | None
    logs: dict[str, Log] = field(default_factory=dict[str, Log])
    recent: dict[str, dict[str, Stored]] = field(default_factory=dict[str, "dict[str, Stored]"])

    @property
    def size(self) -> int:
        return 1_000 + sum(len(log.base.body) + _pages.PAGE for log in self.logs.values() if log.base is not None)


class Lines:
    """All lines of a namespace of memory."""

    def __init__(self, store: Callable[[], Store], namespace: str) -> None:
        self._open = store
        self.namespace = namespace
        self._known: OrderedDict[str, Line] = OrderedDict()
        self._size = 0
        self._mutex = threading.Lock()

    @property
    def store(self) -> Store:
        return self._open()

    # -------------------------------------------------------------------------------------- adding

    def add(
        self,
        names: tuple[str, str],
        parent: str | None,
        checkpoint: Mapping[str, Any],
        metadata: dict[str, Any],
        changed: Mapping[str, Any],
        serde: SerializerProtocol,
    ) -> None:
        """Store a checkpoint of the line of these names: all of it, or nothing.

        Raises:
            VersionConflict: if others were faster a hundred times in a row.
            StoreUnavailable: if the store cannot be written.
        """
        prefix = _keys.line_prefix(*names)
        with paused_gc():
            values = {channel: serde.dumps_typed(value) for channel, value in checkpoint["channel_values"].items() if channel in changed}
        rest = {name: member for name, member in checkpoint.items() if name != "channel_values"}

        def draft() -> tuple[list[Operation], Line]:
            line = self.ready(prefix)
            line, before = self._before(prefix, line, parent, serde)
            for channel, value in checkpoint["channel_values"].items():
                if channel not in values and not _still(before.get(channel), checkpoint["channel_versions"].get(channel)):
                    values[channel] = serde.dumps_typed(value)
            stored, logs, pages = _place(line, before, checkpoint, values)
            record = Record(line.epoch, parent, rest, metadata, stored)
            operations: list[Operation] = [_head(prefix, names, line, logs)]
            operations += [Set(f"{prefix}d/{line.epoch}/{name}", encode_page(data)) for name, data in pages.items()]
            operations.append(Set(_keys.checkpoint_key(prefix, record.id), record.to_text(serde)))
            return operations, Line(line.epoch, line.version, logs, {record.id: stored})

        self.write(prefix, draft)

    def write(self, prefix: str, draft: Callable[[], tuple[list[Operation], Line | None]]) -> None:
        """Do what ``draft`` says, whose first operation sets the line's head; draft again if the head is not what it was."""
        unknown = False
        for _ in range(ATTEMPTS):
            operations, line = draft()
            if not operations:
                return
            try:
                results = self.apply(operations)
            except VersionConflict:
                self._forget_version(prefix)
                continue
            except OutcomeUnknown:
                self._forget_version(prefix)
                if unknown:
                    raise
                unknown = True  # once more: what is written twice is the same
                continue
            except BotWireError:
                self._forget_version(prefix)
                raise
            self._keep(prefix, None if line is None else replace(line, version=cast("int", results[0])))
            return
        raise VersionConflict(f"other writers of {prefix!r} were faster {ATTEMPTS} times in a row", 0)

    def apply(self, operations: list[Operation]) -> list[Result]:
        """Do all operations or none; raises what kept them from happening."""
        outcome = self.store.write((Batch(self.namespace, tuple(operations)),))[0]
        if isinstance(outcome, BotWireError):
            raise outcome
        return outcome

    def ready(self, prefix: str) -> Line:
        """The line with its head known."""
        line = self._known.get(prefix)
        if line is not None and line.version is not None:
            return line
        head = self.head(prefix)
        if head is None:
            return Line(secrets.token_hex(4), 0)
        logs = line.logs if line is not None and line.epoch == head.epoch else {}
        return Line(head.epoch, head.version, {channel: _at(logs.get(channel), length) for channel, length in head.lengths.items()})

    def _before(self, prefix: str, line: Line, parent: str | None, serde: SerializerProtocol) -> tuple[Line, dict[str, Stored]]:
        """Where the parent's values lie, and the line with those of them that it did not know."""
        if parent is None or not line.version:
            return line, {}
        if parent in line.recent:
            return line, line.recent[parent]
        record = self.record(prefix, parent, serde)
        if record is None or record.epoch != line.epoch:
            return line, {}
        reader = Reader(self.store, self.namespace, f"{prefix}d/{line.epoch}/")
        logs = dict(line.logs)
        try:
            for channel, stored in record.stored.items():
                log = logs.get(_keys.part(channel))
                if stored.runs and log is not None and log.base is None:
                    logs[_keys.part(channel)] = replace(log, base=read_value(reader, channel, stored))
        except MissingPage:
            return line, {}  # deleted this moment: the write will find the head gone
        return replace(line, logs=logs), record.stored

    # ------------------------------------------------------------------------------------- reading

    def head(self, prefix: str) -> Head | None:
        """The line's head; None if there is no line."""
        for row in self.store.scan(self.namespace, f"{prefix}h/", None, 1):
            return parse_head(row.key, row.version, row.value)
        return None

    def heads(self, thread_id: str | None) -> Iterator[tuple[str, Head]]:
        """The lines there are, of one thread or of all, by what their keys begin with."""
        if thread_id is None:
            threads = (f"{_keys.ROOT}{child}/" for child in _keys.children(self.store, self.namespace, _keys.ROOT))
        else:
            threads = iter((_keys.thread_prefix(thread_id),))
        for thread in threads:
            for child in _keys.children(self.store, self.namespace, thread):
                if (head := self.head(f"{thread}{child}/")) is not None:
                    yield f"{thread}{child}/", head

    def rows(self, prefix: str, after: str | None = None, size: int = SCAN) -> Iterator[EntryRow]:
        """All entries whose key begins with ``prefix``, read a page at a time; ``size`` is that of the first page."""
        while page := self.store.scan(self.namespace, prefix, after, size):
            yield from page
            if len(page) < size:
                return
            after, size = page[-1].key, SCAN

    def records(self, prefix: str, serde: SerializerProtocol, before: str | None = None, size: int = SCAN) -> Iterator[Record]:
        """The line's checkpoints with their writes, newest first; only those older than ``before``."""
        after = None if before is None else _keys.checkpoint_key(prefix, before) + "0"  # behind its writes
        return self._records(prefix, self.rows(f"{prefix}c/", after, size), serde)

    def record(self, prefix: str, checkpoint_id: str | None, serde: SerializerProtocol) -> Record | None:
        """The checkpoint of that id with its writes, or the newest; None if there is none."""
        if checkpoint_id is None:
            return next(self.records(prefix, serde, size=4), None)
        return next(self._records(prefix, self.rows(_keys.checkpoint_key(prefix, checkpoint_id)), serde), None)

    def _records(self, prefix: str, rows: Iterator[EntryRow], serde: SerializerProtocol) -> Iterator[Record]:
        """Each checkpoint's row is followed by those of its writes. Writes that come alone are to no checkpoint that is there."""
        checkpoint: EntryRow | None = None
        writes: list[str] = []
        for row in rows:
            if checkpoint is not None and row.key.startswith(checkpoint.key):
                writes.append(row.value)
                continue
            if checkpoint is not None:
                yield Record.from_text(checkpoint.value, writes, serde, prefix)
                writes = []
            checkpoint = row if row.key.endswith(_keys.END) else None
        if checkpoint is not None:
            yield Record.from_text(checkpoint.value, writes, serde, prefix)

    def read(self, prefix: str, checkpoint_id: str | None, serde: SerializerProtocol) -> tuple[Record, dict[str, Any]] | None:
        """A checkpoint and its values: the one of that id, or the newest.

        Raises:
            StoreCorrupt: if it cannot be read.
        """
        for _ in range(3):  # once is enough, unless the thread is being deleted and begun anew
            record = self.record(prefix, checkpoint_id, serde)
            if record is None:
                return None
            reader = self.reader(prefix, record)
            try:
                found = self._found(prefix, record, reader)
            except MissingPage:
                continue
            self._learn(prefix, record, found, reader)
            return record, load_all(found, serde)
        raise StoreCorrupt(f"parts of the checkpoint {checkpoint_id or 'last written'!r} of {prefix!r} are missing")

    def _found(self, prefix: str, record: Record, reader: Reader) -> dict[str, Value]:
        """The values of a checkpoint: as they are known from the last time, if they lie where they lay then, or else as read.

        What lies in a log is never changed while its epoch lasts.
        """
        line = self._known.get(prefix)
        logs = line.logs if line is not None and line.epoch == record.epoch else {}
        found: dict[str, Value] = {}
        for channel, stored in record.stored.items():
            log = logs.get(_keys.part(channel)) if stored.runs else None
            if log is not None and log.base is not None and log.base.runs == stored.runs:
                found[channel] = Value(stored.type, decode_bytes(stored.head), log.base.body, log.base.runs)
            else:
                found[channel] = read_value(reader, channel, stored)
        return found

    def reader(self, prefix: str, record: Record) -> Reader:
        """A reader of the values of a record's epoch."""
        return Reader(self.store, self.namespace, f"{prefix}d/{record.epoch}/")

    # ------------------------------------------------------------------------------------- knowing

    def forget(self, prefix: str) -> None:
        """Know nothing of the lines whose keys begin so."""
        with self._mutex:
            for known in [known for known in self._known if known.startswith(prefix)]:
                self._size -= self._known.pop(known).size

    def _forget_version(self, prefix: str) -> None:
        line = self._known.get(prefix)
        if line is not None:
            self._keep(prefix, replace(line, version=None))

    def _learn(self, prefix: str, record: Record, found: dict[str, Value], reader: Reader) -> None:
        """Remember what was just read: the next write will most likely add to it."""
        line = self._known.get(prefix)
        if line is None or line.epoch != record.epoch:
            line = Line(record.epoch, None)
        elif line.recent.get(record.id) == record.stored:
            return  # known, and read from memory just now
        logs = dict(line.logs)
        for channel, value in found.items():
            if value.runs:
                name = _keys.part(channel)
                logs[name] = replace(logs[name], base=value) if name in logs else reader.log_of(name, value)
        self._keep(prefix, replace(line, logs=logs, recent={**line.recent, record.id: record.stored}))

    def _keep(self, prefix: str, line: Line | None) -> None:
        with self._mutex:
            if prefix in self._known:
                self._size -= self._known.pop(prefix).size
            if line is None:
                return
            if len(line.recent) > 4:
                line = replace(line, recent=dict(list(line.recent.items())[-4:]))
            self._known[prefix] = line
            self._size += line.size
            while self._size > MOST_KEPT and self._known:
                self._size -= self._known.popitem(last=False)[1].size


# ------------------------------------------------------------------------------------------ values


def read_value(reader: Reader, channel: str, stored: Stored) -> Value:
    """A channel's value as serialised.

    Raises:
        MissingPage: if a part of it is not there.
    """
    head = decode_bytes(stored.head)
    body = b"" if stored.runs is None else reader.read(_keys.part(channel), stored.runs)
    return Value(stored.type, head, body, stored.runs or [])


def load(value: Value, serde: SerializerProtocol) -> Any:
    """A channel's value."""
    return serde.loads_typed((value.type, value.head + value.body))


def load_all(values: Mapping[str, Value], serde: SerializerProtocol) -> dict[str, Any]:
    """The channels' values."""
    with paused_gc():
        return {channel: load(value, serde) for channel, value in values.items()}


class paused_gc:  # noqa: N801 - a function in all but form: a generator would take longer than what it encloses
    """Without cyclic garbage collection, which would walk through thousands of new objects, none of them garbage."""

    __slots__ = ("_was_enabled",)

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()


def _still(before: Stored | None, version: Any) -> bool:
    """Whether a channel that was not changed has the value that its parent's checkpoint has."""
    return before is not None and version is not None and before.version == version


def _place(
    line: Line, before: dict[str, Stored], checkpoint: Mapping[str, Any], values: dict[str, tuple[str, bytes]]
) -> tuple[dict[str, Stored], dict[str, Log], dict[str, bytes]]:
    """Where each channel's value is to lie, the logs then, and the pages to be written by channel and number."""
    stored: dict[str, Stored] = {}
    logs = dict(line.logs)
    written: dict[str, bytes] = {}
    for channel in checkpoint["channel_values"]:
        if channel not in values:
            stored[channel] = before[channel]
            continue
        version, (kind, data) = checkpoint["channel_versions"].get(channel), values[channel]
        if (small := inline(version, kind, data)) is not None:
            stored[channel] = small
            continue
        name = _keys.part(channel)
        logs[name], value, pages = _pages.add(logs.get(name, Log()), kind, data)
        stored[channel] = Stored(version, kind, encode_bytes(value.head), value.runs)
        written.update({f"{name}/{number:08d}": page for number, page in pages.items()})
    return stored, logs, written


def _head(prefix: str, names: tuple[str, str], line: Line, logs: dict[str, Log]) -> Set:
    lengths = {name: log.length for name, log in logs.items()}
    return Set(f"{prefix}h/{line.epoch}", head_text(*names, lengths), if_version=line.version or 0)


def _at(log: Log | None, length: int) -> Log:
    """A log of the length that its head tells, with what was known of it. Logs only grow, so one as long is the same."""
    if log is None:
        return Log(length, None if length % _pages.PAGE else b"")
    if log.length == length:
        return log
    return Log(length, None if length % _pages.PAGE else b"", log.base)
