"""AutoGen's messages for models: equal when read back, faithful to others, whoever wrote them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from autogen_core import FunctionCall
from autogen_core.models import AssistantMessage, FunctionExecutionResult, FunctionExecutionResultMessage, SystemMessage, UserMessage
from scripted import comparable, image, pixels

from botwire import InvalidValue, Memory
from botwire.integrations.autogen import BotWireChatCompletionContext

CALL = FunctionCall(id="c1", name="add", arguments='{"a": 1, "b": [2.0, null]}')
RESULT = FunctionExecutionResult(content="3", name="add", call_id="c1", is_error=False)

CASES: dict[str, Any] = {
    "system": SystemMessage(content="be brief"),
    "user": UserMessage(content="hi", source="user"),
    "user of another name": UserMessage(content="hi", source="Ada"),
    "user without a name": UserMessage(content="hi", source=""),
    "user with parts": UserMessage(content=["one", "two"], source="user"),
    "user with an image": UserMessage(content=["what is this?", image()], source="user"),
    "user with nothing": UserMessage(content=[], source="user"),
    "user with hard text": UserMessage(content='nul \x00, emoji 🙂, "quotes", \u2028', source="user"),
    "assistant": AssistantMessage(content="hello", source="assistant"),
    "assistant of another name": AssistantMessage(content="hello", source="writer"),
    "assistant with a thought": AssistantMessage(content="hello", thought="hm", source="assistant"),
    "assistant with an empty thought": AssistantMessage(content="", thought="", source="assistant"),
    "calls": AssistantMessage(content=[CALL, FunctionCall(id="c2", name="f", arguments="{}")], source="assistant"),
    "calls with a thought": AssistantMessage(content=[CALL], thought="let me see", source="writer"),
    "calls with an empty thought": AssistantMessage(content=[CALL], thought="", source="writer"),
    "calls with broken arguments": AssistantMessage(content=[FunctionCall(id="", name="", arguments='{"a"')], source="assistant"),
    "no calls": AssistantMessage(content=[], source="assistant"),
    "result": FunctionExecutionResultMessage(content=[RESULT]),
    "results": FunctionExecutionResultMessage(
        content=[
            RESULT,
            FunctionExecutionResult(content="", name="", call_id="", is_error=True),
            RESULT.model_copy(update={"is_error": None}),
        ]
    ),
    "no results": FunctionExecutionResultMessage(content=[]),
}


def stored(context: BotWireChatCompletionContext) -> list[Any]:
    async def read() -> list[Any]:
        return list((await context.save_state())["messages"])

    return asyncio.run(read())


async def add(context: BotWireChatCompletionContext, *messages: Any) -> None:
    for message in messages:
        await context.add_message(message)


async def raw(context: BotWireChatCompletionContext) -> list[Any]:
    """All messages, without what is done for the model."""
    await context.get_messages()
    return await context._inner.get_messages()


@pytest.mark.parametrize("name", CASES)
def test_a_message_comes_back_equal(url: str, name: str):
    asyncio.run(add(BotWireChatCompletionContext("s", url=url), CASES[name]))
    after_restart = BotWireChatCompletionContext("s", url=url)

    assert comparable(asyncio.run(raw(after_restart))) == comparable([CASES[name]])


def test_all_messages_in_a_row_stay_apart(url: str):
    messages = [message for message in CASES.values() for _ in range(2)]
    asyncio.run(add(BotWireChatCompletionContext("s", url=url), *messages))

    assert comparable(asyncio.run(raw(BotWireChatCompletionContext("s", url=url)))) == comparable(messages)


def test_others_read_a_faithful_conversation(url: str):
    messages = [
        SystemMessage(content="be brief"),
        UserMessage(content=["look", image()], source="user"),
        AssistantMessage(content=[CALL, FunctionCall(id="c2", name="f", arguments="{}")], thought="hm", source="writer"),
        FunctionExecutionResultMessage(content=[RESULT, FunctionExecutionResult(content="x", name="f", call_id="c2", is_error=True)]),
        AssistantMessage(content="it is 3", source="writer"),
    ]
    asyncio.run(add(BotWireChatCompletionContext("s", url=url), *messages))

    system, user, calls, first, second, last = [message.to_dict() for message in Memory(url=url).session("s")]
    assert system == {"role": "system", "content": "be brief"}
    assert user["content"][0] == {"type": "text", "text": "look"}
    assert user["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert (calls["name"], calls["content"]) == ("writer", "hm")
    assert calls["tool_calls"][0] == {"id": "c1", "type": "function", "function": {"name": "add", "arguments": CALL.arguments}}
    assert first == {"role": "tool", "content": "3", "name": "add", "tool_call_id": "c1"}
    assert second == {"role": "tool", "content": "x", "name": "f", "tool_call_id": "c2"}
    assert last == {"role": "assistant", "content": "it is 3", "name": "writer"}


def test_a_conversation_that_others_wrote_is_read(url: str):
    memory = Memory(url=url)
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    memory.session("s").append(
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "add"}, {"type": "image_url", "image_url": {"url": image().data_uri}}]},
        {"role": "assistant", "content": "", "tool_calls": [call, {"id": "c2", "name": "f", "args": {"b": "é"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "4"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "done"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, {"type": "input_audio"}]},
    )
    system, user, calls, results, last, odd = asyncio.run(BotWireChatCompletionContext("s", url=url).get_messages())

    assert system == SystemMessage(content="be brief")
    assert user.content[0] == "add"
    assert pixels(user.content[1]) == pixels(image())
    assert calls.content == [
        FunctionCall(id="c1", name="add", arguments='{"a": 1}'),
        FunctionCall(id="c2", name="f", arguments='{"b": "é"}'),
    ]
    assert [(result.name, result.content, result.call_id) for result in results.content] == [("add", "3", "c1"), ("f", "4", "c2")]
    assert last == AssistantMessage(content="done", source="assistant")
    assert odd.content == ["[image: https://example.org/a.png]", "[input_audio]"]


class Special(UserMessage):
    """A class of the application's own."""


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Special(content="x", source="user"), "Special is not one of"),
        (UserMessage.model_construct(content=3, source="user"), "UserMessage would not come back equal"),
        (AssistantMessage(content=[FunctionCall(id="1", name="f", arguments={"a": 1})], source="a"), "must be JSON text"),  # type: ignore[arg-type]
    ],
)
def test_what_would_not_come_back_equal_is_refused_and_nothing_is_stored(url: str, message: Any, why: str):
    with pytest.raises(InvalidValue, match=why):
        asyncio.run(add(BotWireChatCompletionContext("s", url=url), message))
    assert Memory(url=url).session("s").info() is None
