"""Group commit: what several threads want written is written by one of them, in one transaction.

The first to get the mutex writes for all that wait behind it. With one thread there is no queueing, no
hand-over and no second thread; with many, one fsync serves them all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import apsw

from botwire._errors import BotWireError, OutcomeUnknown, StoreBusy
from botwire.stores._protocol import Batch, Outcome
from botwire.stores.sqlite._connections import Connections
from botwire.stores.sqlite._errors import from_apsw, from_commit
from botwire.stores.sqlite._filelock import FileLock
from botwire.stores.sqlite._operations import apply_batch, sweep

MOST_BATCHES = 1_000
"""The most batches that one transaction carries."""

SWEEP_EVERY = 30.0
"""Seconds between removals of what has expired; a write does them on the way."""


class _Ticket:
    """One call's batches, and what became of them."""

    __slots__ = ("batches", "outcomes")

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches
        self.outcomes: list[Outcome] | None = None


class Writer:
    """The one way in which a process writes to a file."""

    def __init__(self, connections: Connections, lock: FileLock | None, timeout: float, clock: Callable[[], int]) -> None:
        self._connections = connections
        self._lock = lock
        self._timeout = timeout
        self._clock = clock
        self._queue: deque[_Ticket] = deque()
        self._next_sweep = time.monotonic() + SWEEP_EVERY
        self.mutex = threading.Lock()

    def write(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Apply each batch, or not, on its own; return when what was applied is committed.

        Raises:
            StoreBusy: if it did not come to be written within the timeout.
        """
        ticket = _Ticket(batches)
        self._queue.append(ticket)
        if not self.mutex.acquire(timeout=2 * self._timeout):
            return self._give_up(ticket)
        try:
            while ticket.outcomes is None:
                self._write_queued()
        finally:
            self.mutex.release()
        return ticket.outcomes

    def close(self) -> None:
        """Give back the lock files."""
        if self._lock is not None:
            self._lock.close()

    def _give_up(self, ticket: _Ticket) -> list[Outcome]:
        try:
            self._queue.remove(ticket)
        except ValueError:  # somebody is writing it this moment
            raise OutcomeUnknown(f"writing to {self._connections.path} takes longer than the timeout; it may still succeed") from None
        raise StoreBusy(f"waited longer than the timeout to write to {self._connections.path}; nothing was written")

    def _write_queued(self) -> None:
        tickets: list[_Ticket] = []
        try:
            if self._lock is not None:
                self._lock.acquire(time.monotonic() + self._timeout)
            try:
                tickets = self._take()  # now, not before: while the lock was waited for, more may have come
                self._commit(tickets)
            finally:
                if self._lock is not None:
                    self._lock.release()
        except BotWireError as error:
            _fail(tickets or self._take(), error)
        except BaseException as error:  # an interrupt, say: nobody may wait for an outcome that never comes
            _fail(tickets or self._take(), OutcomeUnknown(f"the write was interrupted by {type(error).__name__}"))
            raise

    def _take(self) -> list[_Ticket]:
        tickets: list[_Ticket] = []
        size = 0
        while self._queue and size < MOST_BATCHES:
            tickets.append(self._queue.popleft())
            size += len(tickets[-1].batches)
        return tickets

    def _commit(self, tickets: list[_Ticket]) -> None:
        connection = self._connections.writer()
        batches = [batch for ticket in tickets for batch in ticket.batches]
        try:
            outcomes = self._transaction(connection, batches)
        except apsw.Error as error:
            if len(batches) == 1:
                raise from_apsw(error, self._connections.path) from error
            outcomes = [self._alone(connection, batch) for batch in batches]  # one of them failed: it must not spoil the others
        found = iter(outcomes)
        for ticket in tickets:
            ticket.outcomes = [next(found) for _ in ticket.batches]

    def _transaction(self, connection: apsw.Connection, batches: list[Batch]) -> list[Outcome]:
        """All batches in one transaction, which is rolled back if SQLite fails.

        Raises:
            apsw.Error: if it failed before COMMIT, so that certainly nothing was written.
            BotWireError: if COMMIT failed.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            now = self._clock()
            outcomes = [apply_batch(connection, batch, now) for batch in batches]
            if time.monotonic() >= self._next_sweep:
                self._next_sweep = time.monotonic() + SWEEP_EVERY
                sweep(connection, now)
            try:
                connection.execute("COMMIT")
            except apsw.Error as error:
                raise from_commit(error, self._connections.path) from error
        except BaseException:
            self._roll_back(connection)
            raise
        return outcomes

    def _alone(self, connection: apsw.Connection, batch: Batch) -> Outcome:
        try:
            return self._transaction(connection, [batch])[0]
        except apsw.Error as error:
            return from_apsw(error, self._connections.path)
        except BotWireError as error:
            return error

    def _roll_back(self, connection: apsw.Connection) -> None:
        """A connection that stayed in a transaction would read a frozen past and fail every write."""
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except apsw.Error:
                self._connections.close()  # the next call opens anew, which rolls back too


def _fail(tickets: list[_Ticket], error: BotWireError) -> None:
    for ticket in tickets:
        if ticket.outcomes is None:
            ticket.outcomes = cast("list[Outcome]", [error] * len(ticket.batches))
