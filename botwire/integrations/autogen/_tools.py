"""Tools with which an agent itself remembers, recalls, forgets and lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, Self, TypeAlias, cast, get_args

from autogen_core import CancellationToken, Component, ComponentModel
from autogen_core.memory import Memory as AutoGenMemory
from autogen_core.tools import BaseTool
from pydantic import BaseModel, Field

from botwire import InvalidValue
from botwire.integrations.autogen._values import from_value, shown

Action: TypeAlias = Literal["remember", "recall", "forget", "list"]
ACTIONS: tuple[Action, ...] = get_args(Action)

MOST = 50
"""The most entries that one call shows."""


class Facts(Protocol):
    """What the tools need of a memory."""

    async def find(self, words: str, limit: int | None = None) -> Mapping[str, Any]: ...
    async def remember(self, key: str, value: str) -> None: ...
    async def forget(self, key: str) -> bool: ...
    def dump_component(self) -> ComponentModel: ...


class RememberArgs(BaseModel):
    """Arguments of ``remember``."""

    key: str = Field(description="A short name for the fact, for example user.diet; a fact of the same name is replaced")
    text: str = Field(description="What to remember")


class RecallArgs(BaseModel):
    """Arguments of ``recall``."""

    query: str = Field(description="Words that the fact or its name contains; all of them must occur")


class ForgetArgs(BaseModel):
    """Arguments of ``forget``."""

    key: str = Field(description="The name of the fact")


class ListArgs(BaseModel):
    """Arguments of ``list``: none."""


_TOOLS: dict[Action, tuple[str, type[BaseModel], str]] = {
    "remember": ("remember", RememberArgs, "Remember a fact for later conversations."),
    "recall": ("recall", RecallArgs, "Find remembered facts by words that they contain."),
    "forget": ("forget", ForgetArgs, "Forget a remembered fact."),
    "list": ("list_memories", ListArgs, "List all remembered facts."),
}


class ToolConfig(BaseModel):
    """What ``BotWireMemoryTool`` is made of, as data."""

    memory: ComponentModel
    action: Action


class BotWireMemoryTool(BaseTool[BaseModel, Any], Component[ToolConfig]):
    """One of the tools that ``BotWireMemory.tools()`` gives.

    Args:
        memory: the BotWireMemory on which it works.
        action: what it does: ``remember``, ``recall``, ``forget`` or ``list``.

    What goes wrong in it reaches the model as the result of its call, marked as an error.
    """

    component_config_schema = ToolConfig
    component_provider_override = "botwire.integrations.autogen.BotWireMemoryTool"

    def __init__(self, memory: Facts, action: Action) -> None:
        if action not in ACTIONS:
            raise InvalidValue(f"action must be one of {', '.join(ACTIONS)}, not {action!r:.80}")
        name, args, description = _TOOLS[action]
        super().__init__(args, str, name, description)
        self._memory: Facts = memory
        self._action: Action = action

    async def run(self, args: BaseModel, cancellation_token: CancellationToken) -> str:  # noqa: ARG002 - as AutoGen calls it
        """Do it; returns what the model is told."""
        if isinstance(args, RememberArgs):
            await self._memory.remember(args.key, args.text)
            return f"Remembered {args.key}."
        if isinstance(args, ForgetArgs):
            there = await self._memory.forget(args.key)
            return f"Forgot {args.key}." if there else f"Nothing is remembered as {args.key}."
        words = args.query if isinstance(args, RecallArgs) else ""
        return _list(await self._memory.find(words, MOST + 1)) or "Nothing of that is remembered."

    def _to_config(self) -> ToolConfig:
        return ToolConfig(memory=self._memory.dump_component(), action=self._action)

    @classmethod
    def _from_config(cls, config: ToolConfig) -> Self:
        return cls(cast("Facts", AutoGenMemory.load_component(config.memory)), config.action)


def _list(found: Mapping[str, Any]) -> str:
    lines = [f"{key}: {shown(from_value(key, value))}" for key, value in found.items()]
    return "\n".join([*lines[:MOST], "(there is more; recall it by its words)"] if len(lines) > MOST else lines)
