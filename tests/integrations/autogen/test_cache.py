"""BotWireCacheStore: an answer that was given once is given again."""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version
from typing import Any

import pytest
from autogen_core import FunctionCall
from autogen_core.models import (
    ChatCompletionTokenLogprob,
    CreateResult,
    RequestUsage,
    TopLogprob,
    UserMessage,
)
from autogen_ext.models.cache import ChatCompletionCache
from scripted import calling, client

from botwire import Memory, StoreUnavailable
from botwire.integrations.autogen import BotWireCacheStore

ASK = [UserMessage(content="hi", source="user")]


async def stream(cache: ChatCompletionCache) -> list[Any]:
    return [chunk async for chunk in cache.create_stream(ASK)]


def test_an_answer_is_given_again_after_a_restart(url: str):
    first = asyncio.run(ChatCompletionCache(client("hello"), BotWireCacheStore(url=url)).create(ASK))
    again = asyncio.run(ChatCompletionCache(client(), BotWireCacheStore(url=url)).create(ASK))
    assert again.cached
    assert again == first.model_copy(update={"cached": True})


def test_calls_are_given_again(url: str):
    first = asyncio.run(ChatCompletionCache(client(calling("f", a=1, thought="hm")), BotWireCacheStore("calls", url=url)).create(ASK))
    again = asyncio.run(ChatCompletionCache(client(), BotWireCacheStore("calls", url=url)).create(ASK))
    assert again.content == first.content == [FunctionCall(id="call-1", name="f", arguments='{"a": 1}')]
    assert again.thought == "hm"


@pytest.mark.skipif(version("autogen-ext") == "0.7.0", reason="not applicable: autogen-ext before 0.7.4 hands no stream to any store")
def test_streams_are_given_again(url: str):
    chunks = asyncio.run(stream(ChatCompletionCache(client("hello to you"), BotWireCacheStore("streams", url=url))))
    assert len(chunks) > 2
    replayed = asyncio.run(stream(ChatCompletionCache(client(), BotWireCacheStore("streams", url=url))))
    assert replayed[:-1] == chunks[:-1]
    assert replayed[-1] == chunks[-1].model_copy(update={"cached": True})


LOGPROB = ChatCompletionTokenLogprob(token="a", logprob=-0.5, top_logprobs=[TopLogprob(logprob=-1.0, bytes=[1])], bytes=[97])
ANSWER = CreateResult(
    finish_reason="stop", content="a", usage=RequestUsage(prompt_tokens=1, completion_tokens=2), cached=False, logprobs=[LOGPROB]
)


@pytest.mark.parametrize("value", [ANSWER, ["a", ANSWER], {"any": ["JSON", 1]}, "text", None])
def test_a_value_comes_back_equal(url: str, value: Any):
    BotWireCacheStore(url=url).set("key", value)
    back = BotWireCacheStore(url=url).get("key", "nothing")
    assert (type(back), back) == (type(value), value)
    assert BotWireCacheStore(url=url).get("other", "nothing") == "nothing"


def test_what_would_not_come_back_equal_is_not_kept_and_said(url: str, caplog: pytest.LogCaptureFixture):
    store = BotWireCacheStore(url=url)
    odd = ANSWER.model_copy(update={"logprobs": [LOGPROB.model_copy(update={"logprob": float("-inf")})]})
    for value in (odd, {"$CreateResult": 1}, object()):
        store.set("key", value)
        assert store.get("key") is None
    assert caplog.text.count("not kept in the cache") == 3


def test_an_answer_that_cannot_be_read_is_asked_for_again(url: str, caplog: pytest.LogCaptureFixture):
    Memory("autogen-cache", url=url).set("key", {"$CreateResult": {"content": 3}})
    with caplog.at_level(logging.WARNING):
        assert BotWireCacheStore(url=url).get("key") is None
    assert "cannot be read" in caplog.text


def test_a_stream_that_has_not_begun_is_no_answer(url: str):
    BotWireCacheStore(url=url).set("key", [])
    assert BotWireCacheStore(url=url).get("key") is None


def test_answers_expire(url: str):
    BotWireCacheStore(url=url, ttl=60).set("key", "x")
    assert Memory("autogen-cache", url=url).get_entry("key").expires_at is not None


def test_a_store_that_is_gone_raises():
    cache = ChatCompletionCache(client("x"), BotWireCacheStore(memory=Memory("autogen-cache", url="http://127.0.0.1:9", timeout=1)))
    with pytest.raises(StoreUnavailable):
        asyncio.run(cache.create(ASK))


def test_a_cache_is_dumped_and_loaded(file_url: str):
    cache = ChatCompletionCache(client("x"), BotWireCacheStore("c", url=file_url, ttl=60))
    dump = cache.dump_component()
    assert ChatCompletionCache.load_component(dump).dump_component() == dump
