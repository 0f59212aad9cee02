"""BotWireChatCompletionContext: an agent's transcript that outlives the process, seen through any window."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple, Self, cast
from uuid import uuid4

from autogen_core import Component, ComponentModel
from autogen_core.model_context import ChatCompletionContext, UnboundedChatCompletionContext
from autogen_core.models import LLMMessage
from pydantic import BaseModel, TypeAdapter

from botwire import AsyncMemory, AsyncSession, InvalidValue, Memory, Message, SessionInfo
from botwire.integrations.autogen._messages import NATIVE, ModelMessage, continues, from_botwire, to_botwire
from botwire.integrations.autogen._owner import Claim, claim
from botwire.integrations.autogen._place import Place, PlaceConfig
from botwire.integrations.autogen._repair import call_ids, repaired

_MESSAGES: TypeAdapter[list[ModelMessage]] = TypeAdapter(list[LLMMessage])


class ContextConfig(BaseModel):
    """What ``BotWireChatCompletionContext`` is made of, as data."""

    place: PlaceConfig
    session_id: str
    agent: str | None = None
    inner: ComponentModel
    ttl: float | None = None
    clear_on_reset: bool = True


class BotWireChatCompletionContext(ChatCompletionContext, Component[ContextConfig]):
    """The transcript of an agent as a botwire session: what was said is there after the restart, once each, in order.

    ``AssistantAgent("assistant", client, model_context=BotWireChatCompletionContext("user-42"))``

    Args:
        session_id: any text of 1 to 512 bytes of UTF-8; the botwire session of that id, whichever framework began it.
        agent: the agent's name, where several agents share the session: each has its own transcript in it.
        inner: the context that decides what of the transcript the model sees, as ``BufferedChatCompletionContext(20)``;
            by default all. Its initial messages are shown before the transcript, and are not stored.
        namespace: the namespace of the session.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after its last write at which the whole session expires.
        clear_on_reset: whether ``clear``, which every reset of the agent or its team calls, removes the messages. If
            not, they stay, and the model sees what is said from then on.

    Each message is durable when ``add_message`` returns. Any number of instances, also in other processes, may be used on
    one transcript: each sees what the others add, and that they clear. Costs no I/O until its first call.

    What is shown to the model is repaired: a call without a result, as a crash leaves it, gets one that says so, and a
    result whose call a window cut off is left out. What is stored stays as it was.

    Raises:
        InvalidName: if the session id, the agent or the namespace cannot be one.
        InvalidValue: if arguments contradict each other; from ``add_message``, if a message would not come back equal,
            or if another agent of the team writes to the same transcript. Nothing of that call is stored.
        StoreUnavailable: from its methods, if the store cannot be reached.
    """

    component_config_schema = ContextConfig
    component_provider_override = "botwire.integrations.autogen.BotWireChatCompletionContext"

    def __init__(
        self,
        session_id: str,
        agent: str | None = None,
        *,
        inner: ChatCompletionContext | None = None,
        namespace: str = "default",
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        clear_on_reset: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(inner, BotWireChatCompletionContext):
            raise InvalidValue("inner= is the window over the transcript, and cannot have a transcript of its own")
        self._place = Place(namespace, "default", memory, url)
        Memory(self._place.namespace).session(session_id, agent=agent, ttl=ttl)  # says now what is wrong with them; costs no I/O
        self._session_id, self._agent, self._ttl = session_id, agent, ttl
        self._clear_on_reset = clear_on_reset
        self._inner = UnboundedChatCompletionContext() if inner is None else inner
        self._blank: Mapping[str, Any] | None = None  # the inner context's state before anything was added to it
        self._mark: _Mark | None = None
        self._head = self._count = 0
        self._last: Message | None = None
        self._answered: set[str] = set()
        self._notes: dict[str, ModelMessage] = {}
        self._claims: dict[str, Claim] = {}
        self._guard: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    def __repr__(self) -> str:
        agent = f", agent={self._agent!r}" if self._agent else ""
        return f"<BotWireChatCompletionContext {self._session_id!r}{agent} of {self._place.namespace!r}>"

    @property
    def session_id(self) -> str:
        """The id of the session that holds the transcript."""
        return self._session_id

    @property
    def transcript(self) -> tuple[Any, ...]:
        """What tells this transcript from any other in this process."""
        return self._place.transcript(self._session_id, self._agent)

    # ---------------------------------------------------------------------------- as AutoGen uses it

    async def add_message(self, message: LLMMessage) -> None:
        """Store a message; durable when it returns."""
        rows = to_botwire(message)
        claim(self.transcript, self._claims, message)
        async with self._lock():
            first, *_ = await self._session.append(*rows, request_id=uuid4().hex)
            if self._mark is not None and first == self._head + 1:
                self._count += len(rows)
                await self._show(rows, [message], self._head + len(rows))
            # else others wrote in between, or nothing was read yet: the next reading shows all, in order

    async def get_messages(self) -> list[ModelMessage]:
        """What the model is to see: what memories inject, then the inner context's view of the transcript, repaired."""
        async with self._lock():
            await self._catch_up()
            view = await self._inner.get_messages()
            return [*self._notes.values(), *repaired(view, self._answered)]

    async def clear(self) -> None:
        """Remove all messages, or begin a new view of them, as ``clear_on_reset`` says; other instances notice."""
        async with self._lock():
            if self._clear_on_reset:
                await self._session.clear()
            elif (info := await self._session.info()) is not None:
                await self._session.merge_metadata({NATIVE: {"shown_after": info.head, "epoch": info.epoch}})
            await self._inner.clear()
            self._blank = await self._inner.save_state()
            self._mark = None
            self._notes.clear()

    async def save_state(self) -> Mapping[str, Any]:
        """The inner context's state with all that is shown of the transcript."""
        async with self._lock():
            await self._catch_up()
            return await self._inner.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Put the state's messages in place of all that is stored, in one step; what is the same already stays untouched.

        Raises:
            InvalidValue: if the state is not one of a context; nothing is changed.
        """
        wanted = _messages(state)
        async with self._lock():
            blank = await self._catch_up()
            if _same(_messages(await self._inner.save_state()), wanted):
                return
            before = _messages(blank)
            if before and _same(wanted[: len(before)], before):  # the inner context's own first messages, which are not stored
                wanted = wanted[len(before) :]
            await self._session.replace(*(row for message in wanted for row in to_botwire(message)))
            self._mark = None

    # ------------------------------------------------------------------------- for the memories here

    def put_note(self, key: str, note: ModelMessage | None) -> None:
        """Show ``note`` to the model before the transcript, in place of the last one of this key; it is never stored."""
        if note is None:
            self._notes.pop(key, None)
        else:
            self._notes[key] = note

    def _to_config(self) -> ContextConfig:
        ttl = self._ttl.total_seconds() if isinstance(self._ttl, timedelta) else self._ttl
        return ContextConfig(
            place=self._place.config(),
            session_id=self._session_id,
            agent=self._agent,
            inner=self._inner.dump_component(),
            ttl=ttl,
            clear_on_reset=self._clear_on_reset,
        )

    @classmethod
    def _from_config(cls, config: ContextConfig) -> Self:
        place = Place.from_config(config.place)
        return cls(
            config.session_id,
            config.agent,
            inner=ChatCompletionContext.load_component(config.inner),
            namespace=place.namespace,
            url=place.url,
            ttl=config.ttl,
            clear_on_reset=config.clear_on_reset,
        )

    # ------------------------------------------------------------------------------------ privately

    @property
    def _session(self) -> AsyncSession:
        return self._place.awaitable.session(self._session_id, agent=self._agent, ttl=self._ttl)

    def _lock(self) -> asyncio.Lock:
        """One for each event loop: programs call ``asyncio.run`` again and again."""
        loop = asyncio.get_running_loop()
        if self._guard is None or self._guard[0] is not loop:
            self._guard = (loop, asyncio.Lock())
        return self._guard[1]

    async def _catch_up(self) -> Mapping[str, Any]:
        """Show in the inner context what was written since the last time; returns its state before anything was."""
        if self._blank is None:
            self._blank = await self._inner.save_state()
        info, rows = await self._session.snapshot(after=self._head)
        if _mark(info) != self._mark or _count(info) != self._count + len(rows) or self._splits_a_message(rows):
            if self._head:
                info, rows = await self._session.snapshot()
            await self._inner.load_state(self._blank)
            self._answered, self._last = set(), None
            self._mark = _mark(info)
            self._head = self._mark.shown_after
            rows = [row for row in rows if row.seq is not None and row.seq > self._head]
        self._count = _count(info)
        await self._show(rows, from_botwire(rows), max([self._head, *(row.seq or 0 for row in rows[-1:])]))
        return self._blank

    async def _show(self, rows: list[Message], messages: list[ModelMessage], head: int) -> None:
        self._head = head
        self._last = rows[-1] if rows else self._last
        self._answered |= call_ids(messages)
        for message in messages:
            await self._inner.add_message(message)

    def _splits_a_message(self, rows: list[Message]) -> bool:
        """Whether what is new belongs to a message of results that was shown without it."""
        return bool(rows) and self._last is not None and self._last.role == "tool" and continues(rows[0])


class _Mark(NamedTuple):
    """What, when it changes, makes all that was shown out of date."""

    epoch: str | None
    shown_after: int


def _mark(info: SessionInfo | None) -> _Mark:
    if info is None:
        return _Mark(None, 0)
    kept = info.metadata.get(NATIVE)
    view = cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}
    shown_after = view.get("shown_after")
    return _Mark(info.epoch, shown_after if view.get("epoch") == info.epoch and isinstance(shown_after, int) else 0)


def _count(info: SessionInfo | None) -> int:
    return 0 if info is None else info.count


def _messages(state: Mapping[str, Any]) -> list[ModelMessage]:
    """The messages of a context's state.

    Raises:
        InvalidValue: if it has none that can be read.
    """
    try:
        return _MESSAGES.validate_python(state["messages"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidValue(f"this is not the state of a context, which has a list of messages: {error}") from error


def _same(some: list[ModelMessage], others: list[ModelMessage]) -> bool:
    return [message.model_dump() for message in some] == [message.model_dump() for message in others]  # images compare as data
