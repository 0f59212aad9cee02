"""The benchmarks run, and say what they found; how fast anything is, is not asked here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent.parent / "benchmarks" / "run.py"
pytestmark = pytest.mark.skipif(not RUN.exists(), reason="the benchmarks are in the repository, not in the source distribution")


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """What a quick run of two cheap topics printed, and its JSON."""
    folder = tmp_path_factory.mktemp("benchmarks")
    found = folder / "found.json"
    command = [sys.executable, str(RUN), "--quick", "--only", "startup", "--only", "sessions", "--dir", str(folder), "--json", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(found.read_text()), list(folder.iterdir())


def test_a_quick_run_prints_a_table_with_a_line_for_each_row(quick_run):
    printed, found, _ = quick_run
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert "botwire" in lines[0]
    assert "bar" in lines[0]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(found["rows"])


def test_the_json_has_every_row_with_its_figure_and_what_it_is_compared_with(quick_run):
    _, found, _ = quick_run
    assert {row["topic"] for row in found["rows"]} == {"startup", "sessions"}
    assert all(row["botwire"] for row in found["rows"])
    assert all(row["its_figure"] for row in found["rows"] if row["against"])
    assert all(row["passed"] in (True, False) for row in found["rows"] if row["bar"])


def test_what_was_measured_with_is_told_beside_the_table(quick_run):
    printed, found, _ = quick_run
    assert found["facts"]["quick"] is True
    assert {"python", "sqlite3", "apsw", "cpus", "file_system"} <= set(found["facts"])
    assert "quick run" in printed


def test_nothing_is_left_behind(quick_run):
    assert [path.name for path in quick_run[2]] == ["found.json"]


def test_memory_does_no_io_and_import_loads_nothing_heavy(quick_run):
    rows = {row["what"]: row for row in quick_run[1]["rows"]}
    assert rows["modules that `import botwire` loads"]["passed"]
    assert rows['10,000 x `Memory("x")`: files or sockets opened']["passed"]


def test_an_unknown_topic_is_refused():
    done = subprocess.run([sys.executable, str(RUN), "--only", "nothing"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "startup" in done.stderr
