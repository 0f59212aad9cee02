"""The README's programs for frameworks, pasted into files and run as they are: in their order, each twice, all in one home.

``tests/integrations/run.py`` runs those of each environment, on its frameworks' newest and oldest versions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from integrations.run import ENVIRONMENTS
from reading import blocks_of

README = Path(__file__).resolve().parents[2] / "README.md"
RUNNING = os.environ.get("BOTWIRE_ENV", "")
HERE = ENVIRONMENTS[RUNNING].folders if RUNNING in ENVIRONMENTS else ()
BLOCKS = [block for block in blocks_of(README.read_text(encoding="utf-8")) if block.promised_twice and block.framework in HERE]


@pytest.mark.timeout(600)
@pytest.mark.skipif(not BLOCKS, reason="not applicable: frameworks have environments of their own, which tests/integrations/run.py makes")
def test_the_second_process_goes_on_where_the_first_one_ended(tmp_path: Path):
    for block in BLOCKS:
        program = tmp_path / f"program_for_{block.framework}.py"
        program.write_text(block.code, encoding="utf-8")
        for promised in block.promised_twice:
            assert promised in lines_of(program)


def lines_of(program: Path) -> list[str]:
    """What it prints; some frameworks say more besides."""
    ended = subprocess.run([sys.executable, program.name], cwd=program.parent, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()
