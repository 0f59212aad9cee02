"""The code of docs/crewai-flows.md does what it says, in the order in which it stands, in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(600)
def test_the_code_of_the_page(root: Path, tmp_path: Path):
    if importlib.util.find_spec("crewai.flow.conversational") is None:
        pytest.skip("not applicable: this CrewAI has conversations under another name, as the page says")
    page = root / "docs" / "crewai-flows.md"
    text = page.read_text(encoding="utf-8")
    home = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": str(tmp_path)}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 6
    for number, found in enumerate(blocks):
        line = text.count("\n", 0, found.start("code")) + 1
        snippet = tmp_path / f"block{number}.py"
        snippet.write_text(found["code"], encoding="utf-8")
        command = [sys.executable, str(root / "tests" / "run_snippet.py"), str(snippet), page.name, str(line)]
        ended = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, timeout=250, check=False)
        assert ended.returncode == 0, f"{page.name}, line {line}: {ended.stderr}"
