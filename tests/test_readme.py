"""Every code block of the README does what it says, in the order in which a reader would try them.

All blocks share one empty home and one working folder, as on a reader's machine. A python block is a process of its
own; where a line is an expression and its comment a literal, the expression's value must equal the literal. In a console
block, what follows ``$`` is run by bash, and the lines below it are what must be printed (``...`` stands for anything).

A comment before a block changes that: ``<!-- background: URL -->`` starts it and goes on once the URL answers,
``<!-- not run by the tests: why -->`` leaves it out.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCK = re.compile(r"(?:<!-- (?P<comment>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL = "-m venv"
PORT = "8377"
RUN_SNIPPET = Path(__file__).with_name("run_snippet.py")


@dataclass
class Block:
    language: str
    code: str
    comment: str
    line: int
    """The line of its first line of code."""

    @property
    def is_skipped(self) -> bool:
        return self.comment.startswith("not run by the tests: ")

    @property
    def background_url(self) -> str:
        return self.comment.removeprefix("background: ") if self.comment.startswith("background: ") else ""


def blocks_of(text: str) -> list[Block]:
    return [
        Block(found["language"], found["code"], found["comment"] or "", text.count("\n", 0, found.start("code")) + 1)
        for found in BLOCK.finditer(text)
    ]


@pytest.fixture
def readme(root: Path) -> list[Block]:
    with socket.create_server(("127.0.0.1", 0)) as probe:  # a reader's port may be taken here
        free = str(probe.getsockname()[1])
    return blocks_of((root / "README.md").read_text(encoding="utf-8").replace(PORT, free))


class Reader:
    """Someone who tries the blocks one after the other, in an empty home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Their `botwire` and `python3` are those under test.
        self.environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
        self.started: list[subprocess.Popen[bytes]] = []

    def try_out(self, block: Block) -> None:
        if block.background_url:
            self.start(block)
        else:
            {"python": self.python, "console": self.console, "sh": self.shell}[block.language](block)

    def run(self, *command: str, line: int) -> str:
        ended = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, f"README.md:{line}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def python(self, block: Block) -> None:
        script = self.folder / "block.py"
        script.write_text(block.code, encoding="utf-8")
        self.run(sys.executable, str(RUN_SNIPPET), str(script), "README.md", str(block.line), line=block.line)

    def shell(self, block: Block) -> None:
        self.run("bash", "-euo", "pipefail", "-c", block.code, line=block.line)

    def console(self, block: Block) -> None:
        for command, expected in commands_of(block):
            printed = self.run("bash", "-euo", "pipefail", "-c", command, line=block.line)
            pattern = ".*".join(re.escape(part) for part in expected.strip().split("..."))
            assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"README.md:{block.line}: {command}\n{printed}\nnot\n{expected}"

    def start(self, block: Block) -> None:
        self.started.append(subprocess.Popen(["bash", "-c", f"exec {block.code}"], cwd=self.folder, env=self.environment))
        for _ in range(200):
            assert self.started[-1].poll() is None, f"README.md:{block.line}: it ended at once"
            try:
                with urllib.request.urlopen(block.background_url, timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                time.sleep(0.1)  # until it answers
        pytest.fail(f"README.md:{block.line}: {block.background_url} does not answer")

    def stop(self) -> None:
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait(30)


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.stop()


def test_every_code_block_does_what_it_says(readme: list[Block], reader: Reader, need):
    need.command("bash")
    need.command("curl")
    blocks = [block for block in readme if not block.is_skipped and INSTALL not in block.code]
    assert len(blocks) > 8

    for block in blocks:
        reader.try_out(block)


def test_every_file_and_folder_that_it_names_is_there(root: Path):
    text = (root / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:tests|benchmarks|docs|examples)/[\w/.-]*\w", text))

    assert len(named) > 3
    assert [name for name in named if not (root / name).exists()] == []


def test_the_table_of_commands_has_every_command(root: Path):
    listed = subprocess.run([sys.executable, "-m", "botwire", "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^│ ([a-z]+) +[A-Z]", listed, re.MULTILINE)
    rows = "".join(re.findall(r"^\| `botwire .*?\|", (root / "README.md").read_text(encoding="utf-8"), re.MULTILINE))

    assert len(commands) > 10
    assert [name for name in commands if not re.search(rf"`(botwire )?{name}`", rows)] == []


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
