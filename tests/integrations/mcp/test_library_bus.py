"""The subscription bus: what changed in one process is heard in another, in order, and nothing is left running."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.server.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged

from botwire import AsyncMemory, InvalidValue
from botwire.integrations.mcp import BotWireSubscriptionBus

EVENTS = [ResourceUpdated("memory://a/b%20c"), ToolsListChanged(), PromptsListChanged(), ResourcesListChanged(), ResourceUpdated("x")]

PUBLISHER = """
import asyncio, sys
from mcp.server.subscriptions import *
from botwire.integrations.mcp import BotWireSubscriptionBus
async def main():
    bus = BotWireSubscriptionBus(url=sys.argv[1])
    first, last = ResourceUpdated("memory://a/b%20c"), ResourceUpdated("x")
    for event in (first, ToolsListChanged(), PromptsListChanged(), ResourcesListChanged(), last):
        await bus.publish(event)
    await bus.close()
asyncio.run(main())
"""


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


def test_events_of_another_process_are_heard_in_order(url):
    heard: list[Any] = []

    async def main():
        async with BotWireSubscriptionBus(url=url, poll_interval=0.05) as bus:
            unsubscribe = bus.subscribe(heard.append)
            publisher = await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISHER, url)
            assert await publisher.wait() == 0
            await until(lambda: len(heard) >= len(EVENTS))
            unsubscribe()
            unsubscribe()

    asyncio.run(main())
    assert heard == EVENTS


def test_an_event_of_ones_own_process_is_heard_at_once_and_once(url):
    async def main():
        async with BotWireSubscriptionBus(url=url, poll_interval=0.05) as bus, BotWireSubscriptionBus(url=url, poll_interval=0.05) as other:
            mine: list[Any] = []
            others: list[Any] = []
            bus.subscribe(mine.append)
            other.subscribe(others.append)
            await bus.publish(ResourceUpdated("one"))
            assert mine == [ResourceUpdated("one")]
            await until(lambda: others)
            await other.publish(ResourceUpdated("two"))
            await until(lambda: len(mine) == 2)
            assert mine == others == [ResourceUpdated("one"), ResourceUpdated("two")]

    asyncio.run(main())


def test_what_was_published_just_before_the_first_look_is_heard(url):
    """The SDK acknowledges a subscription before the bus can have read anything: what is published meanwhile must not be missed."""

    async def main():
        async with BotWireSubscriptionBus(url=url) as one:
            await one.publish(ResourceUpdated("between"))
            other = BotWireSubscriptionBus(url=url)
            heard: list[Any] = []
            other.subscribe(heard.append)
            await until(lambda: heard)
            await other.close()
            assert heard == [ResourceUpdated("between")]

    asyncio.run(main())


def test_without_listeners_nothing_is_read_and_nothing_is_left_running(url):
    async def main():
        bus = BotWireSubscriptionBus(url=url, poll_interval=0.01)
        before = len(asyncio.all_tasks())
        first, second = bus.subscribe(print), bus.subscribe(print)
        assert len(asyncio.all_tasks()) == before + 1
        first()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before + 1
        second()
        await until(lambda: len(asyncio.all_tasks()) == before)
        bus.subscribe(print)
        await bus.close()
        assert len(asyncio.all_tasks()) == before

    asyncio.run(main())


def test_a_listener_that_fails_keeps_nothing_from_the_others(url, caplog):
    async def main():
        async with BotWireSubscriptionBus(url=url) as bus:
            heard: list[Any] = []
            bus.subscribe(lambda event: 1 / 0)
            bus.subscribe(heard.append)
            await bus.publish(ToolsListChanged())
            assert heard == [ToolsListChanged()]

    asyncio.run(main())
    assert "a listener to MCP events failed" in caplog.text


def test_buses_of_other_names_hear_nothing(url):
    async def main():
        async with BotWireSubscriptionBus("a", url=url, poll_interval=0.01) as one, BotWireSubscriptionBus("b", url=url) as other:
            heard: list[Any] = []
            one.subscribe(heard.append)
            await other.publish(ToolsListChanged())
            async with BotWireSubscriptionBus("a", url=url) as third:
                await third.publish(PromptsListChanged())
            await until(lambda: heard)
            assert heard == [PromptsListChanged()]

    asyncio.run(main())


def test_the_events_kept_are_bounded_and_a_session_begun_anew_is_noticed(sqlite_url, monkeypatch):
    monkeypatch.setattr("botwire.integrations.mcp._bus.KEPT", 10)

    async def main():
        async with AsyncMemory("app", url=sqlite_url) as memory:
            one, other = (BotWireSubscriptionBus(memory=memory, poll_interval=0.01) for _ in range(2))
            heard: list[Any] = []
            one.subscribe(heard.append)
            for n in range(35):
                await other.publish(ResourceUpdated(f"{n}"))
                await until(lambda n=n: len(heard) == n + 1)
            assert 10 <= await memory.session("events").count() < 20
            await memory.delete_session("events")
            await other.publish(ResourceUpdated("anew"))
            await until(lambda: len(heard) == 36)
            await one.close()
            await other.close()

    asyncio.run(main())


def test_a_store_that_fails_fails_no_tool(caplog, tmp_path):
    async def main():
        bus = BotWireSubscriptionBus(url="http://127.0.0.1:9", poll_interval=0.01)
        heard: list[Any] = []
        bus.subscribe(heard.append)
        await bus.publish(ToolsListChanged())
        assert heard == [ToolsListChanged()]
        await bus.close()

    asyncio.run(main())
    assert "other processes do not hear that something changed" in caplog.text


@pytest.mark.parametrize("interval", [0, -1, 31, float("nan")])
def test_an_interval_that_cannot_be_is_refused(interval):
    with pytest.raises(InvalidValue, match="poll_interval"):
        BotWireSubscriptionBus(poll_interval=interval)


SECOND_SERVER = """
import asyncio, sys
from mcp import Client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from botwire.integrations.mcp import BotWireSubscriptionBus
bus = BotWireSubscriptionBus(url=sys.argv[1])
server = MCPServer("second", subscriptions=bus)
@server.tool()
async def change(context: Context) -> str:
    await context.notify_resource_updated("notes://1")
    return "changed"
async def main():
    async with Client(server) as client:
        assert not (await client.call_tool("change", {})).is_error
    await bus.close()
asyncio.run(main())
"""


def test_a_client_of_one_server_hears_what_a_tool_of_another_process_changed(url):
    async def main():
        async with BotWireSubscriptionBus(url=url, poll_interval=0.05) as bus:
            server: MCPServer[Any] = MCPServer("first", subscriptions=bus)
            async with Client(server) as client, client.listen(resource_subscriptions=["notes://1"]) as stream:
                ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", SECOND_SERVER, url])
                assert ended.returncode == 0
                async with asyncio.timeout(30):
                    async for event in stream:
                        assert event == ResourceUpdated("notes://1")
                        break

    asyncio.run(main())
