from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from engines.programs import DRIVERS, Programs

from botwire import Memory
from botwire.stores import open_store

if TYPE_CHECKING:
    from botwire.integrations.langgraph import BotWireSaver  # imported late: this file is read where LangGraph is not installed

# Under --import-mode=importlib a test's folder is not on the path; the programs that tests start find these helpers too.
HELPERS = str(Path(__file__).parent)
sys.path.insert(0, HELPERS)


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture
def url(store_url: str) -> str:
    """A file, or a store of each kind."""
    return store_url


@pytest.fixture
def saver(url: str) -> BotWireSaver:
    from botwire.integrations.langgraph import BotWireSaver

    return BotWireSaver(url=url)


@pytest.fixture
def fresh(url: str) -> Iterator[Callable[[], BotWireSaver]]:
    """Makes savers that know nothing of what others in this process have read or written, as in another process."""
    from botwire.integrations.langgraph import BotWireSaver

    stores = []

    def make() -> BotWireSaver:
        stores.append(open_store(url))
        return BotWireSaver(memory=Memory("langgraph", store=stores[-1]))

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Programs that begin with the framework imported."""
    with Programs(["langgraph.graph", "langchain.agents", *DRIVERS]) as begun:
        yield begun


@pytest.fixture
def in_process(programs: Programs, url: str) -> Callable[..., str]:
    """Runs a program in a process of its own, with the store's URL as its first argument; returns what it printed."""

    def run(code: str, *arguments: str) -> str:
        return programs.run(f"import sys\nsys.path.insert(0, {HELPERS!r})\n{code}", url, *arguments, timeout=90)

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a botwire server, on a file of its own."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from botwire.server import serve_in_thread

    store = open_store(f"sqlite://{tmp_path}/server.db")
    with serve_in_thread(store) as url:
        yield url
    store.close()
