"""Pages of rows: as many as asked for, or fewer once their texts are about as large as a page may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from botwire._wire import MAX_PAGE_BYTES
from botwire.stores._protocol import EntryRow, LogPage, LogRow, Store
from botwire.stores._records import removals

T = TypeVar("T")

_FIRST_STEP = 4  # rows fetched before anything is known of their size: at most so many of the largest are held at once


def _gather(
    fetch: Callable[[list[T], int], Sequence[T]], size_of: Callable[[T], int], limit: int, step: int = _FIRST_STEP
) -> tuple[list[T], bool]:
    """Up to ``limit`` rows by ``fetch(rows so far, how many more)``, and whether there are more."""
    rows: list[T] = []
    size = 0
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


class _Removed(Exception):
    """Messages were removed between two reads, so that what was read does not fit together."""


_TRIES = 5  # then all is read at once, however large


def message_page(
    store: Store, namespace: str, session: str, agent: str, after: int | None, before: int | None, last: int | None, limit: int
) -> tuple[LogPage, bool]:
    """Messages of a log, oldest first: the ``last`` ones, or the first ``limit``; and whether there are more that way.

    Messages and the log's state are those of one moment.
    """
    read = partial(store.read_log, namespace, session, agent)
    if last == 0:
        return read(last=0), False
    for step in (*[_FIRST_STEP] * _TRIES, limit + 1 if last is None else last + 1):
        try:
            return _message_page(read, after, before, last, limit, step)
        except _Removed:
            continue
    raise AssertionError("one read fits to itself")  # pragma: no cover


def _message_page(
    read: Callable[..., LogPage], after: int | None, before: int | None, last: int | None, limit: int, step: int
) -> tuple[LogPage, bool]:
    pages: list[LogPage] = []

    def keep(page: LogPage) -> LogPage:
        if pages and removals(pages[0].info) != removals(page.info):
            raise _Removed
        pages.append(page)
        return page

    def first(rows: list[LogRow], wanted: int) -> list[LogRow]:
        return keep(read(after=rows[-1].seq if rows else after, before=before, limit=wanted)).rows

    def newest(rows: list[LogRow], wanted: int) -> list[LogRow]:
        return keep(read(after=after, before=rows[-1].seq if rows else before, last=wanted)).rows[::-1]

    fetch, wanted = (first, limit) if last is None else (newest, last)
    rows, more = _gather(fetch, lambda row: len(row.body), wanted, step)
    # What was appended between reads is among the rows of the last one where the newest come last, and of none where they came first.
    return (LogPage(pages[-1].info, rows) if last is None else LogPage(pages[0].info, rows[::-1])), more
