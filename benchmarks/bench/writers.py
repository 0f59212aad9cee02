"""Many writers of one session: what is lost, in what order it lies, how fast, and how fairly the writers are served."""

from __future__ import annotations

import json
import multiprocessing
import queue
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bench.bare import Bare
from bench.measure import Load, Patience, Ratio, interleave
from bench.settings import Settings, message
from bench.table import Row, rate_text, time_text
from botwire import Memory

NAME = "writers"
PATIENCE = 120
"""Seconds after which a run of writers counts as stuck."""

Appender: TypeAlias = Callable[[str, int, int], None]
"""Appends message number ``index`` of writer ``writer`` to the session of the file at a path."""


@dataclass(frozen=True)
class Ran:
    """What one writer reports: when it began and ended, how many it wrote, and its longest wait."""

    began: float
    ended: float
    wrote: int
    longest: float


@dataclass(frozen=True)
class Fairness:
    """How several writers fared that wrote for the same time."""

    counts: list[int]
    longest: float

    @property
    def ratio(self) -> float:
        """The least served writer's count over the best served one's."""
        return min(self.counts) / max(self.counts)


def rows(settings: Settings) -> Iterator[Row]:
    """Threads, then processes, then fairness."""
    folder = settings.place("writers")
    per_thread, per_process = settings.size(50, 10), settings.size(200, 20)
    yield from _gathered(settings, folder, "threads", 16, per_thread)
    yield from _gathered(settings, folder, "processes", 8, per_process)
    yield from _fairness(settings, folder)


# ------------------------------------------------------------------------------- complete, in order


def _gathered(settings: Settings, folder: Path, kind: str, writers: int, each: int) -> Iterator[Row]:
    problems: Counter[str] = Counter()
    total, runs = writers * each, iter(range(10**6))

    def botwire() -> float:
        path = str(folder / f"{kind}{next(runs)}.db")
        seconds = _run(kind, _botwire, path, writers, each)
        with Memory("bench", url=f"sqlite:///{path}") as memory:
            problems["runs"] += 1
            problems.update(_problems([(found.seq or 0, found.text) for found in memory.session("shared").messages()], total))
        return total / seconds

    def bare() -> float:
        path = folder / f"{kind}{next(runs)}.db"
        Bare(path).close()
        return total / _run(kind, _bare, str(path), writers, each)

    samples = interleave({"botwire": botwire, "bare": bare}, settings.rounds(7))
    yield Row(
        NAME,
        f"{writers} {kind} x {each} appends: complete, gapless, in order",
        f"{problems['lost']} lost, {problems['gaps']} gaps, {problems['swapped']} out of order",
        bar="0 lost, gapless, order kept",
        passed=not any(problems[problem] for problem in ("lost", "gaps", "swapped")),
        load=samples.load,
        note=f"sum of {problems['runs']} runs, each with a new file",
    )
    yield Row(
        NAME,
        f"{writers} {kind} x {each} appends: throughput",
        rate_text(samples.median("botwire")),
        "bare `sqlite3`, a connection for each",
        rate_text(samples.median("bare")),
        samples.ratio("botwire", "bare"),
        load=samples.load,
        note="higher is better",
    )


def _problems(found: list[tuple[int, str]], total: int) -> dict[str, int]:
    """What is missing, the numbers that are skipped, and messages that lie before an earlier one of the same writer."""
    names = [tuple(map(int, text.partition(" ")[0].split(":"))) for _, text in found]
    reached: dict[int, int] = {}
    swapped = 0
    for writer, index in names:
        swapped += index != reached.get(writer, -1) + 1
        reached[writer] = index
    gaps = sum(seq != place for place, (seq, _) in enumerate(found, 1))
    return {"lost": total - len(set(names)), "gaps": gaps, "swapped": swapped}


# ---------------------------------------------------------------------------------------- fairness


def _fairness(settings: Settings, folder: Path) -> Iterator[Row]:
    seconds, writers = settings.size(3, 1), 4
    ours: list[Fairness] = []
    theirs: list[Fairness] = []
    Patience.wait()
    with Load() as load:
        for turn in range(settings.rounds(5)):
            path = folder / f"fair{turn}.db"
            Bare(path.with_suffix(".bare")).close()
            ours.append(_compete(_botwire, str(path), writers, seconds))
            theirs.append(_compete(_bare, str(path.with_suffix(".bare")), writers, seconds))
    what = f"{writers} processes writing for {seconds} s"
    yield Row(
        NAME,
        f"{what}: least served / best served",
        f"{statistics.median(fair.ratio for fair in ours):.2f}",
        "bare `sqlite3`, busy timeout",
        f"{statistics.median(fair.ratio for fair in theirs):.2f}",
        load=load.others,
        note=f"1 is even; botwire's worst round {_least(ours)}; sqlite3's {_least(theirs)}",
    )
    waits = sorted(a.longest / b.longest for a, b in zip(ours, theirs, strict=True))
    yield Row(
        NAME,
        f"{what}: longest wait of any",
        time_text(statistics.median(fair.longest for fair in ours)),
        "bare `sqlite3`, busy timeout",
        time_text(statistics.median(fair.longest for fair in theirs)),
        Ratio(statistics.median(waits), waits[0], waits[-1]),
        load=load.others,
        note="beside both medians the worst and best round",
    )
    rates = sorted(sum(a.counts) / sum(b.counts) for a, b in zip(ours, theirs, strict=True))
    yield Row(
        NAME,
        f"{what}: throughput of all",
        rate_text(statistics.median(sum(fair.counts) for fair in ours) / seconds),
        "bare `sqlite3`, busy timeout",
        rate_text(statistics.median(sum(fair.counts) for fair in theirs) / seconds),
        Ratio(statistics.median(rates), rates[0], rates[-1]),
        load=load.others,
        note="higher is better; what fairness costs",
    )


def _least(rounds: list[Fairness]) -> str:
    worst = min(rounds, key=lambda fair: fair.ratio)
    return " / ".join(f"{count:,}" for count in sorted(worst.counts))


def _compete(make: Any, path: str, writers: int, seconds: float) -> Fairness:
    reports = _start("processes", make, path, writers, None, seconds)
    return Fairness([report.wrote for report in reports], max(report.longest for report in reports))


# ------------------------------------------------------------------------------------ the writers


def _botwire(path: str) -> Callable[[int, int], None]:
    session = Memory("bench", url=f"sqlite:///{path}").session("shared")
    return lambda writer, index: _ignore(session.append(message(writer, index)))


def _bare(path: str) -> Callable[[int, int], None]:
    connection = Bare(Path(path))
    return lambda writer, index: _ignore(connection.append("shared", json.dumps(message(writer, index))))


def _ignore(_: object) -> None:
    """For a call whose answer is not wanted."""


def _run(kind: str, make: Any, path: str, writers: int, each: int) -> float:
    """Seconds from the first writer's start to the last one's end."""
    reports = _start(kind, make, path, writers, each, None)
    return max(report.ended for report in reports) - min(report.began for report in reports)


def _start(kind: str, make: Any, path: str, writers: int, each: int | None, seconds: float | None) -> list[Ran]:
    context: Any = multiprocessing.get_context("spawn")
    processes = kind == "processes"
    barrier = (context if processes else threading).Barrier(writers)
    answers: Any = context.Queue() if processes else queue.Queue[Any]()
    worker = context.Process if processes else threading.Thread
    started = [worker(target=_write, args=(make, path, number, barrier, answers, each, seconds), daemon=True) for number in range(writers)]
    for one in started:
        one.start()
    reports = [answers.get(timeout=PATIENCE) for _ in started]
    for one in started:
        one.join(PATIENCE)
    if failed := [report for report in reports if isinstance(report, str)]:
        raise RuntimeError(f"a writer failed: {failed[0]}")
    return reports


def _write(make: Any, path: str, writer: int, barrier: Any, answers: Any, each: int | None, seconds: float | None) -> None:
    try:
        append = make(path)
        barrier.wait(PATIENCE)
        answers.put(_loop(append, writer, each, seconds))
    except Exception as error:  # noqa: BLE001 - told to the one who waits for the report
        barrier.abort()
        answers.put(repr(error))


def _loop(append: Callable[[int, int], None], writer: int, each: int | None, seconds: float | None) -> Ran:
    began = now = time.monotonic()
    index, longest = 0, 0.0
    while index < each if each is not None else now - began < (seconds or 0):
        append(writer, index)
        index, before, now = index + 1, now, time.monotonic()
        longest = max(longest, now - before)
    return Ran(began, now, index, longest)
