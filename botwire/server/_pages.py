"""Pages of rows: as many as asked for, or fewer once their texts are about as large as a page may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from botwire._wire import MAX_PAGE_BYTES
from botwire.stores._protocol import EntryRow, LogPage, LogRow, Store

T = TypeVar("T")

_FIRST_STEP = 4  # rows fetched before anything is known of their size: at most so many of the largest are held at once


def _gather(fetch: Callable[[list[T], int], Sequence[T]], size_of: Callable[[T], int], limit: int) -> tuple[list[T], bool]:
    """Up to ``limit`` rows by ``fetch(rows so far, how many more)``, and whether there are more."""
    rows: list[T] = []
    size, step = 0, _FIRST_STEP
    while size < MAX_PAGE_BYTES:
        wanted = min(step, limit + 1 - len(rows))  # one more than asked for tells whether there are more
        fetched = fetch(rows, wanted)
        rows += fetched
        if len(fetched) < wanted:
            return rows, False
        if len(rows) > limit:
            return rows[:limit], True
        size += sum(map(size_of, fetched))
        step = max(1, min(limit, (MAX_PAGE_BYTES - size) * len(rows) // max(size, 1)))
    return rows, True


def entry_page(store: Store, namespace: str, prefix: str, cursor: str | None, limit: int) -> tuple[list[EntryRow], bool]:
    """Entries by key after ``cursor``, and whether there are more."""

    def fetch(rows: list[EntryRow], wanted: int) -> list[EntryRow]:
        return store.scan(namespace, prefix, rows[-1].key if rows else cursor, wanted)

    return _gather(fetch, lambda row: len(row.value), limit)


class _Cleared(Exception):
    """The log was cleared between two reads, so that what was read does not fit together."""


def message_page(
    store: Store, namespace: str, session: str, agent: str, after: int | None, before: int | None, last: int | None, limit: int
) -> tuple[LogPage, bool]:
    """Messages of a log, oldest first: the ``last`` ones, or the first ``limit``; and whether there are more that way."""
    while True:
        try:
            return _message_page(store, namespace, session, agent, after, before, last, limit)
        except _Cleared:
            continue


def _message_page(
    store: Store, namespace: str, session: str, agent: str, after: int | None, before: int | None, last: int | None, limit: int
) -> tuple[LogPage, bool]:
    pages: list[LogPage] = []

    def keep(page: LogPage) -> LogPage:
        if pages and _epoch(pages[0]) != _epoch(page):
            raise _Cleared
        pages.append(page)
        return page

    def first(rows: list[LogRow], wanted: int) -> list[LogRow]:
        return keep(store.read_log(namespace, session, agent, after=rows[-1].seq if rows else after, before=before, limit=wanted)).rows

    def newest(rows: list[LogRow], wanted: int) -> list[LogRow]:
        page = keep(store.read_log(namespace, session, agent, after=after, before=rows[-1].seq if rows else before, last=wanted))
        return page.rows[::-1]

    if last == 0:
        return store.read_log(namespace, session, agent, last=0), False
    rows, more = _gather(first if last is None else newest, lambda row: len(row.body), limit if last is None else last)
    return LogPage(pages[-1].info, rows if last is None else rows[::-1]), more


def _epoch(page: LogPage) -> str | None:
    return None if page.info is None else page.info.epoch
