"""The namespace of a principal comes from the verified token, and from nothing else."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context

from botwire import Memory, Unauthorized
from botwire.integrations.mcp import add_memory_tools, principal_namespace

ERAS = ("legacy", "2026-07-28")
HERE = "http://127.0.0.1:1"


def token_of(client_id: str, issuer: str | None = None, subject: str | None = None) -> AccessToken:
    claims = {} if issuer is None else {"iss": issuer}
    return AccessToken(token="t", client_id=client_id, scopes=["s"], subject=subject, claims=claims)


@contextmanager
def holding(token: AccessToken) -> Iterator[None]:
    before = auth_context_var.set(AuthenticatedUser(token))
    yield
    auth_context_var.reset(before)


def namespace_of(base: str, *principal: Any) -> str:
    with holding(token_of(*principal)):
        return principal_namespace(base)


def test_two_principals_never_share_a_namespace():
    parts = ["a", "b", "", "a,b", '"', '","', "null", "None", ":", "/", "é", "e\u0301", "\ud800"]
    principals = [(client, issuer, subject) for client, issuer, subject in itertools.product(parts, [*parts, None], [*parts, None])]
    names = {namespace_of("app", *principal) for principal in principals}
    assert len(names) == len(principals)
    assert all(re.fullmatch("app:[0-9a-f]{64}", name) for name in names)


def test_the_same_principal_has_the_same_namespace_with_every_token():
    one, other = token_of("c", "i", "s"), token_of("c", "i", "s")
    other.token, other.scopes, other.expires_at = "refreshed", ["more"], 5
    other.claims["jti"] = "x"
    names: list[str] = []
    for token in (one, other):
        with holding(token):
            names.append(principal_namespace("app"))
    assert names[0] == names[1]
    assert names == ["app:cbde0c019181aa9f9d0b6e66f6a04a65bfa956db2ec9a3e00c543e7c9877ffc7"] * 2  # it stays, or memory would seem lost


def test_a_name_of_any_length_fits():
    name = namespace_of("b" * 447, "c" * 10_000, "i" * 10_000, "s" * 10_000)
    assert Memory(name).namespace == name


def test_without_a_token_there_is_none():
    with pytest.raises(Unauthorized, match="no verified token"):
        principal_namespace("app")


# ------------------------------------------------------------------------------------------- over HTTP

USERS = {"token-of-ada": ("ada", "i"), "token-of-bob": ("bob", "i"), "token-of-another-ada": ("ada", "j"), "token-of-a-client": (None, "i")}


class Tokens:
    async def verify_token(self, token: str) -> AccessToken | None:
        if token not in USERS:
            return None
        subject, issuer = USERS[token]
        return AccessToken(token=token, client_id="c", scopes=["s"], subject=subject, claims={"iss": issuer}, resource=f"{HERE}/mcp")


def server_of(memory: Memory) -> MCPServer[Any]:
    settings = {"issuer_url": HERE, "resource_server_url": f"{HERE}/mcp", "required_scopes": ["s"], "validate_token_resource": True}
    auth = AuthSettings.model_validate(settings)
    server: MCPServer[Any] = MCPServer("app", token_verifier=Tokens(), auth=auth)
    add_memory_tools(server, memory, namespace=lambda: principal_namespace("app"))

    @server.tool()
    def whose(context: Context[Any, Any], namespace: str = "") -> str:
        return principal_namespace("app")

    return server


@asynccontextmanager
async def client_of(app: Any, token: str, era: str) -> Any:
    headers = {"Authorization": f"Bearer {token}", "X-Principal": "ada"}
    transport = httpx2.ASGITransport(app=app)
    async with (
        httpx2.AsyncClient(transport=transport, headers=headers) as http,
        Client(streamable_http_client(f"{HERE}/mcp", http_client=http), mode=era) as client,
    ):
        yield client


@pytest.mark.parametrize("era", ERAS)
def test_principals_of_one_server_see_nothing_of_each_other(memory, era):
    server = server_of(memory)

    async def main():
        app = server.streamable_http_app(host="127.0.0.1")
        async with server.session_manager.run():
            for token in USERS:
                async with client_of(app, token, era) as client:
                    assert (await client.call_tool("memory_list", {})).structured_content == {"keys": [], "total": 0}
                    await client.call_tool("memory_set", {"key": "k", "value": token})
                    await client.call_tool("session_append", {"session_id": "s", "messages": [{"role": "user", "content": token}]})
            for token in USERS:
                async with client_of(app, token, era) as client:
                    assert (await client.call_tool("memory_get", {"key": "k"})).structured_content["value"] == token
                    found = (await client.call_tool("memory_search", {"query": "token"})).structured_content["hits"]
                    assert [hit["key"] for hit in found] == ["k"]

    asyncio.run(main())
    assert len(memory.namespaces()) == len(USERS)
    assert memory.list_keys() == []


@pytest.mark.parametrize("era", ERAS)
def test_no_argument_changes_whose_memory_it_is(memory, era):
    server = server_of(memory)

    async def main():
        app = server.streamable_http_app(host="127.0.0.1")
        async with server.session_manager.run(), client_of(app, "token-of-bob", era) as bob, client_of(app, "token-of-ada", era) as ada:
            mine = (await bob.call_tool("whose", {})).content[0].text
            hers = (await ada.call_tool("whose", {})).content[0].text
            assert mine != hers
            assert (await bob.call_tool("whose", {"namespace": hers})).content[0].text == mine
            answer = await bob.call_tool("memory_get", {"key": "k", "namespace": hers})
            assert answer.content[0].text.startswith("invalid_argument: there is no argument 'namespace'")

    asyncio.run(main())


def test_calls_at_the_same_moment_are_kept_apart(memory):
    server = server_of(memory)

    async def main():
        app = server.streamable_http_app(host="127.0.0.1")
        async with (
            server.session_manager.run(),
            client_of(app, "token-of-bob", "legacy") as bob,
            client_of(app, "token-of-ada", "legacy") as ada,
        ):
            calls = [
                client.call_tool("memory_append", {"key": "log", "items": [name]})
                for _ in range(20)
                for client, name in ((bob, "b"), (ada, "a"))
            ]
            await asyncio.gather(*calls)
            for client, name in ((bob, "b"), (ada, "a")):
                assert (await client.call_tool("memory_get", {"key": "log"})).structured_content["value"] == [name] * 20

    asyncio.run(main())


def test_a_caller_whom_nobody_verified_is_told_so(memory):
    server: MCPServer[Any] = MCPServer("app")
    add_memory_tools(server, memory, namespace=lambda: principal_namespace("app"))

    async def main():
        async with Client(server) as client:
            answer = await client.call_tool("memory_set", {"key": "k", "value": 1})
            assert answer.is_error
            assert answer.content[0].text.startswith("unauthorized: ")

    asyncio.run(main())
    assert memory.namespaces() == []
