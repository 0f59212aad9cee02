"""Writers of one process share round trips and commits: whoever has the turn writes for all that wait.

Those that want the same thing take turns: a session's head stays locked until its commit is on the disk, so alone each append
would wait for a disk of its own. Simple writes with different targets go at once as long as there are few; the others wait until
one of these is done, and go together. Nobody among them waits long for what a stranger has locked: then each goes alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import NamedTuple, TypeAlias

from botwire._errors import BotWireError, OutcomeUnknown, StoreBusy
from botwire.stores._protocol import Batch, Outcome
from botwire.stores.postgres._connection import GRACE
from botwire.stores.postgres._write import MOST_TOGETHER, is_simple, target

LONGEST_GATHERING = 0.005
"""Seconds that the first of several writers waits for the others, at most; and never longer than a quarter of a write."""
LANES = 2
"""How many simple writes, or groups of them, are under way at once: enough that client and server both have something to do."""
PATIENCE = 0.1
"""Seconds after which one that is under way no longer counts: it waits for a lock, and the others need not."""
MOST_REMEMBERED = 1_000
"""Of how many targets it is known how many writers they had last."""

Target: TypeAlias = tuple[str, int, str, str]


def target_of(batches: Sequence[Batch]) -> Target | None:
    """What a write wants alone; None if it is one that need not wait for its turn."""
    if len(batches) != 1 or len(batches[0].operations) != 1:
        return None
    return target(batches[0], batches[0].operations[0])


class _Ticket:
    """One call's batch, and what became of it."""

    __slots__ = ("alone", "batch", "joins", "leads", "outcome", "taken", "target", "wake")

    def __init__(self, target: Target, batch: Batch, joins: bool, wake: Callable[[], None]) -> None:
        self.target = target
        self.batch = batch
        self.joins = joins
        self.wake = wake
        self.leads = False
        self.taken = False
        self.alone = False  # whether it is to be written by its own caller, after it could not be with others
        self.outcome: Outcome | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is known what is to become of it."""
        return self.outcome is not None or self.alone

    def finish(self, outcome: Outcome | None) -> None:
        self.outcome = outcome
        self.alone = outcome is None
        self.wake()


class _Gathering(NamedTuple):
    """A leader that waits a moment for others: for how many, for how long, and how to wake it before."""

    expected: int
    seconds: float
    wake: Callable[[], None]


def _nobody() -> None:
    """Wakes nobody: the one whose turn it is does not wait."""


class _Queue:
    """Who waits, and what is being written. Called under a lock, or in one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[_Ticket] = deque()
        self._wanted: Counter[Target] = Counter()  # how many wait for each target
        self._busy: set[Target] = set()
        self._lanes: dict[_Ticket, float] = {}  # who leads simple writes, and since when
        self._recent: dict[Target, tuple[int, float]] = {}  # how many went together last, and how long that took
        self._gathering: dict[Target, _Gathering] = {}

    def enter(self, ticket: _Ticket) -> bool:
        """Whether it is this one's turn at once; otherwise it waits."""
        if self._may_start(ticket):
            self._start(ticket)
            return True
        self._waiting.append(ticket)
        self._wanted[ticket.target] += 1
        gathering = self._gathering.get(ticket.target)
        if gathering is not None and self._wanted[ticket.target] + 1 >= gathering.expected:
            gathering.wake()
        return False

    def _may_start(self, ticket: _Ticket) -> bool:
        if ticket.target in self._busy:
            return False
        if not ticket.joins or len(self._lanes) < LANES:
            return True
        now = monotonic()
        return sum(now - since < PATIENCE for since in self._lanes.values()) < LANES

    def _start(self, ticket: _Ticket) -> None:
        ticket.leads = True
        self._busy.add(ticket.target)
        if ticket.joins:
            self._lanes[ticket] = monotonic()

    def start_late(self, ticket: _Ticket) -> bool:
        """Whether it is this one's turn by now, although nobody has handed it over."""
        if ticket.taken or not self._may_start(ticket):
            return False
        self._leave_waiting(ticket)
        self._start(ticket)
        return True

    def _leave_waiting(self, ticket: _Ticket) -> None:
        self._waiting.remove(ticket)
        self._no_longer_waits(ticket)

    def expects_more(self, first: _Ticket) -> bool:
        """Whether those that went together last are not all here again."""
        return self._wanted[first.target] + 1 < self._recent.get(first.target, (1, 0.0))[0]

    def gather(self, first: _Ticket, wake: Callable[[], None]) -> float:
        """For how many seconds to wait for others, since those that went together last will come again, one after the other.

        Without it, the first to come back would write alone, while the rest waits for another commit.
        """
        expected, took = self._recent.get(first.target, (1, 0.0))
        if self._wanted[first.target] + 1 >= expected:
            return 0.0
        gathering = self._gathering[first.target] = _Gathering(expected, min(took / 4, LONGEST_GATHERING), wake)
        return gathering.seconds

    def take(self, first: _Ticket) -> list[_Ticket]:
        """Those whose batches go together now: they want the same, or something that nobody else writes."""
        self._gathering.pop(first.target, None)
        mine, tickets, left = {first.target}, [first], deque[_Ticket]()
        for ticket in self._waiting:
            fits = ticket.target in mine or (first.joins and ticket.target not in self._busy)
            if fits and ticket.joins == first.joins and len(tickets) < MOST_TOGETHER:
                mine.add(ticket.target)
                tickets.append(ticket)
                self._no_longer_waits(ticket)
            else:
                left.append(ticket)
        self._waiting = left
        self._busy |= mine
        for ticket in tickets:
            ticket.taken = True
        return tickets

    def _no_longer_waits(self, ticket: _Ticket) -> None:
        self._wanted[ticket.target] -= 1
        if not self._wanted[ticket.target]:
            del self._wanted[ticket.target]

    def remember(self, tickets: Sequence[_Ticket], took: float) -> None:
        """How many that wanted the same as the first went together, and how long that took."""
        wanted = tickets[0].target
        size = sum(ticket.target == wanted for ticket in tickets)
        if size == 1:
            self._recent.pop(wanted, None)
        else:
            if len(self._recent) >= MOST_REMEMBERED:
                self._recent.clear()
            self._recent[wanted] = size, took

    def leave(self, tickets: Sequence[_Ticket]) -> None:
        """Hand over to the next, if any: of each target one at a time, and of those that join others so many as there are lanes."""
        self._busy.difference_update(ticket.target for ticket in tickets)
        self._lanes.pop(tickets[0], None)
        for ticket in [ticket for ticket in self._waiting if self._may_start(ticket)]:
            if self.start_late(ticket):
                ticket.wake()

    def withdraw(self, ticket: _Ticket) -> bool:
        """Wait no more; whether nothing was done for it. If it was about to lead, somebody else does."""
        if ticket.taken:
            return False
        if ticket.leads:
            self.leave([ticket])
        else:
            self._leave_waiting(ticket)
        return True


def _give_up(where: str, nothing_done: bool) -> BotWireError:
    if nothing_done:
        return StoreBusy(f"other writers of this process kept {where} busy for longer than the timeout; nothing was written")
    return OutcomeUnknown(f"a write to {where} takes longer than the timeout, and may still succeed; read before writing again")


def _finish(tickets: Sequence[_Ticket], outcomes: Sequence[Outcome | None] | None, error: BaseException | None, where: str) -> None:
    if outcomes is None:
        known = error if isinstance(error, BotWireError) else _give_up(where, nothing_done=False)
        outcomes = [known] * len(tickets)
    for ticket, outcome in zip(tickets, outcomes, strict=True):
        ticket.finish(outcome)


def _are_mixed(tickets: Sequence[_Ticket]) -> bool:
    return any(ticket.target != tickets[0].target for ticket in tickets)


class Turns:
    """Turns of threads.

    Args:
        where: the store, for messages.
        timeout: seconds that a call may take.
        write: writes batches of one target.
        write_mixed: writes simple batches of several targets, each of them or not: None for those that are to go alone.
    """

    def __init__(
        self,
        where: str,
        timeout: float,
        write: Callable[[Sequence[Batch]], list[Outcome]],
        write_mixed: Callable[[Sequence[Batch]], list[Outcome | None]],
    ) -> None:
        self._where = where
        self._timeout = timeout
        self._write = write
        self._write_mixed = write_mixed
        self._lock = threading.Lock()
        self._queue = _Queue()

    def write(self, wanted: Target, batch: Batch) -> list[Outcome]:
        """Have a batch written, by this thread or by another."""
        ticket = _Ticket(wanted, batch, is_simple(batch), _nobody)
        woken: threading.Event | None = None
        with self._lock:
            if not self._queue.enter(ticket):
                woken = threading.Event()
                ticket.wake = woken.set
        if woken is not None:
            self._wait(ticket, woken)
        if not ticket.is_settled:
            self._lead(ticket)
        return self._write([batch]) if ticket.outcome is None else [ticket.outcome]

    def _wait(self, ticket: _Ticket, woken: threading.Event) -> None:
        end = monotonic() + self._timeout
        try:
            while not woken.wait(max(0.0, min(PATIENCE, end - monotonic()))):
                with self._lock:
                    if ticket.is_settled or ticket.leads or self._queue.start_late(ticket):
                        return
                    late = monotonic() >= end
                    nothing_done = late and self._queue.withdraw(ticket)
                if late and (nothing_done or not woken.wait(self._timeout + 2 * GRACE)):
                    ticket.outcome = _give_up(self._where, nothing_done)
                if late:
                    return
        except BaseException:  # an interrupt: others need not wait for this thread
            with self._lock:
                if not ticket.is_settled:
                    self._queue.withdraw(ticket)
            raise

    def _lead(self, ticket: _Ticket) -> None:
        with self._lock:
            full = threading.Event() if self._queue.expects_more(ticket) else None
            pause = 0.0 if full is None else self._queue.gather(ticket, full.set)
        try:
            if full is not None:
                full.wait(pause)
        except BaseException:  # an interrupt: others need not wait for this thread
            with self._lock:
                self._queue.leave([ticket])
            raise
        with self._lock:
            tickets = self._queue.take(ticket)
        outcomes: Sequence[Outcome | None] | None = None
        failure, start = None, monotonic()
        try:
            outcomes = (self._write_mixed if _are_mixed(tickets) else self._write)([each.batch for each in tickets])
        except BaseException as error:
            failure = error
            raise
        finally:
            _finish(tickets, outcomes, failure, self._where)
            with self._lock:
                self._queue.remember(tickets, monotonic() - start)
                self._queue.leave(tickets)


class AsyncTurns:
    """Turns of the tasks of one event loop; see ``Turns``."""

    def __init__(
        self,
        where: str,
        timeout: float,
        write: Callable[[Sequence[Batch]], Awaitable[list[Outcome]]],
        write_mixed: Callable[[Sequence[Batch]], Awaitable[list[Outcome | None]]],
    ) -> None:
        self._where = where
        self._timeout = timeout
        self._write = write
        self._write_mixed = write_mixed
        self._queue = _Queue()

    async def write(self, wanted: Target, batch: Batch) -> list[Outcome]:
        """Have a batch written, by this task or by another."""
        woken = asyncio.Event()
        ticket = _Ticket(wanted, batch, is_simple(batch), woken.set)
        if not self._queue.enter(ticket):
            await self._wait(ticket, woken)
        if not ticket.is_settled:
            await self._lead(ticket, woken)
        return await self._write([batch]) if ticket.outcome is None else [ticket.outcome]

    async def _lead(self, ticket: _Ticket, woken: asyncio.Event) -> None:
        woken.clear()
        try:
            if pause := self._queue.gather(ticket, woken.set):
                await _is_set(woken, pause)
        except asyncio.CancelledError:
            self._queue.leave([ticket])
            raise
        tickets = self._queue.take(ticket)
        outcomes: Sequence[Outcome | None] | None = None
        failure, start = None, monotonic()
        try:
            batches = [each.batch for each in tickets]
            outcomes = await self._write_mixed(batches) if _are_mixed(tickets) else await self._write(batches)
        except BaseException as error:
            failure = error
            raise
        finally:
            _finish(tickets, outcomes, failure, self._where)
            self._queue.remember(tickets, monotonic() - start)
            self._queue.leave(tickets)

    async def _wait(self, ticket: _Ticket, woken: asyncio.Event) -> None:
        end = monotonic() + self._timeout
        try:
            while not await _is_set(woken, max(0.0, min(PATIENCE, end - monotonic()))):
                if ticket.is_settled or ticket.leads or self._queue.start_late(ticket):
                    return
                if monotonic() >= end:
                    if self._queue.withdraw(ticket):
                        ticket.outcome = _give_up(self._where, nothing_done=True)
                    else:
                        await woken.wait()  # whoever leads has a deadline
                    return
        except asyncio.CancelledError:
            if not ticket.is_settled:
                self._queue.withdraw(ticket)
            raise


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
