"""Many writers, many processes, and the sudden end of some: nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from clients import Lines

from botwire import Memory

HERE = Path(__file__).parent
ROUNDS = 200


def run_together(url: str, processes: int, **times: int) -> None:
    """Processes that begin each kind of change at the same moment, through servers of their own, and make it so many times."""
    command = [sys.executable, str(HERE / "writer.py"), url]
    writers = [subprocess.Popen([*command, f"w{number}"], stdin=PIPE, stdout=PIPE, text=True) for number in range(processes)]
    for what, count in times.items():
        for writer in writers:
            assert answer(writer) == "ready"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(f"{what} {count}\n")
            writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=100)
        assert writer.returncode == 0


def answer(writer: subprocess.Popen[str]) -> str:
    assert writer.stdout is not None
    return writer.stdout.readline().strip()


def test_of_fifty_writes_at_once_all_are_kept(url: str):
    with Lines("--store", url) as server:
        results = server.call_all(("memory_set", {"key": f"k{number}", "value": number}) for number in range(50))
    assert [result["version"] for result in results] == [1] * 50

    with Memory(url=url) as memory:
        assert dict(memory.items()) == {f"k{number}": number for number in range(50)}


def test_two_processes_keep_all_of_their_hundred_writes(url: str):
    run_together(url, processes=2, set_each=100)

    with Memory(url=url) as memory:
        assert dict(memory.items()) == {f"w{process}/{number}": number for process in range(2) for number in range(100)}


def test_four_processes_lose_no_change_of_one_value(url: str):
    with Memory(url=url) as memory:
        memory.session("shared").set_metadata({})
        run_together(url, processes=4, count=20, append=25, merge=25, say=25)

        everyone = [[f"w{process}", number] for process in range(4) for number in range(25)]
        entry = memory.get_entry("count")
        assert entry is not None
        assert (entry.value, entry.version) == (80, 80)
        assert sorted(memory.get("log")) == everyone
        assert memory.get("object") == {f"{name}-{number}": True for name, number in everyone}
        messages = memory.session("shared").messages()
        assert [message.seq for message in messages] == list(range(1, 101))
        assert sorted(message.text for message in messages) == sorted(f"{name} {number}" for name, number in everyone)


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: there is no fork and no SIGKILL")
def test_after_two_hundred_kills_everything_acknowledged_is_there(tmp_path: Path):
    file = tmp_path / "memory.db"
    command = [sys.executable, str(HERE / "killer.py"), str(file)]
    killers = [subprocess.Popen([*command, name, str(ROUNDS // 2)], stdout=PIPE, stderr=PIPE, text=True) for name in "ab"]
    acknowledged: dict[str, int] = {}
    for killer in killers:
        printed, errors = killer.communicate(timeout=280)
        assert killer.returncode == 0, errors
        acknowledged |= json.loads(printed)
    assert len(acknowledged) >= ROUNDS

    with Memory(url=f"sqlite://{file}") as memory:
        there = dict(memory.items())
        assert {key: there.get(key) for key in acknowledged} == acknowledged
        assert memory.store.check()["ok"]
