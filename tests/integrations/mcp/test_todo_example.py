"""examples/mcp_todo keeps its lists: over stdio and HTTP, in both eras, across restarts and kills, and from strangers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from botwire import Memory

ERAS = ("legacy", "2026-07-28")
TOKENS = {"token-of-ada": "ada", "token-of-bob": "bob"}


@pytest.fixture
def program(root: Path) -> str:
    return str(root / "examples" / "mcp_todo" / "server.py")


def over_stdio(program: str, url: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[program], env={**os.environ, "BOTWIRE_URL": url})


@pytest.fixture
def parameters(program: str, sqlite_url: str) -> StdioServerParameters:
    return over_stdio(program, sqlite_url)


async def call(client: Any, tool: str, **arguments: Any) -> Any:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content[0].text
    return answer.structured_content


@pytest.mark.parametrize(("era", "next_era"), [ERAS, ERAS[::-1]])
def test_a_list_is_there_after_a_restart(parameters, era, next_era):
    async def main():
        async with Client(parameters, mode=era) as client:
            list_id = (await call(client, "list_create"))["list_id"]
            assert await call(client, "list_add", list_id=list_id, item='{"milk": 1}') == {"count": 1}
        async with Client(parameters, mode=next_era) as client:
            assert await call(client, "list_add", list_id=list_id, item="null") == {"count": 2}
            assert await call(client, "list_show", list_id=list_id) == {"items": ['{"milk": 1}', "null"]}
            assert await call(client, "list_delete", list_id=list_id) == {"deleted": True}
            for tool, more in (("list_show", {}), ("list_add", {"item": "x"}), ("list_delete", {})):
                answer = await client.call_tool(tool, {"list_id": list_id, **more})
                assert answer.is_error
                assert "unknown list_id; call list_create" in answer.content[0].text

    asyncio.run(main())


def test_a_handle_that_was_never_given_out_makes_no_list(parameters, sqlite_url):
    async def main():
        async with Client(parameters) as client:
            for list_id in ("lst_never", "", "\x00", "x" * 1_000, "../other"):
                answer = await client.call_tool("list_add", {"list_id": list_id, "item": "x"})
                assert answer.is_error
                assert "unknown list_id; call list_create" in answer.content[0].text

    asyncio.run(main())
    with Memory("todo", url=sqlite_url) as memory:
        assert memory.list_keys() == []


def test_adding_in_parallel_from_two_processes_loses_nothing(program, url):
    parameters = over_stdio(program, url)

    async def main():
        async with Client(parameters) as one, Client(parameters) as other:
            list_id = (await call(one, "list_create"))["list_id"]
            adds = [call(client, "list_add", list_id=list_id, item=f"{n}") for n in range(25) for client in (one, other)]
            counts = await asyncio.gather(*adds)
            assert sorted(answer["count"] for answer in counts) == list(range(1, 51))
            assert sorted((await call(one, "list_show", list_id=list_id))["items"]) == sorted([f"{n}" for n in range(25)] * 2)

    asyncio.run(main())


def test_a_list_deleted_while_others_add_stays_deleted(parameters):
    async def main():
        async with Client(parameters) as one, Client(parameters) as other:
            for _ in range(5):
                list_id = (await call(one, "list_create"))["list_id"]
                calls = [one.call_tool("list_add", {"list_id": list_id, "item": f"{n}"}) for n in range(10)]
                await asyncio.gather(*calls, other.call_tool("list_delete", {"list_id": list_id}))
                assert (await one.call_tool("list_show", {"list_id": list_id})).is_error

    asyncio.run(main())


def test_what_was_acknowledged_survives_a_kill(program, sqlite_url):
    environment = {**os.environ, "BOTWIRE_URL": sqlite_url}
    version = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    server = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    with server:

        def ask(number: int, tool: str, **arguments: Any) -> Any:
            params = {"name": tool, "arguments": arguments, "_meta": version}
            server.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())["result"]["structuredContent"]

        list_id = ask(0, "list_create")["list_id"]
        for n in range(1, 20):
            assert ask(n, "list_add", list_id=list_id, item=f"{n}") == {"count": n}
        os.kill(server.pid, signal.SIGKILL)
    with Memory("todo", url=sqlite_url) as memory:
        assert memory.get(list_id) == [f"{n}" for n in range(1, 20)]


# ---------------------------------------------------------------------------------------------- HTTP


@pytest.fixture
def port(program: str, sqlite_url: str) -> Iterator[int]:
    """A server over HTTP, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "BOTWIRE_URL": sqlite_url, "TODO_TOKENS": json.dumps(TOKENS), "TODO_PORT": str(port)}
    with subprocess.Popen([sys.executable, program, "--http"], env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert any("running on" in line for line in server.stderr)
        yield port
        server.terminate()
        server.stderr.read()


@asynccontextmanager
async def client_of(port: int, token: str, era: str) -> Any:
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
        transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
        async with Client(transport, mode=era) as client:
            yield client


def test_no_one_can_touch_the_list_of_another(port, sqlite_url):
    async def main(era: str) -> None:
        async with client_of(port, "token-of-ada", era) as ada, client_of(port, "token-of-bob", era) as bob:
            list_id = (await call(ada, "list_create"))["list_id"]
            await call(ada, "list_add", list_id=list_id, item="a secret")
            for tool, more in (("list_show", {}), ("list_add", {"item": "x"}), ("list_delete", {})):
                answer = await bob.call_tool(tool, {"list_id": list_id, **more})
                assert answer.is_error
                assert "unknown list_id" in answer.content[0].text
            assert await call(ada, "list_show", list_id=list_id) == {"items": ["a secret"]}

    for era in ERAS:
        asyncio.run(main(era))
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = httpx2.post(f"http://127.0.0.1:{port}/mcp", headers=headers, json={})
        assert answer.status_code == 401
        assert "resource_metadata=" in answer.headers["www-authenticate"]
    with Memory(url=sqlite_url) as memory:
        [namespace] = memory.namespaces()
        assert re.fullmatch("todo:[0-9a-f]{64}", namespace)
