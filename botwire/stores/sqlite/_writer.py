"""Group commit: what several threads want written is written by one of them, in one transaction.

One thread at a time leads: it commits its own write and all that wait behind it, and hands over to the first
that came meanwhile. With one thread there is no queueing, no hand-over and no second thread; with many, one
fsync serves them all.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from botwire._errors import BotWireError, Closed, OutcomeUnknown, StoreBusy
from botwire.stores._protocol import Batch, Outcome
from botwire.stores.sqlite._connections import Connections
from botwire.stores.sqlite._filelock import FileLock
from botwire.stores.sqlite._sweep import Sweeper
from botwire.stores.sqlite._transaction import Progress, commit_all

MOST_BATCHES = 1_000
"""The most batches that one transaction carries."""


class _Ticket:
    """One call's batches, and what became of them."""

    __slots__ = ("batches", "deadline", "outcomes", "thread", "woken")

    def __init__(self, batches: Sequence[Batch], deadline: float) -> None:
        self.batches = batches
        self.deadline = deadline
        self.thread = threading.get_ident()
        self.woken: threading.Lock | None = None  # released when there are outcomes, or when it is to lead
        self.outcomes: list[Outcome] | None = None

    def wait(self, seconds: float) -> bool:
        return self.woken is None or self.woken.acquire(timeout=max(0.0, seconds))

    def wake(self) -> None:
        if self.woken is not None and self.woken.locked():
            self.woken.release()

    def finish(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        self.wake()

    def fail(self, error: BotWireError) -> None:
        if self.outcomes is None:
            self.finish([error for _ in self.batches])


class Writer:
    """The one way in which a process writes to a file."""

    def __init__(self, connections: Connections, lock: FileLock | None, timeout: float, clock: Callable[[], int]) -> None:
        self._connections = connections
        self._lock = lock
        self._timeout = timeout
        self._clock = clock
        self.sweeper = Sweeper()
        self._guard = threading.Lock()  # for the next two
        self._leader: _Ticket | None = None
        self._queue: deque[_Ticket] = deque()
        self._closed = False
        self.mutex = threading.Lock()
        """Held while the writing connection is in use."""

    def write(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Apply each batch, or not, on its own; return when what was applied is committed.

        Raises:
            Closed: if it did not begin before ``close``.
        """
        return self._in_turn(_Ticket(batches, monotonic() + self._timeout), self._lead) if batches else []

    def close(self) -> None:
        """Give back connections and lock files, after the writes under way."""
        self._in_turn(_Ticket((), float("inf")), self._shut)

    # ---------------------------------------------------------------------------------- taking turns

    def _in_turn(self, ticket: _Ticket, lead: Callable[[_Ticket], None]) -> list[Outcome]:
        try:
            if not self._enter(ticket):
                self._wait(ticket)
            if self._leader is ticket:
                lead(ticket)
        except BaseException:
            self._withdraw(ticket)
            raise
        finally:
            if self._leader is ticket:
                self._hand_over()
        if ticket.outcomes is None:
            raise RuntimeError("a write ended without an outcome")
        return ticket.outcomes

    def _enter(self, ticket: _Ticket) -> bool:
        """Begin to lead if nobody does, or queue up."""
        with self._guard:
            if self._leader is None:
                self._leader = ticket
                return True
            if self._leader.thread == ticket.thread:
                raise StoreBusy("a signal handler or finalizer wrote to the store in the middle of a write; let it do so elsewhere")
            ticket.woken = threading.Lock()
            ticket.woken.acquire()
            self._queue.append(ticket)
            return False

    def _wait(self, ticket: _Ticket) -> None:
        """Until there are outcomes, or it is this one's turn to lead."""
        if ticket.wait(ticket.deadline - monotonic() if ticket.batches else threading.TIMEOUT_MAX):
            return
        if self._withdraw(ticket):
            raise StoreBusy(f"waited longer than the timeout to write to {self._connections.path}; nothing was written")
        if not ticket.wait(self._timeout):  # it is being written this moment, or is to lead
            raise OutcomeUnknown(f"writing to {self._connections.path} takes longer than the timeout; it may still succeed")

    def _withdraw(self, ticket: _Ticket) -> bool:
        """Take it out of the queue; whether it was there still."""
        with self._guard:
            try:
                self._queue.remove(ticket)
            except ValueError:
                return False
            return True

    def _hand_over(self) -> None:
        with self._guard:
            self._leader = self._queue.popleft() if self._queue else None
            if self._leader is not None:
                self._leader.wake()

    # --------------------------------------------------------------------------------------- leading

    def _lead(self, ticket: _Ticket) -> None:
        if self._closed:
            raise Closed(f"the store {self._connections.path} is closed")
        tickets, progress = [ticket], Progress()
        try:
            self._commit(tickets, progress)
        except BotWireError as error:
            for each in tickets:
                each.fail(error)
        except BaseException as error:  # an interrupt, say: it is this thread's affair alone, if nothing was written yet
            if progress.committing:
                for each in tickets[1:]:
                    each.fail(OutcomeUnknown(f"the write was interrupted by {type(error).__name__}"))
            else:
                with self._guard:
                    self._queue.extendleft(each for each in reversed(tickets[1:]) if each.outcomes is None)
            raise

    def _commit(self, tickets: list[_Ticket], progress: Progress) -> None:
        try:
            if self._lock is not None:
                self._lock.acquire(tickets[0].deadline)
            self._take(tickets)  # now, not before: while the lock was waited for, more may have come
            batches = [batch for ticket in tickets for batch in ticket.batches]
            with self.mutex:
                outcomes = commit_all(self._connections, batches, self._clock, tickets[0].deadline, progress)
                found = iter(outcomes)
                for ticket in tickets:
                    ticket.finish([next(found) for _ in ticket.batches])
                if isinstance(outcomes[0], list):  # what cannot be written cannot be swept
                    self.sweeper.sweep_if_due(self._connections, self._clock())
        finally:
            if self._lock is not None:
                self._lock.release()

    def _take(self, tickets: list[_Ticket]) -> None:
        size = len(tickets[0].batches)
        with self._guard:
            while self._queue and size < MOST_BATCHES and self._queue[0].batches:
                tickets.append(self._queue.popleft())
                size += len(tickets[-1].batches)

    def _shut(self, ticket: _Ticket) -> None:
        self._closed = True
        ticket.outcomes = []
        with self.mutex:
            self._connections.close()
        if self._lock is not None:
            self._lock.close()
