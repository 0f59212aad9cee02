from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botwire import Memory
from botwire.server import serve_in_thread

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that are no tests, under --import-mode=importlib


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture(params=["sqlite", "http"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[str]:
    """Where memory lies: a file, or a real server before one."""
    if request.param == "sqlite":
        yield sqlite_url
        return
    with Memory(url=sqlite_url) as memory, serve_in_thread(memory.store) as server:
        yield server


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url=url) as memory:
        yield memory


ERAS = {"older": "legacy", "newer": "2026-07-28"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=ERAS.values(), ids=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """The era of the protocol that a client speaks: with sessions of its own, or without."""
    return request.param
