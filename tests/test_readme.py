"""Every code block of the README does what it says, in the order in which a reader would try them (see ``reading``)."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading import Block, Reader, blocks_of

INSTALL = "-m venv"
PORT = "8377"


@pytest.fixture
def readme(root: Path) -> list[Block]:
    with socket.create_server(("127.0.0.1", 0)) as probe:  # a reader's port may be taken here
        free = str(probe.getsockname()[1])
    return blocks_of((root / "README.md").read_text(encoding="utf-8").replace(PORT, free))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path, "README.md")
    yield reader
    reader.stop()


def test_every_code_block_does_what_it_says(readme: list[Block], reader: Reader, need):
    need.command("bash")
    need.command("curl")
    blocks = [block for block in readme if not block.reason and INSTALL not in block.code]
    assert len(blocks) > 14

    for block in blocks:
        if not block.framework:
            reader.try_out(block)


def test_every_file_and_folder_that_it_names_is_there(root: Path):
    text = (root / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:tests|benchmarks|docs|examples)/[\w/.-]*\w", text))

    assert len(named) > 3
    assert [name for name in named if not (root / name).exists()] == []


def test_it_has_a_whole_program_for_each_framework(readme: list[Block], root: Path):
    """They are run where the framework is: by ``tests/integrations/test_readme_blocks.py``, and that of MCP by a client."""
    adapters = {folder.parent.name for folder in (root / "botwire" / "integrations").glob("*/__init__.py")}

    assert sorted(block.framework for block in readme if block.framework) == sorted(adapters)
    assert [block.framework for block in readme if block.framework and not block.promised_twice] == ["mcp"]


def test_what_it_tells_to_install_there_is(root: Path):
    told = re.findall(r"pip install [^`\n]*'(?:\.|botwire)\[([\w,-]+)\]'", (root / "README.md").read_text(encoding="utf-8"))
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

    assert len(told) > 6
    assert {name for names in told for name in names.split(",")} - extras.keys() == set()


@pytest.mark.timeout(600)
def test_the_command_that_installs_and_shows_works_twice_in_a_row(readme: list[Block], tmp_path: Path, root: Path):
    if "CI" not in os.environ:
        pytest.skip("downloads packages; runs where CI is set")
    install = next(block for block in readme if INSTALL in block.code)
    clone = tmp_path / "clone"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, files):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, clone / name)
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment["PATH"] = os.pathsep.join(p for p in environment["PATH"].split(os.pathsep) if p != str(Path(sys.executable).parent))

    for _ in range(2):
        ended = subprocess.run(["bash", "-c", install.code], cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("code", "works"),
    [
        ("1 + 1  # 2", True),
        ("1 + 1  # 3", False),
        ("1 + 1  # about two", True),
        ("1 / 0", False),
        ("if 1:\n    [1]  # [2]", False),
        ("1  # True", False),
    ],
)
def test_the_check_of_comments_notices_what_is_not_true(code: str, works: bool, reader: Reader):
    block = Block("python", code, "", 1)
    if works:
        reader.python(block)
    else:
        with pytest.raises(AssertionError):
            reader.python(block)
