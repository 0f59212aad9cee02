"""Lines: the checkpoints of one namespace of a thread, how they are added and read.

What a line's last values were is kept in memory, so that adding a checkpoint reads nothing. It is not trusted: each
write names the version of the line's head that it was made for, and is made again if another writer was faster.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langgraph.checkpoint.serde.base import SerializerProtocol

from botwire import BotWireError, OutcomeUnknown, StoreCorrupt, VersionConflict
from botwire.integrations.langgraph import _keys, _pages
from botwire.integrations.langgraph._lists import Encoded, Known, Written
from botwire.integrations.langgraph._pages import Log, MissingPage, Reader, Value, encode_page
from botwire.integrations.langgraph._records import Head, Record, Stored, head_text, names_of, parse_head
from botwire.integrations.langgraph._values import encode_all, is_still, load_all, place, read_value, store_young
from botwire.stores import Batch, EntryRow, Operation, Result, Set, Store

ATTEMPTS = 100
"""How often a write is made anew because another writer was faster, before it gives up."""

MOST_KEPT = 64 * 1024 * 1024
"""Bytes of last values kept in memory."""

SCAN = 100
"""The most entries asked for at a time."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of a line. Without logs, it has neither epoch nor head.

    ``version`` is its head's: 0 if there is none yet, None if it is not known. ``recent`` says where the values of the
    last checkpoints lie; ``lists`` and ``written`` are the values last read and written themselves, by channel.
    """

    epoch: str
    version: int | None
    logs: dict[str, Log] = field(default_factory=dict[str, Log])
    recent: dict[str, dict[str, Stored]] = field(default_factory=dict[str, "dict[str, Stored]"])
    lists: dict[str, Known] = field(default_factory=dict[str, Known])
    written: dict[str, Written] = field(default_factory=dict[str, Written])

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 1_000 + sum(known.size for known in (*self.logs.values(), *self.lists.values(), *self.written.values()))


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
        contents, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        rest = {name: member for name, member in checkpoint.items() if name != "channel_values"}
        last = self._known.get(prefix)
        if (last is None or not last.logs) and (young := store_young(contents, versions, changed, serde)) is not None:
            self._add_alone(prefix, Record(names, "", parent, rest, metadata, young).to_text(serde), checkpoint["id"])
            return
        new = {channel: value for channel, value in contents.items() if channel in changed}
        values = encode_all(new, {} if last is None else last.written, serde, remember=last is not None)

        def draft() -> tuple[list[Operation], Line]:
            line, before = self._before(prefix, self.ready(prefix), parent, serde)
            for channel, value in contents.items():
                if channel not in values and not is_still(before.get(channel), versions.get(channel)):
                    values[channel] = Encoded(*serde.dumps_typed(value))
            stored, logs, pages = place(line.logs, before, checkpoint, values)
            if pages and not line.epoch:
                if self.head(prefix) is not None:  # another process was the first to need logs
                    self._forget_version(prefix)
                    return draft()
                line = replace(line, epoch=secrets.token_hex(4))
            record = Record(names, line.epoch, parent, rest, metadata, stored)
            operations: list[Operation] = [_head(prefix, line, logs)] if record.needs_logs else []
            operations += [Set(f"{prefix}d/{line.epoch}/{name}", encode_page(data)) for name, data in pages.items()]
            operations.append(Set(_keys.checkpoint_key(prefix, record.id), record.to_text(serde)))
            marks = {channel: value.written for channel, value in values.items() if value.written is not None}
            return operations, replace(line, logs=logs, recent={record.id: stored}, written=marks)

        self.write(prefix, draft)

    def _add_alone(self, prefix: str, text: str, checkpoint_id: str) -> None:
        """Store a checkpoint that needs nothing of the line's: neither head nor logs, nor what is known of it."""
        operations: list[Operation] = [Set(_keys.checkpoint_key(prefix, checkpoint_id), text)]
        try:
            self.apply(operations)
        except OutcomeUnknown:
            self.apply(operations)  # once more: what is written twice is the same

    def write(self, prefix: str, draft: Callable[[], tuple[list[Operation], Line | None]]) -> None:
        """Do what ``draft`` says; draft again if the head, which the first operation may name, is not what it was."""
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
            if line is not None and cast("Set", operations[0]).if_version is not None:
                line = replace(line, version=cast("int", results[0]))
            self._keep(prefix, line)
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
            return Line("", 0) if line is None or line.epoch else replace(line, version=0)
        if line is None or line.epoch != head.epoch:
            line = Line(head.epoch, head.version)
        logs = {channel: _at(line.logs.get(channel), length) for channel, length in head.lengths.items()}
        return replace(line, version=head.version, logs=logs)

    def _before(self, prefix: str, line: Line, parent: str | None, serde: SerializerProtocol) -> tuple[Line, dict[str, Stored]]:
        """Where the parent's values lie, and the line with those of them that it did not know."""
        if parent is None:
            return line, {}
        if parent in line.recent:
            return line, line.recent[parent]
        record = self.record(prefix, parent, serde)
        if record is None:
            return line, {}
        alone = {channel: stored for channel, stored in record.stored.items() if stored.runs is None}
        if record.epoch != line.epoch:
            return line, alone
        reader = Reader(self.store, self.namespace, f"{prefix}d/{line.epoch}/")
        logs = dict(line.logs)
        try:
            for channel, stored in record.stored.items():
                log = logs.get(_keys.part(channel))
                if stored.runs and log is not None and log.base is None:
                    logs[_keys.part(channel)] = replace(log, base=read_value(reader, channel, stored))
        except MissingPage:
            return line, alone  # deleted this moment: the write will find the head gone
        return replace(line, logs=logs), record.stored

    # ------------------------------------------------------------------------------------- reading

    def head(self, prefix: str) -> Head | None:
        """The line's head; None if it has none."""
        return next(iter(self.heads(prefix)), None)

    def heads(self, prefix: str) -> list[Head]:
        """The line's heads: one, or two if two writers were the first to need logs at the same moment."""
        return [parse_head(row.key, row.version, row.value) for row in self.store.scan(self.namespace, f"{prefix}h/", None, 10)]

    def names(self, thread_id: str | None) -> Iterator[tuple[str, tuple[str, str]]]:
        """The lines there are, of one thread or of all: what their keys begin with, and their names."""
        if thread_id is None:
            threads = (f"{_keys.ROOT}{child}/" for child in _keys.children(self.store, self.namespace, _keys.ROOT))
        else:
            threads = iter((_keys.thread_prefix(thread_id),))
        for thread in threads:
            for child in _keys.children(self.store, self.namespace, thread):
                prefix = f"{thread}{child}/"
                newest = next((row for row in self.rows(f"{prefix}c/", None, 2) if row.key.endswith(_keys.END)), None)
                if newest is not None:
                    yield prefix, names_of(newest.value)

    def rows(self, prefix: str, after: str | None = None, size: int = SCAN, grow: int = 2) -> Iterator[EntryRow]:
        """All entries whose key begins with ``prefix``, read a page at a time: first ``size`` of them, then ``grow`` times as many."""
        while page := self.store.scan(self.namespace, prefix, after, size):
            yield from page
            if len(page) < size:
                return
            after, size = page[-1].key, min(grow * size, SCAN)

    def records(self, prefix: str, serde: SerializerProtocol, before: str | None = None, size: int = 8) -> Iterator[Record]:
        """The line's checkpoints with their writes, newest first; only those older than ``before``."""
        after = None if before is None else _keys.checkpoint_key(prefix, before) + "0"  # behind its writes
        return self._records(prefix, self.rows(f"{prefix}c/", after, size), serde)

    def record(self, prefix: str, checkpoint_id: str | None, serde: SerializerProtocol) -> Record | None:
        """The checkpoint of that id with its writes, or the newest; None if there is none.

        One that has more writes than the first page holds may have many: then all that a page may hold are asked for.
        """
        start, size = (f"{prefix}c/", 3) if checkpoint_id is None else (_keys.checkpoint_key(prefix, checkpoint_id), 4)
        return next(self._records(prefix, self.rows(start, None, size, SCAN), serde), None)

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
            line = self._known.get(prefix)
            line = line if line is not None and line.epoch == record.epoch else None
            reader = self.reader(prefix, record)
            try:
                found = _found(line, record, reader)
            except MissingPage:
                continue
            lists = None if line is None else dict(line.lists)  # what is read once only is not copied
            values = load_all(found, serde, lists)
            self._learn(prefix, line, record, found, lists or {}, reader)
            return record, values
        raise StoreCorrupt(f"parts of the checkpoint {checkpoint_id or 'last written'!r} of {prefix!r} are missing")

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

    def _learn(
        self, prefix: str, line: Line | None, record: Record, found: dict[str, Value], lists: dict[str, Known], reader: Reader
    ) -> None:
        """Remember what was just read: the next write will most likely add to it, the next read want it again."""
        line = line or Line(record.epoch, None)
        if line.recent.get(record.id) != record.stored:
            logs = dict(line.logs)
            for channel, value in found.items():
                if value.runs:
                    name = _keys.part(channel)
                    logs[name] = replace(logs[name], base=value) if name in logs else reader.log_of(name, value)
            line = replace(line, logs=logs, recent={**line.recent, record.id: record.stored})
        elif lists == line.lists:
            return
        self._keep(prefix, replace(line, lists=lists))

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


def _found(line: Line | None, record: Record, reader: Reader) -> dict[str, Value]:
    """The values of a checkpoint: as they are known from the last time, if they lie where they lay then, or else as read.

    What lies in a log is never changed while its epoch lasts.
    """
    found: dict[str, Value] = {}
    for channel, stored in record.stored.items():
        log = line.logs.get(_keys.part(channel)) if stored.runs and line is not None else None
        if log is not None and log.base is not None and log.base.runs == stored.runs:
            found[channel] = Value(stored.type, stored.head.encode("latin-1"), log.base.body, log.base.runs)
        else:
            found[channel] = read_value(reader, channel, stored)
    return found


def _head(prefix: str, line: Line, logs: dict[str, Log]) -> Set:
    lengths = {name: log.length for name, log in logs.items()}
    return Set(f"{prefix}h/{line.epoch}", head_text(lengths), if_version=line.version or 0)


def _at(log: Log | None, length: int) -> Log:
    """A log of the length that its head tells, with what was known of it. Logs only grow, so one as long is the same."""
    if log is None:
        return Log(length, None if length % _pages.PAGE else b"")
    return log if log.length == length else Log(length, None if length % _pages.PAGE else b"", log.base)
