from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engines.programs import DRIVERS, Programs

sys.path.insert(0, str(Path(__file__).parent))  # for `chatty`, under --import-mode=importlib


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture
def url(store_url: str) -> str:
    """A store of each kind."""
    return store_url


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Programs that begin with the framework imported."""
    with Programs(["agent_framework", *DRIVERS]) as begun:
        yield begun


@pytest.fixture
def in_process(programs: Programs) -> Callable[..., str]:
    """Runs a program in a process of its own; returns what it printed."""
    return programs.run
