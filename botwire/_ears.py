"""Listening on an event loop, to any store: by its native async side, by being called, or else by a thread that waits."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from botwire._errors import BotWireError
from botwire.stores._hearing import Hearing
from botwire.stores._protocol import Heard, Listener, Store

Run = Callable[..., Awaitable[Any]]
"""Calls a function on some thread: ``await run(function, *arguments)``."""

AT_A_TIME = 1.0
"""Seconds for which a thread waits before it sees whether it is still wanted."""


class Ear(Protocol):
    """A listener whose ``wait`` is awaited. A ``wait`` that is cancelled loses what it has heard."""

    async def wait(self, timeout: float) -> Heard | None: ...  # noqa: ASYNC109 - as the protocol has it

    async def close(self) -> None: ...


async def open_ear(store: Store, native: Any, run: Run, namespace: str, session: str | None) -> Ear:
    """Listen to a store.

    Args:
        store: the store.
        native: its native async side for the running loop, if it has one.
        run: how to call what may block.
        namespace: as for ``Store.listen``.
        session: likewise.
    """
    if native is not None:
        return _Native(await native.listen(namespace, session))
    listener = await run(store.listen, namespace, session)
    return _Called(listener) if hasattr(listener, "when_heard") else _Waited(listener)


class _Native:
    """A listener whose ``wait`` is a coroutine."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener

    async def wait(self, timeout: float) -> Heard | None:  # noqa: ASYNC109 - as the protocol has it
        return await self._listener.wait(timeout)

    async def close(self) -> None:
        closed = self._listener.close()
        if inspect.isawaitable(closed):
            await closed


class _Called:
    """A listener that calls when it has heard something; nothing waits for it meanwhile."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener
        self._heard = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._heard.set)

        listener.when_heard(wake)

    async def wait(self, timeout: float) -> Heard | None:  # noqa: ASYNC109 - as the protocol has it
        self._heard.clear()
        heard = self._listener.wait(0)
        if heard is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._heard.wait()
            heard = self._listener.wait(0)
        return heard

    async def close(self) -> None:
        self._listener.close()


class _Waited(_Called):
    """Any other listener: a thread of its own waits for it."""

    def __init__(self, listener: Listener) -> None:
        hearing = Hearing()
        super().__init__(hearing)
        self._waited_for = listener
        self._closed = False
        threading.Thread(target=self._wait_for, args=(listener, hearing), name="botwire-listener", daemon=True).start()

    def _wait_for(self, listener: Listener, hearing: Hearing) -> None:
        while not self._closed:
            try:
                heard = listener.wait(AT_A_TIME)
            except BotWireError as error:
                hearing.fail(error)
                return
            if heard is not None:
                hearing.hear(heard)

    async def close(self) -> None:
        self._closed = True
        await super().close()
        self._waited_for.close()
