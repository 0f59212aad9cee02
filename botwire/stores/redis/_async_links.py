"""Connections for one event loop; as ``_links`` for threads."""

from __future__ import annotations

import asyncio
from typing import Any

from redis import asyncio as aioredis
from redis import exceptions as driver

from botwire.stores.redis._links import connection_options, error_maker, patience
from botwire.stores.redis._replies import PIECE, Replies
from botwire.stores.redis._router import REFUSED, TRANSPORT, Call, Exchange, Pause, UnsentError
from botwire.stores.redis._settings import Address, Settings

MOST_CONNECTIONS = 32
"""Commands of one event loop that are under way at once."""


class AsyncLinks:
    """The connections of one store and event loop to its servers."""

    def __init__(self, settings: Settings, suspects: set[Address]) -> None:
        self._settings = settings
        self._suspects = suspects
        self._idle: dict[tuple[Address, bool], list[Any]] = {}
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)
        self._closed = False

    async def run(self, call: Call[Any]) -> Any:
        """Drive a call to its end."""
        answer: Any = None
        error: Exception | None = None
        while True:
            try:
                step = call.send(answer) if error is None else call.throw(error)
            except StopIteration as stop:
                return stop.value
            answer, error = None, None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                answer = await self.exchange(step)
            except (*TRANSPORT, REFUSED) as caught:
                error = caught

    async def exchange(self, step: Exchange) -> list[Any]:
        """Send, and read the answers; the connection is given up if anything goes wrong, a cancellation too."""
        async with self._slots:
            connection = await self._take(step)
            try:
                answers = await self._talk(connection, step)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            await self._give((step.address, step.sentinel), connection)
            return answers

    async def _talk(self, connection: Any, step: Exchange) -> list[Any]:
        replies = Replies(step.answers, error_maker(connection))
        async with asyncio.timeout(patience(step.deadline, self._settings.timeout)) as limit:
            await connection.send_packed_command([step.data], check_health=False)
            while not replies.feed(await connection._reader.read(PIECE)):  # noqa: SLF001 - the driver has no other way
                limit.reschedule(asyncio.get_running_loop().time() + patience(step.deadline, self._settings.timeout))
        return replies.answers

    async def connect(self, address: Address, deadline: float, *, sentinel: bool = False) -> Any:
        """As ``Links.connect``."""
        left = patience(deadline, self._settings.timeout)
        options = connection_options(self._settings, address, sentinel=sentinel, timeout=left) | {"socket_timeout": None}
        make: Any = aioredis.Connection if self._settings.tls is None else aioredis.SSLConnection
        connection: Any = make(**options)
        try:
            async with asyncio.timeout(left):
                await connection.connect()
        except driver.AuthenticationError:
            await connection.disconnect(nowait=True)
            raise
        except TRANSPORT as error:
            await connection.disconnect(nowait=True)
            raise UnsentError from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _take(self, step: Exchange) -> Any:
        if step.address in self._suspects:
            self._suspects.discard(step.address)
            for connection in [*self._idle.pop((step.address, False), []), *self._idle.pop((step.address, True), [])]:
                await connection.disconnect(nowait=True)
        idle = self._idle.get((step.address, step.sentinel))
        return idle.pop() if idle else await self.connect(step.address, step.deadline, sentinel=step.sentinel)

    async def _give(self, where: tuple[Address, bool], connection: Any) -> None:
        if self._closed:
            await connection.disconnect()
        else:
            self._idle.setdefault(where, []).append(connection)

    async def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self._closed = True
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                await connection.disconnect()
