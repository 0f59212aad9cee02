"""What botwire costs its user before it has done anything: packages, a download, an import. None of it grows unnoticed.

Each test prints its figure at the end of a run. Whoever raises a bound here says why, beside it. What ``import botwire`` may load is in
``test_import_cost.py``; times against other libraries are in ``benchmarks/`` (``--only startup``).
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from release import MOST_BYTES

MOST_PACKAGES = 20
"""All that ``pip install botwire`` brings on Linux: the core's six, and what these need."""

MOST_SOURCE = 125_000
"""Bytes of botwire's own modules that ``import botwire`` reads."""
MOST_MODULES = 80
"""That it loads, those of the standard library included: 71 to 72, which depends on Python's version."""
MOST_CALLS = 50_000
"""Of functions while it is imported, 41,000 to 43,000: what stands for its time here, since it is the same each time."""
MOST_TIMES_A_START = 15
"""CPU time of a process that imports it over that of one that does nothing: 6 to 8. Wide, since a machine at work changes it."""

Figure = Any
"""Takes a name, ``figure``, and what to print."""

IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); import botwire"
COUNTED = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
before, calls = set(sys.modules), 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
sys.setprofile(count)
import botwire
sys.setprofile(None)
loaded = set(sys.modules) - before
own = [sys.modules[name].__file__ for name in loaded if name.partition(".")[0] == "botwire"]
print(json.dumps({"modules": len(loaded), "own": len(own), "source": sum(map(os.path.getsize, own)), "calls": calls}))
"""


def test_the_core_needs_six_packages(root: Path, record_property: Figure):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {Requirement(line).name for line in project["dependencies"]}
    record_property("figure", f"direct dependencies: {len(core)}")

    assert core == {"apsw", "httpcore", "httpx", "platformdirs", "pydantic", "typer"}


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: what the core's packages need differs from system to system")
def test_what_is_installed_with_it_is_little(record_property: Figure):
    found = {"botwire"}
    waiting = ["botwire"]
    while waiting:
        new = {re.sub(r"[-_.]+", "-", requirement.name).lower() for requirement in needs_of(waiting.pop())} - found
        found |= new
        waiting += new
    record_property("figure", f"packages that `pip install botwire` brings besides: {len(found) - 1}, at most {MOST_PACKAGES}")

    assert len(found) - 1 <= MOST_PACKAGES, sorted(found)


def needs_of(name: str) -> list[Requirement]:
    requirements = map(Requirement, metadata.requires(name) or [])
    return [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]


def test_the_wheel_is_small(root: Path, tmp_path: Path, record_property: Figure):
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    wheel = Path(next(iter(builder.WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"]))))
    size = wheel.stat().st_size
    record_property("figure", f"bytes of the wheel: {size:,}, at most {MOST_BYTES:,}")

    assert size <= MOST_BYTES


def test_an_import_loads_and_does_little(root: Path, record_property: Figure):
    # -S: what the environment's .pth files load is not botwire's. The second run finds compiled modules.
    command = [sys.executable, "-I", "-S", "-c", COUNTED, str(root)]
    cost = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(2)][1]
    kinds = f"{cost['modules']} modules, at most {MOST_MODULES}, {cost['own']} of them its own"
    amounts = f"{cost['source']:,} bytes of these, at most {MOST_SOURCE:,}; {cost['calls']:,} function calls, at most {MOST_CALLS:,}"
    record_property("figure", f"`import botwire`: {kinds}; {amounts}")

    assert cost["source"] <= MOST_SOURCE
    assert cost["modules"] <= MOST_MODULES
    assert cost["calls"] <= MOST_CALLS


@pytest.mark.alone
def test_an_import_takes_a_few_times_the_start_of_python(root: Path, record_property: Figure):
    resource = pytest.importorskip("resource", reason="not applicable: this system does not tell a process's CPU time")

    def cpu_of(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-I", "-S", "-c", code, str(root)], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    rounds = [(cpu_of("pass"), cpu_of(IMPORT)) for _ in range(15)]
    bare, imported = (statistics.median(times) for times in zip(*rounds, strict=True))
    shown = f"{imported * 1000:.0f} ms of CPU time, with Python's start of {bare * 1000:.0f} ms"
    record_property("figure", f"a process that imports botwire: {shown}: {imported / bare:.1f} times, at most {MOST_TIMES_A_START}")

    assert imported / bare <= MOST_TIMES_A_START
