"""Writes of all connections, committed in groups by one thread.

One durable commit costs a wait for the disk whatever it holds. While one commit waits, the batches that arrive gather,
and the next commit takes them all: many more writes a second, each acknowledged only once it is durable.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from botwire import _trace
from botwire._errors import BotWireError, Closed
from botwire.server._metrics import Metrics
from botwire.stores._protocol import Batch, Outcome, Result, Store

logger = logging.getLogger("botwire.server")

MAX_GROUP = 1_000
"""Batches in one commit at most, so that a flood does not make the first ones wait for the last."""

_Waiting = tuple[Batch, "asyncio.Future[list[Result]]", float]


class WriteQueue:
    """Takes batches on an event loop and gives their outcomes back there.

    Args:
        store: whose ``write`` is called, by one thread of the queue's own.
        metrics: where groups and waits are counted.
    """

    def __init__(self, store: Store, metrics: Metrics | None = None) -> None:
        self._store = store
        self._metrics = metrics or Metrics(store)
        self._metrics.waiting = lambda: len(self._waiting)
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def write(self, batch: Batch) -> list[Result]:
        """The results of a batch, once it is durable.

        Raises:
            BotWireError: why none of it happened.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Result]] = loop.create_future()
        with self._changed:
            if self._closed:
                raise Closed("the server is shutting down; try again when it is back")
            if self._thread is None:
                self._loop = loop
                self._thread = threading.Thread(target=self._work, name="botwire-writer", daemon=True)
                self._thread.start()
            self._waiting.append((batch, future, perf_counter()))
            if len(self._waiting) == 1:
                self._changed.notify()
        if not _trace.is_on():
            return await future
        with _trace.span("store write", db__operation__name="write", botwire__operations=len(batch.operations)):
            return await future

    def close(self) -> None:
        """Write what was taken on, then stop. Later batches are refused. Waits, so it is called from another thread than the loop's."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while group := self._next_group():
            self._count(group)
            outcomes = self._write([batch for batch, _, _ in group])
            loop = self._loop
            if loop is None or loop.is_closed():
                return
            loop.call_soon_threadsafe(_settle, [future for _, future, _ in group], outcomes)

    def _next_group(self) -> list[_Waiting]:
        """What waits, as soon as there is any; nothing once the queue is closed and empty."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            return group

    def _count(self, group: list[_Waiting]) -> None:
        now = perf_counter()
        for _, _, since in group:
            self._metrics.queue_seconds.add(now - since)
        self._metrics.commit_batches.add(len(group))

    def _write(self, batches: list[Batch]) -> Sequence[Outcome | BaseException]:
        try:
            return self._store.write(batches)
        except Exception as error:
            if not isinstance(error, BotWireError):
                logger.exception("the store failed to write a group of %d batches", len(batches))
            return [error] * len(batches)


def _settle(futures: list[asyncio.Future[Any]], outcomes: Sequence[Outcome | BaseException]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():  # its request was given up meanwhile
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
