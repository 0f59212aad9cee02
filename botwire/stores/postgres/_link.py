"""From a script to a server and back: with a pool of connections for threads, and one for each event loop."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import Any, TypeVar, cast

from psycopg import AsyncRawCursor, RawCursor
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from botwire._errors import BotWireError
from botwire.stores.postgres._connection import GRACE, SETTINGS, WHO, LoopConnection, SyncConnection, ending
from botwire.stores.postgres._errors import Failed, cannot_connect, closed, failure
from botwire.stores.postgres._script import Script, Trip
from botwire.stores.postgres._url import Place

T = TypeVar("T")

SLICE = 0.2
"""Seconds after which whoever waits for a connection looks why there is none; the pool tries again about as often."""
IDLE = 300.0
"""Seconds after which a connection that is not used is closed."""


class _Shared:
    """What both links know."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.closed = False
        self._trouble: BaseException | None = None
        self._texts: dict[str, str] = {}

    def report(self, error: BaseException | None) -> None:
        self._trouble = error

    def prepare(self, trip: Trip) -> list[tuple[Any, Any]]:
        """The statements as the driver takes them."""
        texts = self._texts
        return [(texts.get(query.text) or self._text(query.text), query.parameters or None) for query in trip.queries]

    def _text(self, text: str) -> str:
        schema = f'"{self.place.schema}"'
        if len(self._texts) > 1_000:
            self._texts.clear()
        made = self._texts[text] = text.replace("@.", schema + ".").replace("CREATE SCHEMA @", f"CREATE SCHEMA {schema}")
        return made

    def options(self, cursor: type) -> dict[str, Any]:
        return {"autocommit": True, "cursor_factory": cursor, "prepare_threshold": None, "report": self.report}

    def limits(self) -> dict[str, Any]:
        """Connections are made when they are needed. The pool gives up early: whoever waits asks again."""
        return {"min_size": 0, "max_size": self.place.connections, "reconnect_timeout": SLICE, "max_idle": IDLE, "timeout": SLICE}

    def no_connection(self, until: float) -> None:
        """Raise why there is no connection, if there is no use in waiting for one, or no time."""
        error, may_help = cannot_connect(self._trouble, self.place.shown)
        if not may_help or monotonic() >= until:
            self._trouble, trouble = None, self._trouble
            raise Failed(error) from trouble

    def failure(self, error: BaseException, trip: Trip | None, connection: Any) -> BaseException:
        if not isinstance(error, Exception) or isinstance(error, BotWireError):
            return error
        return failure(error, self.place.shown, commits=trip is not None and trip.commits, broken=connection.closed)


class Link(_Shared):
    """Runs scripts for threads."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._lock = threading.Lock()
        self._pool: ConnectionPool[SyncConnection] | None = None

    def run(self, script: Script[T], until: float) -> T:
        """Run a script on a connection of its own; rolls back what it leaves undone.

        Raises:
            Failed, Again, BotWireError: see ``failure``, and what the script raises.
        """
        connection = self._take(until)
        trip: Trip | None = None
        try:
            connection.begin(until)
            trip = next(script)
            while True:
                answers = connection.perform(self.prepare(trip))
                connection.check_warning()
                trip = script.send(answers)
        except StopIteration as stop:
            return cast("T", stop.value)
        except BaseException as error:
            mapped = self.failure(error, trip, connection)
            if mapped is error:
                raise
            raise mapped from error
        finally:
            script.close()
            self._give_back(connection)

    def connect(self) -> SyncConnection:
        """A connection outside the pool, for whoever listens; the caller closes it.

        Raises:
            BotWireError: if none can be made.
        """
        try:
            connection = SyncConnection.connect(self.place.conninfo, **self.options(RawCursor))
            _configure(connection)
        except Exception as error:
            raise cannot_connect(error, self.place.shown)[0] from error
        return connection

    def _take(self, until: float) -> SyncConnection:
        while True:
            try:
                connection = self._opened().getconn(timeout=max(0.001, min(SLICE, until - monotonic())))
            except (PoolTimeout, TooManyRequests):
                self.no_connection(until)
                continue
            except PoolClosed:
                raise closed(self.place.shown) from None
            if not connection.is_stale():
                return connection
            connection.close()
            self._opened().putconn(connection)

    def _opened(self) -> ConnectionPool[SyncConnection]:
        if self._pool is not None:
            return self._pool
        with self._lock:
            if self.closed:
                raise closed(self.place.shown)
            if self._pool is None:
                pool = ConnectionPool(
                    self.place.conninfo,
                    connection_class=SyncConnection,
                    kwargs=self.options(RawCursor),
                    configure=_configure_own,
                    open=False,
                    num_workers=2,
                    **self.limits(),
                )
                pool.open()
                self._pool = pool
            return self._pool

    def _give_back(self, connection: SyncConnection) -> None:
        try:
            if not connection.closed and not connection.is_idle():
                connection.until = monotonic() + GRACE
                connection.rollback()
        except Exception:  # noqa: BLE001 - then the server rolls back, when the connection goes
            connection.close()
        if self._pool is not None:
            self._pool.putconn(connection)

    def close(self) -> None:
        """Close all connections, after the calls under way."""
        with self._lock:
            self.closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def abandon(self) -> list[Any]:
        """In a child after a fork: leave the connections to the parent. What is returned must not be collected."""
        self._lock = threading.Lock()
        pool, self._pool = self._pool, None
        return [pool]


class AsyncLink(_Shared):
    """Runs scripts for one event loop."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._lock = asyncio.Lock()
        self._pool: AsyncConnectionPool[LoopConnection] | None = None

    async def run(self, script: Script[T], until: float) -> T:
        """See ``Link.run``."""
        connection = await self._take(until)
        trip: Trip | None = None
        try:
            connection.begin(until)
            trip = next(script)
            while True:
                answers = await connection.perform(self.prepare(trip))
                connection.check_warning()
                trip = script.send(answers)
        except StopIteration as stop:
            return cast("T", stop.value)
        except BaseException as error:
            mapped = self.failure(error, trip, connection)
            if mapped is error:
                raise
            raise mapped from error
        finally:
            script.close()
            await self._give_back(connection)

    async def _take(self, until: float) -> LoopConnection:
        while True:
            pool = await self._opened()
            try:
                connection = await pool.getconn(timeout=max(0.001, min(SLICE, until - monotonic())))
            except (PoolTimeout, TooManyRequests):
                self.no_connection(until)
                continue
            except PoolClosed:
                raise closed(self.place.shown) from None
            if not connection.is_stale():
                return connection
            await connection.close()
            await pool.putconn(connection)

    async def _opened(self) -> AsyncConnectionPool[LoopConnection]:
        if self._pool is not None:
            return self._pool
        async with self._lock:
            if self.closed:
                raise closed(self.place.shown)
            if self._pool is None:
                pool = AsyncConnectionPool(
                    self.place.conninfo,
                    connection_class=LoopConnection,
                    kwargs=self.options(AsyncRawCursor),
                    configure=_configure_async,
                    open=False,
                    num_workers=2,
                    **self.limits(),
                )
                await pool.open()
                self._pool = pool
            return self._pool

    async def _give_back(self, connection: LoopConnection) -> None:
        try:
            if not connection.closed and not connection.is_idle():
                connection.until = monotonic() + GRACE
                await connection.rollback()
        except Exception:  # noqa: BLE001 - then the server rolls back, when the connection goes
            await connection.close()
        if self._pool is not None:
            await self._pool.putconn(connection)

    async def close(self) -> None:
        """Close all connections, after the calls under way."""
        self.closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()


def _configure(connection: SyncConnection) -> None:
    ((pid,),) = connection.perform([(WHO.text, None)])[0]
    if connection.learn(pid):
        connection.perform([(SETTINGS.text, None)])


def _configure_own(connection: SyncConnection) -> None:
    _configure(connection)
    if connection.direct:
        connection.keep_statements()


async def _configure_async(connection: LoopConnection) -> None:
    with ending():
        ((pid,),) = (await connection.perform([(WHO.text, None)]))[0]
        if connection.learn(pid):
            await connection.perform([(SETTINGS.text, None)])
            connection.keep_statements()
