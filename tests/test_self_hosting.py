"""The pages for whoever runs a server do what they say, block by block, as the README's do."""

from __future__ import annotations

import re
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest
from reading import Reader, blocks_of

from botwire._tokens import make_token


@pytest.fixture
def reader(tmp_path: Path) -> Any:
    reader = Reader(tmp_path, "self-hosting.md")
    yield reader
    reader.stop()


def page(root: Path, name: str) -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = str(probe.getsockname()[1])
    return (root / "docs" / name).read_text(encoding="utf-8").replace("8377", free)


def test_every_block_on_self_hosting_does_what_it_says(root: Path, reader: Any, need: Any) -> None:
    need.command("bash")
    need.command("curl")
    blocks = [block for block in blocks_of(page(root, "self-hosting.md")) if not block.reason or block.language == "toml"]
    assert len(blocks) > 6
    for block in blocks:
        if block.language == "toml":
            (reader.folder / "botwire.toml").write_text(block.code)
        else:
            reader.try_out(block)


def test_the_settings_that_are_shown_are_taken(root: Path, tmp_path: Path) -> None:
    from botwire.server._config import read_limits

    code = next(block.code for block in blocks_of(page(root, "self-hosting.md")) if block.language == "toml")
    assert tomllib.loads(code)
    (tmp_path / "botwire.toml").write_text(code)
    quotas, rate = read_limits(str(tmp_path / "botwire.toml"))
    assert quotas is not None
    assert rate is not None
    assert (quotas.of("team-a").writes_per_day, quotas.of("team-a").bytes, quotas.of("n").writes_per_day) == (None, 50_000_000, 1_000)


def test_every_option_of_the_server_is_on_the_page(root: Path) -> None:
    import subprocess
    import sys

    told = subprocess.run([sys.executable, "-m", "botwire", "serve", "--help"], capture_output=True, text=True, check=True).stdout
    text = page(root, "self-hosting.md")
    for option in (
        "--tls-cert",
        "--tls-key",
        "--forwarded-allow-ips",
        "--config",
        "--quota",
        "--requests-per-second",
        "--public-terms",
        "--no-auth",
    ):
        assert option in told
        assert option in text


def test_the_form_of_a_token_that_the_page_on_security_gives_finds_tokens(root: Path) -> None:
    found = re.search(r"`(bw_\[.*?)`", page(root, "security.md"))
    assert found is not None
    assert re.fullmatch(found[1], make_token(namespaces=["n"])[0])
