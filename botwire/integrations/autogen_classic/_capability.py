"""BotWireCapability: what an agent says and hears outlives the process."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypedDict, Unpack, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

import autogen
from autogen import ConversableAgent, GroupChatManager
from autogen.agentchat.contrib.capabilities.agent_capability import AgentCapability

from botwire import InvalidValue, Memory, Session
from botwire.integrations.autogen_classic._facts import facts_message
from botwire.integrations.autogen_classic._messages import Shape
from botwire.integrations.autogen_classic._owner import owners
from botwire.integrations.autogen_classic._place import check_size, memory_of
from botwire.integrations.autogen_classic._transcript import Talks, Transcript

_holders: WeakKeyDictionary[Any, WeakValueDictionary[tuple[str, str, str], ConversableAgent]] = WeakKeyDictionary()
"""By store and transcript, the agent whose it is."""


class Options(TypedDict, total=False):
    """The options of ``BotWireCapability``, which says what they are."""

    namespace: str
    agent: str | None
    memory: Memory | None
    url: str | None
    ttl: float | timedelta | None
    max_messages: int | None
    peers: Iterable[str] | None
    facts: str | None


class BotWireCapability(AgentCapability):
    """Memory for an agent: ``BotWireCapability("user-42").add_to_agent(assistant)``, and its conversation goes on after the restart.

    Args:
        session_id: any text of 1 to 512 bytes of UTF-8; the botwire session of that id, whichever framework began it.
        namespace: the namespace of the session.
        agent: the agent's name, where several agents share the session: each has its own transcript in it.
        memory: a Memory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after its last write at which the whole session expires.
        max_messages: how many messages the model sees at most; by default all. All are stored.
        peers: the names of the agents whose talk with this one is stored and shown; by default all.
        facts: a namespace whose entries the model is told at each call, in one message that is not stored.

    Each message is stored, durably, when the agent sends or receives it. What the agent is asked to reply to is shown to it
    after what is stored of its talk with the same peer, or was written to the session by any other framework. That holds for
    each way to chat: ``initiate_chat`` (which empties the agent's own lists), ``a_initiate_chat``, ``run``, group chats.

    What the model sees is repaired: a call without a result, as a crash leaves it, gets one that says so, and a result
    whose call a window cut off is left out. What is stored stays as it was.

    Raises:
        InvalidName: if a name cannot be one.
        InvalidValue: if arguments cannot be used.
    """

    def __init__(  # noqa: PLR0913 - all but one are given by name
        self,
        session_id: str,
        *,
        namespace: str = "default",
        agent: str | None = None,
        memory: Memory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        max_messages: int | None = None,
        peers: Iterable[str] | None = None,
        facts: str | None = None,
    ) -> None:
        super().__init__()
        if isinstance(peers, str):
            raise InvalidValue(f"peers must be a list of names, not the text {peers!r:.80}")
        self._memory = memory_of(memory, namespace, url)
        self._facts = None
        if facts is not None:
            self._facts = Memory(facts, url=url) if memory is None else Memory(facts, store=memory.store)
        session = self._memory.session(session_id, agent=agent, ttl=ttl)
        self._transcript = Transcript(session, check_size(max_messages), peers)

    @property
    def session(self) -> Session:
        """The botwire session in which the transcript lies: to read, search or clear it."""
        return self._transcript.session

    def add_to_agent(self, agent: ConversableAgent) -> None:
        """Give the agent this memory. From then on what it says and hears is stored; what it said before is not.

        Raises:
            InvalidValue: if it has one already, or is none that can have one, or if another agent writes to this transcript.
            StoreUnavailable: if the store cannot be opened.
        """
        _check_agent(agent)
        self._claim(agent)
        talks = Talks(self._transcript, agent.chat_messages)
        agent._oai_messages = talks  # noqa: SLF001 - hooks are not told of all messages; frozen since 0.2, and `_check_agent` looks

        def recall(messages: list[Shape]) -> list[Shape]:
            talk = talks.talk_of(messages)
            view = messages if talk is None else self._transcript.view(talk)
            return view if self._facts is None else [*facts_message(self._facts), *view]

        cast("Any", agent).register_hook("process_all_messages_before_reply", recall)
        hooks = agent.hook_lists["process_all_messages_before_reply"]
        hooks.insert(0, hooks.pop())  # before those that cut the conversation to what the model can take

    def _claim(self, agent: ConversableAgent) -> None:
        session = self._transcript.session
        key = (self._memory.namespace, session.session_id, session.agent or "")
        holders = _holders.setdefault(self._memory.store, WeakValueDictionary())
        if (first := holders.get(key)) is not None and first.name != agent.name:
            first = None
            gc.collect()  # agents are in reference cycles: this one may be gone
            if (first := holders.get(key)) is not None:
                raise InvalidValue(
                    f"session {session.session_id!r} is the transcript of agent {first.name!r}; give {agent.name!r} its own:"
                    f" BotWireCapability({session.session_id!r}, agent={agent.name!r})"
                )
        holders[key] = agent


def attach_memory(agent: ConversableAgent, /, session_id: str, **options: Unpack[Options]) -> BotWireCapability:
    """Give an agent memory: ``attach_memory(assistant, session_id="user-42")``.

    Takes the options of ``BotWireCapability``, raises what it and its ``add_to_agent`` raise, and returns it.
    """
    capability = BotWireCapability(session_id, **options)
    capability.add_to_agent(agent)
    return capability


def _check_agent(agent: ConversableAgent) -> None:
    if not isinstance(agent, ConversableAgent):
        raise InvalidValue(f"memory is for a ConversableAgent, not for a {type(agent).__name__}")
    if isinstance(agent, GroupChatManager):
        raise InvalidValue(f"{agent.name!r} manages a group chat, whose memory is BotWireGroupChat(manager, session_id)")
    talks = getattr(agent, "_oai_messages", None)
    if not isinstance(talks, dict):
        version = getattr(autogen, "__version__", "of unknown version")
        raise InvalidValue(
            f"autogen {version} ({', '.join(owners())}) does not keep an agent's messages where pyautogen 0.2 to autogen 0.14 do,"
            " so that none would be remembered"
        )
    if isinstance(talks, Talks):
        raise InvalidValue(f"agent {agent.name!r} has a memory already; it can have one")
