"""The reads and checks of a store, each a generator of what is asked; writes are in ``_writing``."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from botwire.stores._protocol import (
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
from botwire.stores._search import match_entry, match_message
from botwire.stores.redis import _checking, _scripts
from botwire.stores.redis._keys import bounds, log_name, split_log_name, utf8
from botwire.stores.redis._router import Call
from botwire.stores.redis._rows import entry_of, info_of, rows_of, stamp_of
from botwire.stores.redis._wiping import Wiping
from botwire.stores.redis._wire import Command, packed

T = TypeVar("T")

PAGE = 500
"""Entries, logs or messages read at a time where all are looked at."""
MOST_MESSAGES = 5_000
"""Messages that are read in one step: some ten milliseconds, in which a server does nothing else."""


class Calls(Wiping):
    """What a store can be asked."""

    # ------------------------------------------------------------------------------------- entries

    def get(self, namespace: str, key: str) -> Call[EntryRow | None]:
        """See ``Store.get``."""
        keys = self.keys(namespace)
        stored = yield from self.one(Command(keys.slot, packed(b"HGET", keys.e, utf8(key))))
        row = None if stored is None else entry_of(namespace, key, stored)
        if row is None or row.expires_at is None:
            return row
        return None if row.expires_at <= (yield from self._router.server_time()) else row

    def get_many(self, namespace: str, names: Sequence[str]) -> Call[dict[str, EntryRow]]:
        """See ``Store.get_many``: one command, so one moment."""
        keys = self.keys(namespace)
        if not names:
            return {}
        stored = yield from self.one(Command(keys.slot, packed(b"HMGET", keys.e, *(utf8(name) for name in names))))
        found = {name: entry_of(namespace, name, value) for name, value in zip(names, stored, strict=True) if value is not None}
        if any(row.expires_at is not None for row in found.values()):
            now = yield from self._router.server_time()
            found = {name: row for name, row in found.items() if row.expires_at is None or row.expires_at > now}
        return found

    def scan(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[EntryRow]]:
        """See ``Store.scan``."""
        found = yield from self._scan(namespace, prefix, after, limit, b"rows")
        return [entry_of(namespace, key.decode(), stored or b"") for key, stored in zip(found[::2], found[1::2], strict=True)]

    def scan_keys(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[str]]:
        """See ``Store.scan_keys``."""
        found = yield from self._scan(namespace, prefix, after, limit, b"keys")
        return [key.decode() for key in found]

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> Call[list[EntryStamp]]:
        """See ``Store.scan_stamps``."""
        found = yield from self._scan(namespace, prefix, after, limit, b"stamps")
        return [stamp_of(namespace, key.decode(), stored or b"") for key, stored in zip(found[::2], found[1::2], strict=True)]

    def _scan(self, namespace: str, prefix: str, after: str | None, limit: int, what: bytes) -> Call[list[bytes]]:
        keys = self.keys(namespace)
        lowest, highest = bounds(prefix, after)
        arguments = (self.clock(), lowest, highest, b"%d" % limit, what)
        return (yield from self.one(self.script(_scripts.SCAN, keys.slot, (keys.e, keys.k, keys.x), *arguments)))

    def count(self, namespace: str, prefix: str = "") -> Call[int]:
        """See ``Store.count``."""
        keys = self.keys(namespace)
        arguments = (self.clock(), *bounds(prefix, None), utf8(prefix))
        return (yield from self.one(self.script(_scripts.COUNT, keys.slot, (keys.k, keys.x), *arguments)))

    # ---------------------------------------------------------------------------------------- logs

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
    ) -> Call[LogPage]:
        """See ``Store.read_log``."""
        most = limit if last is None else last
        if before is not None and before <= 1:
            most = 0
        if last is None and (most is None or most > MOST_MESSAGES):
            page = yield from self._read_in_pages(namespace, (session, agent), after, before, most)
            if page is not None:
                return page
        return (yield from self._read_log(namespace, (session, agent), after, before, most, backwards=last is not None))

    def _read_log(
        self, namespace: str, log: tuple[str, str], after: int | None, before: int | None, most: int | None, *, backwards: bool = False
    ) -> Call[LogPage]:
        keys, name = self.keys(namespace), log_name(*log)
        lowest = b"-" if after is None or after < 0 else b"%d" % (after + 1)
        highest = b"+" if before is None else b"%d" % max(0, before - 1)
        ends = (highest, lowest) if backwards else (lowest, highest)
        command = b"XREVRANGE" if backwards else b"XRANGE"
        arguments = (self.clock(), name, *ends, command, b"" if most is None else b"%d" % most)
        found = yield from self.one(self.script(_scripts.READ_LOG, keys.slot, (keys.s, keys.m, keys.stream(name)), *arguments))
        if not found:
            return LogPage(None, [])
        rows = rows_of(found[2], found[3])
        if backwards:
            rows.reverse()
        return LogPage(info_of(*log, found[0], found[1]), rows)

    def _read_in_pages(
        self, namespace: str, log: tuple[str, str], after: int | None, before: int | None, most: int | None
    ) -> Call[LogPage | None]:
        """A long read, in steps that do not hold up a server's other clients; None if messages were removed meanwhile."""
        first = last = yield from self._read_log(namespace, log, after, before, MOST_MESSAGES)
        rows = first.rows
        info = first.info
        if info is None:
            return first
        end = info.head + 1 if before is None else min(before, info.head + 1)
        while len(last.rows) == MOST_MESSAGES and (most is None or len(rows) < most):
            last = yield from self._read_log(namespace, log, rows[-1].seq, end, MOST_MESSAGES)
            now = last.info
            if now is None or now.epoch != info.epoch or now.count - info.count != now.head - info.head:
                return None
            rows += last.rows
        return LogPage(info, rows if most is None else rows[:most])

    def scan_logs(self, namespace: str, after: tuple[str, str] | None, limit: int) -> Call[list[LogInfo]]:
        """See ``Store.scan_logs``."""
        keys = self.keys(namespace)
        lowest = b"-" if after is None else b"(" + log_name(*after)
        command = self.script(_scripts.SCAN_LOGS, keys.slot, (keys.s, keys.i, keys.m), self.clock(), lowest, b"%d" % limit)
        found = yield from self.one(command)
        return [info_of(*split_log_name(found[at]), found[at + 1], found[at + 2]) for at in range(0, len(found), 3)]

    # ------------------------------------------------------------------------- looking at everything

    def all_entries(self, namespace: str, visit: Callable[[EntryRow], None]) -> Call[None]:
        """Call ``visit`` with every entry, a page at a time."""
        after: str | None = None
        while True:
            found = yield from self._scan(namespace, "", after, PAGE, b"rows")
            for key, stored in zip(found[::2], found[1::2], strict=True):
                visit(entry_of(namespace, key.decode(), stored or b""))
            if len(found) < 2 * PAGE:
                return
            after = found[-2].decode()

    def all_logs(self, namespace: str, visit: Callable[[LogInfo], None]) -> Call[None]:
        """Call ``visit`` with every log's state, a page at a time."""
        after: tuple[str, str] | None = None
        while True:
            page = yield from self.scan_logs(namespace, after, PAGE)
            for info in page:
                visit(info)
            if len(page) < PAGE:
                return
            after = page[-1].session, page[-1].agent

    def all_messages(self, namespace: str, info: LogInfo, visit: Callable[[LogRow], None]) -> Call[None]:
        """Call ``visit`` with every message of a log, a page at a time."""
        after = 0
        while True:
            page = yield from self.read_log(namespace, info.session, info.agent, after=after, limit=PAGE)
            for row in page.rows:
                visit(row)
            if len(page.rows) < PAGE:
                return
            after = page.rows[-1].seq

    def search(self, namespace: str, words: Sequence[str], limit: int) -> Call[list[EntryHit]]:
        """See ``Store.search``. Looks at every entry of the namespace."""
        hits: list[EntryHit] = []

        def look(row: EntryRow) -> None:
            if (match := match_entry(words, row.key, row.value)) is not None:
                hits.append(EntryHit(row, *match))

        yield from self.all_entries(namespace, look)
        return heapq.nlargest(limit, hits, key=lambda hit: (hit.score, hit.row.updated_at))

    def search_log(
        self, namespace: str, words: Sequence[str], limit: int, session: str | None = None, agent: str | None = None
    ) -> Call[list[LogHit]]:
        """See ``Store.search_log``. Looks at every message there."""
        hits: list[LogHit] = []
        logs: list[LogInfo] = []
        yield from self.all_logs(namespace, logs.append)
        for info in logs:
            if session not in (None, info.session) or agent not in (None, info.agent):
                continue

            def look(row: LogRow, info: LogInfo = info) -> None:
                if (match := match_message(words, row.body)) is not None:
                    hits.append(LogHit(info.session, info.agent, row, *match))

            yield from self.all_messages(namespace, info, look)
        return heapq.nlargest(limit, hits, key=lambda hit: (hit.score, hit.row.created_at))

    def usage(self, namespace: str) -> Call[Usage]:
        """See ``Store.usage``. Looks at all of the namespace."""
        days: dict[str, list[int]] = {}
        totals = [0, 0, 0, 0]  # entries, their bytes, messages, their bytes

        def count(column: int, moment: int, text: str) -> None:
            size = len(utf8(text))
            totals[column] += 1
            totals[column + 1] += size
            day = days.setdefault(datetime.fromtimestamp(moment // 1_000_000, UTC).date().isoformat(), [0, 0, 0])
            day[column // 2] += 1
            day[2] += size

        yield from self.all_entries(namespace, lambda row: count(0, row.updated_at, row.value))
        logs: list[LogInfo] = []
        yield from self.all_logs(namespace, logs.append)
        for info in logs:
            yield from self.all_messages(namespace, info, lambda row: count(2, row.created_at, row.body))
        by_day = tuple(DayUsage(day, *figures) for day, figures in sorted(days.items()))
        return Usage(totals[0], totals[1], len({info.session for info in logs}), totals[2], totals[3], by_day)

    def check(self) -> Call[dict[str, Any]]:
        """See ``Store.check``: whether indexes and counters are right, and what the settings may lose."""
        return (yield from _checking.check(self, self._router))
