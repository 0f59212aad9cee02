"""Listeners for a service that cannot tell: they say now and then that anything may have changed."""

from __future__ import annotations

import asyncio
from time import monotonic

from botwire.stores._hearing import ANYTHING, Hearing
from botwire.stores._protocol import Heard


class PollingListener:
    """Says once in ``interval`` seconds that anything may have changed, to whoever waits."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._due = monotonic() + interval
        self._ended = Hearing()

    def wait(self, timeout: float) -> Heard | None:
        """See ``Listener.wait``."""
        self._ended.wait(min(timeout, self._due - monotonic()))
        return self._say()

    def _say(self) -> Heard | None:
        if monotonic() < self._due:
            return None
        self._due = monotonic() + self._interval
        return ANYTHING

    def close(self) -> None:
        """See ``Listener.close``."""
        self._ended.close()


class AsyncPollingListener(PollingListener):
    """The same, awaited."""

    def __init__(self, interval: float) -> None:
        super().__init__(interval)
        self._closed = asyncio.Event()

    async def wait(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - awaitable
        self,
        timeout: float,  # noqa: ASYNC109 - as the protocol has it
    ) -> Heard | None:
        """See ``Listener.wait``."""
        try:
            async with asyncio.timeout(max(0.0, min(timeout, self._due - monotonic()))):
                await self._closed.wait()
        except TimeoutError:
            pass
        return self._say()

    def close(self) -> None:
        """See ``Listener.close``."""
        self._closed.set()
