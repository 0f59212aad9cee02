"""How the figures are taken: sides in turns, medians of what each round gave, and the load of others meanwhile.

Two sides that are compared run in the same process or side by side, in short samples, A B C A B C ..., so that
whatever disturbs the machine disturbs all of them. A ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

Side: TypeAlias = Callable[[], float]
"""Takes one sample: seconds per operation, or any other figure."""

UNSTEADY = 0.5
"""The middle half of the ratios, over their median, from which a row is measured once more."""

BUSY = 0.4
"""CPUs kept busy by others from which it is worth waiting for a quieter moment, or measuring again."""


BLOCK = 0.4
"""Seconds of rounds that are kept or thrown away together: long enough to tell what others used meanwhile."""


class Patience:
    """How many seconds in all may still be spent on waiting for others to finish; none unless the caller gives some."""

    left = 0.0

    @classmethod
    def wait(cls) -> None:
        """Wait until others leave the machine alone, as long as there is patience."""
        while cls.left > 0:
            with Load() as load:
                time.sleep(0.3)
            if load.others is None or load.others < BUSY:
                return
            cls.left -= 0.3


@dataclass(frozen=True)
class Ratio:
    """The median of several rounds' ratios, and the bounds of their middle half."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """The width of the middle half, over the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass
class Samples:
    """What each side gave in each round, and how busy others kept the machine (in CPUs; None where unknown)."""

    rounds: dict[str, list[float]]
    load: float | None = None

    def median(self, side: str) -> float:
        """The middle one of a side's samples."""
        return statistics.median(self.rounds[side])

    def ratio(self, side: str, base: str) -> Ratio:
        """How a side compares with another one, round by round."""
        ratios = sorted(a / b for a, b in zip(self.rounds[side], self.rounds[base], strict=True) if b)
        return _middle(ratios)

    def difference(self, side: str, base: str) -> Ratio:
        """By how much a side exceeds another one, round by round."""
        return _middle(sorted(a - b for a, b in zip(self.rounds[side], self.rounds[base], strict=True)))


def _middle(values: list[float]) -> Ratio:
    if len(values) < 3:
        return Ratio(statistics.median(values), values[0], values[-1])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(median, low, high)


def interleave(sides: Mapping[str, Side], rounds: int, *, patience: int = 1) -> Samples:
    """Take ``rounds`` samples of each side, in turns; each round begins with another side.

    Args:
        sides: what to measure, by name; the first is compared with the others.
        rounds: samples of each.
        patience: how many times over to measure again if the ratios to the first side are unsteady, or others were busy.
    """
    best = _take(sides, rounds)
    while patience and _disturbed(best):
        again, patience = _take(sides, rounds), patience - 1
        if (again.load or 0) <= (best.load or 0) or not _disturbed(again):
            best = again
    return best


def _disturbed(samples: Samples) -> bool:
    first, *others = samples.rounds
    crowded = Patience.left > 0 and samples.load is not None and samples.load > BUSY
    return crowded or any(samples.ratio(first, name).spread > UNSTEADY for name in others)


def _take(sides: Mapping[str, Side], rounds: int) -> Samples:
    """All rounds, a block at a time; a block that others disturbed is taken again, as long as there is patience."""
    names = list(sides)
    samples = Samples({name: [] for name in names})
    loads: list[float] = []
    done = 0
    while done < rounds:
        Patience.wait()
        with Load() as load:
            block = _block(sides, done, rounds)
        if Patience.left > 0 and (load.others or 0) > BUSY:
            Patience.left -= BLOCK
            continue
        for name in names:
            samples.rounds[name] += block[name]
        loads += [load.others] if load.others is not None else []
        done += len(block[names[0]])
    samples.load = statistics.fmean(loads) if loads else None
    return samples


def _block(sides: Mapping[str, Side], done: int, rounds: int) -> dict[str, list[float]]:
    """Rounds from number ``done`` on, until the block has its length or there are enough."""
    names = list(sides)
    block: dict[str, list[float]] = {name: [] for name in names}
    until = time.monotonic() + BLOCK
    for turn in range(done, rounds):
        for index in range(len(names)):
            name = names[(index + turn) % len(names)]
            block[name].append(sides[name]())
        if time.monotonic() > until:
            break
    return block


def per_call(function: Callable[[], object], count: int) -> Side:
    """A side that calls ``function`` so many times a sample."""

    def sample() -> float:
        calls = range(count)
        start = time.perf_counter()
        for _ in calls:
            function()
        return (time.perf_counter() - start) / count

    return sample


@dataclass
class Load:
    """How many CPUs others used while the block ran: what was busy, less this process and those that it started."""

    others: float | None = None
    _start: tuple[float, float, float] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        self._start = _cpu_times()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        end = _cpu_times()
        if self._start is not None and end is not None:
            wall, busy, own = (after - before for after, before in zip(end, self._start, strict=True))
            self.others = max(0.0, (busy - own) / wall) if wall > 0.05 else None


def _cpu_times() -> tuple[float, float, float] | None:
    """Seconds: now, busy CPU of the machine, CPU of this process and its descendants; None where /proc is not."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _wait, irq, soft, steal = (int(value) for value in first[1:9])
    own = sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    return time.monotonic(), (user + nice + system + irq + soft + steal) / ticks, own + _descendants_cpu() / ticks


def _descendants_cpu() -> int:
    """Ticks that this process's descendants have used, with their own children that have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(int(value) for value in fields[11:15])
    ours: set[int] = {os.getpid()}
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in ours} - ours
        ours |= more
        grown = bool(more)
    return sum(ticks.get(child, 0) for child in ours if child != os.getpid())
