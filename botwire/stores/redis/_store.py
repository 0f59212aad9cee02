"""RedisStore: the store protocol on Redis or Valkey, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from botwire._errors import Closed
from botwire.stores._methods import StoreMethods
from botwire.stores._open import DEFAULT_TIMEOUT
from botwire.stores._protocol import Batch, Listener, Outcome
from botwire.stores.redis._async_links import AsyncLinks
from botwire.stores.redis._calls import Calls
from botwire.stores.redis._combining import Combiner
from botwire.stores.redis._links import Links
from botwire.stores.redis._listen import AsyncRedisListener, RedisListener
from botwire.stores.redis._router import Router
from botwire.stores.redis._settings import parse
from botwire.stores.redis._writing import is_append, needs_reading


class _Methods(StoreMethods):
    """The methods of a store that are younger than those over HTTP."""

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> Any:
        """See ``Store.scan_stamps``."""
        return self._call("scan_stamps", namespace, prefix, after, limit)


class RedisStore(_Methods):
    """Entries and logs in Redis or Valkey, 6.2 or newer. Makes no connection before its first call; safe to use from many threads.

    Args:
        url: ``redis://user:password@host:port/0``; ``redis+cluster://host:port,host:port`` for a Cluster;
            ``redis+sentinel://host:port,host:port/service`` for the primary that sentinels name; ``rediss`` in place of ``redis`` for
            TLS. Options: ``?prefix=`` with which all keys begin (``bw:``), ``?wait=`` for how many replicas must have a write before it
            is acknowledged (0), ``?wait_timeout=`` seconds for that (1), ``?ssl_ca_certs=``, ``?ssl_certfile=``, ``?ssl_keyfile=``.
            The password is never shown.
        timeout: seconds that one call may take, with its retries.
        clock: microseconds since 1970; for tests. Otherwise the server's clock counts.

    Raises:
        InvalidValue: if the URL cannot be one.
    """

    reads_are_fast = False

    def __init__(self, url: str, *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], int] | None = None) -> None:
        self._settings = parse(url, timeout)
        self.url = self._settings.shown
        self._router = Router(self._settings, clock)
        self._calls = Calls(self._router)
        self._links = Links(self._settings, self._router.topology.suspects)
        self._combiner = self._new_combiner()
        self._natives: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncRedisStore] = weakref.WeakKeyDictionary()
        self._closed = False
        self._release = weakref.finalize(self, self._links.close)  # for who forgets to close the store
        _stores.add(self)

    def __repr__(self) -> str:
        return f"RedisStore({self.url!r})"

    def _new_combiner(self) -> Combiner:
        def write(batches: Sequence[Batch], deadline: float) -> list[Outcome]:
            return self._call("write", batches, deadline)

        return Combiner(write, self._settings.timeout, self.url)

    def native_async(self) -> AsyncRedisStore:
        """The same store, natively async, for the running event loop: one and the same as long as it is open.

        Whoever calls it closes it: ``await store.native_async().close()``.
        """
        loop = asyncio.get_running_loop()
        native = self._natives.get(loop)
        if native is None or native.closed:
            for ended in [each for each in self._natives if each.is_closed()]:
                del self._natives[ended]  # its connections know the loop, so it would never be collected
            native = self._natives[loop] = AsyncRedisStore(self._router, self._calls)
        return native

    def write(self, batches: Sequence[Batch]) -> Any:
        """See ``Store.write``; a batch whose answer got lost is sent again under its request id, and applied once."""
        may_wait = len(batches) == 1 and is_append(batches[0])  # most are, so look no closer
        if not may_wait and (not batches or any(batch.namespace != batches[0].namespace or needs_reading(batch) for batch in batches)):
            return self._call("write", batches)
        return self._combiner.write(batches[0].namespace, batches)

    def listen(self, namespace: str, session: str | None = None) -> Listener:
        """See ``Store.listen``. Holds a connection of its own."""
        self._open()
        return RedisListener(self._links, self._router, self._calls.keys(namespace), session)

    def close(self) -> None:
        """See ``Store.close``."""
        self._closed = True
        self._release()

    def _open(self) -> None:
        if self._closed:
            raise Closed(f"the store {self.url} is closed; open a new one")

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._open()
        method: Callable[..., Any] = getattr(self._calls, name)
        return self._links.run(method(*args, **kwargs))

    def _after_fork(self) -> None:
        self._combiner = self._new_combiner()
        _inherited.extend(self._links.abandon())  # kept, since collecting them would end the parent's sessions


class AsyncRedisStore(_Methods):
    """``RedisStore`` for one event loop: the same methods, awaited. Made by ``RedisStore.native_async``."""

    def __init__(self, router: Router, calls: Calls) -> None:
        self._router = router
        self._calls = calls
        self.url = router.settings.shown
        self.closed = False
        self._links = AsyncLinks(router.settings, router.topology.suspects)

    def __repr__(self) -> str:
        return f"AsyncRedisStore({self.url!r})"

    async def listen(self, namespace: str, session: str | None = None) -> AsyncRedisListener:
        """As ``RedisStore.listen``; ``wait`` and ``close`` are awaited."""
        self._open()
        listener = AsyncRedisListener(self._links, self._router, self._calls.keys(namespace), session)
        await listener.open()
        return listener

    async def close(self) -> None:
        """Close the connections."""
        self.closed = True
        await self._links.close()

    def _open(self) -> None:
        if self.closed:
            raise Closed(f"the store {self.url} is closed; open a new one")

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._open()
        method: Callable[..., Any] = getattr(self._calls, name)
        return await self._links.run(method(*args, **kwargs))


_stores: weakref.WeakSet[RedisStore] = weakref.WeakSet()
_inherited: list[Any] = []


def _after_fork() -> None:
    for store in list(_stores):
        store._after_fork()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
