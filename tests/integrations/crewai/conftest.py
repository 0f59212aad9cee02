"""Nothing of these tests leaves the machine: no telemetry, no traces, no version check, scripted models."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engines.programs import DRIVERS, Programs

from botwire import Memory
from botwire.stores import open_store

# Under --import-mode=importlib a test's folder is not on the path; the programs that tests start find these helpers too.
HELPERS = str(Path(__file__).parent)
sys.path.insert(0, HELPERS)

OFFLINE = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TESTING": "true",  # asks no questions at the first run
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}
KEYS = ("OPENAI_API_KEY", "CHROMA_OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")


def pytest_configure(config: pytest.Config) -> None:
    """Before CrewAI is imported, which reads some of it only then. Where it is not installed, other tests' settings are left alone."""
    if importlib.util.find_spec("crewai") is None:
        return
    os.environ.update(OFFLINE)
    folder = tempfile.mkdtemp(prefix="botwire-tests-crewai-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["CREWAI_STORAGE_DIR"] = folder
    for name in KEYS:
        os.environ.pop(name, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of CrewAI's own, and of what it imports
        import crewai.memory  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """CrewAI uses what it has deprecated itself; that is not these tests' affair."""
    for item in items:
        if item.path.is_relative_to(HELPERS):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai"))


@pytest.fixture(autouse=True)
def _own_crewai_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CrewAI itself writes lies in a folder of the test's own."""
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path_factory.mktemp("crewai")))


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/memory.db"


@pytest.fixture
def url(store_url: str) -> str:
    """A file, or a store of each kind."""
    return store_url


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a botwire server, on a file of its own."""
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from botwire.server import serve_in_thread

    store = open_store(f"sqlite://{tmp_path}/server.db")
    with serve_in_thread(store) as url:
        yield url
    store.close()


@pytest.fixture
def any_url(store_url: str) -> str:
    """A file and a server, or a store of each kind."""
    return store_url


@pytest.fixture
def memory(url: str) -> Iterator[Memory]:
    with Memory(url=url) as memory:
        yield memory


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Programs that begin with CrewAI imported, which takes it seconds."""
    with Programs(["crewai.memory", "crewai.flow.flow", *DRIVERS]) as begun:
        yield begun


@pytest.fixture
def in_process(programs: Programs, url: str) -> Callable[..., str]:
    """Runs a program in a process of its own, with the store's URL as its first argument; returns what it printed."""

    def run(code: str, *arguments: str) -> str:
        return programs.run(f"import sys\nsys.path.insert(0, {HELPERS!r})\n{code}", url, *arguments, timeout=110)

    return run
