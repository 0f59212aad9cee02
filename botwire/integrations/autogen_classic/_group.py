"""BotWireGroupChat: a group chat that outlives the process, for all its agents and for the choice of the next speaker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

from autogen import Agent, ChatResult, ConversableAgent, GroupChat, GroupChatManager, UserProxyAgent

from botwire import InvalidValue, Memory, Message, Session
from botwire.integrations.autogen_classic._messages import Shape, from_botwire, to_botwire
from botwire.integrations.autogen_classic._place import check_size, memory_of
from botwire.integrations.autogen_classic._transcript import remembered_groups
from botwire.integrations.autogen_classic._view import is_result, repaired, unanswered, window_start

_EVERYWHERE = ("content", "function_call", "tool_calls", "tool_responses", "tool_call_id", "context")
"""Members of a group's message that are the same in every agent's list."""


class BotWireGroupChat:
    """Memory for a group chat: ``BotWireGroupChat(manager, "team-7")``, and its conversation goes on after the restart.

    Args:
        manager: of the group chat, before its first message.
        session_id: any text of 1 to 512 bytes of UTF-8; the botwire session of that id.
        namespace: the namespace of the session.
        memory: a Memory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after its last write at which the whole session expires.
        max_messages: how many messages are restored at most; by default all. All are stored.

    Each message of the group is stored, durably, before the other agents hear it. When a chat with the manager begins, all
    its agents are given what is stored and they do not have, and so is the group chat, by which the next speaker is
    chosen: ``agent.initiate_chat(manager, message=...)`` goes on with its default arguments too, which empty all lists.
    Agents of the group need no memory of their own for it.

    Raises:
        InvalidName: if a name cannot be one.
        InvalidValue: if arguments cannot be used; if the group chat has messages, or a memory, already.
    """

    def __init__(
        self,
        manager: GroupChatManager,
        session_id: str,
        *,
        namespace: str = "default",
        memory: Memory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        max_messages: int | None = None,
    ) -> None:
        if not isinstance(manager, GroupChatManager):
            raise InvalidValue(f"give the GroupChatManager, not a {type(manager).__name__}")
        if manager in remembered_groups:
            raise InvalidValue(f"the group chat of {manager.name!r} has a memory already; it can have one")
        if manager.groupchat.messages:
            raise InvalidValue("the group chat has messages already, which would not be remembered; give it memory before its first one")
        self._session = memory_of(memory, namespace, url).session(session_id, ttl=ttl)
        self._manager, self._group, self._size = manager, manager.groupchat, check_size(max_messages)
        self._epoch: str | None = None
        self._seen = 0
        """The last sequence number up to which all messages are in the agents' lists; of later ones, those in ``_own`` are."""
        self._own: set[int] = set()
        self._repeating = False
        self._attach()

    @property
    def session(self) -> Session:
        """The botwire session in which the conversation lies: to read, search or clear it."""
        return self._session

    def restore(self) -> list[Shape]:
        """Give all agents, the manager and the group chat what is stored and they do not have; returns the group chat's messages.

        A chat with the manager does so by itself; this is to look at them before.

        Raises:
            StoreUnavailable: if the store cannot be read.
        """
        self._catch_up(None)
        return list(self._group.messages)

    def resume(self, **options: Any) -> ChatResult:
        """Go on from the last message, where a crash or the last round ended the chat; it is not stored again.

        Args:
            options: of ``initiate_chat``, besides ``message`` and ``clear_history``.

        Raises:
            InvalidValue: if there is no message yet, or if its speaker is no longer in the group.
            StoreUnavailable: if the store cannot be used.
        """
        speaker, last = self._last_turn()
        try:
            return speaker.initiate_chat(self._manager, message=last, clear_history=False, **options)
        finally:
            self._repeating = False

    async def a_resume(self, **options: Any) -> ChatResult:
        """See ``resume``."""
        speaker, last = self._last_turn()
        try:
            return await speaker.a_initiate_chat(
                self._manager,
                message=cast("Any", last),  # it takes a dict too
                clear_history=False,
                **options,
            )
        finally:
            self._repeating = False

    # -------------------------------------------------------------------------------- recording

    def _attach(self) -> None:
        # The chat itself is one of the manager's reply functions, and is given the group chat by which it goes.
        def run_chat(manager: GroupChatManager, messages: list[Shape], sender: Agent, config: Any) -> Any:
            self._begin(messages, sender)
            return GroupChatManager.run_chat(manager, messages, sender, self._recording(config))

        async def a_run_chat(manager: GroupChatManager, messages: list[Shape], sender: Agent, config: Any) -> Any:
            self._begin(messages, sender)
            return await GroupChatManager.a_run_chat(manager, messages, sender, self._recording(config))

        manager = cast("Any", self._manager)
        manager.replace_reply_func(GroupChatManager.run_chat, run_chat)
        manager.replace_reply_func(GroupChatManager.a_run_chat, a_run_chat)
        functions: list[Any] = [entry["reply_func"] for entry in manager._reply_func_list]  # noqa: SLF001 - see below
        if run_chat not in functions or a_run_chat not in functions:  # replacing does not say whether it did
            raise InvalidValue(f"the chat of {self._manager.name!r} is not the one that GroupChatManager runs, and would not be remembered")
        remembered_groups.add(self._manager)

    def _recording(self, chat: GroupChat) -> GroupChat:
        """The group chat, each message of which is stored before an agent hears it."""
        if "append" not in vars(chat):
            append = chat.append

            def recording(message: Shape, speaker: Agent) -> None:
                append(message, speaker)
                if not self._repeating:
                    self._record(message, speaker)
                self._repeating = False

            cast("Any", chat).append = recording
        return chat

    def _record(self, message: Shape, speaker: Agent) -> None:
        role = "user" if self._is_human(speaker) else "assistant"
        if _calls(message) and message.get("content") in ("", "None"):
            message = {**message, "content": None}  # which is what was said, before the group chat made text of it
        try:
            seqs = self._session.append(*to_botwire(message, {}, role), request_id=uuid4().hex)
        except Exception:
            self._group.messages.pop()  # nobody is to have heard what is not stored
            raise
        self._own.update(seqs)

    def _is_human(self, speaker: Agent) -> bool:
        asks = isinstance(speaker, UserProxyAgent) or getattr(speaker, "human_input_mode", "") == "ALWAYS"
        return asks or speaker not in self._group.agents

    # -------------------------------------------------------------------------------- restoring

    def _begin(self, messages: list[Shape] | None, sender: Agent) -> None:
        """Before a chat begins with the last of these messages, which the sender has just said to the manager."""
        if self._repeating:
            return
        self._catch_up(sender)
        given = self._manager.chat_messages[sender] if messages is None else messages
        if not is_result(given[-1]):
            self._hear([{"name": self._manager.name, **shape} for shape in unanswered(self._group.messages)], sender)

    def _catch_up(self, sender: Agent | None) -> None:
        if not self._group.messages:  # a chat has begun, which empties all lists
            self._seen, self._own = 0, set()
        if new := self._unheard():
            self._hear(repaired(new), sender)

    def _unheard(self) -> list[Shape]:
        info, rows = self._session.snapshot(after=self._seen or None)
        if info is not None and self._seen and info.epoch != self._epoch:  # cleared and begun anew
            self._own = set()
            info, rows = self._session.snapshot()
        own, self._own = self._own, set()
        if info is not None:
            self._epoch, self._seen = info.epoch, rows[-1].seq or 0 if rows else self._seen
        shapes = [shape for row in rows if row.seq not in own and (shape := _group_shape(row, self._manager.name))]
        return shapes[window_start(shapes, self._size) :]

    def _hear(self, shapes: list[Shape], sender: Agent | None) -> None:
        for shape in shapes:
            self._tell(shape, sender)
            self._group.messages.append({**shape, "content": shape.get("content") or ""})  # in a group chat it is never None

    def _tell(self, shape: Shape, sender: Agent | None) -> None:
        """Put a message into the lists of all, as if it had just been said, but before what the sender has just said."""
        for agent in self._members():
            own = agent.name == shape.get("name")
            for holder, other, speaks in ((agent, self._manager, own), (self._manager, agent, not own)):
                talk = holder.chat_messages[other]
                talk.insert(len(talk) - (agent is sender), _as_heard(shape, speaks=speaks, own=own and holder is agent))

    def _members(self) -> Iterator[ConversableAgent]:
        return (agent for agent in self._group.agents if isinstance(agent, ConversableAgent))

    def _last_turn(self) -> tuple[ConversableAgent, Shape]:
        """The last speaker with its message, which is taken back, so that it can be said again."""
        messages = self.restore()
        if not messages:
            raise InvalidValue(f"nothing was said yet in {self._session!r}; begin with agent.initiate_chat(manager, message=...)")
        name = messages[-1].get("name")
        speaker = next((agent for agent in self._members() if agent.name == name), None)
        if speaker is None:
            raise InvalidValue(f"{name!r}, who spoke last, is not in the group; go on with agent.initiate_chat(manager, message=...)")
        for agent in self._members():
            agent.chat_messages[self._manager].pop()
            self._manager.chat_messages[agent].pop()
        self._repeating = True
        return speaker, self._group.messages.pop()


def _group_shape(row: Message, manager: str) -> Shape | None:
    shape = from_botwire(row)
    if shape is not None and not shape.get("name"):
        shape["name"] = manager  # as autogen's own resume has it for what nobody in particular said
    return shape


def _calls(shape: Shape) -> Any:
    return shape.get("tool_calls") or shape.get("function_call")


def _as_heard(shape: Shape, *, speaks: bool, own: bool) -> Shape:
    """A group's message as it stands in the list of an agent: of the one that ``speaks``, or of one that hears."""
    heard = {name: shape[name] for name in _EVERYWHERE if name in shape}
    calls = _calls(shape)
    if shape.get("role") in ("tool", "function"):
        heard["role"] = shape["role"]
    else:
        heard["role"] = "assistant" if calls or speaks else "user"
    if not (own and calls) and "name" in shape:
        heard["name"] = shape["name"]
    return heard
