"""Each framework's tests run where it is installed, and must run in its own environment.

``BOTWIRE_ENV`` names the environment in CI. In that of a framework its absence is a failure; in another one it is
as it should be.

Tests that ask for ``store_url``, or for a fixture that does, run on a store of every kind, or on those that
``BOTWIRE_TEST_STORES`` names. ``file_url`` is for tests that look at the file, or never call a store that is there.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import stores
from engines.stores import Stores

HERE = Path(__file__).resolve().parent
NEEDS = {
    "langchain": ("langchain", ("langchain_core",)),
    "langgraph": ("langchain", ("langgraph", "langgraph.checkpoint.conformance")),
    "autogen": ("autogen", ("autogen_agentchat", "autogen_ext")),
    "autogen_classic": ("autogen", ("autogen",)),
    "ag2": ("autogen", ("ag2",)),
    "agent_framework": ("autogen", ("agent_framework",)),
    "crewai": ("crewai", ("crewai",)),
    "fastapi": ("fastapi", ("fastapi",)),
    "mcp": ("mcp", ("mcp.server", "fastmcp", "jsonschema", "langchain_core")),
}
"""By folder: the environment (also one whose name continues it, as ``crewai-floor``) in which its tests must run, and the modules
without which they cannot."""


def _missing(folder: str) -> str | None:
    for module in NEEDS[folder][1]:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return module
    return None


class Absent(pytest.File):
    """Stands for the tests of a framework that is not installed."""

    def collect(self) -> list[pytest.Item]:
        folder = self.path.relative_to(HERE).parts[0]
        environment, _ = NEEDS[folder]
        running = os.environ.get("BOTWIRE_ENV", "")
        elsewhere = "" if running == environment or running.startswith(f"{environment}-") else "not applicable: "
        raise pytest.skip.Exception(f"{elsewhere}{_missing(folder)} is not installed; tests/integrations/run.py {environment} installs it")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Absent | None:
    folder = module_path.relative_to(HERE).parts[0] if module_path.is_relative_to(HERE) else ""
    if folder in NEEDS and _missing(folder):
        return Absent.from_parent(parent, path=module_path)
    return None


# -------------------------------------------------------------------------------------------- stores


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_kind" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", stores.chosen() or _kinds())


def _kinds() -> tuple[str, ...]:
    """Of an old version of a framework, the stores have nothing new to tell: a file, and natively async calls, are enough."""
    newest = os.environ.get("BOTWIRE_ENV") in {environment for environment, _ in NEEDS.values()}
    return stores.KINDS if newest else ("sqlite", "http")


@pytest.fixture(scope="session")
def _stores() -> Iterator[Stores]:
    with Stores() as made:
        yield made


@pytest.fixture
def store_url(store_kind: str, tmp_path: Path, _stores: Stores) -> Iterator[str]:
    """The URL of an empty store."""
    with _stores.empty(store_kind, tmp_path) as url:
        yield url
