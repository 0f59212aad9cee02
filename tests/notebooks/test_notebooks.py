"""What a reader may expect of every notebook. That their outputs are those of a run is checked by notebooks/run.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))

pytestmark = pytest.mark.skipif(not NOTEBOOKS.exists(), reason="the notebooks are in the repository, not in the source distribution")


@pytest.fixture(params=NAMES)
def cells(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return json.loads((NOTEBOOKS / request.param).read_text(encoding="utf-8"))["cells"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def code(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_are_eight_and_the_page_beside_them_names_each():
    page = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    assert [name[:2] for name in NAMES] == [f"{number:02}" for number in range(1, 9)]
    assert [name for name in NAMES if f"({name})" not in page] == []


def test_it_opens_with_what_to_install_and_what_one_will_have_at_the_end(cells):
    title, install, what = source(cells[0]).split("\n\n")[:3]
    assert title.startswith("# ")
    assert re.fullmatch(r"\*\*Install:\*\* `pip install [^`\n]*botwire[^`\n]*`", install)
    assert what.startswith("At the end you will have ")


def test_it_ends_with_what_to_read_next_and_every_link_leads_to_a_file(cells):
    assert source(cells[-1]).startswith("## What to read next\n")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", "".join(source(cell) for cell in cells))
    assert links
    assert [link for link in links if not (NOTEBOOKS / link).exists()] == []


def test_its_first_code_keeps_all_files_and_all_memory_out_of_the_reader_s_own(cells):
    first = source(code(cells)[0])
    assert "os.chdir(tempfile.mkdtemp())" in first
    assert 'BOTWIRE_URL"] = "sqlite://memory.db"' in first or "url" in source(code(cells)[1])


def test_it_was_stored_by_a_run_from_top_to_bottom_without_an_error(cells):
    assert [cell["execution_count"] for cell in code(cells)] == list(range(1, len(code(cells)) + 1))
    assert [output for cell in code(cells) for output in cell["outputs"] if output["output_type"] == "error"] == []


def test_it_is_short_enough_to_read_and_small_enough_to_keep(cells):
    assert max(source(cell).count("\n") for cell in code(cells)) < 40
    assert len(json.dumps(cells)) < 150_000
