"""Writing all of a store, or a part, as lines; going on where an earlier export stopped.

Reads pages as it writes, so memory stays constant however much there is. Each entry is as it was when it was read; a session
is as it was when it was come to: what is appended meanwhile is left out.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from botwire._errors import InvalidValue
from botwire._names import RESERVED_NAMESPACE
from botwire._transfer_lines import (
    EndLine,
    EntryLine,
    Header,
    Line,
    MessageLine,
    SessionLine,
    end_line,
    entry_line,
    header_line,
    message_line,
    parse_line,
    session_line,
)
from botwire.stores._protocol import LogInfo, Store

NAMES_PAGE = 1_000
MOST_ROWS = 256
"""Rows with values asked for at a time, at most: an unlucky page of large ones has to fit in memory."""
PAGE_BYTES = 4 * 1024 * 1024
"""Size of a page with values that is aimed at, by the size of the rows before."""


class Exported(NamedTuple):
    """What an export holds."""

    entries: int
    sessions: int
    messages: int
    already: bool = False  # it was complete before


@dataclass
class _Tally:
    """Lines so far: how many of each kind, and their checksum."""

    entries: int = 0
    sessions: int = 0
    messages: int = 0
    last: Line | None = None
    _last_session: tuple[str, str, str] | None = None
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, raw: bytes, line: Line) -> None:
        self._hash.update(raw)
        self.last = line
        if isinstance(line, EntryLine):
            self.entries += 1
        elif isinstance(line, MessageLine):
            self.messages += 1
        elif isinstance(line, SessionLine) and line.name != self._last_session:
            self.sessions += 1
            self._last_session = line.name

    def end(self) -> EndLine:
        return EndLine(self.entries, self.sessions, self.messages, self._hash.hexdigest())

    def exported(self, *, already: bool = False) -> Exported:
        return Exported(self.entries, self.sessions, self.messages, already)


def export_store(
    store: Store,
    target: BinaryIO,
    *,
    namespaces: tuple[str, ...] | None = None,
    prefix: str = "",
    resume: bool = False,
    on_line: Callable[[int], None] | None = None,
) -> Exported:
    """Write what a store holds to ``target``.

    Args:
        store: where to read.
        target: a binary file; to resume, one opened to read and write.
        namespaces: only these; None for all.
        prefix: only entries whose key, and sessions whose id, starts with it.
        resume: go on after the last complete line of ``target``, if it holds any.
        on_line: called after each entry, session and message with the size of its line in bytes.

    Raises:
        InvalidValue: if ``resume`` finds a file that is no export of the same store with the same choice.
    """
    header = Header(store.url, None if namespaces is None else tuple(sorted(set(namespaces))), prefix)
    tally = _read_back(target, header) if resume else _Tally()
    if isinstance(tally.last, EndLine):
        return tally.exported(already=True)
    if tally.last is None:
        raw = header_line(header, time.time_ns() // 1_000)
        target.write(raw)
        tally.add(raw, header)
    for raw, line in _Reader(store, header).lines(tally.last):
        target.write(raw)
        tally.add(raw, line)
        if on_line is not None:
            on_line(len(raw))
    target.write(end_line(tally.end()))
    target.flush()
    return tally.exported()


# ------------------------------------------------------------------------------------------ resuming


def _read_back(target: BinaryIO, header: Header) -> _Tally:
    """The state after the last complete line; what comes after it is cut off."""
    tally, good = _Tally(), 0
    target.seek(0)
    for number, raw in enumerate(target, 1):
        if not raw.endswith(b"\n"):
            break
        try:
            line = parse_line(raw)
        except InvalidValue as error:
            raise InvalidValue(f"cannot go on with this file: line {number}: {error}; export to a new file") from error
        if number == 1 and line != header:
            raise InvalidValue(_other_export(line, header))
        tally.add(raw, line)
        good += len(raw)
    target.seek(good)
    target.truncate()
    return tally


def _other_export(line: Line, header: Header) -> str:
    if not isinstance(line, Header):
        return "cannot go on with this file: it does not begin with the header of an export; export to a new file"
    names = ("source", "namespaces", "prefix")
    name, was, now = next((name, was, now) for name, was, now in zip(names, line, header, strict=True) if was != now)
    return f"cannot go on with this file: it was begun with {name} {was!r}, now it is {now!r}; export to a new file"


# ------------------------------------------------------------------------------------------- reading


class Pages:
    """How many rows to ask for: as many as are likely to be about PAGE_BYTES, growing slowly from few."""

    def __init__(self) -> None:
        self.limit = 16

    def got(self, rows: int, size: int) -> None:
        fitting = PAGE_BYTES * rows // max(size, 1)
        self.limit = max(1, min(fitting, 2 * self.limit, MOST_ROWS))


class _Reader:
    """The lines of a store in order: by namespace, in it entries by key, then sessions by name."""

    def __init__(self, store: Store, header: Header) -> None:
        self._store = store
        self._header = header
        self._pages = Pages()

    def lines(self, last: Line | None) -> Iterator[tuple[bytes, Line]]:
        """All lines after ``last``."""
        done = last if isinstance(last, EntryLine | SessionLine | MessageLine) else None
        for namespace in self._namespaces(done):
            here = done if done is not None and done.namespace == namespace else None
            if here is None or isinstance(here, EntryLine):
                yield from self._entries(namespace, None if here is None else here.row.key)
                here = None
            yield from self._sessions(namespace, here)

    def _namespaces(self, done: EntryLine | SessionLine | MessageLine | None) -> Iterator[str]:
        first = "" if done is None else done.namespace
        if self._header.namespaces is not None:
            yield from (name for name in self._header.namespaces if name >= first)
            return
        if done is not None:
            yield first
        page = self._store.namespaces(first or None, NAMES_PAGE)
        while page:
            yield from (name for name in page if name != RESERVED_NAMESPACE)
            page = self._store.namespaces(page[-1], NAMES_PAGE)

    def _entries(self, namespace: str, after: str | None) -> Iterator[tuple[bytes, Line]]:
        while rows := self._store.scan(namespace, self._header.prefix, after, self._pages.limit):
            self._pages.got(len(rows), sum(len(row.value) for row in rows))
            for row in rows:
                yield entry_line(namespace, row), EntryLine(namespace, row)
            after = rows[-1].key

    def _sessions(self, namespace: str, done: SessionLine | MessageLine | None) -> Iterator[tuple[bytes, Line]]:
        after = None
        if isinstance(done, SessionLine):
            after = (done.info.session, done.info.agent)
            yield from self._session(namespace, *after, None)
        elif done is not None:
            after = (done.session, done.agent)
            yield from self._session(namespace, *after, done)
        while page := self._store.scan_logs(namespace, after, NAMES_PAGE):
            for info in page:
                if info.session.startswith(self._header.prefix):
                    yield from self._session(namespace, info.session, info.agent, None)
            after = (page[-1].session, page[-1].agent)

    def _session(self, namespace: str, session: str, agent: str, done: MessageLine | None) -> Iterator[tuple[bytes, Line]]:
        """One session: its state, then its messages; begun anew if it is cleared meanwhile."""
        info: LogInfo | None = None
        epoch, after = (None, None) if done is None else (done.epoch, done.row.seq)
        while True:
            before = None if info is None else info.head + 1
            page = self._store.read_log(namespace, session, agent, after=after, before=before, limit=self._pages.limit)
            if page.info is None:
                return  # deleted or expired meanwhile
            if epoch is not None and page.info.epoch != epoch:
                info = epoch = after = None
                continue
            if info is None:
                info, epoch = page.info, page.info.epoch
                yield session_line(namespace, info), SessionLine(namespace, info)
            for row in page.rows:
                yield message_line(namespace, info, row), MessageLine(namespace, session, agent, info.epoch, row)
            if len(page.rows) == 0 or page.rows[-1].seq >= info.head:
                return
            self._pages.got(len(page.rows), sum(len(row.body) for row in page.rows))
            after = page.rows[-1].seq
