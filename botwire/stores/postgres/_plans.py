"""What a call does besides talking to a server: makes the tables if need be, tries again, and says what came of it.

A plan is a generator, the same for threads and for event loops: it yields attempts, each a script that is to be run on a
connection, or a pause, and is sent the script's result, or thrown what became of it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Generator, Sequence
from time import monotonic
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from botwire._errors import BotWireError, OutcomeUnknown, StoreBusy
from botwire.stores._keeping import Gone
from botwire.stores._protocol import Appended, Batch, Outcome
from botwire.stores.postgres import _reads, _schema, _wiping, _write
from botwire.stores.postgres._advice import advise
from botwire.stores.postgres._entries import Work
from botwire.stores.postgres._errors import Failed
from botwire.stores.postgres._link import AsyncLink, Link
from botwire.stores.postgres._script import Again, Script
from botwire.stores.postgres._sweep import Sweeper
from botwire.stores.postgres._url import Place

T = TypeVar("T")

FIRST_DELAY = 0.02
LONGEST_DELAY = 1.0
MOST_AGAIN = 100
"""How often a batch is begun anew because other writers changed what it had looked at; each time one of them got on."""
_GONE = ("3F000", "42P01")


class Attempt(NamedTuple):
    """A script to be run on one connection, by a time of the monotonic clock."""

    script: Script[Any]
    until: float


class Pause(NamedTuple):
    """A time to wait, in seconds."""

    seconds: float


Plan: TypeAlias = Generator["Attempt | Pause", Any, T]


class Effort:
    """The attempts at one thing, all within one deadline.

    ``once``: whether what was written once is not written again by another attempt.
    """

    def __init__(self, until: float, where: str, *, once: bool) -> None:
        self.until = until
        self._where = where
        self._once = once
        self._unknown = False
        self._delay = FIRST_DELAY

    def failed(self, failed: Failed) -> Pause:
        """The wait before another attempt.

        Raises:
            BotWireError: what it comes to, if there is to be none.
        """
        self._unknown = self._unknown or failed.unknown
        pause = random.uniform(0, self._delay)
        self._delay = min(2 * self._delay, LONGEST_DELAY)
        if failed.repeatable and (self._once or not self._unknown) and monotonic() + pause < self.until:
            return Pause(pause)
        if self._unknown:
            raise unknown(self._where, failed) from failed
        raise failed.error from (failed.__cause__ or failed)


def unknown(where: str, failed: Failed) -> OutcomeUnknown:
    """The error of a write of which nobody can say what became of it."""
    return OutcomeUnknown(
        f"a write to {where} may or may not have happened ({failed.error}); read before writing again, or repeat the call with a "
        "request_id of your own, under which it is applied once"
    )


class Plans:
    """The plans of one store."""

    def __init__(self, place: Place, timeout: float, clock: Callable[[], int] | None) -> None:
        self.place = place
        self.timeout = timeout
        self.clock = clock
        self.sweeper = Sweeper()
        self._ready = False

    def context(self) -> _write.Context:
        """What statements of this moment need to know."""
        return _write.Context(self.place.schema, self.moment())

    def moment(self) -> int | None:
        """The time, if it is not the server's."""
        return None if self.clock is None else self.clock()

    def of(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Plan[Any]:
        """The plan of the store's method of that name."""
        if name == "write":
            return self.write(*args)
        if name == "check":
            return self._check()
        if name == "delete_namespace":
            return self._delete_namespace(*args)
        script: Callable[..., Script[Any]] = getattr(_reads, name)
        return self.read(lambda: script(self.moment(), *args, **kwargs))

    # -------------------------------------------------------------------------------------- reading

    def _check(self) -> Plan[dict[str, Any]]:
        found = yield from self.read(lambda: _reads.check(self.place.schema))
        return {"store": self.place.shown, **found, "advice": advise(found)}

    def read(self, make: Callable[[], Script[T]]) -> Plan[T]:
        """What reads can be done again and again."""
        until = monotonic() + self.timeout
        yield from self._make_ready(until)
        return (yield from self._repeat(make, until))

    def _repeat(self, make: Callable[[], Script[T]], until: float, *, once: bool = True) -> Plan[T]:
        effort = Effort(until, self.place.shown, once=once)
        while True:
            try:
                return cast("T", (yield Attempt(make(), until)))
            except Failed as failed:
                pause = effort.failed(failed)
            except Again:
                pause = Pause(FIRST_DELAY)
            yield pause

    def _make_ready(self, until: float) -> Plan[None]:
        if self._ready:
            return
        try:
            yield from self._repeat(_schema.is_there, until)
        except BotWireError as error:
            if getattr(error.__cause__, "sqlstate", None) not in _GONE:
                raise
            yield from self._repeat(lambda: _schema.make(self.place.schema, self.place.partitions), until)
            yield from self._repeat(_schema.is_there, until)
        self._ready = True

    # -------------------------------------------------------------------------------------- writing

    def write(self, batches: Sequence[Batch]) -> Plan[list[Outcome]]:
        """See ``Store.write``."""
        if not batches:
            return []
        until = monotonic() + self.timeout
        yield from self._make_ready(until)
        if len(batches) == 1:
            outcomes = [(yield from self._write_one(batches[0], until))]
        else:
            outcomes = yield from self._write_many(batches, until)
        if any(isinstance(outcome, list) for outcome in outcomes) and self.sweeper.is_due():
            yield from self._sweep(until)
        return outcomes

    def _write_one(self, batch: Batch, until: float, *, fast: bool = True) -> Plan[Outcome]:
        effort = Effort(until, self.place.shown, once=batch.request_id is not None)
        for _ in range(MOST_AGAIN):
            context = self.context()
            work = _write.simple_work(context, batch) if fast else None
            try:
                script = _write.careful(context, batch, hopeful=fast) if work is None else _write.alone(work)
                return cast("Outcome", (yield Attempt(script, until)))
            except Again:
                fast = False
                pause = Pause(random.uniform(0, FIRST_DELAY / 10))
            except Failed as failed:
                try:
                    pause = effort.failed(failed)
                except BotWireError as error:
                    return error
            except BotWireError as error:
                return error
            yield pause
        return StoreBusy(f"other writers changed what a write to {self.place.shown} goes by {MOST_AGAIN} times; nothing was written")

    def _write_many(self, batches: Sequence[Batch], until: float) -> Plan[list[Outcome]]:
        """In their order, apart from those that go together: these happen at once."""
        outcomes: list[Any] = [None] * len(batches)
        waiting: list[tuple[int, Work]] = []
        context = self.context()
        for index, batch in enumerate(batches):
            work = _write.simple_work(context, batch)
            if work is not None:
                waiting.append((index, work))
            if waiting and (work is None or len(waiting) == _write.MOST_TOGETHER):
                yield from self._write_together(batches, waiting, outcomes, until)
                waiting = []
            if work is None:
                outcomes[index] = yield from self._write_one(batch, until)
        if waiting:
            yield from self._write_together(batches, waiting, outcomes, until)
        return outcomes

    def write_mixed(self, batches: Sequence[Batch]) -> Plan[list[Outcome | None]]:
        """Simple batches, in one transaction; None for those that are to be written alone, for whatever reason."""
        until = monotonic() + self.timeout
        yield from self._make_ready(until)
        context = self.context()
        works = [(index, cast("Work", _write.simple_work(context, batch))) for index, batch in enumerate(batches)]
        outcomes: list[Any] = [None] * len(batches)
        left = yield from self._try_together(batches, works, outcomes, until, patient=False)
        if len(left) < len(batches) and self.sweeper.is_due():
            yield from self._sweep(until)
        return outcomes

    def _write_together(self, batches: Sequence[Batch], waiting: list[tuple[int, Work]], outcomes: list[Any], until: float) -> Plan[None]:
        left = (yield from self._try_together(batches, waiting, outcomes, until)) if len(waiting) > 1 else {waiting[0][0]: True}
        for index, fast in left.items():  # it goes by itself; a failure of all may have been another's
            outcomes[index] = yield from self._write_one(batches[index], until, fast=fast)

    def _try_together(
        self, batches: Sequence[Batch], waiting: list[tuple[int, Work]], outcomes: list[Any], until: float, *, patient: bool = True
    ) -> Plan[dict[int, bool]]:
        """Write them in one transaction; those are left that have no outcome then, each with whether the fast way may do for it."""
        groups = self._groups(batches, waiting)
        failure: Failed | None = None
        found: list[Any] = [None] * len(groups)
        try:
            found = yield Attempt(_write.together([work for _, work in groups], patient=patient), until)
        except Again:
            pass
        except Failed as failed:
            failure = failed
        left: dict[int, bool] = {}
        for (indexes, _), outcome in zip(groups, found, strict=True):
            results = cast("list[Any]", outcome)[0] if len(indexes) > 1 and isinstance(outcome, list) else [outcome]
            for index, result in itertools.zip_longest(indexes, results):
                if isinstance(result, (list, BotWireError)):
                    outcomes[index] = result
                elif isinstance(result, Appended):
                    outcomes[index] = [result]
                elif failure is not None and failure.unknown and batches[index].request_id is None:
                    outcomes[index] = unknown(self.place.shown, failure)
                else:
                    left[index] = not isinstance(result, Again)
        return left

    def _groups(self, batches: Sequence[Batch], waiting: list[tuple[int, Work]]) -> list[tuple[list[int], Work]]:
        """What to send, in the order in which everybody locks; batches on one target in theirs, and those that append as one."""
        waiting.sort(key=lambda item: _write.target(batches[item[0]], batches[item[0]].operations[0]))
        groups: list[tuple[list[int], Work]] = []
        for _, same in itertools.groupby(waiting, lambda item: _write.target(batches[item[0]], batches[item[0]].operations[0])):
            members = list(same)
            indexes = [index for index, _ in members]
            work = _write.joined(self.context(), [batches[index] for index in indexes]) if len(members) > 1 else None
            groups += [([index], own) for index, own in members] if work is None else [(indexes, work)]
        return groups

    def _delete_namespace(self, namespace: str) -> Plan[Gone]:
        """Step by step. One of which no answer came is not repeated: what it removed would not be in the count."""
        yield from self._make_ready(monotonic() + self.timeout)
        gone, done = Gone(), False
        while not done:
            until = monotonic() + self.timeout
            *removed, done = yield from self._repeat(lambda: _wiping.wipe(self.place.schema, namespace), until, once=False)
            gone = Gone(*map(sum, zip(gone, removed, strict=True)))
        return gone

    def _sweep(self, until: float) -> Plan[None]:
        """What goes wrong here is nobody's write."""
        self.sweeper.begin()
        try:
            more = yield Attempt(self.sweeper.sweep(self.moment()), until)
            self.sweeper.end(more=bool(more))
        except (Failed, Again, BotWireError) as error:
            self.sweeper.failed(self.place.shown, error)


def drive(plan: Plan[T], link: Link) -> T:
    """Run a plan in the calling thread."""
    try:
        step = next(plan)
        while True:
            try:
                answer = time.sleep(step.seconds) if isinstance(step, Pause) else link.run(step.script, step.until)
            except Exception as error:  # noqa: BLE001 - the plan decides what it means
                step = plan.throw(error)
            else:
                step = plan.send(answer)
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        plan.close()


async def adrive(plan: Plan[T], link: AsyncLink) -> T:
    """Run a plan in the running event loop."""
    try:
        step = next(plan)
        while True:
            try:
                answer = await (asyncio.sleep(step.seconds) if isinstance(step, Pause) else link.run(step.script, step.until))
            except Exception as error:  # noqa: BLE001 - the plan decides what it means
                step = plan.throw(error)
            else:
                step = plan.send(answer)
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        plan.close()
