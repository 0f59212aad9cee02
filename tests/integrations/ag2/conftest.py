from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

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


@pytest.fixture(params=["file", "http"])
def url(request: pytest.FixtureRequest, file_url: str) -> Iterator[str]:
    """A file, and the same behind a server."""
    if request.param == "file":
        yield file_url
        return
    with request.getfixturevalue("serve")() as address:
        yield address


@pytest.fixture
def memory(file_url: str) -> Iterator[Memory]:
    with Memory(url=file_url) as memory:
        yield memory
