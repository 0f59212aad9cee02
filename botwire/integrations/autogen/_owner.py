"""Whose transcript is whose: two agents of one team that write to the same one would read each other's messages as their own."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from autogen_core import MessageHandlerContext
from autogen_core.models import AssistantMessage

from botwire import InvalidValue
from botwire.integrations.autogen._messages import ModelMessage


class Claim:
    """That an agent of a team writes to a transcript; lives as long as the context through which it does."""

    def __init__(self, agent: str) -> None:
        self.agent = agent


_claims: WeakValueDictionary[tuple[Any, ...], Claim] = WeakValueDictionary()


def claim(transcript: tuple[Any, ...], held: dict[str, Claim], message: ModelMessage) -> None:
    """Note who writes, if the writer can be told: an agent of a team, saying something of its own.

    What an agent was handed by another, or says where it is used as a tool, tells nothing.

    Raises:
        InvalidValue: if another agent of the same team writes to the same transcript.
    """
    if not isinstance(message, AssistantMessage):
        return
    try:
        here = MessageHandlerContext.agent_id()
    except RuntimeError:  # not in a team
        return
    if here.type != f"{message.source}_{here.key}":  # as teams of agentchat name their agents
        return
    first = _claims.setdefault((here.key, *transcript), Claim(message.source))
    if first.agent != message.source:
        raise InvalidValue(
            f"agents {first.agent!r} and {message.source!r} of one team write to the same transcript; give each its own:"
            f" BotWireChatCompletionContext(session_id, agent={message.source!r})"
        )
    held[here.key] = first
