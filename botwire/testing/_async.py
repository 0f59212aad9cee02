"""The same contract through AsyncMemory: no second suite, one more front."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Self, cast

import pytest

from botwire._aio import AsyncMemory, AsyncSession
from botwire._awatch import AsyncSessionWatch, AsyncWatch
from botwire._memory import Memory
from botwire.stores._protocol import Store
from botwire.testing._base import ContractBase


class LoopThread:
    """An event loop that runs in a thread of its own, for use from any other thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop; its result, or its error."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


class Synced:
    """An AsyncMemory or AsyncSession with the manners of a Memory or Session: every call waits for its result."""

    def __init__(self, target: AsyncMemory | AsyncSession, thread: LoopThread) -> None:
        self._target = target
        self._thread = thread

    def __getattr__(self, name: str) -> Any:
        return self._settle(getattr(self._target, name))

    def _settle(self, found: Any) -> Any:
        if inspect.iscoroutine(found):
            return self._thread.run(found)
        if isinstance(found, AsyncSession):
            return Synced(found, self._thread)
        if isinstance(found, AsyncWatch | AsyncSessionWatch):
            return SyncedWatch(found, self._thread)
        if isinstance(found, AsyncIterator):
            return self._iterate(cast("AsyncIterator[Any]", found))
        if inspect.ismethod(found):
            return self._waiting(found)
        return found

    def _waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            return self._settle(method(*args, **options))

        return call

    def _iterate(self, source: AsyncIterator[Any]) -> Iterator[Any]:
        async def step() -> tuple[Any, bool]:
            try:
                return await anext(source), True
            except StopAsyncIteration:
                return None, False

        item, more = self._thread.run(step())
        while more:
            yield item
            item, more = self._thread.run(step())


class SyncedWatch:
    """A watch of an AsyncMemory with the manners of a Memory's: listening from the call on, an iterator, closed by ``close``."""

    def __init__(self, target: AsyncWatch | AsyncSessionWatch, thread: LoopThread) -> None:
        self._target = target
        self._thread = thread
        thread.run(self._enter())

    async def _enter(self) -> None:
        await self._target.__aenter__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        async def step() -> tuple[Any, bool]:
            try:
                return await anext(self._target), True
            except StopAsyncIteration:
                return None, False

        item, more = self._thread.run(step())
        if not more:
            raise StopIteration
        return item

    def close(self) -> None:
        self._thread.run(self._target.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStoreContract(ContractBase):
    """Mix it in before ``StoreContract``: the contract then speaks through AsyncMemory, on a loop in another thread."""

    _thread: LoopThread

    @pytest.fixture(autouse=True)
    def _loop(self) -> Iterator[None]:
        with LoopThread() as self._thread:
            self._fronts: list[Any] = []
            yield
            for front in self._fronts:
                front.close()

    def memory(self, namespace: str | None = None, store: Store | None = None) -> Memory:
        """An AsyncMemory that behaves as a Memory."""
        front = Synced(AsyncMemory(namespace or self.namespace, store=store or self.subject), self._thread)
        self._fronts.append(front)
        return cast("Memory", front)
