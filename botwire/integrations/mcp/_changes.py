"""Who wants to hear of changes, and may: writes of this process, told to the clients that listen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import anyio
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent

from botwire.integrations.mcp._uris import uri_of

logger = logging.getLogger("botwire")

Listener = Callable[[ServerEvent], None]


class Changes:
    """The bus under ``subscriptions/listen``: a listener hears of the namespaces alone that its caller sees.

    Args:
        sees: whether a namespace is open to whoever is subscribing just now; asked for a predicate at that moment.
    """

    def __init__(self, sees: Callable[[], Callable[[str], bool]]) -> None:
        self._sees = sees
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

    async def entry(self, namespace: str, key: str, *, listed: bool = False) -> None:
        """An entry changed; with ``listed``, it came or went."""
        if self._listeners:
            self._tell(namespace, ResourceUpdated(uri_of(namespace, key)))
            if listed:
                self._tell(namespace, ResourcesListChanged())
            await anyio.lowlevel.checkpoint()  # so that streams are drained between events

    async def listing(self, namespace: str) -> None:
        """Many entries went at once."""
        self._tell(namespace, ResourcesListChanged())

    def _tell(self, namespace: str, event: ServerEvent) -> None:
        for listener, sees in list(self._listeners.values()):
            if sees(namespace):
                listener(event)
