"""The team of examples/autogen_team, as a user runs it: each turn in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def team(root: Path):
    def run(*arguments: str) -> list[str]:
        program = str(root / "examples" / "autogen_team" / "team.py")
        ended = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, timeout=110)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()

    return run


def test_the_next_member_speaks_in_the_next_process(team):
    assert team("A letter, please") == ["writer: We are sorry, and your parcel is on its way."]
    assert team("What do you think?") == ["critic: Say when it arrives."]
    assert team("Once more") == ["writer: We are sorry, and your parcel is on its way."]
    assert [line.partition(":")[0] for line in team()] == ["user", "writer", "user", "critic", "user", "writer"]
