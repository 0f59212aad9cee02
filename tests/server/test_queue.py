"""Writes of many requests are committed together, and each learns what became of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from botwire import Closed, StoreFull, VersionConflict
from botwire.server._queue import WriteQueue
from botwire.stores import Batch, Set


class SlowStore:
    """Notes the groups it is asked to write; the first one waits until it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[Batch]] = []
        self.let_go = threading.Event()
        self.error: Exception | None = None

    def write(self, batches: Sequence[Batch]) -> list[Any]:
        self.groups.append(list(batches))
        self.let_go.wait(10)
        if self.error is not None:
            raise self.error
        return [VersionConflict("lost", 7) if batch.namespace == "bad" else [number] for number, batch in enumerate(batches)]


def batch(namespace: str) -> Batch:
    return Batch(namespace, (Set("k", "1"),))


async def begin(queue: WriteQueue, *namespaces: str) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(queue.write(batch(namespace))) for namespace in namespaces]
    await asyncio.sleep(0)
    return tasks


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is a state, not an event
            await asyncio.sleep(0.001)


def test_what_arrives_during_a_commit_goes_into_the_next_one_together() -> None:
    async def check() -> None:
        store: Any = SlowStore()
        queue = WriteQueue(store)
        first = await begin(queue, "first")
        await until(lambda: store.groups)
        rest = await begin(queue, *[str(number) for number in range(50)])
        assert not any(task.done() for task in first + rest)
        store.let_go.set()
        assert await asyncio.gather(*first, *rest) == [[0], *([number] for number in range(50))]
        assert [len(group) for group in store.groups] == [1, 50]
        await asyncio.to_thread(queue.close)

    asyncio.run(check())


def test_a_batch_that_fails_fails_alone() -> None:
    async def check() -> None:
        store: Any = SlowStore()
        store.let_go.set()
        queue = WriteQueue(store)
        good, bad, better = await begin(queue, "good", "bad", "better")
        with pytest.raises(VersionConflict):
            await bad
        await good
        await better
        await asyncio.to_thread(queue.close)

    asyncio.run(check())


def test_a_store_that_fails_as_a_whole_fails_every_batch_of_the_group_and_the_next_group_is_tried() -> None:
    async def check() -> None:
        store: Any = SlowStore()
        store.let_go.set()
        store.error = StoreFull("no space left")
        queue = WriteQueue(store)
        for task in await begin(queue, "a", "b"):
            with pytest.raises(StoreFull):
                await task
        store.error = None
        assert await queue.write(batch("c")) == [0]
        await asyncio.to_thread(queue.close)

    asyncio.run(check())


def test_closing_writes_what_was_taken_on_and_refuses_the_rest() -> None:
    async def check() -> None:
        store: Any = SlowStore()
        queue = WriteQueue(store)
        tasks = await begin(queue, "a")
        await until(lambda: store.groups)
        tasks += await begin(queue, "b", "c")
        closing = asyncio.create_task(asyncio.to_thread(queue.close))
        await until(lambda: queue._closed)
        with pytest.raises(Closed):
            await queue.write(batch("late"))
        store.let_go.set()
        await closing
        assert len(await asyncio.gather(*tasks)) == 3

    asyncio.run(check())


def test_a_request_that_gives_up_does_not_disturb_the_others() -> None:
    async def check() -> None:
        store: Any = SlowStore()
        queue = WriteQueue(store)
        first, second = await begin(queue, "a", "b")
        await until(lambda: store.groups)
        first.cancel()
        store.let_go.set()
        assert await second is not None
        assert await queue.write(batch("c")) == [0]
        await asyncio.to_thread(queue.close)

    asyncio.run(check())
