"""Every page of the documentation: its code runs, its links lead somewhere, and nothing is on it that no test looks at."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading import RUNNABLE, Reader, blocks_of, environment_of

from botwire import _errors, _wire
from botwire.cli import _exit

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))}
BESIDE = ("CONTRIBUTING.md", "SECURITY.md", "CODE_STYLE.md")
"""Of the folder above: what they name must be there."""
LINKING = [*(DOCS / name for name in PAGES), *(DOCS.parent / name for name in ("README.md", *BESIDE))]
ELSEWHERE = {
    "ag2.md": "tests/integrations/ag2/test_docs.py",
    "autogen-classic.md": "tests/integrations/autogen_classic/test_docs.py",
    "autogen.md": "tests/integrations/autogen/test_docs.py",
    "crewai-flows.md": "tests/integrations/crewai/test_flow_docs.py",
    "crewai.md": "tests/integrations/crewai/test_docs.py",
    "langchain.md": "tests/integrations/langchain/test_docs.py",
    "mcp-clients.md": "tests/integrations/mcp/test_docs_mcp.py",
    "mcp-servers.md": "tests/integrations/mcp/test_docs_mcp.py",
    "mcp.md": "tests/integrations/mcp/test_docs_server.py",
    "operations.md": "tests/operation/test_docs.py",
    "page.md": "tests/page/test_docs.py",
    "postgres.md": "tests/postgres/test_docs.py",
    "redis.md": "tests/redis/test_docs.py",
    "reliability.md": "tests/reliability/test_docs.py",
    "self-hosting.md": "tests/test_self_hosting.py",
}
"""Pages whose code needs scripted models, servers or other things that a test of their own sets up."""
HERE = [name for name, text in PAGES.items() if name not in ELSEWHERE and environment_of(text) == "core"]


@pytest.fixture
def reader(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    reader = Reader(tmp_path, request.node.callspec.params["name"])
    yield reader
    reader.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", HERE)
def test_every_code_block_does_what_it_says(name: str, reader: Reader, need):
    need.command("bash")
    need.command("curl")
    with socket.create_server(("127.0.0.1", 0)) as probe:  # a reader's port may be taken here
        free = str(probe.getsockname()[1])
    for block in blocks_of(PAGES[name].replace("8377", free)):
        if not block.reason:
            reader.try_out(block)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_page_with_a_test_of_its_own_is_named_there(name: str, root: Path):
    assert name in PAGES
    assert f'"{name}"' in (root / ELSEWHERE[name]).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_what_is_not_run_says_why(name: str):
    silent = [block.line for block in blocks_of(PAGES[name]) if block.language in RUNNABLE and block.reason == "no reason given"]
    assert silent == [], f"{name}: say `<!-- not run by the tests: why -->` before the blocks at these lines"


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?://)([^)\s]+)\)", prose)
    for link in links:
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), f"{page.name}: {link}"


def anchors_of(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_error_code_is_on_the_page_of_errors():
    codes = {kind.code for kind in vars(_errors).values() if isinstance(kind, type) and issubclass(kind, _errors.BotWireError)} - {"error"}
    text = PAGES["troubleshooting.md"]

    assert {code for code in codes if f"\n## {code}\n" not in text} == set()
    assert set(re.findall(r"^\| \[`(\w+)`\]", text, re.MULTILINE)) == codes


def test_the_page_of_errors_has_the_statuses_that_the_service_answers():
    for code, statuses in re.findall(r"^\| \[`(\w+)`\]\(.*?\) \| [^|]*\| ([^|]*)\|", PAGES["troubleshooting.md"], re.MULTILINE):
        kind = next(kind for kind in vars(_errors).values() if getattr(kind, "code", None) == code)
        if statuses.strip():
            assert str(_wire.status_of(kind("", 0) if code == "version_conflict" else kind(""))) in statuses, code


def test_the_page_of_the_command_line_has_every_command_and_every_exit_status():
    listed = subprocess.run([sys.executable, "-m", "botwire", "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^│ ([a-z]+) +[A-Z]", listed, re.MULTILINE)
    text = PAGES["commands.md"]
    rows = "".join(re.findall(r"^\| `botwire .*?\|", text, re.MULTILINE))

    assert len(commands) > 10
    assert [name for name in commands if not re.search(rf"`(botwire )?{name}`", rows)] == []
    assert {int(status): meaning for status, meaning in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)} == _exit.MEANINGS


@pytest.mark.parametrize("name", BESIDE)
def test_every_file_that_the_pages_for_contributors_name_is_there(name: str, root: Path):
    text = (root / name).read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:botwire|tests|benchmarks|docs)/[\w/.-]*\w", text))

    assert [path for path in named if not (root / path).exists()] == []


def test_the_first_steps_of_a_new_store_run(root: Path, tmp_path: Path):
    found = re.search(r"^   ```python\n(.*?)^   ```$", (root / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_mine.py").write_text(textwrap.dedent(found[1]), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "names or values", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == 0, ended.stdout


def test_the_page_of_the_site_has_every_page(root: Path):
    config = (root / "zensical.toml").read_text(encoding="utf-8")

    assert [name for name in PAGES if f'"{name}"' not in config] == []
