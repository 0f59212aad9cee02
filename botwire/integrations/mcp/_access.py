"""The way from a call to the memory under it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import anyio

from botwire import AsyncMemory, BotWireError
from botwire.stores import Batch, Operation, Outcome, Result, Store

T = TypeVar("T")

READERS = 8
"""How many pages are read at once; other calls wait on botwire's own threads."""


class Access:
    """The memories of one store, by namespace."""

    def __init__(self, root: AsyncMemory) -> None:
        self._root = root
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="botwire-mcp")

    async def ask(self, question: Callable[[Store], T]) -> T:
        """Ask the store for what ``AsyncMemory`` has no call for: one page of a list, say."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, lambda: question(self._root.store))

    async def write(self, namespace: str, *operations: Operation) -> list[Result]:
        """Do all of the operations, or none; a cancellation waits until it is known which.

        Raises:
            BotWireError: what kept them from being done.
        """
        batch = Batch(namespace, operations)
        outcome: Outcome = []
        with anyio.CancelScope(shield=True):
            outcome = (await self.ask(lambda store: store.write((batch,))))[0]
        if isinstance(outcome, BotWireError):
            raise outcome
        return outcome

    async def memory(self, namespace: str) -> AsyncMemory:
        """The memory of a namespace, on the same store.

        Raises:
            InvalidName: if the namespace cannot be one.
        """
        if namespace == self._root.namespace:
            return self._root
        store = await self.ask(lambda store: store)  # opened on a thread: it may import a driver, and wait
        return AsyncMemory(namespace, store=on_threads(store))

    def close(self) -> None:
        """End the threads; the memory that was given is its owner's to close."""
        self._readers.shutdown(wait=False)


class _OnThreads:
    """A store without its native async side, if it has one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name == "native_async":
            raise AttributeError(name)
        return getattr(self._store, name)


def on_threads(store: Store) -> Store:
    """The store for an ``AsyncMemory`` that nobody closes: it opens no connections of its own for each event loop."""
    return cast("Store", _OnThreads(store))
