"""The code of docs/crewai.md does what it says, in the order in which it stands, in processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(300)
def test_the_code_of_the_page(root: Path, tmp_path: Path):
    page = root / "docs" / "crewai.md"
    text = page.read_text(encoding="utf-8")
    home = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == 4
    for number, found in enumerate(blocks):
        line = text.count("\n", 0, found.start("code")) + 1
        snippet = tmp_path / f"block{number}.py"
        snippet.write_text(found["code"], encoding="utf-8")
        command = [sys.executable, str(root / "tests" / "run_snippet.py"), str(snippet), page.name, str(line)]
        ended = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, timeout=110, check=False)
        assert ended.returncode == 0, f"{page.name}, line {line}: {ended.stderr}"
