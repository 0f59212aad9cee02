"""`set` and `get` on the embedded store, against bare `sqlite3`, diskcache and the disk itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import apsw

from bench.bare import CREATE, UPSERT, Bare
from bench.measure import Samples, Side, interleave
from bench.peers import PeerMissing, python_with
from bench.settings import VALUE, Settings
from bench.table import Row, absent, time_text
from botwire import Memory

NAME = "entries"
KEYS = [f"user:{number}" for number in range(1_000)]
TEXT = json.dumps(VALUE, separators=(",", ":"))
PAGE = b"\0" * 4_096
SETS, GETS, FIRST = 20, 500, 100
"""Calls in one sample: short, so that sides change before the machine does."""

LOG_FRAMES = 1_200
"""Writes after which a new file's log has its full size: from then on it is written over, which the disk does faster."""

_DISKCACHES = {"diskcache, its own settings": "", "diskcache, synchronous=FULL": "2"}


def rows(settings: Settings) -> Iterator[Row]:
    """Sets, gets, and what the disk takes for the least it can do."""
    folder = settings.place("entries")
    with ExitStack() as stack:
        memory = stack.enter_context(Memory("bench", url=f"sqlite:///{folder / 'botwire.db'}"))
        bare = Bare(folder / "bare.db")
        stack.callback(bare.close)
        memory.set_many(dict.fromkeys(KEYS, VALUE))
        with bare.transaction():
            for key in KEYS:
                bare.set_plain(key, TEXT)
                bare.set(key, TEXT)
        peers: dict[str, _DiskCache] = {}
        for name, synchronous in _DISKCACHES.items():
            try:
                python = python_with("diskcache", settings)
                peers[name] = stack.enter_context(_DiskCache(python, folder / f"cache{synchronous}", synchronous))
            except PeerMissing as reason:
                yield absent(NAME, "set, get", name, str(reason))
        yield from _sets(settings, memory, bare, peers, stack)
        yield from _first(settings, folder)
        yield from _gets(settings, memory, bare, peers)


def _sets(settings: Settings, memory: Memory, bare: Bare, peers: dict[str, _DiskCache], stack: ExitStack) -> Iterator[Row]:
    folder = bare.path.parent
    engine = apsw.Connection(os.fspath(folder / "engine.db"))
    stack.callback(engine.close)
    engine.pragma("journal_mode", "wal")
    engine.pragma("synchronous", "full")
    engine.execute(CREATE)

    def set_by_engine(key: str) -> None:
        engine.execute(UPSERT, ("bench", key, TEXT, time.time_ns() // 1_000)).fetchall()

    for fill in (lambda key: memory.set(key, VALUE), lambda key: bare.set(key, TEXT), set_by_engine):
        _keyed(fill, settings.size(LOG_FRAMES, 1))()
    sides: dict[str, Side] = {
        "botwire": _keyed(lambda key: memory.set(key, VALUE), SETS),
        "bare `sqlite3`, same statement": _keyed(lambda key: bare.set(key, TEXT), SETS),
        "bare `apsw`, same statement": _keyed(set_by_engine, SETS),
        "bare `sqlite3`, cheapest statement": _keyed(lambda key: bare.set_plain(key, TEXT), SETS),
        **{name: peer.side("set", SETS) for name, peer in peers.items()},
        "disk: overwrite 4 KiB + fdatasync": _disk(folder / "overwritten", stack),
        "disk: overwrite, a stat of the file before": _disk(folder / "looked-at", stack, look=True),
        "disk: append 4 KiB + fdatasync": _disk(folder / "grown", stack, grow=True),
    }
    samples = interleave(sides, settings.rounds(60))
    yield from _against(samples, "set, durable (FULL)", {"bare `sqlite3`, same statement": 1.5})
    fresh = iter(range(10**9))
    new: dict[str, Side] = {
        "botwire": _keyed(lambda _: memory.set(f"new:{next(fresh)}", VALUE), SETS),
        "bare `sqlite3`, same statement": _keyed(lambda _: bare.set(f"new:{next(fresh)}", TEXT), SETS),
    }
    yield from _against(interleave(new, settings.rounds(40)), "set of a new key, durable (FULL)", {"bare `sqlite3`, same statement": 1.5})


def _first(settings: Settings, folder: Path) -> Iterator[Row]:
    """What a process that does not live long waits for: the first sets on a file that nobody else has open."""
    files = (folder / f"young-{number}.db" for number in range(10**9))

    def ours() -> float:
        with Memory("bench", url=f"sqlite:///{next(files)}") as memory:
            memory.set("made", VALUE)
            return _keyed(lambda key: memory.set(key, VALUE), FIRST)()

    def bare() -> float:
        other = Bare(next(files))
        other.set("made", TEXT)
        taken = _keyed(lambda key: other.set(key, TEXT), FIRST)()
        other.close()
        return taken

    sides: dict[str, Side] = {"botwire": ours, "bare `sqlite3`, same statement": bare}
    yield from _against(interleave(sides, settings.rounds(20)), f"the first {FIRST} sets on a file, durable (FULL)", {})


def _gets(settings: Settings, memory: Memory, bare: Bare, peers: dict[str, _DiskCache]) -> Iterator[Row]:
    sides: dict[str, Side] = {
        "botwire": _keyed(memory.get, GETS),
        "bare `sqlite3`, text only": _keyed(bare.get, GETS),
        "bare `sqlite3` + json.loads": _keyed(lambda key: json.loads(bare.get(key)[1]), GETS),
        **{name: peer.side("get", GETS) for name, peer in peers.items()},
    }
    yield from _against(interleave(sides, settings.rounds(60)), "get", {"bare `sqlite3`, text only": 2.5})


def _against(samples: Samples, what: str, bars: dict[str, float]) -> Iterator[Row]:
    for name in samples.rounds:
        if name == "botwire":
            continue
        ratio, bar = samples.ratio("botwire", name), bars.get(name)
        yield Row(
            NAME,
            what,
            time_text(samples.median("botwire")),
            name,
            time_text(samples.median(name)),
            ratio,
            f"{bar}x" if bar else "",
            ratio.median <= bar if bar else None,
            samples.load,
        )


def _keyed(function: Callable[[str], object], count: int) -> Side:
    """A side that calls ``function`` with keys in random order."""

    def sample() -> float:
        keys = random.choices(KEYS, k=count)
        start = time.perf_counter()
        for key in keys:
            function(key)
        return (time.perf_counter() - start) / count

    return sample


def _disk(path: Path, stack: ExitStack, *, grow: bool = False, look: bool = False) -> Side:
    """What any durable write comes down to: a page written, and the wait for the disk."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    stack.callback(os.close, file)
    synchronise = os.fdatasync if hasattr(os, "fdatasync") else os.fsync
    pages = iter(range(10**9))
    for page in range(64):
        os.pwrite(file, PAGE, page * len(PAGE))
    os.fsync(file)

    def write(_: str) -> None:
        number = next(pages)
        if look:
            path.stat()
        os.pwrite(file, PAGE, (64 + number if grow else number % 64) * len(PAGE))
        synchronise(file)

    return _keyed(write, SETS)


class _DiskCache:
    """diskcache in a process of its own, maybe of another environment."""

    def __init__(self, python: str, folder: Path, synchronous: str) -> None:
        worker = Path(__file__).with_name("diskcache_worker.py")
        command = [python, os.fspath(worker), os.fspath(folder), synchronous, TEXT]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        if self._line() != "ready":
            raise PeerMissing("diskcache did not start; see the error above")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def side(self, operation: str, count: int) -> Side:
        """A side that has it make so many calls, and tell what one took."""
        return lambda: self._ask(operation, count)

    def _ask(self, operation: str, count: int) -> float:
        if self._process.stdin is None:
            raise RuntimeError("the worker has no input")
        self._process.stdin.write(f"{operation} {count}\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the worker has no output")
        return self._process.stdout.readline().strip()
