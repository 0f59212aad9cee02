"""Entries as resources, prompts, completions, and hearing of changes."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import anyio
import pytest
from inside import tools
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from botwire import AsyncMemory, Memory
from botwire.integrations.mcp._changes import Changes
from botwire.integrations.mcp._uris import index_of, place_of, uri_of

pytestmark = pytest.mark.anyio

NAMES = ["plain", "a/b", "a b?c#d%2F", "..%2Fx", ".hidden", "...", "whatsapp:+1 23", "Groß-Ä", "\U0001f9e0", "~._-", "memory://x/y"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_one_uri(name: str):
    uri = uri_of(name, name)
    assert place_of(uri)[:2] == (name, name)
    assert uri.count("/") == 3
    assert set(uri.lower()) <= set("memory:/abcdefghijklmnopqrstuvwxyz0123456789-._~%")
    assert place_of(index_of(name))[:2] == (name, None)


async def test_resources_are_listed_and_read(url: str, era: str):
    with Memory("ns/1", url=url) as memory:
        memory.set_many({name: {"name": name} for name in NAMES})
    async with tools(url, era, namespace="ns/1") as server:
        listed = await server.client.list_resources()
        entries = {resource.name: resource for resource in listed.resources[1:]}
        assert sorted(entries) == sorted(NAMES)
        assert (listed.ttl_ms, listed.cache_scope) == (0, "private")
        for name, resource in entries.items():
            assert resource.mime_type == "application/json"
            assert resource.annotations is not None
            assert resource.annotations.last_modified is not None
            read = await server.client.read_resource(resource.uri)
            content: Any = read.contents[0]
            assert json.loads(content.text) == {"name": name}
            assert resource.size == len(content.text.encode())
        index: Any = (await server.client.read_resource(listed.resources[0].uri)).contents[0]
        assert json.loads(index.text)["keys"] == sorted(NAMES)
        templates = await server.client.list_resource_templates()
        assert templates.resource_templates[0].uri_template == "memory://{namespace}/{key}"


@pytest.mark.parametrize("uri", ["memory://default/none", "memory://other/none", "memory://default/a/b"])
async def test_a_resource_that_is_not_there_is_an_error(url: str, era: str, uri: str):
    async with tools(url, era) as server:
        with pytest.raises(MCPError) as caught:
            await server.client.read_resource(uri)
        assert caught.value.error.code == (-32002 if era == "legacy" else -32602)
        assert uri in caught.value.error.message


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "memory://", "memory:///k", "memory://default/%ff"])
async def test_what_is_no_uri_of_this_server_is_refused(url: str, era: str, uri: str):
    async with tools(url, era) as server:
        with pytest.raises(MCPError, match="invalid_argument: "):
            await server.client.read_resource(uri)


async def test_a_locked_server_reads_no_other_namespace(url: str, era: str):
    with Memory("other", url=url) as memory:
        memory.set("secret", 1)
    async with tools(url, era, namespace="mine", locked=True) as server:
        for uri in ("memory://other/secret", "memory://other"):
            with pytest.raises(MCPError, match="there is no resource"):
                await server.client.read_resource(uri)
        assert (await server.call("namespace_list"))["namespaces"] == []


async def test_names_are_completed(url: str, era: str):
    with Memory("work", url=url) as memory:
        memory.set_many({f"user/{number:03}": 1 for number in range(150)})
        memory.session("chat-1").append(("user", "x"))
        memory.session("other").append(("user", "x"))
    reference = ResourceTemplateReference(type="ref/resource", uri="memory://{namespace}/{key}")
    async with tools(url, era, namespace="work") as server:
        complete = server.client.complete
        keys = (await complete(reference, {"name": "key", "value": "user/01"})).completion
        assert keys.values == [f"user/{number:03}" for number in range(10, 20)]
        many = (await complete(reference, {"name": "key", "value": ""}, context_arguments={"namespace": "work"})).completion
        assert (len(many.values), many.has_more) == (100, True)
        assert (await complete(reference, {"name": "namespace", "value": "wo"})).completion.values == ["work"]
        prompt = PromptReference(type="ref/prompt", name="save_summary")
        assert (await complete(prompt, {"name": "session_id", "value": "ch"})).completion.values == ["chat-1"]


async def test_prompts_hold_what_memory_knows(url: str, era: str):
    with Memory(url=url) as memory:
        memory.set("trips/graz", {"plan": "the clock tower"})
    async with tools(url, era) as server:
        assert [prompt.name for prompt in (await server.client.list_prompts()).prompts] == ["recall", "save_summary", "handoff"]

        async def text(name: str, **arguments: str) -> str:
            content: Any = (await server.client.get_prompt(name, arguments)).messages[0].content
            return content.text

        assert '{"key":"trips/graz","value":{"plan":"the clock tower"}}' in await text("recall", topic="Clock Tower")
        assert "Nothing." in await text("recall", topic="Wien")
        assert "session 'ses_1'" in await text("save_summary", session_id="ses_1")
        assert "memory_set" in await text("save_summary")
        assert "handoff/" in await text("handoff")
        for name, arguments in (("recall", {}), ("nonsense", {})):
            with pytest.raises(MCPError, match="invalid_argument: "):
                await server.client.get_prompt(name, arguments)


async def test_a_subscriber_hears_of_what_it_asked_for():
    """Over the newer protocol a stream of its own says what changed."""
    async with tools("memory://", "2026-07-28") as server:
        heard: list[Any] = []
        uri = uri_of("default", "k")
        async with server.client.listen(resources_list_changed=True, resource_subscriptions=[uri]) as events:

            async def write() -> None:
                await server.call("memory_set", key="other", value=1)
                await server.call("memory_set", key="k", value=1)
                await server.call("memory_set", key="k", value=2)
                await server.call("memory_delete", key="k")

            async with anyio.create_task_group() as group:
                group.start_soon(write)
                with anyio.fail_after(20):
                    async for event in events:
                        heard.append(event)
                        if len([one for one in heard if getattr(one, "uri", None) == uri]) == 1 and len(heard) >= 2:
                            break
        assert all(getattr(event, "uri", uri) == uri for event in heard)


OTHER = """
import sys
from botwire import Memory
memory = Memory(url=sys.argv[1])
memory.set("unasked", 1)
memory.set("k", 1)
memory.set("k", 2)
"""


async def test_a_subscriber_hears_of_what_another_process_changed(url: str):
    async with tools(url, "2026-07-28") as server:
        uri, index = uri_of("default", "k"), index_of("default")
        heard: list[Any] = []
        async with server.client.listen(resources_list_changed=True, resource_subscriptions=[uri, index]) as events:
            await anyio.run_process([sys.executable, "-c", OTHER, url])
            with anyio.fail_after(30):
                async for event in events:
                    heard.append(event)
                    if {getattr(event, "uri", "list") for event in heard} == {uri, index, "list"}:
                        break
        assert len(heard) < 20


async def test_a_write_of_this_server_is_told_of_once():
    """The store tells of it too, but it was told of already."""
    async with tools("memory://", "2026-07-28") as server:
        uris = [uri_of("default", key) for key in ("k", "end")]
        heard: list[Any] = []
        async with server.client.listen(resource_subscriptions=uris) as events:
            for value in range(3):
                await server.call("memory_set", key="k", value=value)
                await anyio.sleep(0.05)
            await server.call("memory_set", key="end", value=1)
            with anyio.fail_after(30):
                async for event in events:
                    heard.append(event.uri)
                    if event.uri == uris[1]:
                        break
        assert heard.count(uris[0]) <= 3


async def test_a_write_of_which_the_store_tells_before_the_call_does_is_told_of_once(url: str):
    """Over HTTP the store's own watch may be quicker than the task of the call that wrote."""
    told: list[ServerEvent] = []
    heard = anyio.Event()
    updated = ResourceUpdated(uri_of("default", "k"))

    def listener(event: ServerEvent) -> None:
        told.append(event)
        if event == updated:
            heard.set()

    async with AsyncMemory("default", url=url) as memory:

        async def memory_of(_namespace: str) -> AsyncMemory:
            return memory

        async def delete() -> None:
            await memory.delete("k")

        changes = Changes(lambda: lambda _: True, memory_of)
        end, release = changes.subscribe(listener), await changes.hold({"default"})
        with anyio.fail_after(30):
            for version, write in ((1, partial(memory.set, "k", 1)), (2, partial(memory.set, "k", 2)), (None, delete)):
                heard = anyio.Event()
                await write()
                await heard.wait()
                by_store = len(told)
                await changes.entry("default", "k", version)
                assert len(told) == by_store
        await changes.entry("default", "k", 7)
        assert told[-1] == updated, "only what was told already is not told again"
        release()
        end()


async def test_nothing_is_watched_once_nobody_listens(sqlite_url: str):
    async with tools(sqlite_url, "2026-07-28") as server:
        async with server.client.listen(resources_list_changed=True):
            assert any(task.name == "botwire-mcp-watch" for task in anyio.get_running_tasks())
        with anyio.fail_after(30):
            while any(task.name == "botwire-mcp-watch" for task in anyio.get_running_tasks()):  # noqa: ASYNC110 - the SDK tells of it by nothing
                await anyio.sleep(0.01)
