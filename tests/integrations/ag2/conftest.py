from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from engines.programs import DRIVERS, Programs

from botwire import Memory
from botwire.stores import open_store

sys.path.insert(0, str(Path(__file__).parent))  # for `streams`, under --import-mode=importlib


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture
def serve(file_url: str) -> Callable[[], AbstractContextManager[str]]:
    """Starts a server on a real socket, and says where."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from botwire.server import serve_in_thread

    @contextmanager
    def serving() -> Iterator[str]:
        store = open_store(file_url)
        with serve_in_thread(store) as address:
            yield address
        store.close()

    return serving


@pytest.fixture
def url(store_url: str) -> str:
    """A store of each kind."""
    return store_url


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url=url) as memory:
        yield memory


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Programs that begin with the framework imported."""
    with Programs(["ag2", "ag2.testing", *DRIVERS]) as begun:
        yield begun


@pytest.fixture
def story(programs: Programs) -> Callable[..., tuple[int, Any]]:
    """Tells a story in a process of its own: how that ended, and what its model was asked."""
    return lambda *arguments: programs.tell(Path(__file__).with_name("streams.py"), *arguments)
