from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botwire import Memory

sys.path.insert(0, str(Path(__file__).parent))  # for `cases`, under --import-mode=importlib


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url=url) as memory:
        yield memory
