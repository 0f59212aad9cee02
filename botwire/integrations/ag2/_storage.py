"""BotWireStorage: the history of AG2's streams that outlives the process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

from ag2 import Context, MemoryStream
from ag2.events import BaseEvent
from ag2.history import Storage

from botwire import AsyncMemory, AsyncSession, InvalidValue, Memory, Message
from botwire.integrations.ag2._messages import NATIVE, decoded, encoded, heard, note_results, repaired, said

BESIDE = "ag2.events"
"""The transcript, within each session, of what is nothing that was said."""


@dataclass
class _Place:
    """Where a stream's history goes on: after which of its own messages, and which calls have their result."""

    last: str
    answered: set[str]


class BotWireStorage(Storage):
    """The history of streams as botwire sessions: ``MemoryStream(BotWireStorage(), id="user-42")``.

    Args:
        namespace: the namespace of the sessions. A stream's is the session of its id, whichever framework began it.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after its last write at which a whole session expires.
        modules: those whose classes may be looked up when events are read, besides those of ``ag2``, as ``["myapp"]``.
            An event of any other class is passed over, with a warning; of any other object, the dict of its members is read.

    Each event is durable when ``save_event`` returns, and comes back equal. A call that a crash left without a result is
    read with one that says so, once a new request follows it. Costs no I/O until its first call; one object serves any
    number of streams, threads and event loops.

    Raises:
        InvalidName: if the namespace cannot be one; from its methods, if the stream's id cannot be a session's.
        InvalidValue: if the arguments contradict each other; from its methods, if an event could not come back.
        StoreUnavailable: from its methods, if the store cannot be used.
    """

    def __init__(
        self,
        namespace: str = "default",
        *,
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        if isinstance(modules, str):
            raise InvalidValue(f"modules must be a list of names, not the text {modules!r:.80}")
        Memory(namespace)  # says now what is wrong with it; costs no I/O
        if isinstance(memory, Memory):
            memory = AsyncMemory(memory.namespace, store=memory.store)
        self._memory = AsyncMemory(namespace, url=url) if memory is None else memory
        self._ttl = ttl
        self._modules = tuple(modules)
        self._warned: set[str] = set()
        self._places: dict[str, _Place] = {}

    def __repr__(self) -> str:
        return f"<BotWireStorage of {self._memory.namespace!r}>"

    async def save_event(self, event: BaseEvent, context: Context) -> None:
        """Store an event of the context's stream, after all there are."""
        stream = str(context.stream.id)
        if stream not in self._places:
            await self._events(stream)
        place = self._places[stream]
        if messages := said(event, set(place.answered)):
            messages[0].id = identifier = uuid4().hex
            await self._session(stream).append(*messages, request_id=identifier)
            place.last = identifier
            note_results(event, place.answered)
        else:
            beside = _beside(event, place.last)
            await self._session(stream, BESIDE).append(beside, request_id=uuid4().hex)

    async def get_history(self, stream_id: Any) -> Iterable[BaseEvent]:
        """The events of a stream, oldest first, also of messages that another framework wrote."""
        return repaired(await self._events(str(stream_id)))

    async def set_history(self, stream_id: Any, events: Iterable[BaseEvent]) -> None:
        """Put events in place of all there are, in one step."""
        stream, given = str(stream_id), list(events)
        messages, leading, place = _arranged(given)
        if messages:
            messages[0].native[NATIVE]["before"] = [encoded(event) for event in leading]
            await self._session(stream).replace(*messages)
            await self._session(stream, BESIDE).clear()  # what is there belongs to messages that are gone, and is not read
        else:
            await self._session(stream).clear()
            await self._session(stream, BESIDE).replace(*(_beside(event, "") for event in leading))
        self._places[stream] = place

    async def drop_history(self, stream_id: Any) -> None:
        """Remove a stream's session, with all that lies in it."""
        self._places.pop(str(stream_id), None)
        await self._memory.delete_session(str(stream_id))

    # ------------------------------------------------------------------------------------ privately

    def _session(self, stream: str, agent: str | None = None) -> AsyncSession:
        return self._memory.session(stream, agent=agent, ttl=self._ttl)

    async def _events(self, stream: str) -> list[BaseEvent]:
        rows, beside = await asyncio.gather(self._session(stream).messages(), self._session(stream, BESIDE).messages())
        following: dict[str, list[Any]] = {}
        for row in beside:
            native = row.native.get(NATIVE, {})
            following.setdefault(native.get("after", ""), []).append(native.get("event"))
        read = [decoded(stored, self._modules, self._warned) for stored in following.get("", ())]
        last = ""
        for row in rows:
            native = row.native.get(NATIVE)
            if native is None:
                read.append(heard(row))
            elif "event" in native:
                last = row.id or ""
                stored = [*native.get("before", ()), native["event"], *native.get("after", ()), *following.get(last, ())]
                read += [decoded(one, self._modules, self._warned) for one in stored]
        events = [event for event in read if event is not None]
        answered = set[str]()
        for event in events:
            note_results(event, answered)
        self._places.setdefault(stream, _Place(last, answered))
        return events


def botwire_stream(
    session_id: str,
    *,
    namespace: str = "default",
    memory: Memory | AsyncMemory | None = None,
    url: str | None = None,
    ttl: float | timedelta | None = None,
    modules: Sequence[str] = (),
) -> MemoryStream:
    """A stream whose history is a botwire session: ``await agent.ask("hi", stream=botwire_stream("user-42"))``.

    Args:
        session_id: any text of 1 to 512 bytes of UTF-8.
        namespace: see ``BotWireStorage``, as for all others.
        memory: see there.
        url: see there.
        ttl: see there.
        modules: see there.

    Raises:
        InvalidName: if a name cannot be one.
        InvalidValue: if the arguments contradict each other.
    """
    storage = BotWireStorage(namespace, memory=memory, url=url, ttl=ttl, modules=modules)
    Memory().session(session_id)  # says now what is wrong with the name; costs no I/O
    return MemoryStream(storage, id=cast("Any", session_id))


def _beside(event: BaseEvent, after: str) -> Message:
    """What is nothing that was said: named for people, and where it belongs."""
    return Message("system", type(event).__name__, native={NATIVE: {"event": encoded(event), "after": after}})


def _arranged(events: Iterable[BaseEvent]) -> tuple[list[Message], list[BaseEvent], _Place]:
    """Events as messages, each with those after it that are nothing said; those before all of them; where it goes on."""
    messages: list[Message] = []
    leading: list[BaseEvent] = []
    last, answered = Message("system"), set[str]()
    for event in events:
        new = said(event, answered)
        if new:
            last = new[0]
            last.id = uuid4().hex
            messages += new
        elif messages:
            last.native[NATIVE].setdefault("after", []).append(encoded(event))
        else:
            leading.append(event)
    return messages, leading, _Place(last.id or "", answered)
