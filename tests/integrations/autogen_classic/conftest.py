from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from engines.programs import DRIVERS, Programs

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


@pytest.fixture
def url(store_url: str) -> str:
    """A store of each kind."""
    return store_url


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url=url) as memory:
        yield memory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))  # autogen's own, of each version another


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Programs that begin with the framework imported."""
    with Programs(["autogen", *DRIVERS]) as begun:
        yield begun


@pytest.fixture
def story(programs: Programs) -> Callable[..., tuple[int, Any]]:
    """Tells a story in a process of its own: how that ended, and what its model was asked."""
    return lambda *arguments: programs.tell(Path(__file__).with_name("classic.py"), *arguments)
