"""The code of docs/mcp-servers.md, the README's server and the commands of docs/mcp-clients.md do what they say, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from reading import blocks_of

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path: Path) -> dict[str, str]:
    """The environment of someone with an empty home, whose ``botwire`` is the one under test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    homes = dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(tmp_path / "share"))
    return {**os.environ, **homes, "HOME": str(tmp_path), "PATH": path, "NO_COLOR": "1"}


def test_the_code_for_servers(root: Path, tmp_path: Path, reader: dict[str, str]):
    text = (root / "docs" / "mcp-servers.md").read_text(encoding="utf-8")
    blocks = [found for found in BLOCK.finditer(text) if found["language"] == "python"]
    assert len(blocks) >= 6
    for number, found in enumerate(blocks):
        line = text.count("\n", 0, found.start("code")) + 1
        snippet = tmp_path / f"block{number}.py"
        snippet.write_text(found["code"], encoding="utf-8")
        command = [sys.executable, str(root / "tests" / "run_snippet.py"), str(snippet), "mcp-servers.md", str(line)]
        ended = subprocess.run(command, cwd=tmp_path, env=reader, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, f"line {line}: {ended.stderr}"


def test_the_server_of_the_readme_has_what_its_former_process_was_told(root: Path, tmp_path: Path, reader: dict[str, str]):
    block = next(block for block in blocks_of((root / "README.md").read_text(encoding="utf-8")) if block.framework == "mcp")
    (tmp_path / "server.py").write_text(block.code, encoding="utf-8")
    started = StdioServerParameters(command=sys.executable, args=[str(tmp_path / "server.py")], env=reader)

    async def tell(text: str) -> list[str]:
        async with Client(stdio_client(started)) as client:
            await client.call_tool("note", {"user_id": "42", "text": text})
            return (await client.call_tool("notes", {"user_id": "42"})).structured_content["result"]

    assert [anyio.run(tell, text) for text in ("likes tea", "has a cat")] == [["likes tea"], ["likes tea", "has a cat"]]


def test_the_commands_for_clients(root: Path, tmp_path: Path, reader: dict[str, str]):
    text = (root / "docs" / "mcp-clients.md").read_text(encoding="utf-8")
    blocks = [found for found in BLOCK.finditer(text) if found["language"] == "console"]
    assert len(blocks) >= 3
    for found in blocks:
        for part in re.split(r"^\$ ", found["code"], flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=reader, capture_output=True, text=True, timeout=60)
            assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
            pattern = ".*".join(re.escape(piece) for piece in expected.strip().split("..."))
            assert re.fullmatch(pattern, ended.stdout.strip(), re.DOTALL), f"{command}\n{ended.stdout}\nnot\n{expected}"
    assert "memory_search" in (tmp_path / "CLAUDE.md").read_text()
