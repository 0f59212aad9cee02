"""The crew of examples/crew, as a user runs it: each question in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from model_stub import serving


@pytest.fixture
def crew(root: Path):
    def run(request: str, **settings: str) -> str:
        command = [sys.executable, str(root / "examples" / "crew" / "crew.py"), request]
        ended = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=110)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    return run


@pytest.mark.timeout(300)  # importing CrewAI takes seconds, in each process
def test_what_one_process_was_told_the_next_one_knows(crew):
    assert crew("What is our project called?") == "I do not know what it is called."
    assert crew("Our project is called Bluebird. What is it called?") == "The project is called Bluebird."
    assert crew("What is our project called?") == "The project is called Bluebird."


@pytest.mark.timeout(300)
def test_a_real_model_works_where_its_key_is_set(crew):
    with serving() as stub:
        assert crew("What is our project called?", **stub.settings).startswith("I see")
    assert "What is our project called?" in str(stub.seen[0])
