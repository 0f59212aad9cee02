"""PostgresStore: the store protocol on PostgreSQL, for threads; and its native async side."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from botwire.stores._methods import StoreMethods
from botwire.stores._open import DEFAULT_TIMEOUT
from botwire.stores._protocol import Batch, Outcome
from botwire.stores.postgres._errors import closed
from botwire.stores.postgres._link import AsyncLink, Link
from botwire.stores.postgres._listen import AsyncPostgresListener, Hub, PostgresListener
from botwire.stores.postgres._plans import Plans, adrive, drive
from botwire.stores.postgres._turns import AsyncTurns, Turns, target_of
from botwire.stores.postgres._url import parse


class _Methods(StoreMethods):
    """What the store has besides the methods that it shares with others."""

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> Any:
        """See ``Store.scan_stamps``."""
        return self._call("scan_stamps", namespace, prefix, after, limit)


class PostgresStore(_Methods):
    """Entries and logs in a PostgreSQL database that any number of threads, processes and machines may use at once.

    Args:
        url: ``postgresql://user:password@host:port/database``, or ``postgres://``. ``?schema=name`` for another schema than
            ``botwire``, ``?connections=16`` for the most connections, ``?partitions=16`` to have the tables split by a hash of
            the namespace when they are made; all other parameters are libpq's (several hosts, ``sslmode``, ...).
        timeout: seconds that one call may take, with its retries.
        clock: microseconds since 1970; for tests. Otherwise it is the server's clock.

    Makes no connection before its first call. The password is never shown. After a fork, the child has connections of its own.

    Raises:
        InvalidValue: if libpq would not take the URL.
    """

    reads_are_fast = False

    def __init__(self, url: str, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], int] | None = None) -> None:
        self.place = parse(url, timeout)
        self.url = self.place.shown
        self.plans = Plans(self.place, timeout, clock)
        self._link = Link(self.place)
        self._turns = self._new_turns()
        self.hub = Hub(self._link, self.plans)
        self._natives: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncPostgresStore] = weakref.WeakKeyDictionary()
        _stores.add(self)

    def __repr__(self) -> str:
        return f"<PostgresStore {self.url}>"

    def _new_turns(self) -> Turns:
        def write_mixed(batches: Sequence[Batch]) -> list[Outcome | None]:
            return drive(self.plans.write_mixed(batches), self._link)

        return Turns(self.url, self.plans.timeout, self._write, write_mixed)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self._link.closed:
            raise closed(self.url)
        if name == "write" and (wanted := target_of(args[0])) is not None:
            return self._turns.write(wanted, args[0][0])
        return drive(self.plans.of(name, args, kwargs), self._link)

    def _write(self, batches: Sequence[Batch]) -> list[Outcome]:
        return drive(self.plans.write(batches), self._link)

    def listen(self, namespace: str, session: str | None = None) -> PostgresListener:
        """See ``Store.listen``. One more connection serves all who listen; behind a pooler, they look once a second instead."""
        if self._link.closed:
            raise closed(self.url)
        return PostgresListener(self.hub, namespace, session)

    # ------------------------------------------------------------------------------- closing, forking

    def close(self) -> None:
        """See ``Store.close``."""
        self.hub.close()
        self._link.close()

    def native_async(self) -> AsyncPostgresStore:
        """The same store, natively async, for the running event loop: one and the same as long as it is open.

        Whoever calls it closes it: ``await store.native_async().close()``.
        """
        loop = asyncio.get_running_loop()
        native = self._natives.get(loop)
        if native is None or native.closed:
            for ended in [each for each in self._natives if each.is_closed()]:
                del self._natives[ended]  # its connections know the loop, so it would never be collected
            native = self._natives[loop] = AsyncPostgresStore(self)
        return native

    def _after_fork(self) -> None:
        _inherited.extend(self._link.abandon())
        _inherited.append(self.hub)
        self._turns = self._new_turns()
        self.hub = Hub(self._link, self.plans)
        _inherited.extend(self._natives.values())
        self._natives = weakref.WeakKeyDictionary()


class AsyncPostgresStore(_Methods):
    """``PostgresStore`` for one event loop: the same methods, awaited. Made by ``PostgresStore.native_async``."""

    def __init__(self, store: PostgresStore) -> None:
        self.url = store.url
        self.closed = False
        self._store = store
        self._link = AsyncLink(store.place)
        self._turns = AsyncTurns(store.url, store.plans.timeout, self._write, self._write_mixed)

    def __repr__(self) -> str:
        return f"<AsyncPostgresStore {self.url}>"

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self.closed:
            raise closed(self.url)
        if name == "write" and (wanted := target_of(args[0])) is not None:
            return await self._turns.write(wanted, args[0][0])
        return await adrive(self._store.plans.of(name, args, kwargs), self._link)

    async def _write(self, batches: Sequence[Batch]) -> list[Outcome]:
        return await adrive(self._store.plans.write(batches), self._link)

    async def _write_mixed(self, batches: Sequence[Batch]) -> list[Outcome | None]:
        return await adrive(self._store.plans.write_mixed(batches), self._link)

    async def listen(self, namespace: str, session: str | None = None) -> AsyncPostgresListener:
        """See ``Store.listen``; the listener's ``wait`` and ``close`` are awaited, too."""
        if self.closed:
            raise closed(self.url)
        return await AsyncPostgresListener(self._store.hub, namespace, session).begin()

    async def close(self) -> None:
        """Close the connections of this loop; the store itself stays open."""
        self.closed = True
        await self._link.close()


_stores: weakref.WeakSet[PostgresStore] = weakref.WeakSet()
_inherited: list[Any] = []
"""Connections of the parent: collecting them would end them for the parent, too."""


def _after_fork() -> None:
    for store in list(_stores):
        store._after_fork()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
