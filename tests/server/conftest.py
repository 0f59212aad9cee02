"""Real servers on real sockets, over a store in memory or in a file."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout

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


class Serving:
    """``botwire serve`` as a process of its own: where it answers, and what it said."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-P", "-m", "botwire", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r" at (https?://\S+) ", self.line)
        if found is None:
            self.line += self.process.stdout.read()
            self.process.wait(30)
        self.url = "" if found is None else found[1]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def serving() -> Iterator[Callable[..., Serving]]:
    """Starts servers, and ends them."""
    started: list[Serving] = []

    def start(*arguments: str, **environment: str) -> Serving:
        started.append(Serving(*arguments, **environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def botwire(monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``botwire`` with these arguments: in this process, since starting others takes longer than all that they do."""
    from botwire.cli import main

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in environment.items():
                patch.setenv(name, value)
            status = main(list(arguments))
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

    return run
