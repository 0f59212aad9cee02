"""CrewAI's memory: botwire's storage against the built-in one, LanceDB, with vectors as long as a model's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.measure import Samples, Side, interleave, per_call
from bench.settings import Settings
from bench.table import Row, time_text

os.environ.update(CREWAI_DISABLE_TELEMETRY="true", CREWAI_TRACING_ENABLED="false", CREWAI_DISABLE_VERSION_CHECK="true")
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp(prefix="botwire-bench-crewai-"))
from crewai.memory.storage.lancedb_storage import LanceDBStorage
from crewai.memory.types import MemoryRecord

from botwire.integrations.crewai import BotWireStorage
from botwire.server import serve_in_thread
from botwire.stores import open_store

NAME = "crewai"
PEER = "LanceDBStorage"

FIRST_SEARCH = """
import sys
from botwire.integrations.crewai import BotWireStorage

def memory(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

url, dimensions = sys.argv[1], int(sys.argv[2])
BotWireStorage("empty", url=url).search([0.0] * dimensions)
storage = BotWireStorage("bench", url=url)
open("/proc/self/clear_refs", "w").write("5")
before = memory("VmRSS:")
storage.search([0.0] * dimensions)
assert storage.count() == int(sys.argv[3])
print(memory("VmHWM:") - before, memory("VmRSS:") - before)
"""


def rows(settings: Settings) -> Iterator[Row]:
    """Searching among many records, all and of one scope; saving; what the vectors take in memory."""
    folder = settings.place("crewai")
    count, dimensions = settings.size(10_000, 300), settings.size(1_536, 64)
    url = f"sqlite:///{folder / 'botwire.db'}"
    ours, peer = BotWireStorage("bench", url=url), LanceDBStorage(path=str(folder / "lance"), vector_dim=dimensions)
    for records in _records(count, dimensions):
        ours.save(records)
        peer.save(records)
    among = f"among {count:,} of {dimensions:,}"
    rounds = settings.rounds(15)
    query = _vectors(1, dimensions, seed=9)[0].tolist()
    for what, scope in ((f"search {among}", None), (f"search of a scope, a tenth {among}", "/scope/3")):
        sides = {"botwire": _search(ours, query, scope), "peer": _search(peer, query, scope)}
        samples = interleave(sides, rounds)
        yield _compared(samples, what, seconds=0.3)
    store = open_store(url)
    with serve_in_thread(store) as server:
        remote = BotWireStorage("bench", url=server)
        remote.search(query)
        samples = interleave({"botwire": _search(remote, query, None), "peer": _search(peer, query, None)}, rounds)
        yield _compared(samples, f"search {among}, over HTTP", seconds=0.3)
    store.close()
    samples = interleave({"botwire": _save(ours, dimensions), "peer": _save(peer, dimensions)}, rounds)
    yield _compared(samples, f"save of one record {among}", most=1.0)
    if Path("/proc/self/clear_refs").exists():
        yield _memory(url, count + rounds, dimensions)


def _vectors(count: int, dimensions: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _records(count: int, dimensions: int, batch: int = 500) -> Iterator[list[MemoryRecord]]:
    for start in range(0, count, batch):
        vectors = _vectors(min(batch, count - start), dimensions, seed=start)
        yield [
            MemoryRecord(
                content=f"fact {start + index}: " + "something that was found out " * 4,
                scope=f"/scope/{index % 10}",
                categories=["facts"],
                metadata={"number": start + index},
                embedding=vector.tolist(),
            )
            for index, vector in enumerate(vectors)
        ]


def _search(storage: BotWireStorage | LanceDBStorage, query: list[float], scope: str | None) -> Side:
    return per_call(lambda: storage.search(query, scope_prefix=scope, limit=10), 1)


def _save(storage: BotWireStorage | LanceDBStorage, dimensions: int) -> Callable[[], float]:
    def sample() -> float:
        record = MemoryRecord(content="one more", embedding=_vectors(1, dimensions, seed=time.time_ns())[0].tolist())
        start = time.perf_counter()
        storage.save([record])
        return time.perf_counter() - start

    return sample


def _memory(url: str, count: int, dimensions: int) -> Row:
    """The most that a new process takes for its first search, which reads all records, over the bare matrix."""
    command = [sys.executable, "-c", FIRST_SEARCH, url, str(dimensions), str(count)]
    peak, after = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    matrix = count * dimensions * 4
    text = f"memory of the first search of {count:,} of {dimensions:,}"
    ours, theirs = f"{peak / 1e6:,.0f} MB", f"{matrix / 1e6:,.0f} MB"
    note = f"{peak / matrix:.2f}x; {after / 1e6:,.0f} MB afterwards"
    passed = peak <= 2 * matrix if matrix > 10_000_000 else None
    return Row(NAME, text, ours, "the vectors as float32", theirs, None, "2x", passed, None, note)


def _compared(samples: Samples, what: str, *, most: float | None = None, seconds: float | None = None) -> Row:
    ratio, figure = samples.ratio("botwire", "peer"), samples.median("botwire")
    passed = ratio.median <= most if most else figure < seconds if seconds else None
    bar = f"{most}x" if most else time_text(seconds) if seconds else ""
    return Row(NAME, what, time_text(figure), PEER, time_text(samples.median("peer")), ratio, bar, passed, samples.load)
