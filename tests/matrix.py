"""Every adapter's tests on every kind of store, as a table: ``python3 tests/matrix.py``.

Names of environments (``langchain``, see ``tests/integrations/run.py``) choose some; ``--stores sqlite,redis`` chooses stores;
what follows ``--`` goes to pytest. Exits with 1 if a test fails, or is skipped that could run. ``tests/run.py`` runs the same tests on
the same stores; this counts them. Uses the standard library only.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ("langchain", "autogen", "crewai", "mcp")
STORES = ("sqlite", "http", "postgres", "redis", "redis-cluster")
NO_STORE = "no store"
"""Tests that need none, or look at a file, or at a server that goes away."""

Counts = dict[tuple[str, str], Counter[str]]


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("environments", nargs="*", choices=(*ENVIRONMENTS, []), help="which ones; all by default")
    options.add_argument("--stores", default=",".join(STORES), help="kinds of stores, with commas between")
    ours, theirs = (arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]) if "--" in arguments else (arguments, [])
    given = options.parse_args(ours)
    stores = tuple(given.stores.split(","))
    counts: Counts = defaultdict(Counter)
    trouble: list[str] = []
    for name in given.environments or ENVIRONMENTS:
        run(name, stores, theirs or ["-n", "auto"], counts, trouble)
    print(table(counts, stores))
    print(*trouble, sep="\n")
    return 1 if trouble or not counts else 0


def run(name: str, stores: tuple[str, ...], options: list[str], counts: Counts, trouble: list[str]) -> None:
    """One environment's tests, counted."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, str(ROOT / "tests" / "integrations" / "run.py"), name, f"--junitxml={report}", *options]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, "BOTWIRE_TEST_STORES": ",".join(stores)}, check=False).returncode
        if not report.exists():
            trouble.append(f"{name}: ended with status {status}, without a report")
            return
        for case in ET.parse(report).iter("testcase"):
            count(case, stores, counts, trouble)


def count(case: ET.Element, stores: tuple[str, ...], counts: Counts, trouble: list[str]) -> None:
    """One test: whose it is, on what store it ran, how it ended."""
    where, test = case.get("classname", ""), case.get("name", "")
    parts = where.split(".")
    adapter = parts[2] if len(parts) > 2 else where
    parameters = re.findall(r"[\w-]+", test.partition("[")[2].replace("redis-cluster", "rediscluster").replace("-", " "))
    store = next((store for store in stores if store.replace("-", "") in parameters), NO_STORE)
    how = next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")
    if how == "skipped":
        reason = case.find("skipped").get("message", "")  # type: ignore[union-attr] - it was just found
        how = "not applicable" if reason.startswith("not applicable:") else "skipped"
    counts[adapter, store][how] += 1
    if how not in ("passed", "not applicable"):
        trouble.append(f"{how}: {where}::{test}")


def table(counts: Counts, stores: tuple[str, ...]) -> str:
    """Rows of adapters, columns of stores: how many passed, and what else happened."""
    columns = (*stores, NO_STORE)
    lines = [f"| adapter | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    adapters = sorted({adapter for adapter, _ in counts})
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cell(counts[name, store]) for store in columns)} |" for name in adapters)])


def cell(counted: Counter[str]) -> str:
    said = [f"{number} {how}" for how, number in sorted(counted.items(), key=lambda item: item[0] != "passed")]
    return ", ".join(said) or "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
