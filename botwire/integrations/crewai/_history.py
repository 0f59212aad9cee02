"""BotWireHistory: a conversation for ``Agent.kickoff``, which keeps none itself."""

from __future__ import annotations

import inspect
import logging
import time
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from botwire import InvalidValue, Memory, Message, MessageLike, Session, StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable
from botwire.integrations.crewai._messages import for_model, read_window
from botwire.integrations.crewai._threads import in_thread

if TYPE_CHECKING:
    from crewai import Agent
    from crewai.lite_agent_output import LiteAgentOutput
    from crewai.utilities.types import LLMMessage

logger = logging.getLogger("botwire")

RETRY_AFTER = 0.05
"""Seconds after which a write that did not reach the store is tried once more."""


class BotWireHistory:
    """A botwire session as the history of ``Agent.kickoff(messages=...)``: begun and read by any framework.

    Args:
        session_id: any text of 1 to 512 bytes of UTF-8; the botwire session of that id, whichever framework began it.
        namespace: the namespace of the session.
        memory: a Memory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after its last write at which the whole session expires.
        history_size: the model is shown the last so many messages. A tool result whose call is cut off is left out, and a
            system message that begins the session is shown besides. All are stored.

    Costs no I/O until its first call. May be used from many threads and processes at once.

    Raises:
        InvalidName: if the session id or the namespace cannot be one.
        InvalidValue: if an argument cannot be used.
    """

    def __init__(
        self,
        session_id: str,
        *,
        namespace: str = "default",
        memory: Memory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        history_size: int | None = None,
    ) -> None:
        if history_size is not None and (type(history_size) is not int or history_size < 1):
            raise InvalidValue(f"history_size must be an int of 1 or more, or None for all, not {history_size!r:.80}")
        if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._memory = Memory(namespace, url=url) if memory is None else memory
        self._size = history_size
        self.session: Session = self._memory.session(session_id, ttl=ttl)
        """The botwire session itself."""

    def __repr__(self) -> str:
        return f"<BotWireHistory {self.session.session_id!r} of {self._memory.namespace!r}>"

    def messages(self) -> list[LLMMessage]:
        """What to put before the next request: all messages, or the last ``history_size``, as CrewAI's dicts.

        A speaker's name that providers refuse, as one with a space in it, is left out; the session keeps it.
        """
        return cast("list[LLMMessage]", [for_model(message) for message in read_window(self.session, self._size)])

    def append(self, *messages: MessageLike) -> list[int]:
        """Add messages, all or none, each given as for ``Session.append``; returns their sequence numbers.

        Raises:
            InvalidValue: if one cannot be stored exactly; nothing of the call is stored.
            StoreUnavailable: if the store cannot be written, also after a second try.
        """
        request = uuid4().hex
        try:
            return self.session.append(*messages, request_id=request)
        except StoreUnavailable as error:
            if isinstance(error, (StoreBusy, StoreFull, StoreReadOnly)):  # waited its time already, or will not change at once
                raise
            time.sleep(RETRY_AFTER)
            return self.session.append(*messages, request_id=request)  # the same id: applied once, whatever became of the first

    def run(self, agent: Agent, text: str, **options: Any) -> LiteAgentOutput:
        """Ask the agent, with the conversation so far, and store the request with its answer.

        Both are stored in one step once the agent has answered; if it raises, neither is. Two that run on one session at
        once each see what was there before, and each store their pair whole.

        Args:
            agent: it is given the conversation as ``kickoff(messages=...)``.
            text: what the user says.
            options: of ``kickoff``, such as ``response_format``.

        Raises:
            InvalidValue: where an event loop runs, as in an async method of a Flow; ``arun`` is for there.
            StoreUnavailable: if the store cannot be read, and then the agent is not asked, or cannot be written. The answer
                is then in the notes of the error.
        """
        output: Any = cast("Any", agent).kickoff(self._request(text), **options)  # of which CrewAI's types name one that is not there
        if inspect.iscoroutine(output):
            output.close()
            raise InvalidValue("an event loop runs here, in which CrewAI answers later: use `await history.arun(agent, text)`")
        self._keep(text, output)
        return output

    async def arun(self, agent: Agent, text: str, **options: Any) -> LiteAgentOutput:
        """See ``run``; a cancellation comes through once it is known whether the pair is stored."""
        request = await in_thread(lambda: self._request(text))
        output: LiteAgentOutput = await cast("Any", agent).kickoff_async(request, **options)
        await in_thread(lambda: self._keep(text, output))
        return output

    # ------------------------------------------------------------------------------------ privately

    def _request(self, text: str) -> list[LLMMessage]:
        if not isinstance(cast("Any", text), str) or not text.strip():
            raise InvalidValue("give the agent a text that is not blank")
        before = read_window(self.session, self._size)
        if _takes_texts_alone():
            shapes = [{"role": message.role, "content": message.text} for message in before if message.text]
        else:
            shapes = [for_model(message) for message in before]
        return [*cast("list[LLMMessage]", shapes), {"role": "user", "content": text}]

    def _keep(self, text: str, output: LiteAgentOutput) -> None:
        answer = Message("assistant", output.raw, name=output.agent_role or None)
        try:
            self.append(("user", text), answer)
        except Exception as error:
            error.add_note(f"The agent has answered, but neither request nor answer is stored. The answer: {output.raw}")
            logger.error("%r: the agent's answer could not be stored: %s", self, error)  # noqa: TRY400 - raised as well
            raise


@cache
def _takes_texts_alone() -> bool:
    """Whether this is an older CrewAI, which makes one text of what it is given, and refuses messages that hold more."""
    from crewai.events.types.agent_events import LiteAgentExecutionStartedEvent

    return LiteAgentExecutionStartedEvent.model_fields["messages"].annotation == str | list[dict[str, str]]
