"""RecordLog: the log of one namespace's records in the store, and the fold that follows it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from typing import cast

from botwire import BotWireError, VersionConflict
from botwire.integrations.crewai._fold import Fold
from botwire.integrations.crewai._records import SESSION, Criteria, delete_text
from botwire.stores import Append, Appended, Batch, DeleteLog, LogPage, Operation, Result, Store, Trim

PAGE = 512
"""Rows read at a time, so that few texts of vectors are in memory at once."""

MOST_BYTES = 4 * 1024 * 1024
"""Characters of one batch, unless a single record is larger."""

STEPS = 8
"""How many steps a write takes to make the log shorter, if it has grown too long."""


class RecordLog:
    """The records of a namespace, at most as old as the last ``sync``. For any number of threads."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.store = store
        self.namespace = namespace
        self.fold = Fold()
        self.mutex = threading.RLock()
        """To be held while the fold is looked at."""

    def after_fork(self) -> None:
        """In a child: a thread that is not here may have held the mutex, and have been in the middle of a change."""
        self.mutex = threading.RLock()
        self.fold.clear()

    # ----------------------------------------------------------------------------------- reading

    def sync(self) -> None:
        """Take into account all that was written before this call: one read, if little was."""
        while True:
            with self.mutex:
                generation, head = self.fold.generation, self.fold.head
            page = self.store.read_log(self.namespace, SESSION, "", after=head, limit=PAGE)
            with self.mutex:
                if self.fold.generation == generation and self._take(page):
                    return

    def _take(self, page: LogPage) -> bool:
        """Take a page into account; returns whether that was all there is."""
        fold, info = self.fold, page.info
        if info is None or (fold.epoch is not None and fold.epoch != info.epoch):
            fold.clear()  # deleted, or begun anew
            return info is None
        fold.epoch = info.epoch
        for row in page.rows:
            if row.seq <= fold.head:
                continue  # another thread has read it too
            if row.seq != fold.head + 1 and fold.is_complete:
                fold.clear()  # somebody removed messages that we have not seen
                return False
            fold.apply(row)
        if page.rows and fold.head < info.head:
            return False
        if fold.head <= info.head:
            fold.head = info.head  # the last ones may have been removed
            if fold.is_complete and len(fold.rows) != info.count:
                fold.clear()  # somebody removed messages that we have
                return False
        fold.is_complete = True
        return True

    # ----------------------------------------------------------------------------------- writing

    def append(self, bodies: Sequence[str]) -> Appended:
        """Add rows to the log, in batches of bearable size; returns where the last batch lies."""
        appended: Result = None
        for batch in _batches(bodies):
            appended = self._write(Append(SESSION, "", tuple(batch)))[0]
        return cast("Appended", appended)

    def delete(self, criteria: Criteria) -> int:
        """Delete the records that fit; returns how many this very call removed."""
        self.sync()
        with self.mutex:
            expected = len(criteria.select(self.fold.records))
        if not expected:
            return 0
        appended = self.append([delete_text(criteria)])
        self.sync()
        with self.mutex:
            counted = self.fold.outcome(appended.epoch, appended.last)
        return expected if counted is None else counted

    def clear(self) -> None:
        """Remove the log with all that is in it."""
        self._write(DeleteLog(SESSION, ""))

    def shorten(self) -> None:
        """Remove rows that no longer count, if there are many. Others may write meanwhile: then it is for them to do."""
        for _ in range(STEPS):
            with self.mutex:
                if not self.fold.is_wasteful:
                    return
                step = self.fold.step()
            try:
                self._write(Trim(SESSION, "", step.keep_last, step.place), Append(SESSION, "", tuple(step.bodies)))
            except VersionConflict:
                return
            self.sync()

    def _write(self, *operations: Operation) -> list[Result]:
        outcome = self.store.write((Batch(self.namespace, operations),))[0]
        if isinstance(outcome, BotWireError):
            raise outcome
        return outcome


def _batches(bodies: Sequence[str]) -> list[list[str]]:
    batches: list[list[str]] = [[]]
    size = 0
    for body in bodies:
        if batches[-1] and size + len(body) > MOST_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(body)
        size += len(body)
    return batches


# ------------------------------------------------------------------------- one for each namespace

_logs: weakref.WeakValueDictionary[tuple[int, str], RecordLog] = weakref.WeakValueDictionary()
_mutex = threading.Lock()


def log_of(store: Store, namespace: str) -> RecordLog:
    """The log of a namespace: the same for all in this process, so that its vectors are in memory once."""
    with _mutex:
        log = _logs.get((id(store), namespace))
        if log is None:
            log = _logs[id(store), namespace] = RecordLog(store, namespace)
        return log


def _after_fork() -> None:
    global _mutex  # noqa: PLW0603 - a thread that is not in the child may have held it
    _mutex = threading.Lock()
    for log in list(_logs.values()):
        log.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
