"""An agent's transcript: a botwire session, and what of it lies in the agent's own lists.

autogen empties those lists at the start of every chat. So each message that is put into one is stored first; and when the
agent is to reply, it is shown what was stored, with what is in its list in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4
from weakref import WeakSet

from autogen import Agent

from botwire import Message, Session
from botwire.integrations.autogen_classic._messages import Shape, from_botwire, to_botwire
from botwire.integrations.autogen_classic._view import repaired, window_start

SPARE = 30
"""Messages read beyond a window's size: some are of another talk, some go with a result."""
PAGE = 200
"""Messages read at a time, where those were not enough."""

remembered_groups: WeakSet[Any] = WeakSet()
"""The managers whose group chat is a session: what their agents hear there is stored once, by the group."""


class Transcript:
    """What one agent says and hears, as a session.

    Args:
        session: where it is stored.
        size: how many messages the agent is shown; None for all.
        peers: the names of those whose talk is stored; None for all.
    """

    def __init__(self, session: Session, size: int | None, peers: Iterable[str] | None) -> None:
        self.session = session
        self._size = size
        self._peers = None if peers is None else frozenset(peers)

    def covers(self, peer: Agent) -> bool:
        """Whether the talk with ``peer`` is stored here."""
        return (self._peers is None or peer.name in self._peers) and peer not in remembered_groups

    def record(self, shape: Shape, peer: str) -> str:
        """Store a message; returns the id under which it is stored.

        Raises:
            InvalidValue: if it cannot be stored exactly. Nothing is stored.
            StoreUnavailable: if the store cannot be written.
        """
        messages = to_botwire(shape, {"peer": peer})
        messages[0].id = identifier = uuid4().hex
        self.session.append(*messages, request_id=identifier)
        return identifier

    def view(self, live: Talk) -> list[Shape]:
        """What the agent is shown of a talk: its window, repaired.

        Raises:
            StoreUnavailable: if the store cannot be read.
        """
        info, rows = self.session.snapshot(last=None if self._size is None else self._size + SPARE)
        while True:
            view = _merged(rows, live)
            start = window_start(view, self._size)
            if start or self._size is None or not rows or rows[0].seq == 1:
                return repaired(view[start:])
            there, earlier = self.session.snapshot(last=PAGE, before=rows[0].seq)
            if not earlier or info is None or there is None or there.epoch != info.epoch:
                return repaired(view[start:])
            rows = earlier + rows


class Talk(list[Shape]):
    """The messages that an agent exchanged with one other in the chat that is on. What is appended is stored first."""

    def __init__(self, transcript: Transcript, peer: Agent, messages: Iterable[Shape], before: Talk | None = None) -> None:
        super().__init__(messages)
        self.peer = peer
        self._transcript = transcript
        # By the message's identity in memory; the message is held too, so that no other one gets the same identity.
        self.stored: dict[int, tuple[str, Shape]] = {}
        if before is not None:  # which this one takes the place of
            self.stored = {id(message): found for message in self if (found := before.stored.get(id(message)))}

    def append(self, message: Shape) -> None:
        """Store the message, then add it."""
        if self._transcript.covers(self.peer):
            self.stored[id(message)] = (self._transcript.record(message, self.peer.name), message)
        super().append(message)

    def clear(self) -> None:
        """Empty the list; what is stored stays."""
        super().clear()
        self.stored.clear()

    def stored_id(self, message: Shape) -> str | None:
        """The id under which a message of the list is stored; None if it is not."""
        return self.stored.get(id(message), (None, None))[0]


class Talks(dict[Agent, Any]):
    """An agent's lists of messages by the agent with whom they were exchanged, as ``ConversableAgent`` keeps them."""

    def __init__(self, transcript: Transcript, there: dict[Agent, list[Shape]]) -> None:
        super().__init__()
        self._transcript = transcript
        for peer, messages in there.items():
            self[peer] = messages

    def __missing__(self, peer: Agent) -> Talk:
        self[peer] = []
        return self[peer]

    def __setitem__(self, peer: Agent, messages: Iterable[Shape]) -> None:
        super().__setitem__(peer, Talk(self._transcript, peer, messages, self.get(peer)))

    def talk_of(self, messages: Sequence[Shape]) -> Talk | None:
        """The talk that these messages are, or end as; None if they are of none that is stored."""
        for talk in self.values():
            if talk is messages or (talk and messages and talk[-1] is messages[-1]):
                return talk if self._transcript.covers(talk.peer) else None
        return None


def _merged(rows: Sequence[Message], talk: Talk) -> list[Shape]:
    """What is stored of a talk, in order, each message as it is in the list, if it is there."""
    live: dict[str, list[Shape]] = {}  # by the id of the last one, which is stored: what was not, and stands before it, follows it here
    loose: list[Shape] = []
    for message in talk:
        loose.append(message)
        if identifier := talk.stored_id(message):
            live[identifier], loose = loose, []
    view: list[Shape] = []
    for row in rows:
        if row.id in live:
            view += live[row.id]
        elif row.metadata.get("peer", talk.peer.name) == talk.peer.name and (shape := from_botwire(row)):
            view.append(shape)
    return view + loose
