"""The benchmarks: one command, one table. `python benchmarks/run.py --help`; how to read it is in README.md."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Patience
from bench.settings import Settings
from bench.table import Row, absent, render

TOPICS = ("startup", "entries", "sessions", "listing", "server", "auth", "writers")
FRAMEWORKS = ("langchain", "langgraph", "crewai", "mcp", "postgres", "redis", "page")
"""Topics that need a framework, a server or a browser, and peers: measured only when they are asked for."""


def main() -> int:
    """Run what was asked for; 1 if ``--check`` is given and a bar is missed."""
    options = _options()
    Patience.left = options.patient
    if importlib.util.find_spec("botwire") is None:
        sys.exit("botwire is not installed here: run `pip install -e '.[server]'` in the repository first")
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="botwire-bench-", dir=options.dir, ignore_cleanup_errors=True) as folder:
        settings = Settings(Path(folder), options.quick)
        facts = _facts(settings)
        rows = list(_run(options.only or list(TOPICS), settings))
    print(render(rows))
    print(f"\n{_summary(facts, rows, time.time() - started)}")
    if options.json:
        found = {"facts": facts, "rows": [row.as_json() for row in rows]}
        Path(options.json).write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return int(options.check and any(row.passed is False for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure botwire against floors and peers, in turns, and print one table.")
    parser.add_argument("--only", action="append", choices=TOPICS + FRAMEWORKS, help="one topic; may be given several times")
    parser.add_argument("--quick", action="store_true", help="few rounds and small sizes: shows that it runs, not how fast")
    parser.add_argument("--json", metavar="FILE", help="write the rows there, too")
    parser.add_argument("--dir", metavar="FOLDER", help="where to put the files; a real disk (default: the system's temporary folder)")
    parser.add_argument("--patient", type=float, default=0, metavar="SECONDS", help="wait so long in all for other programs to be quiet")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    return parser.parse_args()


def _run(topics: list[str], settings: Settings) -> Iterator[Row]:
    for name in topics:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            for row in importlib.import_module(f"bench.{name}").rows(settings):
                print("  " + " · ".join(cell for cell in row.cells() if cell), file=sys.stderr, flush=True)
                yield row
        except ModuleNotFoundError as error:
            yield absent(name, name, error.name or "a module", f"{error}; pip install 'botwire[server]' brings what the benchmarks need")


def _facts(settings: Settings) -> dict[str, object]:
    import apsw

    import botwire

    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "botwire": botwire.__version__,
        "python": platform.python_version(),
        "sqlite3": sqlite3.sqlite_version,
        "apsw": apsw.sqlite_lib_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "file_system": _file_system(settings.folder),
        "quick": settings.quick,
    }


def _file_system(folder: Path) -> str:
    """The type of the file system that ``folder`` lies on; on tmpfs a durable write costs nothing, and says nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    under = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(under)[1] if under else "unknown"


def _summary(facts: dict[str, object], rows: list[Row], seconds: float) -> str:
    judged = [row for row in rows if row.passed is not None]
    missed = [row.what for row in judged if not row.passed]
    lines = [
        f"{len(judged) - len(missed)} of {len(judged)} bars reached, in {seconds:.0f} s. Missed: {'; '.join(missed) or 'none'}.",
        "; ".join(f"{name} {value}" for name, value in facts.items()),
        "Only ratios carry over to another machine: medians of the rounds' ratios, beside them the bounds of their middle half.",
    ]
    if facts["quick"]:
        lines.append("This was a quick run: it shows that the benchmarks work, and nothing else.")
    if facts["file_system"] in ("tmpfs", "ramfs"):
        lines.append("The files lay in RAM, where a durable write costs nothing: give --dir a folder on a disk.")
    if shutil.which("wrk") is None:
        lines.append("wrk is not installed, so the server was not measured.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
