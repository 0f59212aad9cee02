"""The memory server in this process, with the SDK's client at the other end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

from mcp import Client
from mcp_types import CallToolResult

from botwire import AsyncMemory
from botwire.integrations.mcp._memory_server import memory_server
from botwire.integrations.mcp._tools import Settings

ALL = frozenset({"core", "sessions", "admin"})


class Tools:
    """A client, its tools called like functions."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def result(self, tool: str, **arguments: Any) -> CallToolResult:
        return cast("CallToolResult", await self.client.call_tool(tool, arguments))

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The structured result; that it is the same as the text is checked on the way."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, result.content
        return result.structured_content

    async def error(self, tool: str, **arguments: Any) -> str:
        result = await self.result(tool, **arguments)
        assert result.is_error, result.structured_content
        assert result.structured_content is None
        return cast("Any", result.content[0]).text


@asynccontextmanager
async def tools(url: str, era: str, **settings: Any) -> AsyncGenerator[Tools]:
    chosen = Settings(**{"groups": ALL, **settings})
    async with AsyncMemory(chosen.namespace, url=url) as memory:
        built = memory_server(memory, chosen)
        try:
            async with Client(built.server, mode=cast("Literal['legacy']", era)) as client:
                yield Tools(client)
        finally:
            built.access.close()
