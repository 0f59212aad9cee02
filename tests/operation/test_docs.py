"""Every block of docs/operations.md does what it says, in order, as the README's do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reading import Reader, blocks_of


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Any]:
    reader = Reader(tmp_path, "operations.md")
    yield reader
    reader.stop()


@pytest.mark.timeout(300)
def test_the_blocks_of_the_page(root: Path, reader: Any, need: Any) -> None:
    need.command("curl")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = str(probe.getsockname()[1])
    text = (root / "docs" / "operations.md").read_text(encoding="utf-8").replace("8377", free)
    blocks = [block for block in blocks_of(text) if not block.reason]
    assert len(blocks) > 8
    for block in blocks:
        reader.try_out(block)


def test_every_file_that_it_names_is_there(root: Path) -> None:
    import re

    named = set(re.findall(r"\]\(\.\./([\w/.-]+)\)", (root / "docs" / "operations.md").read_text(encoding="utf-8")))
    assert len(named) >= 5
    assert [name for name in named if not (root / name).exists()] == []
