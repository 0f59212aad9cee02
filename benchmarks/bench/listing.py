"""Many keys: the first page, a page in the middle, counting, and the memory that listing them all takes."""

from __future__ import annotations

import itertools
import multiprocessing
import resource
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.measure import Samples, interleave, per_call
from bench.settings import Settings
from bench.table import Row, time_text
from botwire import Memory

NAME = "listing"
PAGE = 100
_FIRST = "SELECT key FROM entry WHERE namespace = ? ORDER BY key LIMIT ?"
_PREFIX = "SELECT key FROM entry WHERE namespace = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
_COUNT = "SELECT count(*) FROM entry WHERE namespace = ?"
_ALL = "SELECT key FROM entry WHERE namespace = ? ORDER BY key"


def rows(settings: Settings) -> Iterator[Row]:
    """Pages and counts; then peak memory."""
    folder = settings.place("listing")
    path, copy, count = folder / "botwire.db", folder / "copy.db", settings.size(500_000, 20_000)
    with Memory("bench", url=f"sqlite:///{path}") as memory:
        for start in range(0, count, 10_000):
            memory.set_many({f"user:{number:07}": number for number in range(start, min(start + 10_000, count))})
    shutil.copy(path, copy)  # bare sqlite3 gets a file of its own: two SQLite libraries in one process spoil each other's locks
    bare = sqlite3.connect(copy)
    with Memory("bench", url=f"sqlite:///{path}") as memory:
        yield from _pages(settings, memory, bare, count)
    bare.close()
    yield from _peak_memory(path, copy, count)


def _pages(settings: Settings, memory: Memory, bare: sqlite3.Connection, count: int) -> Iterator[Row]:
    prefix = f"user:{count // 2:07}"[:-3]  # a thousand keys begin so
    rounds = settings.rounds(60)
    first = interleave(
        {
            "botwire": per_call(lambda: list(itertools.islice(memory.iter_keys(page_size=PAGE), PAGE)), 20),
            "bare": per_call(lambda: [key for (key,) in bare.execute(_FIRST, ("bench", PAGE))], 20),
        },
        rounds,
    )
    yield _compared(first, f"first page of {PAGE} of {count:,} keys", 5e-3)
    middle = interleave(
        {
            "botwire": per_call(lambda: list(itertools.islice(memory.iter_keys(prefix, PAGE), PAGE)), 20),
            "bare": per_call(lambda: [key for (key,) in bare.execute(_PREFIX, ("bench", prefix, prefix + "~", PAGE))], 20),
        },
        rounds,
    )
    yield _compared(middle, f"page of {PAGE} by prefix, in the middle of {count:,} keys", 5e-3)
    counted = interleave(
        {"botwire": per_call(memory.count, 1), "bare": per_call(lambda: bare.execute(_COUNT, ("bench",)).fetchone(), 1)},
        max(3, rounds // 4),
    )
    yield _compared(counted, f"count() of {count:,} keys")


def _compared(samples: Samples, what: str, seconds: float | None = None) -> Row:
    figure = samples.median("botwire")
    theirs = time_text(samples.median("bare"))
    passed = figure < seconds if seconds else None
    bar = time_text(seconds) if seconds else ""
    ratio = samples.ratio("botwire", "bare")
    return Row(NAME, what, time_text(figure), "bare `sqlite3`, same range", theirs, ratio, bar, passed, samples.load)


# ----------------------------------------------------------------------------------------- memory


def _peak_memory(path: Path, copy: Path, count: int) -> Iterator[Row]:
    growth = {
        name: _in_process(walk, str(file), count)
        for name, walk, file in (("iter_keys", _iterate, path), ("list_keys", _list, path), ("bare", _iterate_bare, copy))
    }
    what, note = f"peak memory, iter_keys over {count:,} keys", "growth of the process after the first page; one run each"
    yield Row(NAME, what, _mebibytes(growth["iter_keys"]), "bare `sqlite3` cursor", _mebibytes(growth["bare"]), note=note)
    yield Row(NAME, what, _mebibytes(growth["iter_keys"]), "botwire, list_keys (holds all)", _mebibytes(growth["list_keys"]), note=note)


def _in_process(walk: Any, path: str, count: int) -> int:
    """What ``walk`` gives in a fresh process, whose memory nothing else has stretched."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(walk, (path, count))


def _iterate(path: str, count: int) -> int:
    with Memory("bench", url=f"sqlite:///{path}") as memory:
        next(iter(memory))
        before = _peak()
        _expect(sum(1 for _ in memory.iter_keys()), count)
        return _peak() - before


def _list(path: str, count: int) -> int:
    with Memory("bench", url=f"sqlite:///{path}") as memory:
        next(iter(memory))
        before = _peak()
        _expect(len(memory.list_keys()), count)
        return _peak() - before


def _iterate_bare(path: str, count: int) -> int:
    bare = sqlite3.connect(path)
    bare.execute(_FIRST, ("bench", PAGE)).fetchall()
    before = _peak()
    _expect(sum(1 for _ in bare.execute(_ALL, ("bench",))), count)
    return _peak() - before


def _expect(found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"listed {found:,} keys of {wanted:,}")


def _peak() -> int:
    """The most bytes that this process has held; on Linux of itself alone, without what its parent held when it began."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
