"""A clock that only tests move."""

from __future__ import annotations

import time

import pytest

from botwire.stores import open_store


class Clock:
    """Microseconds since 1970; stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = time.time_ns() // 1_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    """The clock of the store under test."""
    return Clock()


@pytest.fixture(scope="module")
def service():
    """The URL of a real server on a real socket, the store behind it, and that store's clock."""
    from botwire.server import serve_in_thread

    clock = Clock()
    store = open_store("memory://", clock=clock)
    with serve_in_thread(store) as url:
        yield url, store, clock
    store.close()
