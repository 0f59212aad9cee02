"""A reader who tries the code of a page, block by block, in the order in which it stands.

All blocks share one empty home and one working folder, as on a reader's machine. A python block is a process of its
own; where a line is an expression and its comment a literal, the expression's value must equal the literal. In a console
block, what follows ``$`` is run by bash, and the lines below it are what must be printed (``...`` stands for anything).

A comment before a block changes that: ``<!-- background: URL -->`` starts it and goes on once the URL answers,
``<!-- not run by the tests: why -->`` leaves it out. A first line ``<!-- environment: NAME -->`` says in which of the tests'
environments the page's code runs; before a block it names the framework, by its folder in ``botwire/integrations``, that the block is for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCK = re.compile(r"(?:<!-- (?P<comment>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_SNIPPET = Path(__file__).with_name("run_snippet.py")
RUNNABLE = ("python", "console", "sh")
INSTALLS = re.compile(r"(\S*pip install|python3 -m venv)\b.*")
"""A block of nothing but such lines says what to install, which the tests' environment has."""


@dataclass
class Block:
    language: str
    code: str
    comment: str
    line: int
    """The line of its first line of code."""

    @property
    def reason(self) -> str:
        """Why it is not run; empty if it is."""
        if self.comment.startswith("not run"):
            return self.comment.partition(": ")[2] or "no reason given"
        if self.language == "sh" and all(INSTALLS.fullmatch(line) for line in self.code.splitlines() if line):
            return "says what to install"
        return "" if self.language in RUNNABLE else "is no code to run"

    @property
    def framework(self) -> str:
        """The framework that it needs, by its folder in ``botwire/integrations``; empty if none."""
        return self.comment.removeprefix("environment: ") if self.comment.startswith("environment: ") else ""

    @property
    def promised_twice(self) -> tuple[str, ...]:
        """What it says that it prints last: by the first process that runs it, and by the next."""
        found = re.search(r"# (.+); in the next process: (.+)$", self.code, re.MULTILINE)
        return found.groups() if found else ()

    @property
    def background_url(self) -> str:
        return self.comment.removeprefix("background: ") if self.comment.startswith("background: ") else ""


def blocks_of(text: str) -> list[Block]:
    return [
        Block(found["language"], found["code"], found["comment"] or "", text.count("\n", 0, found.start("code")) + 1)
        for found in BLOCK.finditer(text)
    ]


def environment_of(text: str) -> str:
    """The environment that a page names in its first line; "core" if it names none."""
    found = re.match(r"<!-- environment: (\S+) -->\n", text)
    return found[1] if found else "core"


class Reader:
    """Someone who tries the blocks of ``page`` one after the other in ``folder``."""

    def __init__(self, folder: Path, page: str) -> None:
        self.folder = folder
        self.page = page
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
        assert ended.returncode == 0, f"{self.page}:{line}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def python(self, block: Block) -> None:
        script = self.folder / "block.py"
        script.write_text(block.code, encoding="utf-8")
        self.run(sys.executable, str(RUN_SNIPPET), str(script), self.page, str(block.line), line=block.line)

    def shell(self, block: Block) -> None:
        self.run("bash", "-euo", "pipefail", "-c", block.code, line=block.line)

    def console(self, block: Block) -> None:
        for command, expected in commands_of(block):
            printed = self.run("bash", "-euo", "pipefail", "-c", command, line=block.line)
            pattern = ".*".join(re.escape(part) for part in expected.strip().split("..."))
            assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"{self.page}:{block.line}: {command}\n{printed}\nnot\n{expected}"

    def start(self, block: Block) -> None:
        self.started.append(subprocess.Popen(["bash", "-c", f"exec {block.code}"], cwd=self.folder, env=self.environment))
        for _ in range(200):
            assert self.started[-1].poll() is None, f"{self.page}:{block.line}: it ended at once"
            try:
                with urllib.request.urlopen(block.background_url, timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                time.sleep(0.1)  # until it answers
        pytest.fail(f"{self.page}:{block.line}: {block.background_url} does not answer")

    def stop(self) -> None:
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait(30)


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected
