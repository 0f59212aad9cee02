"""docs/reliability.md: its blocks do what they say, and its commands are there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_a_block_does_what_it_says(root, tmp_path, number):
    """Where a line is an expression and its comment a literal, the expression's value equals the literal."""
    blocks = BLOCK.findall((root / "docs" / "reliability.md").read_text(encoding="utf-8"))
    assert len(blocks) == 2
    block = tmp_path / "block.py"
    block.write_text(blocks[number], encoding="utf-8")
    command = [sys.executable, str(root / "tests" / "run_snippet.py"), str(block), "docs/reliability.md", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", ["tests/faults.py", "tests/matrix.py"])
def test_the_commands_explain_themselves(root, program):
    text = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert f"python3 {program}" in text
    done = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
