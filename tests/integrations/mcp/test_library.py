"""What people who write MCP servers use: the memory tools in their server, a memory for its life."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory
from botwire.integrations.mcp import add_memory_tools, memory_lifespan, session_namespace

ERAS = ("legacy", "2026-07-28")
CORE = ["memory_get", "memory_set", "memory_update", "memory_append", "memory_delete", "memory_list", "memory_search"]
SESSIONS = ["session_create", "session_append", "session_read", "session_list"]
HOSTILE: list[Any] = [
    '{"a":1}',
    "[1,2]",
    '  {"x": 1} ',
    "null",
    "true",
    "12",
    "",
    True,
    None,
    2**53 + 1,
    1.0,
    1,
    -0.0,
    "\x00",
    "🌍" * 1_000,
    {"": {"$ref": "x"}},
    [],
    "a" * 1_000_000,
]


def in_both_eras(server: Any, use: Any) -> None:
    async def main() -> None:
        for era in ERAS:
            async with Client(server, mode=era) as client:
                await use(client)

    asyncio.run(main())


# ----------------------------------------------------------------------------------- add_memory_tools


@pytest.fixture
def server(memory: Memory) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("notes")

    @server.tool()
    def double(number: int) -> int:
        return 2 * number

    add_memory_tools(server, memory)
    return server


def test_the_tools_stand_beside_the_servers_own(server):
    async def use(client):
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == ["double", *CORE, *SESSIONS]
        assert (await client.call_tool("double", {"number": 21})).structured_content == {"result": 42}

    in_both_eras(server, use)


def test_what_clients_see_of_the_tools_is_written_by_hand(server):
    async def use(client):
        for tool in (await client.list_tools()).tools[1:]:
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
            assert tool.input_schema["additionalProperties"] is False
            assert "namespace" not in tool.input_schema["properties"]
            assert "$ref" not in json.dumps(tool.input_schema)
            assert '"title"' not in json.dumps(tool.input_schema)
            assert tool.annotations is not None

    in_both_eras(server, use)


def test_values_come_back_as_they_were_given(server, memory):
    async def use(client):
        for value in [*HOSTILE, nested(50)]:
            stored = await client.call_tool("memory_set", {"key": "k", "value": value})
            assert not stored.is_error
            found = await client.call_tool("memory_get", {"key": "k"})
            assert repr(found.structured_content["value"]) == repr(value) == repr(memory.get("k"))
            assert json.loads(found.content[0].text) == found.structured_content

    in_both_eras(server, use)


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else math.pi


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("memory_set", {"value": 1}, "invalid_argument: key is missing"),
        ("memory_set", {"key": "k", "value": 1, "if_versoin": 2}, "invalid_argument: there is no argument 'if_versoin'"),
        ("memory_set", {"key": "k", "value": 1, "namespace": "other"}, "invalid_argument: there is no argument 'namespace'"),
        ("memory_set", {"key": "k", "value": 1, "if_version": 7}, "version_conflict: "),
        ("memory_append", {"key": "k", "items": '["a"]'}, "invalid_argument: items must be of type array"),
    ],
)
def test_errors_begin_with_a_stable_code(server, tool, arguments, said):
    async def use(client):
        answer = await client.call_tool(tool, arguments)
        assert answer.is_error
        assert answer.content[0].text.startswith(said)

    in_both_eras(server, use)


def test_the_tools_can_be_chosen_and_only_read(memory):
    server: MCPServer[Any] = MCPServer("notes")
    add_memory_tools(server, memory, tools=["core"], read_only=True)

    async def use(client):
        assert [tool.name for tool in (await client.list_tools()).tools] == ["memory_get", "memory_list", "memory_search"]

    in_both_eras(server, use)


def test_a_memory_of_either_kind_does(url):
    server: MCPServer[Any] = MCPServer("notes")

    async def main():
        async with AsyncMemory("app", url=url) as memory:
            add_memory_tools(server, memory)
            async with Client(server) as client:
                await client.call_tool("memory_set", {"key": "k", "value": 1})
            assert await memory.get("k") == 1

    asyncio.run(main())


def test_the_namespace_can_be_asked_for_at_each_call(memory, url):
    server: MCPServer[Any] = MCPServer("notes")
    current = ["ada"]
    add_memory_tools(server, memory, namespace=lambda: current[0])

    async def use(client):
        current[0] = "ada"
        await client.call_tool("memory_set", {"key": "k", "value": "hers"})
        current[0] = "bob"
        assert (await client.call_tool("memory_get", {"key": "k"})).structured_content == {"found": False}
        assert (await client.call_tool("memory_list", {})).structured_content == {"keys": [], "total": 0}

    in_both_eras(server, use)
    with Memory("ada", url=url) as hers:
        assert hers.get("k") == "hers"
    assert memory.list_keys() == []


def test_tools_of_the_same_name_are_refused(server, memory):
    with pytest.raises(InvalidValue, match="'notes' already has tools of the names memory_append, memory_delete"):
        add_memory_tools(server, memory)
    with pytest.raises(InvalidValue, match="no tools everything"):
        add_memory_tools(MCPServer("x"), memory, tools=["everything"])


def test_fifty_sets_at_once_are_all_kept(server, memory):
    async def use(client):
        answers = await asyncio.gather(*(client.call_tool("memory_set", {"key": f"k{n}", "value": n}) for n in range(50)))
        assert not any(answer.is_error for answer in answers)

    in_both_eras(server, use)
    assert memory.get_many([f"k{n}" for n in range(50)]) == {f"k{n}": n for n in range(50)}


# ------------------------------------------------------------------------------------ memory_lifespan


def test_the_lifespan_gives_tools_a_memory_and_closes_it(url):
    server: MCPServer[Any] = MCPServer("notes", lifespan=memory_lifespan("app", url=url))
    seen: list[AsyncMemory] = []

    @server.tool()
    async def count(context: Context[Any, Any]) -> int:
        seen.append(context.request_context.lifespan_context["memory"])
        return await seen[-1].increment("calls")

    async def use(client):
        await client.call_tool("count", {})

    in_both_eras(server, use)
    assert [repr(memory) for memory in seen] == ["<AsyncMemory 'app' (closed)>"] * 2
    with Memory("app", url=url) as memory:
        assert memory.get("calls") == 2


def test_a_lifespan_that_cannot_be_is_refused_at_once():
    with pytest.raises(InvalidName):
        memory_lifespan("")


# ---------------------------------------------------------------------------------- session_namespace


def test_handles_never_share_a_namespace():
    handles = ["a", "a/b", "a%2Fb", "A", "", "=", "x" * 1_000, "x" * 1_001, "é\x00", "."]
    names = [session_namespace("app", handle) for handle in handles]
    assert len({*names, session_namespace("app2", "a")}) == len(handles) + 1
    assert [Memory(name).namespace for name in names] == names
    with pytest.raises(InvalidName):
        session_namespace("app", None)


def test_writers_of_different_fields_of_one_session_lose_nothing(url):
    async def main():
        async with AsyncMemory(session_namespace("app", "ses_1"), url=url) as state:
            await asyncio.gather(*(state.set(f"field-{n}", n) for n in range(30)), *(state.increment("calls") for _ in range(30)))
            assert await state.count() == 31
            assert await state.get("calls") == 30

    asyncio.run(main())
