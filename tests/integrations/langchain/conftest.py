from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines.programs import DRIVERS, Programs

from botwire import Memory

sys.path.insert(0, str(Path(__file__).parent))  # for `cases`, under --import-mode=importlib


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture
def url(store_url: str) -> str:
    """A file, or a store of each kind."""
    return store_url


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url=url) as memory:
        yield memory


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Programs that begin with the framework imported."""
    with Programs(["langchain_core.messages", "langchain_core.chat_history", "langchain_core.caches", *DRIVERS]) as begun:
        yield begun
