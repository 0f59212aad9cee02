"""BotWireSubscriptionBus: what changed in one process is heard by the clients that listen at another.

Events are messages of a session, in the order in which they were published. A process with listeners watches it; one
without reads nothing. Every event says no more than "this changed, read it again", so one that is delivered twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from mcp.server.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ServerEvent, ToolsListChanged

from botwire import AsyncMemory, BotWireError, InvalidValue, Memory, Message

logger = logging.getLogger("botwire")

Listener = Callable[[ServerEvent], None]

KEPT = 1_000
"""Events that stay in the session at least; twice as many at most."""
TTL = 86_400.0
"""Seconds after the last event at which the session is removed."""
LOOKED_BACK = timedelta(seconds=10)
"""How old an event may be that the first look after a subscription still delivers: it was published between the two, or the
clocks of two machines differ."""
LONGEST_PAUSE = 30.0

_LISTS: dict[str, ServerEvent] = {"tools": ToolsListChanged(), "prompts": PromptsListChanged(), "resources": ResourcesListChanged()}


@dataclass
class _Position:
    """How far the session was read."""

    epoch: str | None
    seq: int


class BotWireSubscriptionBus:
    """A ``SubscriptionBus`` across processes and machines, for ``MCPServer(subscriptions=)`` or a ``ListenHandler``.

    Listeners of the same process hear of an event at once; those of others as soon as the store tells of it: within a tenth of
    a second from a file, a few milliseconds from a server. A process that has listeners does one small read for each event.

    Use it as ``async with`` around the server's life, in its lifespan, or call ``close`` at the end. Without either it works
    from the first listener on, and stops reading with the last.

    Args:
        name: buses of one name and namespace hear each other.
        namespace: where the events lie.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        poll_interval: seconds until the next attempt when the store cannot be read at first; twice as many each time.

    Whoever may listen at the server hears of every URI that it asks for: a URI should tell nothing that is secret.

    Raises:
        InvalidName, InvalidValue: if there can be no such bus.
    """

    DEFAULT_NAMESPACE = "mcp-events"

    def __init__(
        self,
        name: str = "events",
        *,
        namespace: str = DEFAULT_NAMESPACE,
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        poll_interval: float = 0.5,
    ) -> None:
        if memory is not None and (url is not None or namespace not in (self.DEFAULT_NAMESPACE, memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        if not 0 < poll_interval <= LONGEST_PAUSE:
            raise InvalidValue(f"poll_interval must be over 0 and at most {LONGEST_PAUSE:g} seconds, not {poll_interval!r:.40}")
        if isinstance(memory, Memory):
            memory = AsyncMemory(memory.namespace, store=memory.store)
            self._owned = True
        else:
            self._owned = memory is None
        self._memory = AsyncMemory(namespace, url=url) if memory is None else memory
        self._session = self._memory.session(name, ttl=TTL)
        self._interval = poll_interval
        self._origin = secrets.token_hex(8)
        self._listeners: dict[object, Listener] = {}
        self._reader: asyncio.Task[None] | None = None
        self._entered = False

    async def __aenter__(self) -> Self:
        self._entered = True
        self._start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop reading, and give back what this object opened. Listeners hear nothing more from other processes."""
        self._entered = False
        reader = self._stop()
        if reader is not None:
            with suppress(asyncio.CancelledError):
                await reader
        if self._owned:
            await self._memory.close()

    # ------------------------------------------------------------------------------------- the protocol

    async def publish(self, event: ServerEvent) -> None:
        """Tell every listener of every process.

        What was changed is changed, whether others hear of it or not: if the store cannot be written, the event is told in
        this process alone, with a warning in the log, and nothing is raised.

        Raises:
            InvalidValue: if it is no event of the SDK's.
        """
        message = Message("system", "", metadata={**_to_record(event), "from": self._origin})
        self._tell(event)
        try:
            seq = (await self._session.append(message, request_id=secrets.token_hex(16)))[-1]
            if seq % KEPT == 0:
                await self._session.trim(KEPT)
        except BotWireError as error:
            logger.warning("other processes do not hear that something changed (%s): %s", _to_record(event), error)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` on the event loop for each event from now on; returns what ends that. Needs a running asyncio loop."""
        token = object()
        self._listeners[token] = listener
        self._start()

        def unsubscribe() -> None:
            self._listeners.pop(token, None)
            if not self._listeners and not self._entered:
                self._stop()

        return unsubscribe

    def _tell(self, event: ServerEvent) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                logger.exception("a listener to MCP events failed; the others are told")

    # -------------------------------------------------------------------------------------- other processes

    def _start(self) -> None:
        if self._reader is None or self._reader.done():
            self._reader = asyncio.get_running_loop().create_task(self._read(datetime.now(UTC) - LOOKED_BACK), name="botwire-mcp-events")

    def _stop(self) -> asyncio.Task[None] | None:
        reader, self._reader = self._reader, None
        if reader is None or reader.done() or reader.get_loop().is_closed():
            return None
        reader.cancel()
        return reader

    async def _read(self, since: datetime) -> None:
        position: _Position | None = None
        pause = self._interval
        while True:
            try:
                if position is None:
                    position = await self._first_look(since)
                pause = self._interval
                await self._follow(position)
            except BotWireError as error:
                if pause == self._interval:
                    logger.warning("what changed in other processes is not heard until the store answers again: %s", error)
                pause = min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _first_look(self, since: datetime) -> _Position:
        info, messages = await self._session.snapshot(last=KEPT)
        self._tell_all(message for message in messages if message.created_at is None or message.created_at >= since)
        return _Position(None if info is None else info.epoch, 0 if info is None else info.head)

    async def _follow(self, position: _Position) -> None:
        """Tell of each event as it comes. Trouble with the store is waited for to pass, without missing any."""
        async with self._session.watch(position.seq, epoch=position.epoch) as events:
            async for event in events:
                self._tell_all((event,))
                position.epoch, position.seq = events.epoch, events.seq

    def _tell_all(self, messages: Any) -> None:
        """Tell what others published."""
        for message in messages:
            if message.metadata.get("from") != self._origin and (event := _from_record(message.metadata)) is not None:
                self._tell(event)


def _to_record(event: ServerEvent) -> dict[str, Any]:
    if isinstance(event, ResourceUpdated):
        return {"updated": event.uri}
    for name, changed in _LISTS.items():
        if event == changed:
            return {"list": name}
    raise InvalidValue(f"{event!r:.80} is no event that a client could subscribe to")


def _from_record(record: dict[str, Any]) -> ServerEvent | None:
    """The event; None for what another program, or a newer botwire, may have put there."""
    uri = record.get("updated")
    return ResourceUpdated(uri) if isinstance(uri, str) else _LISTS.get(str(record.get("list")))
