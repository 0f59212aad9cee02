"""The code of docs/crewai-flows.md does what it says, in the order in which it stands, in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest
from engines.programs import Programs

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

RUN = f"import runpy; runpy.run_path({str(Path(__file__).parents[2] / 'run_snippet.py')!r}, run_name='__main__')"


@pytest.mark.timeout(600)
def test_the_code_of_the_page(programs: Programs, root: Path, tmp_path: Path):
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
        with programs.begin(RUN, str(snippet), page.name, str(line), folder=tmp_path, environment=home) as begun:
            _, errors = begun.communicate(timeout=250)
        assert begun.returncode == 0, f"{page.name}, line {line}: {errors}"
