"""The code and the commands of docs/mcp.md do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from inside import ALL, tools

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "mcp.md").read_text(encoding="utf-8")


@pytest.fixture
def reader(tmp_path: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}  # clients do not pass these on
    return {**kept, "HOME": str(tmp_path), "PATH": path}


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    found = [block for block in BLOCK.finditer(page) if block["language"] == language]
    return [(page.count("\n", 0, block.start("code")) + 1, block["code"]) for block in found]


def test_the_code(root: Path, tmp_path: Path, page: str, reader: dict[str, str]):
    (only,) = blocks(page, "python")
    snippet = tmp_path / "block.py"
    snippet.write_text(only[1], encoding="utf-8")
    command = [sys.executable, str(root / "tests" / "run_snippet.py"), str(snippet), "mcp.md", str(only[0])]
    ended = subprocess.run(command, cwd=tmp_path, env=reader, capture_output=True, text=True, timeout=90)
    assert ended.returncode == 0, ended.stderr


def test_the_commands(tmp_path: Path, page: str, reader: dict[str, str]):
    (only,) = blocks(page, "console")
    for part in re.split(r"^\$ ", only[1], flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=reader, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stdout.strip()) == (0, expected.strip()), ended.stderr


@pytest.mark.anyio
async def test_every_tool_is_named(page: str):
    async with tools("memory://", "2026-07-28", groups=ALL) as server:
        for tool in (await server.client.list_tools()).tools:
            assert f"`{tool.name}`" in page


def test_every_option_is_one(page: str, reader: dict[str, str]):
    shown = ""
    for command in ("mcp", "mcp token"):
        shown += subprocess.run(
            ["botwire", *command.split(), "--help"], env={**reader, "COLUMNS": "200"}, capture_output=True, text=True, timeout=60
        ).stdout
    assert set(re.findall(r"(?<=`)--[a-z-]+", page)) <= set(re.findall(r"--[a-z-]+", shown))
