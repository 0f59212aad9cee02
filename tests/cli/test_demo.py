from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from botwire.cli._demo import Step, crash
from botwire.cli._demo_processes import DemoFailed, Processes

pytestmark = pytest.mark.timeout(300)


def test_the_demo_shows_that_nothing_is_lost(process, need, tmp_path) -> None:
    need.module("uvicorn")
    began = time.monotonic()
    ran = process("demo", "--json", BOTWIRE_URL=f"sqlite://{tmp_path / 'mine.db'}")
    assert ran.returncode == 0, ran.stderr
    shown = json.loads(ran.stdout)
    assert shown["ok"]
    assert [(step["name"], step["store"]) for step in shown["steps"]] == [
        ("killed writer", "file"),
        ("writers at once", "file"),
        ("killed server", "server"),
        ("writers at once", "server"),
    ]
    for step in shown["steps"]:
        assert (step["lost"], step["twice"], step["gaps"]) == (0, 0, 0)
        assert step["acknowledged"] == step["found"] >= 60
    assert not (tmp_path / "mine.db").exists()
    assert time.monotonic() - began < 120  # under a minute on a machine of its own


def test_the_demo_is_told_to_people_too(terminal) -> None:
    shown = terminal("demo")
    assert shown.status == 0
    assert "kill -9" in shown.out
    assert "Every acknowledged write was found again." in shown.out


@pytest.mark.parametrize("wrong", [{"found": 9}, {"twice": 1}, {"gaps": 1}, {"acknowledged": 0, "found": 0}])
def test_a_wrong_figure_is_noticed(wrong) -> None:
    right = {"name": "x", "store": "file", "acknowledged": 10, "found": 10, "twice": 0, "gaps": 0, "seconds": 1.0}
    assert Step(**right).ok
    assert not Step(**{**right, **wrong}).ok


def test_a_store_that_loses_writes_makes_the_demo_fail(tmp_path, monkeypatch) -> None:
    def start_elsewhere(self, role, *arguments, real=Processes.start):
        if role == "recall":
            arguments = (f"sqlite://{tmp_path / 'empty.db'}",)
        return real(self, role, *arguments)

    monkeypatch.setattr(Processes, "start", start_elsewhere)
    with Processes() as processes:
        step = crash(processes, f"sqlite://{tmp_path / 'a.db'}", lambda _: None)
    assert (step.ok, step.found) == (False, 0)


def test_a_process_that_fails_is_told_with_its_last_words() -> None:
    with Processes() as processes:
        worker = processes.start("converse", "nope://x")
        with pytest.raises(DemoFailed, match="no store for the URL"):
            worker.line()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="not applicable: no /proc to look for processes in")
def test_no_process_outlives_a_demo_that_is_killed(need, tmp_path) -> None:
    need.module("uvicorn")
    marker = f"botwire-orphan-test-{os.getpid()}"
    code = (
        "import sys, time\nfrom botwire.cli._demo_processes import Processes\nfrom botwire.cli._demo import Server\n"
        "processes = Processes()\nprocesses.start('converse', sys.argv[1]).line()\nServer(processes, sys.argv[2]).start()\n"
        "processes.start('append', sys.argv[1], 'x', '1').line()\nprint('up', flush=True)\ntime.sleep(100)"
    )
    urls = [f"sqlite://{tmp_path / marker}.db", f"sqlite://{tmp_path / marker}-2.db"]
    with subprocess.Popen([sys.executable, "-c", code, *urls], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        assert len(having(marker)) == 4
        running.kill()
    deadline = time.monotonic() + 30
    while having(marker):
        assert time.monotonic() < deadline, having(marker)
        time.sleep(0.05)


def having(marker: str) -> list[str]:
    """The processes whose command line holds the marker."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # it may have ended meanwhile
            if folder.name.isdigit() and marker.encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
    return found
