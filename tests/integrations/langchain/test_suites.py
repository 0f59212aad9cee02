"""LangChain's own suites for byte stores (12 and 12) and caches (8 and 8), on every store."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

if os.environ.get("BOTWIRE_ENV") == "langchain-floor":
    pytest.skip("not applicable: no langchain-tests takes both so old a langchain-core and a pytest of today", allow_module_level=True)

from pytest_socket import disable_socket, enable_socket

try:
    from langchain_tests.integration_tests.base_store import BaseStoreAsyncTests, BaseStoreSyncTests
    from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite
except ModuleNotFoundError as error:
    if not str(error.name).startswith("langchain_core."):
        raise
    pytest.skip("not applicable: langchain-tests needs a newer langchain-core", allow_module_level=True)

from botwire.integrations.langchain import BotWireByteStore, BotWireCache


@pytest.fixture(autouse=True)
def _no_sockets(store_kind: str) -> Iterator[None]:
    """On a file these need no network, and prove it. An event loop has a pair of Unix sockets for itself."""
    if store_kind == "sqlite":
        disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


class TestByteStore(BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def kv_store(self, url: str) -> BotWireByteStore:
        return BotWireByteStore(url=url)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"\x00\xff", b""


@pytest.mark.anyio
class TestByteStoreAwaited(BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    async def kv_store(self, url: str) -> BotWireByteStore:  # type: ignore[override]
        return BotWireByteStore(url=url)

    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"\x00\xff", b""


class TestCache(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, url: str) -> BotWireCache:
        return BotWireCache(url=url)


@pytest.mark.anyio
class TestCacheAwaited(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, url: str) -> BotWireCache:  # type: ignore[override]
        return BotWireCache(url=url)
