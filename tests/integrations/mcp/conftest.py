from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botwire import Memory

sys.path.insert(0, str(Path(__file__).parent))  # for the modules that are no tests, under --import-mode=importlib


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture
def url(store_url: str) -> str:
    """Where memory lies: a store of each kind."""
    return store_url


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
