from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botwire.stores import open_store

sys.path.insert(0, str(Path(__file__).parent))  # for `chatty`, under --import-mode=importlib


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture(params=["file", "http"])
def url(request: pytest.FixtureRequest, file_url: str) -> Iterator[str]:
    """A file, and the same behind a server on a real socket."""
    if request.param == "file":
        yield file_url
        return
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from botwire.server import serve_in_thread

    store = open_store(file_url)
    with serve_in_thread(store) as address:
        yield address
    store.close()
