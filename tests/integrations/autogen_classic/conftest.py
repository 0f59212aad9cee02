from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from botwire import Memory
from botwire.stores import open_store

sys.path.insert(0, str(Path(__file__).parent))  # for `classic`, under --import-mode=importlib

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # old versions warn of what they miss when they are imported
    with suppress(ModuleNotFoundError):  # the tests of this folder are then skipped, or fail: ../conftest.py
        import autogen  # noqa: F401


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # autogen's own, of each version another
