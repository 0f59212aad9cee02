"""BotWireByteStore and BotWireCache: what LangChain's own suites do not ask."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory, StoreCorrupt
from botwire.integrations.langchain import BotWireByteStore, BotWireCache

# --------------------------------------------------------------------------------------- bytes


def test_bytes_survive_and_are_set_together_or_not_at_all(url: str):
    store = BotWireByteStore(url=url)
    with pytest.raises(InvalidValue, match="'b' must be bytes, not str"):
        store.mset([("a", b"1"), ("b", "2")])  # type: ignore[list-item]
    with pytest.raises(InvalidName):
        store.mset([("a", b"1"), ("", b"2")])
    assert store.mget(["a"]) == [None]

    store.mset([("a", bytes(range(256))), ("a/b", b"2")])
    assert BotWireByteStore(url=url).mget(["a/b", "a", "no", "a"]) == [b"2", bytes(range(256)), None, bytes(range(256))]


def test_a_prefix_is_literal(url: str):
    store = BotWireByteStore(url=url)
    store.mset([("a*b", b""), ("axb", b""), ("a*", b"")])
    assert list(store.yield_keys(prefix="a*")) == ["a*", "a*b"]


def test_an_entry_of_something_else_is_said_to_be_no_bytes(url: str):
    Memory("langchain-bytes", url=url).set("a", [1])
    with pytest.raises(StoreCorrupt):
        BotWireByteStore(url=url).mget(["a"])


def test_bytes_expire(url: str):
    BotWireByteStore(url=url, ttl=0.000001).mset([("a", b"1")])
    assert BotWireByteStore(url=url).mget(["a"]) == [None]


@pytest.mark.anyio
async def test_either_memory_serves_both_halves(url: str):
    for memory in (Memory("bytes", url=url), AsyncMemory("bytes", url=url)):
        store = BotWireByteStore(memory=memory)
        store.mset([("a", b"1")])
        assert await store.amget(["a"]) == [b"1"]
        assert [key async for key in store.ayield_keys()] == ["a"]
    with pytest.raises(InvalidValue):
        BotWireByteStore(memory=Memory("bytes"), url=url)


# --------------------------------------------------------------------------------------- cache


@pytest.fixture
def cache(url: str) -> Iterator[BotWireCache]:
    cache = BotWireCache(url=url)
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def test_a_model_is_asked_once(cache: BotWireCache):
    model = FakeListChatModel(responses=["first", "second"])

    assert [model.invoke(question).content for question in ("a", "a", "b", "a")] == ["first", "first", "second", "first"]
    cache.clear()
    assert model.invoke("a").content == "first"  # the list begins anew


@pytest.mark.anyio
async def test_a_model_is_awaited_once(cache: BotWireCache):
    model = FakeListChatModel(responses=["first", "second"])

    assert [(await model.ainvoke(question)).content for question in ("a", "a", "b")] == ["first", "first", "second"]


def test_an_answer_comes_back_equal(cache: BotWireCache, url: str):
    usage: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    call = {"name": "f", "args": {"a": (1, 2)}, "id": "c", "type": "tool_call"}
    answer = [
        ChatGeneration(message=AIMessage("x", id="1", tool_calls=[call], usage_metadata=usage), generation_info={"at": datetime.now(UTC)}),
        Generation(text="y", generation_info={"logprob": -0.5}),
    ]
    cache.update("prompt", "model", answer)

    assert BotWireCache(url=url).lookup("prompt", "model") == answer
    assert cache.lookup("prompt", "another model") is None
    assert cache.lookup("promptmodel", "") is None


def test_an_answer_that_would_not_is_not_kept_and_the_model_answers_all_the_same(cache: BotWireCache, caplog: pytest.LogCaptureFixture):
    answer = AIMessage("x", response_metadata={"raw": object()})
    model = FakeMessagesListChatModel(responses=[answer])

    assert model.invoke("a").content == "x"
    assert model.invoke("a").content == "x"
    assert "AIMessage.response_metadata['raw']" in caplog.text


def test_an_unreadable_answer_is_asked_for_again(cache: BotWireCache, url: str, caplog: pytest.LogCaptureFixture):
    cache.update("prompt", "model", [Generation(text="x")])
    memory = Memory("langchain-cache", url=url)
    (key,) = memory.list_keys()
    memory.set(key, [{"class": "Hologram"}])

    assert cache.lookup("prompt", "model") is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_answers_expire(url: str):
    BotWireCache(url=url, ttl=0.000001).update("prompt", "model", [Generation(text="x")])
    assert BotWireCache(url=url).lookup("prompt", "model") is None
