"""The fault tests, with a table of what became of the writes: ``python3 tests/faults.py``, in an environment with the project's.

What follows goes to pytest: ``python3 tests/faults.py -k postgres``. ``BOTWIRE_TEST_SECONDS`` makes the histories longer.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = [f"tests/reliability/test_{name}.py" for name in ("linearizability", "http_faults", "postgres_faults", "redis_faults")]
WRITES = ("acknowledged", "lost", "duplicates", "numbers_given_twice", "gaps", "unavailable_s")
HISTORIES = ("calls", "unanswered", "faults", "violations")


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        report.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *TESTS, *arguments]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, "BOTWIRE_TEST_REPORT": str(report)}, check=False).returncode
        rows = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    print(table([row for row in rows if "calls" not in row], WRITES))
    print()
    print(table([row for row in rows if "calls" in row], HISTORIES))
    return status


def table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    """The reports' figures, one test a row; a loss counts messages, entries and increments together."""
    lines = [f"| what happens | {' | '.join(name.replace('_', ' ') for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        row["lost"] = sum(row.get(name, 0) for name in ("lost", "moved", "entries_lost", "increments_lost"))
        row["duplicates"] = row.get("duplicates", 0) + row.get("increments_doubled", 0)
        lines.append(f"| {row['test']} | {' | '.join(str(row[name]) for name in columns)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
