"""Sessions: what an append costs at any length, and what reading back costs."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

from bench.bare import Bare
from bench.measure import Samples, Side, interleave, per_call
from bench.settings import Settings, message
from bench.table import Row, time_text
from botwire import Memory

NAME = "sessions"
SHORT, MIDDLE = 10, 1_000
APPENDS = 10
"""Appends in one sample; each sample at the shortest length has a session of its own, so that it stays short."""


def rows(settings: Settings) -> Iterator[Row]:
    """Appending at three lengths; the last messages, and all."""
    folder = settings.place("sessions")
    rounds, long = settings.rounds(60), settings.size(5_000, 500)
    with ExitStack() as stack:
        memory = stack.enter_context(Memory("bench", url=f"sqlite:///{folder / 'botwire.db'}"))
        bare = Bare(folder / "bare.db")
        stack.callback(bare.close)
        lengths = {f"long{number}": long for number in range(2)} | {f"middle{number}": MIDDLE for number in range(2)}
        lengths |= {f"short{number}": SHORT for number in range(rounds * 2)}
        bodies = [json.dumps(message(0, index)) for index in range(long)]
        for name, length in lengths.items():
            memory.session(name).append(*(message(0, index) for index in range(length)))
            with bare.transaction():
                for body in bodies[:length]:
                    bare.append(name, body)
        yield from _appends(rounds, long, memory, bare)
        yield from _reads(rounds, long, memory, bare)


def _appends(rounds: int, long: int, memory: Memory, bare: Bare) -> Iterator[Row]:
    sides = {
        "long": _append(memory, itertools.repeat("long0")),
        "short": _append(memory, itertools.cycle(f"short{number}" for number in range(rounds * 2))),
        "middle": _append(memory, itertools.repeat("middle0")),
        "bare": _append_bare(bare, "long0"),
    }
    samples = interleave(sides, rounds)
    at_long = f"append at {long:,} messages"
    yield _compared(samples, at_long, ("long", "short"), f"botwire, append at {SHORT}", 1.2)
    yield _compared(samples, f"append at {MIDDLE:,} messages", ("middle", "short"), f"botwire, append at {SHORT}")
    yield _compared(samples, at_long, ("long", "bare"), "bare `sqlite3`, one INSERT")


def _append(memory: Memory, names: Iterator[str]) -> Side:
    def sample() -> float:
        session = memory.session(next(names))
        start = time.perf_counter()
        for index in range(APPENDS):
            session.append(message(1, index))
        return (time.perf_counter() - start) / APPENDS

    return sample


def _append_bare(bare: Bare, name: str) -> Side:
    def sample() -> float:
        start = time.perf_counter()
        for index in range(APPENDS):
            bare.append(name, json.dumps(message(1, index)))
        return (time.perf_counter() - start) / APPENDS

    return sample


def _reads(rounds: int, long: int, memory: Memory, bare: Bare) -> Iterator[Row]:
    session, short = memory.session("long1"), memory.session("short0")
    twenty = interleave(
        {
            "botwire": per_call(lambda: session.messages(last=20), 20),
            "bare": per_call(lambda: [json.loads(row[1]) for row in bare.last("long1", 20)], 20),
            "short": per_call(lambda: short.messages(last=20), 20),
        },
        rounds,
    )
    what = f"last 20 of {long:,} messages"
    yield _compared(twenty, what, ("botwire", "bare"), "bare `sqlite3` + json.loads", seconds=0.5e-3)
    yield _compared(twenty, what, ("botwire", "short"), "botwire, last 20 of a short session")
    everything = interleave(
        {
            "botwire": per_call(session.messages, 1),
            "bare": per_call(lambda: [json.loads(row[1]) for row in bare.last("long1", long)], 1),
        },
        max(3, rounds // 3),
    )
    yield _compared(everything, f"all {long:,} messages", ("botwire", "bare"), "bare `sqlite3` + json.loads")


def _compared(
    samples: Samples, what: str, sides: tuple[str, str], against: str, most: float | None = None, *, seconds: float | None = None
) -> Row:
    ours, theirs = sides
    ratio, figure = samples.ratio(ours, theirs), samples.median(ours)
    passed = ratio.median <= most if most else figure < seconds if seconds else None
    bar = f"{most}x" if most else time_text(seconds) if seconds else ""
    return Row(NAME, what, time_text(figure), against, time_text(samples.median(theirs)), ratio, bar, passed, samples.load)
