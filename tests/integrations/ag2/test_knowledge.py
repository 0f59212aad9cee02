"""BotWireKnowledgeStore: what an agent knows are entries like any other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ag2 import Agent, KnowledgeConfig
from ag2.knowledge import KnowledgeStore, MemoryKnowledgeStore
from ag2.testing import TestConfig

from botwire import InvalidName, InvalidValue, Memory, StoreUnavailable
from botwire.integrations.ag2 import BotWireKnowledgeStore


def test_it_is_a_knowledge_store(memory: Memory):
    assert isinstance(BotWireKnowledgeStore(memory=memory), KnowledgeStore)


@pytest.mark.anyio
async def test_it_answers_as_ag2s_own_does(url: str):
    async def told(store: Any) -> list[Any]:
        answers: list[Any] = [await store.read("/a"), await store.exists("/"), await store.list()]
        for path, content in [("/a/b.md", "é"), ("a//c/d.md", "x"), ("/a/c/e*", "y"), ("/ab", "z"), ("/a/", "dir")]:
            answers.append(await store.write(path, content))
        for path in ("/", "/a", "a/", "/a/c", "/a/b.md", "/nothing", "/ab"):
            answers += [await store.read(path), await store.list(path), await store.exists(path)]
        for content in ("1", "ü", ""):
            answers.append(await store.append("/log/x", content))
        for start, end in [(0, None), (1, None), (1, 3), (3, 99), (9, None), (2, 1)]:
            answers += [await store.read_range("/log/x", start, end), await store.read_range("/none", start, end)]
        answers += [await store.delete("/none"), await store.delete("/a/c"), await store.list("/a"), await store.delete("a")]
        return [*answers, await store.list("/"), await store.exists("/a")]

    assert await told(BotWireKnowledgeStore("app", url=url)) == await told(MemoryKnowledgeStore())


@pytest.mark.anyio
async def test_facts_are_entries_that_others_read_and_write(memory: Memory):
    store = BotWireKnowledgeStore(memory=memory)
    memory.set("user.diet", "vegan")
    memory.set("user/profile", {"age": 40, "city": "Zürich"})
    await store.write("/user/name", "Ada")

    assert await store.read("/user.diet") == "vegan"
    assert await store.read("/user/profile") == '{"age": 40, "city": "Zürich"}'
    assert memory.get("user/name") == "Ada"
    assert await store.list("/user") == ["name", "profile"]


@pytest.mark.anyio
async def test_an_agent_reads_what_another_run_wrote(memory: Memory):
    from ag2.events import ToolCallEvent

    calls = ToolCallEvent("knowledge", arguments='{"action": "read", "path": "/notes.md"}'), "done"
    memory.set("notes.md", "tea, not coffee")
    knowledge = KnowledgeConfig(store=BotWireKnowledgeStore(memory=memory))
    reply = await Agent("helper", prompt="SYS", config=TestConfig(*calls), knowledge=knowledge).ask("what do I like?")

    assert any("tea, not coffee" in repr(event) for event in await reply.history.get_events())
    assert any(key.startswith("log/") for key in memory.list_keys())


@pytest.mark.anyio
async def test_appends_at_once_each_have_a_place_of_their_own(url: str):
    stores = [BotWireKnowledgeStore("app", url=url) for _ in range(4)]
    texts = [f"<{number}é>" for number in range(40)]
    offsets = await asyncio.gather(*(stores[number % 4].append("/log", text) for number, text in enumerate(texts)))

    for offset, text in zip(offsets, texts, strict=True):
        assert await stores[0].read_range("/log", offset, offset + len(text.encode())) == text
    assert len(await stores[0].read("/log") or "") == sum(map(len, texts))


@pytest.mark.anyio
async def test_what_is_refused(memory: Memory):
    store = BotWireKnowledgeStore(memory=memory)
    memory.set("number", 7)
    with pytest.raises(InvalidValue, match="holds a int, to which no text can be appended"):
        await store.append("/number", "x")
    with pytest.raises(InvalidValue, match=r"would remove every entry of the namespace; to do that, call Memory\(...\).clear\(\)"):
        await store.delete("/")
    with pytest.raises(InvalidName):
        await store.write("/", "x")
    with pytest.raises(InvalidName):
        await store.write("/..", "x")
    assert memory.get("number") == 7


@pytest.mark.anyio
async def test_a_store_that_is_gone_is_an_error_and_never_nothing(serve: Any):
    with serve() as address:
        store = BotWireKnowledgeStore(memory=Memory("app", url=address, timeout=2))
        await store.write("/a", "x")
    with pytest.raises(StoreUnavailable):
        await store.read("/a")
    with pytest.raises(StoreUnavailable):
        await store.list("/")


@pytest.mark.parametrize("options", [{"url": "memory://"}, {"namespace": "x"}])
def test_options_that_cannot_be_are_refused(memory: Memory, options: Any):
    with pytest.raises(InvalidValue):
        BotWireKnowledgeStore(memory=memory, **options)
