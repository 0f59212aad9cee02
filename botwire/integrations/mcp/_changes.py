"""Who wants to hear of changes, and may: writes of this process and of every other, told to the clients that listen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import anyio
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent

from botwire import AsyncMemory, EntryChange
from botwire.integrations.mcp._uris import index_of, uri_of
from botwire.integrations.mcp._watching import Watching

Listener = Callable[[ServerEvent], None]

MOST_TOLD = 1_000
"""Changes that are remembered until they are told of from the other side too."""


class Told(NamedTuple):
    """What was told last of an entry."""

    version: int | None
    """None if it was removed."""
    by_store: bool
    """Or else by the call of this process that wrote it."""


class Changes:
    """The bus under ``subscriptions/listen``: a listener hears of the namespaces alone that its caller sees.

    A write of this process is told at once. Those of others are told by the store, for the namespaces that are ``held``.

    Args:
        sees: whether a namespace is open to whoever is subscribing just now; asked for a predicate at that moment.
        memory_of: the memory of a namespace.
    """

    def __init__(self, sees: Callable[[], Callable[[str], bool]], memory_of: Callable[[str], Awaitable[AsyncMemory]]) -> None:
        self._sees = sees
        self._watching = Watching(memory_of, self._seen)
        self._told: dict[tuple[str, str], Told] = {}  # by namespace and key
        self._listeners: dict[object, tuple[Listener, Callable[[str], bool]]] = {}

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for each change from now on; returns what ends that."""
        token = object()
        self._listeners[token] = (listener, self._sees())

        def unsubscribe() -> None:
            with suppress(KeyError):
                del self._listeners[token]

        return unsubscribe

    async def publish(self, event: ServerEvent) -> None:
        """Nothing is published from outside: what changed, and where, is told by ``entry`` and ``listing``."""

    async def hold(self, namespaces: set[str]) -> Callable[[], None]:
        """Hear of what other processes write there; returns what ends that."""
        sees = self._sees()
        return await self._watching.hold({namespace for namespace in namespaces if sees(namespace)})

    async def entry(self, namespace: str, key: str, version: int | None) -> None:
        """A call wrote an entry, which is now at this version; None if it removed it."""
        if self._listeners:
            if not self._watching.watches(namespace) or self._is_news(namespace, key, Told(version, by_store=False)):
                self._tell_entry(namespace, key, listed=version in (1, None))
            await anyio.lowlevel.checkpoint()  # so that streams are drained between events

    def _seen(self, namespace: str, change: EntryChange, listed: bool) -> None:
        """The store tells of a change, by whomever; what the call that made it has told is not told again."""
        version = None if change.entry is None else change.entry.version
        if self._is_news(namespace, change.key, Told(version, by_store=True)):
            self._tell_entry(namespace, change.key, listed)

    def _is_news(self, namespace: str, key: str, now: Told) -> bool:
        """Of a write of this process both the call and the store tell, in either order: whether this is the first to."""
        before = self._told.pop((namespace, key), None)
        if before == Told(now.version, not now.by_store):
            return False
        self._told[namespace, key] = now
        while len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        return True

    def _tell_entry(self, namespace: str, key: str, listed: bool) -> None:
        self._tell(namespace, ResourceUpdated(uri_of(namespace, key)))
        if listed:
            self._tell(namespace, ResourceUpdated(index_of(namespace)))
            self._tell(namespace, ResourcesListChanged())

    async def listing(self, namespace: str) -> None:
        """Many entries went at once."""
        self._tell(namespace, ResourceUpdated(index_of(namespace)))
        self._tell(namespace, ResourcesListChanged())

    def _tell(self, namespace: str, event: ServerEvent) -> None:
        for listener, sees in list(self._listeners.values()):
            if sees(namespace):
                listener(event)
