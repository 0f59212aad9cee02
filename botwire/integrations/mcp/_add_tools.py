"""add_memory_tools: the tools of ``botwire mcp`` in a server of your own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer

from botwire import AsyncMemory, InvalidValue, Memory
from botwire.integrations.mcp._access import Access, on_threads
from botwire.integrations.mcp._callers import Local
from botwire.integrations.mcp._changes import Changes
from botwire.integrations.mcp._desk import Desk
from botwire.integrations.mcp._memory_server import TOOLS, _call
from botwire.integrations.mcp._tools import Settings, Tool, chosen

_GROUPS = ("core", "sessions")


def add_memory_tools(
    server: MCPServer[Any],
    memory: Memory | AsyncMemory,
    *,
    namespace: Callable[[], str] | None = None,
    tools: Collection[str] = _GROUPS,
    read_only: bool = False,
) -> None:
    """Add the memory tools of ``botwire mcp`` to a server: the same names, schemas, results and errors.

    They know one namespace, and no argument of a call can name another. Values arrive as the client sent them: text that looks
    like JSON stays text, as it does not in tools that ``MCPServer`` itself makes of functions.

    Args:
        server: the SDK's ``MCPServer``.
        memory: the memory that they use, opened now; it stays yours to close.
        namespace: asked at each call, in place of the memory's own namespace: ``lambda: principal_namespace("notes")``.
        tools: which sets of tools: ``core``, ``sessions``.
        read_only: leave out those that write.

    Raises:
        InvalidValue: if there is no such set, or the server already has a tool of one of these names.
    """
    if unknown := set(tools).difference(_GROUPS):
        raise InvalidValue(f"there are no tools {', '.join(sorted(unknown))}; there are {' and '.join(_GROUPS)}")
    settings = Settings(memory.namespace, locked=True, read_only=read_only, groups=frozenset(tools))
    whose = namespace or (lambda: memory.namespace)
    unclosed = AsyncMemory(memory.namespace, store=on_threads(memory.store))  # nobody would know when the server ends
    access = Access(unclosed)
    desk = Desk(access, settings, Changes(lambda: lambda _: False, access.memory), lambda: Local(whose(), locked=True, local=False))
    known = chosen(TOOLS, settings)
    if taken := _names(server).intersection(known):
        raise InvalidValue(f"the server {server.name!r:.80} already has tools of the names {', '.join(sorted(taken))}")
    for tool in known.values():
        _add(server, desk, known, tool)
    server.middleware.append(_Schemas(known))


def _add(server: MCPServer[Any], desk: Desk, tools: dict[str, Tool], tool: Tool) -> None:
    async def run(context: Context[Any, Any]) -> types.CallToolResult:
        """The arguments are taken as they came: of a function's parameters the server would make what it thinks is meant."""
        params = context.request_context.params or {}
        return await _call(desk, tools, tool.name, dict(params.get("arguments") or {}))

    server.add_tool(run, name=tool.name, description=tool.description, structured_output=False)


class _Schemas:
    """Middleware that shows the tools as they are, where the server knows only that there are functions of no parameter."""

    def __init__(self, tools: dict[str, Tool]) -> None:
        self._shown = {
            name: tool.shown(locked=True).model_dump(by_alias=True, mode="json", exclude_none=True) for name, tool in tools.items()
        }

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if ctx.method != "tools/list" or not isinstance(result, dict):
            return result
        listed = cast("list[dict[str, Any]]", result.get("tools", []))
        return {**result, "tools": [self._shown.get(tool["name"], tool) for tool in listed]}


def _names(server: MCPServer[Any]) -> set[str]:
    """The names of the tools that a server has. Listing them waits for nothing, so it needs no event loop."""
    listing = server.list_tools()
    try:
        listing.send(None)
    except StopIteration as done:
        return {tool.name for tool in done.value}
    listing.close()
    return set()
