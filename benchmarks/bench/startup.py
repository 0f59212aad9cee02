"""What `import botwire` and `Memory("x")` cost before anything is stored."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.measure import Side, interleave, per_call
from bench.settings import Settings
from bench.table import Row, time_text

NAME = "startup"
UNWANTED = ("httpx", "pydantic", "starlette", "uvicorn", "fastapi", "typer", "rich", "apsw", "sqlite3", "asyncio")

_MODULES = "import sys; bare = set(sys.modules); import botwire; print(len(set(sys.modules) - bare), *sys.modules)"
_NO_IO = """
import sys
from botwire import Memory
Memory("warm")
seen = []
def hook(event, arguments):
    if event.split(".")[0] in ("open", "os", "socket", "sqlite3", "subprocess", "ctypes", "import", "shutil", "tempfile"):
        seen.append(event)
sys.addaudithook(hook)
for _ in range(10_000):
    Memory("x")
import json
print(json.dumps({"events": sorted(set(seen) - {"import"}), "drivers": sorted({"apsw", "httpx"} & set(sys.modules))}))
"""


def rows(settings: Settings) -> Iterator[Row]:
    """Import in a fresh process, and construction."""
    yield from _imports(settings)
    yield _construction(settings)
    yield _no_io()


def _imports(settings: Settings) -> Iterator[Row]:
    sides = {"botwire": _process("import botwire"), "bare": _process("pass"), "httpx": _process("import httpx")}
    for side in sides.values():
        side()  # compiles what is imported
    samples = interleave(sides, settings.rounds(15))
    extra = samples.difference("botwire", "bare").median
    figure = f"{time_text(samples.median('botwire'))} (+{extra * 1e3:.0f} ms)"
    yield Row(
        NAME,
        "`import botwire`, fresh process",
        figure,
        "bare `python -c pass`",
        time_text(samples.median("bare")),
        samples.ratio("botwire", "bare"),
        "+100 ms",
        extra < 0.1,
        samples.load,
    )
    peer = f"{time_text(samples.median('httpx'))} (+{samples.difference('httpx', 'bare').median * 1e3:.0f} ms)"
    yield Row(NAME, "`import botwire`, fresh process", figure, "`import httpx`", peer, samples.ratio("botwire", "httpx"), load=samples.load)
    count, *modules = subprocess.run([sys.executable, "-c", _MODULES], capture_output=True, text=True, check=True).stdout.split()
    loaded = [name for name in UNWANTED if name in modules]
    yield Row(
        NAME,
        "modules that `import botwire` loads",
        count,
        bar="no httpx, pydantic, framework",
        passed=not set(loaded) - {"apsw", "sqlite3", "asyncio"},
        note=f"of the heavy ones: {', '.join(loaded) or 'none'}",
    )


def _process(code: str) -> Side:
    def sample() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return sample


def _construction(settings: Settings) -> Row:
    from botwire import Memory

    folder = settings.place("construction")
    path = os.fspath(folder / "bare.db")

    def connect() -> None:
        sqlite3.connect(path).close()

    sides = {"botwire": per_call(lambda: Memory("x"), 2_000), "sqlite3": per_call(connect, 200)}
    samples = interleave(sides, settings.rounds(15))
    return Row(
        NAME,
        '`Memory("x")`',
        time_text(samples.median("botwire")),
        "bare `sqlite3.connect` and close",
        time_text(samples.median("sqlite3")),
        samples.ratio("botwire", "sqlite3"),
        "50 µs",
        samples.median("botwire") < 50e-6,
        samples.load,
    )


def _no_io() -> Row:
    command = [sys.executable, "-X", "dev", "-W", "always::ResourceWarning", "-c", _NO_IO]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    warnings = done.stderr.count("ResourceWarning")
    seen = found["events"] + found["drivers"]
    return Row(
        NAME,
        '10,000 x `Memory("x")`: files or sockets opened',
        str(len(seen)),
        bar="no I/O, no warnings",
        passed=not seen and not warnings,
        note=f"{', '.join(seen) or 'nothing was opened'}; {warnings} resource warnings",
    )
