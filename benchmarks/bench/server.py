"""The server under wrk: GET and PUT at several numbers of connections, against constants and one commit per request."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from bench.measure import Samples, Side, interleave
from bench.settings import VALUE, Settings
from bench.table import Row, absent, rate_text, time_text
from botwire import Memory

NAME = "server"
CONNECTIONS = (1, 8, 32)
KEYS = 1_000
_VARIANTS = ("botwire", "one commit per request", "starlette", "asgi")
_WAITS = (("get", "botwire"), ("put", "botwire"), ("put", "one commit per request"))
_ENTRY = {
    "namespace": "bench",
    "key": "user:500",
    "value": VALUE,
    "version": 1,
    "created_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-01T00:00:00.000000Z",
    "expires_at": None,
}
BODY = json.dumps(_ENTRY, separators=(",", ":"))
"""What the constant apps answer: as long as botwire's answer to a GET."""

DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FOUND %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
"""
GET = f"""
request = function() return wrk.format("GET", "/memory/bench/user:" .. math.random(0, {KEYS - 1})) end
"""
PUT = f"""
local headers = {{["Content-Type"] = "application/json"}}
local body = [==[{json.dumps({"value": VALUE})}]==]
request = function() return wrk.format("PUT", "/memory/bench/user:" .. math.random(0, {KEYS - 1}), headers, body) end
"""


def rows(settings: Settings) -> Iterator[Row]:
    """Throughput and the longest waits."""
    wrk = shutil.which("wrk")
    if wrk is None:
        yield absent(NAME, "server", "wrk", "wrk is not on the PATH; it is a package of that name on Debian and Homebrew")
        return
    folder = settings.place("server")
    scripts = {}
    for name, text in (("get", GET), ("put", PUT)):
        scripts[name] = folder / f"{name}.lua"
        scripts[name].write_text(text + DONE)
    with ExitStack() as stack:
        apps = {name: stack.enter_context(App(name, folder / f"{name.split()[0]}.db")) for name in _VARIANTS}
        load = Wrk(wrk, scripts, 1 if settings.quick else 2)
        for app in apps.values():
            load.run("get", app, 8)  # warms it up
        for connections in CONNECTIONS:
            yield from _at(connections, apps, load, settings.rounds(5))
    for variant in ("botwire", "one commit per request"):
        acknowledged, found = load.acknowledged[variant], found_in(folder / f"{variant.split()[0]}.db")
        what = f"PUTs acknowledged under load ({variant}) that the file does not have"
        yield Row(NAME, what, f"{max(0, acknowledged - found):,}", bar="0", passed=found >= acknowledged, note=f"of {acknowledged:,}")


def _at(connections: int, apps: dict[str, App], wrk: Wrk, rounds: int) -> Iterator[Row]:
    sides = {
        "GET": wrk.side("get", apps["botwire"], connections),
        "GET starlette": wrk.side("get", apps["starlette"], connections),
        "GET asgi": wrk.side("get", apps["asgi"], connections),
        "PUT": wrk.side("put", apps["botwire"], connections),
        "PUT alone": wrk.side("put", apps["one commit per request"], connections),
    }
    samples = interleave(sides, rounds)
    at = f"at {connections} connection{'s' if connections > 1 else ''}"
    get, put, alone = (wrk.waits(method, apps[name], connections) for method, name in _WAITS)
    judged = {8: 0.5}.get(connections)
    yield _row(samples, f"GET {at}", ("GET", "GET starlette"), "bare Starlette, constant answer", judged, f"p99 {time_text(get)}")
    yield _row(samples, f"GET {at}", ("GET", "GET asgi"), "bare ASGI, constant answer", None, "")
    note = f"p99 {time_text(put)}, theirs {time_text(alone)}"
    yield _row(
        samples, f"durable PUT {at}", ("PUT", "PUT alone"), "botwire, one commit per request", 1.2 if connections == 32 else None, note
    )
    yield _row(samples, f"durable PUT {at}", ("PUT", "GET"), f"botwire, GET {at}", 0.4 if connections == 32 else None, "")
    if connections == 32:
        yield Row(
            NAME, f"durable PUT {at}: p99", time_text(put), bar="50 ms", passed=put < 0.05, load=samples.load, note="median of the rounds"
        )


def _row(samples: Samples, what: str, sides: tuple[str, str], against: str, least: float | None, note: str) -> Row:
    ours, theirs = sides
    ratio = samples.ratio(ours, theirs)
    passed = None if least is None else ratio.median >= least
    bar = "" if least is None else f"{least}x or more"
    return Row(
        NAME, what, rate_text(samples.median(ours)), against, rate_text(samples.median(theirs)), ratio, bar, passed, samples.load, note
    )


def found_in(file: Path) -> int:
    """How many PUTs a file has seen: each raised a version by one, and each key began at 1."""
    with Memory("bench", url=f"sqlite:///{file}") as memory:
        return sum(row.version for row in memory.store.scan("bench", "", None, KEYS)) - KEYS


class App:
    """A server in a process of its own; those that store have files of their own, filled before they start."""

    def __init__(self, variant: str, file: Path) -> None:
        self.variant = variant
        url = f"sqlite:///{file}"
        with Memory("bench", url=url) as memory:
            memory.set_many({f"user:{number}": VALUE for number in range(KEYS)})
        command = [sys.executable, "-m", "bench.app", variant, url, BODY]
        path = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        self.port = 0

    def __enter__(self) -> Self:
        line = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not line.isdigit():
            raise RuntimeError(f"the server {self.variant!r} did not start; see the error above")
        self.port = int(line)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


class Wrk:
    """wrk with our scripts; keeps the longest waits beside the rates."""

    def __init__(self, path: str, scripts: dict[str, Path], seconds: int) -> None:
        self._path = path
        self._scripts = scripts
        self._seconds = seconds
        self.acknowledged: Counter[str] = Counter()
        self._waits: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)

    def side(self, method: str, app: App, connections: int) -> Side:
        """A side that gives requests answered a second."""
        return lambda: self.run(method, app, connections)

    def run(self, method: str, app: App, connections: int) -> float:
        """Requests answered a second.

        Raises:
            RuntimeError: if one was answered with an error, or not at all.
        """
        script = str(self._scripts[method])
        command = [self._path, "-t1", f"-c{connections}", f"-d{self._seconds}s", "-s", script, f"http://127.0.0.1:{app.port}"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = next(line for line in output.splitlines() if line.startswith("FOUND "))
        requests, microseconds, wait, errors = map(int, found.split()[1:])
        if errors:
            raise RuntimeError(f"{errors} of {requests} requests to {app.variant!r} failed:\n{output}")
        self._waits[method, app.variant, connections].append(wait / 1e6)
        if method.startswith("put"):
            self.acknowledged[app.variant] += requests
        return requests / (microseconds / 1e6)

    def waits(self, method: str, app: App, connections: int) -> float:
        """The 99th percentile of the waits, in seconds: the median of the runs."""
        return statistics.median(self._waits[method, app.variant, connections])
