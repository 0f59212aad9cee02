"""What a tool is: what clients see of it, and what a call of it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import mcp_types as types

from botwire import AsyncMemory
from botwire.integrations.mcp._access import Access
from botwire.integrations.mcp._callers import READ, WRITE, Caller
from botwire.integrations.mcp._changes import Changes

MAX_RESULT_BYTES = 60_000


@dataclass(frozen=True)
class Settings:
    """How a memory server was told to behave.

    Args:
        namespace: meant where a call names none.
        locked: no call can name another.
        read_only: nothing can be written.
        groups: which sets of tools there are: ``core``, ``sessions``, ``admin``.
        max_result_bytes: how large a list, a search or a window of a session may be, as sent.
    """

    namespace: str = "default"
    locked: bool = False
    read_only: bool = False
    groups: frozenset[str] = frozenset({"core", "sessions"})
    max_result_bytes: int = MAX_RESULT_BYTES


@dataclass(frozen=True)
class Call:
    """One call of a tool, its arguments checked."""

    caller: Caller
    namespace: str
    memory: AsyncMemory
    arguments: dict[str, Any]
    access: Access
    changes: Changes
    settings: Settings

    def get(self, name: str, default: Any = None) -> Any:
        """An argument."""
        return self.arguments.get(name, default)


Run: TypeAlias = Callable[[Call], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Tool:
    """A tool: what the model is told of it, and what it does.

    ``inputs`` and ``outputs`` are the properties of JSON Schemas; ``required`` names those inputs that must be given.
    """

    name: str
    group: str
    description: str
    inputs: Mapping[str, Any]
    required: tuple[str, ...]
    outputs: Mapping[str, Any]
    run: Run
    writes: bool = False
    destructive: bool = False
    idempotent: bool = True
    names_namespace: bool = True
    always: tuple[str, ...] = field(default=())
    """Outputs that every result has."""

    @property
    def scope(self) -> str:
        """What a token must allow."""
        return WRITE if self.writes else READ

    def input_schema(self, locked: bool) -> dict[str, Any]:
        """What arguments it takes: in a locked server no namespace."""
        properties = dict(self.inputs)
        if self.names_namespace and not locked:
            properties["namespace"] = {"type": "string"}
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "required": list(self.required)} if self.required else schema

    def shown(self, locked: bool) -> types.Tool:
        """The tool as clients see it."""
        output: dict[str, Any] = {"type": "object", "properties": dict(self.outputs)}
        if self.always:
            output["required"] = list(self.always)
        return types.Tool(
            name=self.name,
            description=self.description,
            input_schema=self.input_schema(locked),
            output_schema=output if self.outputs else None,
            annotations=types.ToolAnnotations(
                read_only_hint=not self.writes,
                destructive_hint=self.destructive if self.writes else None,  # said of tools that write alone
                idempotent_hint=self.idempotent if self.writes else None,
                open_world_hint=False,
            ),
        )


def chosen(tools: Iterable[Tool], settings: Settings) -> dict[str, Tool]:
    """The tools that a server of these settings has, by name, in their order."""
    return {tool.name: tool for tool in tools if tool.group in settings.groups and not (settings.read_only and tool.writes)}
