"""AsyncWatch and AsyncSessionWatch: changes as they happen, for ``async for`` loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from botwire._ears import Ear
from botwire._errors import BotWireError
from botwire._looking import Looking, SessionLooking
from botwire._message import Message
from botwire._plan import Plan
from botwire._records import EntryChange
from botwire._watch import LONGEST_WAIT, check_timeout

T = TypeVar("T")


class _AsyncWatching(Generic[T]):
    """An asynchronous iterator over what happens.

    It listens from the beginning of its ``async with`` block on, or, without one, from its first step. A step that is
    cancelled, by ``asyncio.wait_for`` say, loses nothing: the next one goes on with what it had begun.
    """

    def __init__(
        self,
        looking: Looking[T],
        timeout: float | None,
        read: Callable[[Plan[None]], Awaitable[None]],
        listen: Callable[[], Awaitable[Ear]],
    ) -> None:
        self._looking = looking
        self._timeout = check_timeout(timeout)
        self._read = read
        self._listen = listen
        self._ear: Ear | None = None
        self._closed = False
        self._step: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self.close()  # a cancelled block is not left by __aexit__, and the beginning would go on by itself
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        await self._begin()
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._closed:
            if self._looking.found:
                return self._looking.give()
            left = LONGEST_WAIT if deadline is None else deadline - monotonic()
            await self._finish(self._one_step(max(left, 0.0)) if self._step is None else None, left)
            if left <= 0 and not self._looking.found:
                self._end()
        raise StopAsyncIteration

    def _end(self) -> None:
        if self._looking.trouble is not None:
            raise self._looking.trouble
        raise StopAsyncIteration

    async def _begin(self) -> None:
        if self._ear is None and not self._closed:
            await self._finish(self._start() if self._step is None else None, None)

    async def _start(self) -> None:
        ear = await self._listen()
        try:
            await self._read(self._looking.begin())
        except BaseException:
            await ear.close()
            raise
        self._ear = ear

    async def _one_step(self, left: float) -> None:
        """Look, or wait until there is reason to."""
        try:
            if (due := self._looking.due_in()) <= 0:
                await self._read(self._looking.look())
                self._looking.looked()
            elif self._ear is not None and (heard := await self._ear.wait(min(due, left, LONGEST_WAIT))) is not None:
                self._looking.hear(heard)
        except BotWireError as error:
            if not self._closed:
                self._looking.failed(error)

    async def _finish(self, step: Any, most: float | None) -> None:
        """Go on with the step under way, or begin this one. It is a task of its own, since a cancellation must not end it."""
        task = self._step
        if task is None:
            task = self._step = asyncio.ensure_future(step)
        await asyncio.wait((task,), timeout=None if most is None else max(most, 0.0) + 0.001)
        if task.done():
            self._step = None
            if not task.cancelled():
                task.result()

    async def close(self) -> None:
        """End the iteration, also one that waits in another task. Calling again does nothing."""
        self._closed = True
        step, ear = self._step, self._ear
        self._ear = None
        if step is not None:
            step.cancel()
            with suppress(asyncio.CancelledError, BotWireError):
                await step
        if ear is not None:
            await ear.close()


class AsyncWatch(_AsyncWatching[EntryChange]):
    """``Watch`` for asyncio; made by ``AsyncMemory.watch``."""


class AsyncSessionWatch(_AsyncWatching[Message]):
    """``SessionWatch`` for asyncio; made by ``AsyncSession.watch``."""

    _looking: SessionLooking

    @property
    def seq(self) -> int:
        """See ``SessionWatch.seq``."""
        return self._looking.seq

    @property
    def epoch(self) -> str | None:
        """See ``SessionWatch.epoch``."""
        return self._looking.epoch
