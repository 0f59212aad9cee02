"""The agent of examples/langgraph_agent, as a user runs it: each command is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def agent(root: Path):
    def run(*arguments: str) -> str:
        program = str(root / "examples" / "langgraph_agent" / "agent.py")
        ended = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, timeout=110)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    return run


def test_what_was_asked_in_one_process_is_answered_in_another(agent):
    asked, how = agent("start", "Tell Bob that the meeting is at ten").splitlines()
    thread = how.split()[-2]
    assert asked == "I would send: Dear Bob, the meeting is at ten."
    assert agent("list") == f"{thread} waits for an answer"

    assert agent("answer", thread, "yes") == "Sent: Dear Bob, the meeting is at ten."
    assert agent("list") == f"{thread} is done"


def test_what_is_refused_is_not_sent(agent):
    first = agent("start", "Tell Bob that the meeting is at ten").split()[-2]
    second = agent("start", "Tell Ada that lunch is ready").split()[-2]
    assert agent("answer", first, "no") == "Not sent."
    assert sorted(agent("list").splitlines()) == sorted([f"{first} is done", f"{second} waits for an answer"])
