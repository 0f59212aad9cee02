"""What docs/page.md says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from botwire import Memory
from botwire.stores import Store


@pytest.fixture
def text(root: Path) -> str:
    return (root / "docs" / "page.md").read_text(encoding="utf-8")


def test_its_command_starts_a_server_that_shows_the_page(text: str, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    command = [sys.executable, "-m", *block.split(), "--port", "0", "--store", f"sqlite://{tmp_path}/m.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert "/page/app.js" in httpx.get(line.split(" at ")[1].split()[0]).text, line
        finally:
            process.terminate()


def test_every_address_in_it_leads_where_it_says(text: str, open_page: Callable[..., Any], store: Store) -> None:
    memory = Memory("namespace", store=store)
    memory.set("key", "the value")
    memory.session("id", agent="name").append(("user", "the message"))
    page = open_page()
    seen = {"keys": "[aria-label=Keys] .row", "entry": ".json", "sessions": "[aria-label=Sessions] .row", "conversation": ".message",
            "usage": ".figures", "code": ".snippet", "namespaces": ".namespaces .row"}  # fmt: skip
    rows = re.findall(r"^\| (\w+) \| `(#/[^`]*)` \|", text, re.MULTILINE)
    assert {name for name, _ in rows} == set(seen)
    for name, place in rows:
        page.goto(f"{page.url.split('#')[0]}{place}")
        page.locator(seen[name]).first.wait_for()


def test_its_keys_are_those_that_the_page_explains(text: str, open_page: Callable[..., Any]) -> None:
    page = open_page("#/ns")
    page.get_by_role("heading", name="Choose a key").wait_for()
    page.keyboard.press("?")
    explained = set(page.locator("kbd").all_inner_texts())
    told = set(re.findall(r"`([^`]+)`", text.partition("## Keyboard")[2].partition("## Security")[0]))
    assert told - {"Home", "End", "Page Up", "Page Down"} == explained
