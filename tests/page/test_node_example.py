"""examples/node works with a plain Node.js: it counts, appends once, and loses nothing among several writers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from botwire import Memory
from botwire._errors import Unauthorized
from botwire.server import serve_in_thread
from botwire.stores import Store


@pytest.fixture
def example(root: Path) -> Path:
    return root / "examples" / "node" / "memory.mjs"


def run(node: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([node, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def test_it_goes_on_where_it_was(node: str, example: Path, url: str, store: Store) -> None:
    first, second = (run(node, str(example), BOTWIRE_URL=url) for _ in range(2))
    assert first.stdout.splitlines() == ["visit 1", "message 1; sent twice, it is still message 1", "1 user: hello for the 1. time"], (
        first.stderr
    )
    assert second.stdout.splitlines()[0] == "visit 2"
    memory = Memory("node-example", store=store)
    assert memory.get("visits/count") == 2
    assert [message.text for message in memory.session("user-42").messages()] == ["hello for the 1. time", "hello for the 2. time"]


def test_many_of_them_at_once_lose_no_change(node: str, example: Path, url: str, store: Store) -> None:
    program = (
        f"import {{ update, append }} from {str(example)!r};"
        "await Promise.all(Array.from({length: 5}, async () => {"
        " await update('ns', 'a/b %c', (list) => [...list, process.pid], []);"
        " await append('ns', 's/t', [{role: 'user', content: 'x'}]); }));"
    )
    started = [subprocess.Popen([node, "--input-type=module", "-e", program], env={**os.environ, "BOTWIRE_URL": url}) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    memory = Memory("ns", store=store)
    assert len(memory.get("a/b %c")) == 20
    assert [message.seq for message in memory.session("s/t").messages()] == list(range(1, 21))


def test_it_says_what_is_wrong(node: str, example: Path, store: Store) -> None:
    def refuse(headers: Any, *_: Any) -> None:
        if headers.get(b"authorization") != b"Bearer sesame":
            raise Unauthorized("a token is needed")

    with serve_in_thread(store, authorize=refuse) as url:
        assert "401 unauthorized: a token is needed" in run(node, str(example), BOTWIRE_URL=url).stderr
        assert run(node, str(example), BOTWIRE_URL=url, BOTWIRE_TOKEN="sesame").stdout.startswith("visit 1")
