"""One BotWireKeyValue fits FastMCP's five slots, and what they keep is there in the next process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

from fastmcp import Client, Context, FastMCP
from fastmcp.client.auth.oauth import TokenStorageAdapter
from fastmcp.server.auth.oauth_proxy import OAuthProxy
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.event_store import EventStore
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from fastmcp.server.sessions import SessionId, SessionProvider, get_session
from mcp.server.streamable_http import EventMessage
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from mcp_types import JSONRPCNotification

from botwire import AsyncMemory, Memory
from botwire.integrations.mcp import BotWireKeyValue, memory_lifespan, session_namespace

SERVER = """
import asyncio, sys
from fastmcp import Client, FastMCP
from fastmcp.server.sessions import SessionId, SessionProvider, get_session
from botwire.integrations.mcp import BotWireKeyValue

async def main(url, session_id):
    async with BotWireKeyValue(url=url) as store:
        server = FastMCP("s", session_state_store=store)
        server.add_provider(SessionProvider())

        @server.tool
        async def bump(session_id: SessionId) -> int:
            session = await get_session(session_id)
            count = await session.get("count", 0) + 1
            await session.set("count", count)
            return count

        async with Client(server) as client:
            if not session_id:
                session_id = (await client.call_tool("create_session", {})).data
            print(session_id, (await client.call_tool("bump", {"session_id": session_id})).data)

asyncio.run(main(*sys.argv[1:]))
"""


def test_session_state_is_there_in_the_next_process(sqlite_url):
    session_id, counts = "", []
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", SERVER, sqlite_url, session_id], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        session_id, count = ended.stdout.split()
        counts.append(count)
    assert counts == ["1", "2"]


def test_state_of_the_context_is_kept(url):
    async def main():
        async with BotWireKeyValue(url=url) as store:
            server = FastMCP("s", session_state_store=store)

            @server.tool
            async def remember(context: Context) -> Any:
                await context.set_state("k", {"a": [1, None]})
                return await context.get_state("k")

            async with Client(server) as client:
                assert (await client.call_tool("remember", {})).data == {"a": [1, None]}
            assert await store.collections() == ["fastmcp_state"]
            [key] = await store.keys("fastmcp_state")
            _, left = await store.ttl(key, collection="fastmcp_state")
            assert 86_000 < left <= 86_400

    asyncio.run(main())


def test_fields_under_a_namespace_lose_no_parallel_write(url):
    """FastMCP's own session keeps all fields in one value, of which parallel writers lose some; a namespace does not."""
    server = FastMCP("s", lifespan=memory_lifespan(url=url))

    @server.tool
    async def put(session_id: str, field: str) -> int:
        async with AsyncMemory(session_namespace("app", session_id), url=url) as state:
            await state.set(field, True)
            return await state.increment("writes")

    async def main():
        async with Client(server) as client:
            await asyncio.gather(*(client.call_tool("put", {"session_id": "a", "field": f"f{n}"}) for n in range(20)))

    asyncio.run(main())
    with Memory(session_namespace("app", "a"), url=url) as state:
        assert state.count("f") == 20
        assert state.get("writes") == 20


def test_cached_responses_are_shared_by_servers(url):
    calls: list[int] = []

    async def main() -> Any:
        async with BotWireKeyValue(url=url) as store:
            server = FastMCP("s")
            server.add_middleware(ResponseCachingMiddleware(cache_storage=store))

            @server.tool
            def slow(number: int) -> int:
                calls.append(number)
                return number * 2

            async with Client(server) as client:
                return [(await client.call_tool("slow", {"number": number})).data for number in (1, 2, 1)]

    assert asyncio.run(main()) == [2, 4, 2]
    assert asyncio.run(main()) == [2, 4, 2]
    assert calls == [1, 2]


def proxy_of(store: BotWireKeyValue) -> OAuthProxy:
    return OAuthProxy(
        upstream_authorization_endpoint="https://example.com/authorize",
        upstream_token_endpoint="https://example.com/token",
        upstream_client_id="id",
        upstream_client_secret="secret",
        token_verifier=StaticTokenVerifier({"t": {"client_id": "c", "scopes": []}}),
        base_url="http://127.0.0.1:1",
        jwt_signing_key="k" * 32,
        client_storage=store,
    )


def test_clients_that_registered_are_known_after_a_restart(url):
    registered = OAuthClientInformationFull(client_id="client/1 é", redirect_uris=["http://127.0.0.1:2/callback"], client_name="mine")

    async def main():
        async with BotWireKeyValue(url=url) as store:
            await proxy_of(store).register_client(registered)
        async with BotWireKeyValue(url=url) as store:
            found = await proxy_of(store).get_client("client/1 é")
            assert found.client_name == "mine"
            assert found.redirect_uris == registered.redirect_uris
            assert await proxy_of(store).get_client("another") is None

    asyncio.run(main())


def test_a_clients_tokens_are_there_after_a_restart(url):
    token = OAuthToken(access_token="a" * 2_000, refresh_token="r", expires_in=3_600)

    async def main():
        async with BotWireKeyValue(url=url) as store:
            await TokenStorageAdapter(store, server_url="http://127.0.0.1:1/mcp").set_tokens(token)
        async with BotWireKeyValue(url=url) as store:
            assert await TokenStorageAdapter(store, server_url="http://127.0.0.1:1/mcp").get_tokens() == token
            assert await TokenStorageAdapter(store, server_url="http://127.0.0.1:2/mcp").get_tokens() is None

    asyncio.run(main())


def test_events_are_replayed_after_a_restart(url):
    notes = [JSONRPCNotification(jsonrpc="2.0", method="notifications/progress", params={"n": n}) for n in range(5)]

    async def main():
        async with BotWireKeyValue(url=url) as store:
            events = EventStore(storage=store)
            ids = [await events.store_event("stream/1", note) for note in notes]
            await EventStore(storage=store).store_event("stream/2", notes[0])
        async with BotWireKeyValue(url=url) as store:
            replayed: list[EventMessage] = []

            async def keep(event: EventMessage) -> None:
                replayed.append(event)

            assert await EventStore(storage=store).replay_events_after(ids[1], keep) == "stream/1"
            assert [(event.message, event.event_id) for event in replayed] == list(zip(notes[2:], ids[2:], strict=True))
            assert await EventStore(storage=store).replay_events_after("unknown", keep) is None

    asyncio.run(main())


def test_sessions_by_handle_are_kept_with_many_servers_on_one_store(url):
    async def main():
        async with BotWireKeyValue(url=url) as one, BotWireKeyValue(url=url) as other:
            servers = [FastMCP("s", session_state_store=store) for store in (one, other)]
            for server in servers:
                server.add_provider(SessionProvider())

                @server.tool
                async def read(session_id: SessionId) -> str:
                    return await (await get_session(session_id)).get("k")

                @server.tool
                async def write(session_id: SessionId, value: str) -> None:
                    await (await get_session(session_id)).set("k", value)

            async with Client(servers[0]) as first, Client(servers[1]) as second:
                session_id = (await first.call_tool("create_session", {})).data
                await first.call_tool("write", {"session_id": session_id, "value": '{"a":1}'})
                assert (await second.call_tool("read", {"session_id": session_id})).data == '{"a":1}'

    asyncio.run(main())
