"""The contract through AsyncMemory, on stores without native async: a SQLite file, and RAM."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from botwire.testing import AsyncStoreContract


def _neighbour(name):
    """A test module beside this one; test folders are no packages."""
    spec = importlib.util.spec_from_file_location(f"_{name}_for_async", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestAsyncOverSQLiteFile(AsyncStoreContract, _neighbour("test_sqlite").TestSQLiteFile):
    pass


class TestAsyncOverMemoryURL(AsyncStoreContract, _neighbour("test_memory_url").TestMemoryURL):
    pass
