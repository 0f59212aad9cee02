"""Real servers on real sockets, over a store in memory or in a file."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from botwire.server import serve_in_thread
from botwire.stores import Store, open_store


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store("memory://")
    yield store
    store.close()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serve_in_thread(store) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client
