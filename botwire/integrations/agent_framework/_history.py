"""BotWireHistoryProvider: the conversations of Agent Framework's agents as botwire sessions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import timedelta
from itertools import takewhile
from typing import Any, ClassVar

from agent_framework import AgentSession, HistoryProvider, Message, SessionContext, SupportsAgentRun

from botwire import AsyncMemory, AsyncSession, InvalidValue, Memory
from botwire.integrations.agent_framework._messages import from_botwire, to_botwire
from botwire.integrations.agent_framework._repair import repaired

_coming: ContextVar[Sequence[Message]] = ContextVar("botwire_agent_framework_coming", default=())
"""What the run that reads the history brings besides: it may hold results of calls that the history has not."""
_answered: ContextVar[Sequence[Message]] = ContextVar("botwire_agent_framework_answered", default=())
"""What the run that is stored has answered: new, whatever it says."""


class BotWireHistoryProvider(HistoryProvider):
    """Conversations that outlive the process.

    ``Agent(client, context_providers=[BotWireHistoryProvider(session_id="user-42")])``

    Args:
        session_id: the botwire session of that id, whichever framework began it. For an agent of one conversation, since
            it counts for all runs; without it, the session given to each run counts: ``agent.run(..., session=agent.create_session(
            session_id="user-42"))``. A run without a session gets a random one, which nothing finds again.
        source_id: the provider's name. Under one that is not the default, the session keeps a transcript of its own, so that
            two providers of one agent do not mix.
        namespace: the namespace of the sessions.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after its last write at which a whole session expires.
        load_messages: whether the agent is shown the conversation, as opposed to keeping a record.
        store_inputs: whether what is said to the agent is stored.
        store_context_messages: whether what other providers add is stored.
        store_context_from: only what these providers add is stored.
        store_outputs: whether what the agent says is stored.

    A run's messages are stored together when it ends, durably. A transcript that is given again as input is not stored again.
    A call without a result, as a crash leaves it, is shown with one that says so. Costs no I/O until its first call.

    Raises:
        InvalidName: if the session id, the source id or the namespace cannot be one.
        InvalidValue: if arguments contradict each other; from ``save_messages``, if a message would lose something.
        StoreUnavailable: from its methods, if the store cannot be reached.
    """

    DEFAULT_SOURCE_ID: ClassVar[str] = "botwire"

    def __init__(  # noqa: PLR0913 - most are the framework's own
        self,
        session_id: str | None = None,
        *,
        source_id: str = DEFAULT_SOURCE_ID,
        namespace: str = "default",
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        load_messages: bool = True,
        store_inputs: bool = True,
        store_context_messages: bool = False,
        store_context_from: set[str] | None = None,
        store_outputs: bool = True,
    ) -> None:
        super().__init__(
            source_id,
            load_messages=load_messages,
            store_inputs=store_inputs,
            store_context_messages=store_context_messages,
            store_context_from=store_context_from,
            store_outputs=store_outputs,
        )
        if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._given = memory
        self._memory = memory if isinstance(memory, AsyncMemory) else AsyncMemory(namespace, url=url) if memory is None else None
        self._agent = None if source_id == self.DEFAULT_SOURCE_ID else source_id
        self._session_id, self._ttl = session_id, ttl
        AsyncMemory().session("any" if session_id is None else session_id, agent=self._agent, ttl=ttl)  # says what is wrong with them

    async def get_messages(self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any) -> list[Message]:  # noqa: ARG002
        """The conversation, oldest first."""
        rows = await self._session(session_id).messages()
        return repaired(from_botwire(rows), _coming.get())

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[Message],
        *,
        state: dict[str, Any] | None = None,  # noqa: ARG002 - nothing is kept outside of the store
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Add messages, all or none, without those that the conversation ends with already."""
        session, given = self._session(session_id), list(messages)
        if not given:
            return
        stored = from_botwire(await session.messages(last=sum(len(message.contents) + 1 for message in given)))
        groups = to_botwire(given, stored)
        answers = {id(message) for message in _answered.get()}
        asked = list(takewhile(lambda message: id(message) not in answers, given))
        new = [row for group in groups[_overlap(stored, asked) :] for row in group]
        if new:
            await session.append(*new)

    async def before_run(self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]) -> None:
        """Show the agent the conversation."""
        before = _coming.set(context.input_messages)
        try:
            await super().before_run(agent=agent, session=session, context=context, state=state)
        finally:
            _coming.reset(before)

    async def after_run(self, *, agent: SupportsAgentRun, session: AgentSession, context: SessionContext, state: dict[str, Any]) -> None:
        """Store what was said."""
        before = _answered.set(context.response.messages if context.response else ())
        try:
            await super().after_run(agent=agent, session=session, context=context, state=state)
        finally:
            _answered.reset(before)

    async def close(self) -> None:
        """Give the store back, if it was opened here."""
        if self._given is None and self._memory is not None:
            await self._memory.close()

    def _session(self, session_id: str | None) -> AsyncSession:
        wanted = self._session_id if self._session_id is not None else session_id
        if wanted is None:
            raise InvalidValue("which session? Give the run one, or the provider a session_id")
        if self._memory is None:  # a Memory was given; opening its store would be I/O, so not before now
            assert self._given is not None  # noqa: S101
            self._memory = AsyncMemory(self._given.namespace, store=self._given.store)
        return self._memory.session(wanted, agent=self._agent, ttl=self._ttl)


def _overlap(stored: Sequence[Message], given: Sequence[Message]) -> int:
    """How many of ``given`` are those with which ``stored`` ends: a transcript that was given again.

    What a user says twice, without ids to tell, is said twice.
    """
    known, coming = [_identity(message) for message in stored], [_identity(message) for message in given]
    for count in range(min(len(known), len(coming)), 0, -1):
        if known[-count:] == coming[:count] and any(message.role != "user" or message.message_id for message in given[:count]):
            return count
    return 0


def _identity(message: Message) -> str:
    return json.dumps([message.message_id, message.role, [content.to_dict() for content in message.contents]], sort_keys=True, default=str)
