"""Hearing of writes: the script that writes says what on the namespace's channel, and listeners hold a connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

from redis import exceptions as driver

from botwire._errors import BotWireError
from botwire.stores._protocol import Heard
from botwire.stores.redis._async_links import AsyncLinks
from botwire.stores.redis._errors import from_redis
from botwire.stores.redis._keys import Keys
from botwire.stores.redis._links import Links
from botwire.stores.redis._router import TRANSPORT, Call, Router
from botwire.stores.redis._wire import Command, packed

RESYNC_SECONDS = 60.0
"""After so long without a word a listener looks all the same: what is published is not kept for who is not there."""
_SLICE = 0.25
_MESSAGES = (b"message", b"smessage")
_EVERYTHING = Heard(None, None)


class _Ear:
    """What both listeners know: the channel, what was heard, and when to look unasked."""

    def __init__(self, router: Router, keys: Keys, session: str | None) -> None:
        self._router = router
        self._keys = keys
        self._session = session
        self._heard: set[bytes] = set()
        self._lost = False
        self._next_resync = time.monotonic() + RESYNC_SECONDS
        self.closed = False

    def _place(self) -> Call[Any]:
        """The server to listen at, and the command: found by asking it something of the namespace's slot."""
        greeting = yield from self._router.ready()
        answers = yield from self._router.ask((Command(self._keys.slot, packed(b"EXISTS", self._keys.g)),))
        if isinstance(answers[0], BotWireError):
            raise answers[0]
        command = b"SSUBSCRIBE" if greeting.publishes_to_shards else b"SUBSCRIBE"
        return self._router.topology.locate(self._keys.slot), packed(command, self._keys.channel)

    def take(self, message: Any) -> None:
        """A message, or the end of the subscription, as when the slot goes to another server."""
        kind = message[0]
        if kind in _MESSAGES:
            self._heard.update(message[2].split(b"\n"))
        elif kind in (b"sunsubscribe", b"unsubscribe"):
            raise driver.ConnectionError("the subscription was ended")

    def _news(self) -> Heard | None:
        """What there is to say, if anything."""
        if self._lost or time.monotonic() >= self._next_resync:
            self._lost = False
            self._heard.clear()
            self._next_resync = time.monotonic() + RESYNC_SECONDS
            return _EVERYTHING
        heard, self._heard = self._heard, set()
        if not heard:
            return None
        self._next_resync = time.monotonic() + RESYNC_SECONDS
        if b"*" in heard:
            return _EVERYTHING
        keys = frozenset(name[1:].decode() for name in heard if name[:1] == b"k")
        sessions = frozenset(name[1:].decode() for name in heard if name[:1] == b"s")
        if self._session is None:
            return Heard(keys, sessions)
        return Heard(frozenset(), frozenset((self._session,))) if self._session in sessions else None


class RedisListener(_Ear):
    """A ``Listener`` on a connection of its own; listens once it is made."""

    def __init__(self, links: Links, router: Router, keys: Keys, session: str | None) -> None:
        super().__init__(router, keys, session)
        self._links = links
        self._connection: Any = self._subscribed()

    def _subscribed(self) -> Any:
        address, command = self._links.run(self._place())
        try:
            connection = self._links.connect(address, time.monotonic() + self._router.settings.timeout)
        except (*TRANSPORT, driver.ResponseError) as error:
            raise from_redis(driver.ClusterDownError(str(error.__cause__ or error)), self._router.settings.shown) from error
        try:
            connection.send_packed_command([command], check_health=False)
            connection.read_response()
        except driver.ResponseError as error:
            connection.disconnect()
            raise from_redis(error, self._router.settings.shown) from error
        except TRANSPORT as error:
            connection.disconnect()
            raise from_redis(driver.ClusterDownError(str(error)), self._router.settings.shown) from error
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def wait(self, timeout: float) -> Heard | None:
        """See ``Listener.wait``."""
        until = time.monotonic() + timeout
        while not self.closed:
            left = until - time.monotonic()
            try:
                self._listen(max(0.0, min(left, _SLICE)))
            except (*TRANSPORT, BotWireError, AttributeError, ValueError):  # the last two: closed by another thread meanwhile
                self._hang_up()
                time.sleep(max(0.0, min(left, random.uniform(0.02, _SLICE))))
            news = None if self._connection is None else self._news()
            if news is not None or left <= 0:
                return news
        return None

    def _listen(self, seconds: float) -> None:
        if self._connection is None:
            self._connection = self._subscribed()
            self._lost = True
        wait = 0.0 if self._lost else seconds
        while not self.closed and self._connection.can_read(wait):
            self.take(self._connection.read_response())
            wait = 0.0

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*TRANSPORT):
                connection.disconnect()

    def close(self) -> None:
        """See ``Listener.close``."""
        self.closed = True
        self._hang_up()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()


class AsyncRedisListener(_Ear):
    """The same for one event loop: ``wait`` and ``close`` are awaited."""

    def __init__(self, links: AsyncLinks, router: Router, keys: Keys, session: str | None) -> None:
        super().__init__(router, keys, session)
        self._links = links
        self._connection: Any = None
        self._reading: asyncio.Task[Any] | None = None

    async def open(self) -> None:
        """Begin to listen."""
        address, command = await self._links.run(self._place())
        where = self._router.settings.shown
        try:
            connection = await self._links.connect(address, time.monotonic() + self._router.settings.timeout)
        except (*TRANSPORT, driver.ResponseError) as error:
            raise from_redis(driver.ClusterDownError(str(error.__cause__ or error)), where) from error
        try:
            await connection.send_packed_command([command], check_health=False)
            await connection.read_response()
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, (driver.RedisError, OSError, TimeoutError)):
                raise from_redis(error, where) from error
            raise
        self._connection = connection

    async def wait(self, timeout: float) -> Heard | None:  # noqa: ASYNC109 - the protocol's argument
        """See ``Listener.wait``."""
        until = time.monotonic() + timeout
        while not self.closed:
            left = until - time.monotonic()
            try:
                await self._listen(max(0.0, min(left, 1.0)))
            except (*TRANSPORT, BotWireError):
                await self._hang_up()
                await asyncio.sleep(max(0.0, min(left, random.uniform(0.02, _SLICE))))
            news = None if self._connection is None else self._news()
            if news is not None or left <= 0:
                return news
        return None

    async def _listen(self, seconds: float) -> None:
        if self._connection is None:
            await self.open()
            self._lost = True
            return
        # A read that is cancelled half way would lose its message, so it goes on until there is one.
        wait = seconds
        while not self.closed:
            reading: asyncio.Task[Any] = self._reading or asyncio.ensure_future(self._connection.read_response())
            self._reading = reading
            await asyncio.wait((reading,), timeout=wait)
            if not reading.done():
                return
            self._reading = None
            self.take(reading.result())
            wait = 0.0

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, *TRANSPORT, driver.RedisError):
                await reading
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """See ``Listener.close``."""
        self.closed = True
        await self._hang_up()
