"""What the tests of operation share: servers in this process and as processes of their own, and metrics as numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from botwire.server import serve_in_thread
from botwire.stores import Store, open_store


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store("memory://")
    yield store
    store.close()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serve_in_thread(store) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


class Served:
    """``botwire serve`` as a process."""

    def __init__(self, process: subprocess.Popen[str], url: str, lines: list[str], reader: threading.Thread) -> None:
        self.process = process
        self.url = url
        self._lines = lines
        self._reader = reader

    def stop(self) -> list[str]:
        """End it; all lines that it wrote to standard error."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)
        self._reader.join(10)
        return self._lines


@contextmanager
def serving(store_url: str, *arguments: str, **environment: str) -> Iterator[Served]:
    command = [sys.executable, "-P", "-m", "botwire", "serve", "--port", "0", "--store", store_url, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda stream: lines.extend(iter(stream.readline, "")), args=(process.stderr,), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        found = re.search(r"at (http://\S+)", line)
        assert found is not None, line + "".join(lines)
        yield Served(process, found[1], lines, reader)
    finally:
        process.kill()
        process.wait(30)
        reader.join(10)
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(name="serving")
def serving_fixture() -> Callable[..., Any]:
    return serving


@pytest.fixture
def scrape() -> Callable[[str], dict[str, float]]:
    """The samples of a server's metrics, by name with labels."""

    def scrape(url: str) -> dict[str, float]:
        text = httpx.get(f"{url}/metrics").raise_for_status().text
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    return scrape


@pytest.fixture
def botwire() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``botwire`` with these arguments as a process."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "botwire", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=100, env={**os.environ, **environment}, stdin=subprocess.DEVNULL
        )

    return run
