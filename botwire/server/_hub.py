"""Who waits for changes: many streams share one listener for each namespace or session, and none holds a thread."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from botwire._ears import Ear, Run, open_ear
from botwire._errors import BotWireError, Closed
from botwire.stores._hearing import merge
from botwire.stores._protocol import Heard, Store

logger = logging.getLogger("botwire.server")

AT_A_TIME = 60.0
"""Seconds for which a listener is asked at a time."""

Place = tuple[str, "str | None"]
"""A namespace, and a session in it or None."""


class Waiter:
    """What one stream has heard and not yet sent: names, or that there were many; never more than that."""

    def __init__(self) -> None:
        self.ended = False
        self._pending: Heard | None = None
        self._changed = asyncio.Event()

    def hear(self, heard: Heard) -> None:
        """Something may have changed."""
        self._pending = merge(self._pending, heard)
        self._changed.set()

    def end(self) -> None:
        """Nothing more will be heard."""
        self.ended = True
        self._changed.set()

    async def next(self, most: float) -> Heard | None:
        """What was heard since the last call, as soon as there is any; None if there is none in time, or never again."""
        try:
            async with asyncio.timeout(most):
                await self._changed.wait()
        except TimeoutError:
            return None
        self._changed.clear()
        heard, self._pending = self._pending, None
        return heard


class _Channel:
    """One listener to the store, and those who wait for what it hears."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self.waiters: set[Waiter] = set()
        self.ended = False
        self.task = asyncio.create_task(self._pass_on(), name="botwire-watch")

    async def _pass_on(self) -> None:
        try:
            while True:
                heard = await self._ear.wait(AT_A_TIME)
                if heard is not None:
                    for waiter in list(self.waiters):
                        waiter.hear(heard)
        except BotWireError as error:
            logger.warning("listening to the store failed; clients will connect again: %s", error)
        finally:
            self.ended = True
            for waiter in list(self.waiters):
                waiter.end()
            await self._ear.close()


class Hub:
    """All channels of one server, on one event loop.

    Args:
        store: what is listened to.
        run: how to call what may block.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self._run = run
        self._native: Any = None
        self._channels: dict[Place, asyncio.Future[_Channel]] = {}
        self._closed = False

    async def join(self, namespace: str, session: str | None) -> Waiter:
        """Wait for changes in a namespace, or to one session; what is written once this returns is heard of.

        Raises:
            BotWireError: if the store cannot be listened to.
        """
        place = (namespace, session)
        while not self._closed:
            opening = self._channels.get(place)
            if opening is None:
                opening = self._channels[place] = asyncio.ensure_future(self._open(namespace, session))
                opening.add_done_callback(lambda done: self._forget_failed(place, done))
            channel = await asyncio.shield(opening)
            if not channel.ended:
                waiter = Waiter()
                channel.waiters.add(waiter)
                return waiter
            if self._channels.get(place) is opening:
                del self._channels[place]
        raise Closed("the server is shutting down; try again when it is back")

    async def _open(self, namespace: str, session: str | None) -> _Channel:
        make = getattr(self._store, "native_async", None)
        if make is not None and self._native is None:
            self._native = make()
        return _Channel(await open_ear(self._store, self._native, self._run, namespace, session))

    def _forget_failed(self, place: Place, done: asyncio.Future[_Channel]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._channels.get(place) is done:
            del self._channels[place]

    def leave(self, namespace: str, session: str | None, waiter: Waiter) -> None:
        """Wait no more; the last one to leave ends the listening."""
        opening = self._channels.get((namespace, session))
        if opening is None or not opening.done():
            return
        channel = opening.result()
        channel.waiters.discard(waiter)
        if not channel.waiters:
            channel.ended = True
            channel.task.cancel()
            del self._channels[namespace, session]

    def end(self) -> None:
        """End all streams, as a server does that shuts down."""
        self._closed = True
        for opening in self._channels.values():
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                opening.result().task.cancel()

    async def close(self) -> None:
        """Give back what listening took."""
        self.end()
        tasks = [opening.result().task for opening in self._channels.values() if opening.done() and opening.exception() is None]
        if tasks:
            await asyncio.wait(tasks)
        if self._native is not None:
            await self._native.close()
