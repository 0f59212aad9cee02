"""Which store a Memory uses, and who closes it.

Memories of one URL in one process share one store, so a Memory costs next to nothing and does no I/O
before its first call. The last one to be closed closes it; a store handed in is never closed.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from botwire._errors import Closed, InvalidValue, shown
from botwire.stores._open import open_store, resolve_url
from botwire.stores._protocol import Store

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class _Side:
    """A store's native async side in the running loop, closed when that loop ends, if not before.

    Nobody else could close it: connections belong to their loop, and programs that call ``asyncio.run`` for each piece of
    work would leave those of one loop after the other open. A loop that is shut down ends the generators begun in it.
    """

    __slots__ = ("__weakref__", "_waiting", "closed", "native")

    def __init__(self, native: Any) -> None:
        self.native, self.closed = native, False
        self._waiting = self._until_the_end()
        with suppress(StopIteration):  # so a coroutine says that it has its result
            self._waiting.__anext__().send(None)

    async def _until_the_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self.closed = True
            await self.native.close()

    async def close(self) -> None:
        await self._waiting.aclose()


class _Shared:
    """What the memories of one store share, and which of them may still call it.

    ``store`` is None where the store was handed in: its owner closes it, but its native async sides were made here.
    """

    __slots__ = ("holders", "natives", "store", "users")

    def __init__(self, store: Store | None) -> None:
        self.store = store
        self.holders: weakref.WeakSet[Source] = weakref.WeakSet()
        self.natives: weakref.WeakKeyDictionary[AbstractEventLoop, _Side] = weakref.WeakKeyDictionary()
        self.users: weakref.WeakKeyDictionary[AbstractEventLoop, weakref.WeakSet[Source]] = weakref.WeakKeyDictionary()
        """Which of the holders have used the native async side of each loop."""

    def native(self, loop: AbstractEventLoop, source: Source, make: Callable[[], Any]) -> Any:
        """The native async side of ``loop``, made now if there is none, for ``source`` to use."""
        side = self.natives.get(loop)
        if side is None or side.closed:
            for ended in [each for each in self.natives if each.is_closed()]:
                del self.natives[ended]  # what is made for a loop knows it, so it would never be collected
            side = self.natives[loop] = _Side(make())
        self.users.setdefault(loop, weakref.WeakSet()).add(source)
        return side.native

    def leave(self, loop: AbstractEventLoop, source: Source) -> _Side | None:
        """The native async side of ``loop``, taken out, if ``source`` was the last to use it."""
        users = self.users.get(loop)
        if users is not None:
            users.discard(source)
        return None if users else self.natives.pop(loop, None)


_lock = threading.Lock()
_stores: dict[tuple[Any, ...], _Shared] = {}
_handed_in: weakref.WeakKeyDictionary[Any, _Shared] = weakref.WeakKeyDictionary()


class Source:
    """A Memory's way to its store: opened at the first call, given back by ``close``."""

    __slots__ = ("__weakref__", "_shared", "closed", "store", "timeout", "token", "url")

    def __init__(self, url: str | None, token: str | None, timeout: float, store: Store | None) -> None:
        if store is not None and url is not None:
            raise InvalidValue("give url= or store=, not both")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise InvalidValue(f"timeout must be a number of seconds over zero, not {shown(timeout)}")
        self.url, self.token, self.timeout = url, token, timeout
        self.store = store
        self._shared: _Shared | None = None
        self.closed = False

    def open(self) -> Store:
        """The store, opened now if no Memory of this process has it open.

        Raises:
            Closed: if this Memory was closed.
            InvalidValue: if the URL has no store.
        """
        if self.store is not None:
            return self.store
        if self.closed:
            raise Closed("this Memory is closed; make a new one")
        url = resolve_url(self.url)[0]
        with _lock:
            key = (url, _whereabouts(url), self.token, self.timeout)
            shared = _stores.get(key)
            if shared is None:
                shared = _stores[key] = _Shared(open_store(url, token=self.token, timeout=self.timeout))
            shared.holders.add(self)
            self._shared, self.store = shared, shared.store
        return cast("Store", self.store)

    def native(self) -> Any:
        """The store's native async side for the running loop; None if it has none."""
        store = self.open()
        make = getattr(store, "native_async", None)
        if make is None:
            return None
        with _lock:
            if self._shared is None:
                self._shared = _handed_in.setdefault(store, _Shared(None))
                self._shared.holders.add(self)
            return self._shared.native(_running_loop(), self, make)

    def close(self, loop: AbstractEventLoop | None = None) -> _Side | None:
        """Give the store back; the last to do so closes it, if it was opened here.

        Returns the native async side of ``loop`` if it is now to be closed: others may hold the store for synchronous
        calls, or in other loops, but nobody could close this one later.
        """
        self.closed, self.store = True, None
        shared, self._shared = self._shared, None
        if shared is None:
            return None
        with _lock:
            shared.holders.discard(self)
            native = None if loop is None else shared.leave(loop, self)
            if shared.holders:
                return native
            for key in [key for key, kept in _stores.items() if kept is shared]:
                del _stores[key]
        if shared.store is not None:
            shared.store.close()
        return native


def _whereabouts(url: str) -> tuple[str | None, ...]:
    """What the meaning of a URL depends on besides itself: a relative path is another file after a chdir, a token opens other things."""
    if url.startswith(("http://", "https://")):
        return (os.environ.get("BOTWIRE_TOKEN"),)
    if not url.startswith("sqlite://") or url.startswith("sqlite:///"):
        return ()
    return str(Path.cwd()), os.environ.get("HOME"), os.environ.get("XDG_DATA_HOME")


def _running_loop() -> Any:
    from asyncio import get_running_loop  # late: `import botwire` loads nothing that it does not need

    try:
        return get_running_loop()
    except RuntimeError:
        return None


def _close_all() -> None:
    """At exit: leave no file half-closed and no resource warning."""
    with _lock:
        kept = list(_stores.values())
        _stores.clear()
    for shared in kept:
        if shared.store is not None:
            shared.store.close()


def _forget_lock() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may have held it when the child was made
    _lock = threading.Lock()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
