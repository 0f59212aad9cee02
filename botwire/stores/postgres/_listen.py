"""Hearing of writes: one connection and one thread for all listeners of a store, while there are any.

A write says what it wrote (NOTIFY) only where a row of the table ``listener`` says that somebody listens to its namespace; the
row is a lease, so nobody is told on for the dead. What may have been said to nobody is made up for by a hint to look at
everything: after trouble with the connection, once all writes have ended that began before the lease, and now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import uuid
from time import monotonic
from typing import Any

import psycopg
from psycopg import sql

from botwire._errors import BotWireError, StoreBusy, StoreUnavailable
from botwire.stores._protocol import Heard
from botwire.stores.postgres._connection import SyncConnection
from botwire.stores.postgres._errors import closed, reason
from botwire.stores.postgres._link import Link
from botwire.stores.postgres._notes import channel_of, heard
from botwire.stores.postgres._plans import Plans, drive
from botwire.stores.postgres._script import Query, Trip, now, one

LEASE = 60.0
"""Seconds for which writers know of a listener; it is renewed at a third of it."""
RESYNC = 60.0
"""Seconds after which everything is looked at again, in case that something was said to nobody."""
POLL = 1.0
"""Seconds between two looks where nothing can be heard: behind a pooler, which deals out its connections."""
SETTLE = 0.25
"""Seconds between two questions whether what began before the lease has ended."""

EVERYTHING = Heard(None, None)

_LEASE = f"""INSERT INTO @.listener (namespace, id, expires_at) VALUES ($1, $2, {now(3)} + $4::int8)
ON CONFLICT (namespace, id) DO UPDATE SET expires_at = EXCLUDED.expires_at RETURNING pg_current_xact_id()::text::int8"""
_SETTLED = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8"
_LEAVE = "DELETE FROM @.listener WHERE namespace = $1 AND id = $2"


class PostgresListener:
    """A ``Listener`` of one namespace, or of one session in it."""

    def __init__(self, hub: Hub, namespace: str, session: str | None) -> None:
        self.namespace = namespace
        self.session = session
        self._hub = hub
        self._condition = threading.Condition()
        self.is_ready = False
        self._closed = False
        self._failure: BotWireError | None = None
        self._heard: Heard | None = None
        self._join()

    def _join(self) -> None:
        self._hub.join(self)
        with self._condition:
            in_time = self._condition.wait_for(lambda: self.is_ready or self._failure is not None, self._hub.timeout)
        if self._failure is not None or not in_time:
            self.close()
            raise self._failure or StoreBusy(f"{self._hub.where} did not let anybody listen within the timeout")

    def wait(self, timeout: float) -> Heard | None:
        """See ``Listener.wait``."""
        with self._condition:
            self._condition.wait_for(lambda: self._heard is not None or self._closed, timeout)
            if self._closed and self._hub.closed:
                raise closed(self._hub.where)
            found, self._heard = self._heard, None
            return found

    def close(self) -> None:
        """See ``Listener.close``."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._hub.leave(self)

    # ------------------------------------------------------------------------------ told by the hub

    def ready(self, failure: BotWireError | None = None) -> None:
        """It listens now, or cannot."""
        with self._condition:
            self.is_ready, self._failure = failure is None, failure
            self._changed()

    def hear(self, found: Heard) -> None:
        """Something may have changed."""
        if self.session is not None and found.sessions is not None and self.session not in found.sessions:
            return
        with self._condition:
            self._heard = found if self._heard is None else _joined(self._heard, found)
            self._changed()

    def end(self) -> None:
        """The store was closed."""
        with self._condition:
            self._closed = True
            self._changed()

    def _changed(self) -> None:
        self._condition.notify_all()


class AsyncPostgresListener(PostgresListener):
    """The same for an event loop: ``wait`` and ``close`` are awaited. Made by ``await store.listen(...)``."""

    def __init__(self, hub: Hub, namespace: str, session: str | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        super().__init__(hub, namespace, session)

    def _join(self) -> None:
        self._hub.join(self)

    def _changed(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            self._loop.call_soon_threadsafe(self._event.set)

    async def begin(self) -> AsyncPostgresListener:
        """Wait until it listens.

        Raises:
            BotWireError: if it cannot.
        """
        deadline = monotonic() + self._hub.timeout
        while not self.is_ready and self._failure is None:
            if not await self._woken(deadline - monotonic()):
                self._failure = StoreBusy(f"{self._hub.where} did not let anybody listen within the timeout")
        if self._failure is not None:
            await self.close()
            raise self._failure
        return self

    async def _woken(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    async def wait(self, timeout: float) -> Heard | None:  # noqa: ASYNC109 - the protocol's argument
        """See ``Listener.wait``."""
        deadline = monotonic() + timeout
        while self._heard is None and not self._closed and await self._woken(deadline - monotonic()):
            pass
        if self._closed and self._hub.closed:
            raise closed(self._hub.where)
        with self._condition:
            found, self._heard = self._heard, None
        return found

    async def close(self) -> None:
        """See ``Listener.close``."""
        self._closed = True
        self._event.set()
        self._hub.leave(self)


class Hub:
    """Who listens to what, and the thread that hears for them."""

    def __init__(self, link: Link, plans: Plans) -> None:
        self.where = link.place.shown
        self.timeout = plans.timeout
        self.closed = False
        self.link = link
        self.plans = plans
        self.id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._listeners: list[PostgresListener] = []
        self._thread: threading.Thread | None = None
        self._wake, self._woken = None, None

    # ------------------------------------------------------------------------- called by listeners

    def join(self, listener: PostgresListener) -> None:
        """Hear for one more."""
        with self._lock:
            if self.closed:
                raise closed(self.where)
            self._listeners.append(listener)
            if self._thread is None:
                self._woken, self._wake = socket.socketpair()
                self._woken.setblocking(False)
                self._thread = threading.Thread(target=self._serve, args=(self._woken,), daemon=True, name="botwire-postgres-listen")
                self._thread.start()
            self._nudge()

    def leave(self, listener: PostgresListener) -> None:
        """Hear for one less."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
                self._nudge()

    def close(self) -> None:
        """End the thread, and with it all listening."""
        with self._lock:
            self.closed = True
            listeners, self._listeners = self._listeners, []
            thread = self._thread
            self._nudge()
        for listener in listeners:
            listener.end()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def _nudge(self) -> None:
        if self._wake is not None:
            with contextlib.suppress(OSError):
                self._wake.send(b"x")

    # ------------------------------------------------------------------------------- in the thread

    def _serve(self, woken: socket.socket) -> None:
        delay = 0.05
        try:
            while self._anybody():
                try:
                    _Hearing(self, woken).run()
                    delay = 0.05
                except Exception as error:  # noqa: BLE001 - whoever waits is told; then it tries again
                    self._trouble(error)
                    select.select([woken], [], [], delay)
                    delay = min(2 * delay, 2.0)
        finally:
            with self._lock:
                wake, self._wake, self._thread = self._wake, None, None
                if self._listeners and not self.closed:  # one joined at the last moment
                    self._woken, self._wake = socket.socketpair()
                    self._woken.setblocking(False)
                    self._thread = threading.Thread(target=self._serve, args=(self._woken,), daemon=True, name="botwire-postgres-listen")
                    self._thread.start()
            woken.close()
            if wake is not None:
                wake.close()

    def _anybody(self) -> bool:
        with self._lock:
            return bool(self._listeners) and not self.closed

    def _trouble(self, error: Exception) -> None:
        """Whoever begins to listen is told that it cannot be; the others are told to look, once it can again."""
        failure = error if isinstance(error, BotWireError) else StoreUnavailable(f"cannot listen to {self.where}: {reason(error)}")
        for listener in self.listeners():
            if not listener.is_ready:
                listener.ready(failure)

    def listeners(self) -> list[PostgresListener]:
        """Those there are now."""
        with self._lock:
            return list(self._listeners)


class _Hearing:
    """Listening over one connection, for as long as it lasts."""

    def __init__(self, hub: Hub, woken: socket.socket) -> None:
        self._hub = hub
        self._woken = woken
        self._leases: dict[str, float] = {}  # of each namespace: when to renew
        self._unsettled: dict[str, int] = {}  # transactions with which leases were made
        self._connection: SyncConnection
        self._resync = monotonic() + RESYNC

    def run(self) -> None:
        """Until nobody listens any more.

        Raises:
            psycopg.Error, OSError, BotWireError: when the connection is lost, or cannot be made.
        """
        self._make_tables()
        self._connection = self._hub.link.connect()
        try:
            while not self._hub.closed:
                listeners = self._hub.listeners()
                if not listeners:
                    break
                self._adjust(listeners)
                self._hear(self._pause())
        finally:
            with contextlib.suppress(psycopg.Error, OSError):
                for namespace in self._leases:
                    self._execute(_LEAVE, namespace, self._hub.id)
            self._connection.close()

    def _make_tables(self) -> None:
        """By a read like any other, which makes them if they are not there."""
        drive(self._hub.plans.read(lambda: one(Query("SELECT 1"))), self._hub.link)

    def _execute(self, text: str, *parameters: Any) -> list[Any]:
        self._connection.begin(monotonic() + self._hub.timeout)
        return self._connection.perform(self._hub.link.prepare(Trip((Query(text, parameters),))))[0]

    def _adjust(self, listeners: list[PostgresListener]) -> None:
        """Listen to what is asked for, and no more; then tell those that waited for it."""
        wanted = {listener.namespace for listener in listeners}
        if self._connection.direct:
            for namespace in wanted - self._leases.keys():
                self._begin(namespace)
            for namespace in self._leases.keys() - wanted:
                self._end(namespace)
        for namespace, due in self._leases.items():
            if monotonic() >= due:
                self._renew(namespace)
        fresh = [listener for listener in listeners if not listener.is_ready]
        for listener in fresh:
            listener.ready()

    def _begin(self, namespace: str) -> None:
        schema = self._hub.link.place.schema
        self._connection.begin(monotonic() + self._hub.timeout)
        self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel_of(schema, namespace))))
        self._renew(namespace)
        self._tell(namespace, EVERYTHING, only_ready=True)  # whoever listened before this connection

    def _end(self, namespace: str) -> None:
        schema = self._hub.link.place.schema
        self._connection.begin(monotonic() + self._hub.timeout)
        self._connection.execute(sql.SQL("UNLISTEN {}").format(sql.Identifier(channel_of(schema, namespace))))
        self._execute(_LEAVE, namespace, self._hub.id)
        del self._leases[namespace]
        self._unsettled.pop(namespace, None)

    def _renew(self, namespace: str) -> None:
        new = namespace not in self._leases
        moment = self._hub.plans.moment()
        ((number,),) = self._execute(_LEASE, namespace, self._hub.id, moment, round(LEASE * 1_000_000))
        self._leases[namespace] = monotonic() + LEASE / 3
        if new:
            self._unsettled[namespace] = number
            self._settle(silent=True)

    def _settle(self, *, silent: bool) -> None:
        """Writes that began before a lease tell nobody: once they have ended, everything is looked at."""
        ((oldest,),) = self._execute(_SETTLED)
        for namespace, number in list(self._unsettled.items()):
            if oldest > number:
                del self._unsettled[namespace]
                if not silent:
                    self._tell(namespace, EVERYTHING)

    def _pause(self) -> float:
        if not self._connection.direct:
            return POLL
        due = min([self._resync, *self._leases.values()]) - monotonic()
        return max(0.0, min(due, SETTLE if self._unsettled else due))

    def _hear(self, seconds: float) -> None:
        ready, _, _ = select.select([self._connection.pgconn.socket, self._woken], [], [], seconds)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4_096)
        names = {channel_of(self._hub.link.place.schema, namespace): namespace for namespace in self._leases}
        self._connection.begin(monotonic() + self._hub.timeout)
        for notice in self._connection.notifies(timeout=0):
            if notice.channel in names:
                self._tell(names[notice.channel], heard(notice.payload))
        if self._unsettled and not ready:
            self._settle(silent=False)
        if monotonic() >= self._resync or (not self._connection.direct and not ready):
            self._resync = monotonic() + RESYNC
            for listener in self._hub.listeners():
                listener.hear(EVERYTHING)

    def _tell(self, namespace: str, found: Heard, *, only_ready: bool = False) -> None:
        for listener in self._hub.listeners():
            if listener.namespace == namespace and (listener.is_ready or not only_ready):
                listener.hear(found)


def _joined(one: Heard, other: Heard) -> Heard:
    keys = None if one.keys is None or other.keys is None else one.keys | other.keys
    sessions = None if one.sessions is None or other.sessions is None else one.sessions | other.sessions
    return Heard(keys, sessions)
