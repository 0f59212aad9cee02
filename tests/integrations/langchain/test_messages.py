"""Every message comes back equal, and reads as what it is to whoever does not know LangChain."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from cases import BROKEN, CALL, CASES, REFUSED
from engines.programs import Programs
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage, messages_to_dict
from pydantic import BaseModel

from botwire import BotWireChatHistory, InvalidValue, Memory, Message


def equal(one: Any, other: Any) -> bool:
    """Equality in which types count all the way down, and NaN is itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (BaseMessage, Document)):
        return equal(one.__dict__, other.__dict__) and equal(one.model_extra or {}, other.model_extra or {})
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize("case", CASES)
def test_a_message_comes_back_equal(memory: Memory, case: str):
    BotWireChatHistory("s", memory=memory).add_message(CASES[case])

    (found,) = BotWireChatHistory("s", memory=memory).messages

    assert equal(found, CASES[case]), f"{found!r} is not {CASES[case]!r}"


def test_there_is_a_case_of_every_class():
    assert len({type(message) for message in CASES.values()}) == 13
    assert len(CASES) >= 39


def test_a_message_that_came_back_can_be_used_like_one_just_made(memory: Memory):
    history = BotWireChatHistory("s", memory=memory)
    history.add_messages([AIMessage("a", id="1", tool_calls=[CALL]), HumanMessage("b", tenant="acme")])

    ai, human = history.messages

    assert ai.model_dump() == AIMessage("a", id="1", tool_calls=[CALL]).model_dump()
    assert human.model_dump(exclude_unset=True) == HumanMessage("b", tenant="acme").model_dump(exclude_unset=True) | {
        "name": None,
        "id": None,
    }
    assert human.tenant == "acme"
    assert messages_to_dict([ai.model_copy(update={"content": "c"})])[0]["data"]["content"] == "c"
    ai.additional_kwargs["x"] = 1
    assert history.messages[0].additional_kwargs == {}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_not_come_back_is_refused_by_its_field_and_nothing_is_stored(memory: Memory, case: str):
    message, where = REFUSED[case]
    history = BotWireChatHistory("s", memory=memory)

    with pytest.raises(InvalidValue, match=where):
        history.add_messages([HumanMessage("before"), message])
    assert history.messages == []


class Answer(BaseModel):
    city: str


@dataclasses.dataclass
class Point:
    x: int


def test_models_and_dataclasses_are_refused_with_a_word_on_what_to_do(memory: Memory):
    history = BotWireChatHistory("s", memory=memory)

    with pytest.raises(InvalidValue, match=r"additional_kwargs\['parsed'\]: a Answer .*objects='dict'"):
        history.add_message(AIMessage("x", additional_kwargs={"parsed": Answer(city="Ulm")}))


def test_models_and_dataclasses_are_stored_as_dicts_where_that_was_asked_for(memory: Memory):
    history = BotWireChatHistory("s", memory=memory, objects="dict")
    history.add_message(AIMessage("x", additional_kwargs={"parsed": Answer(city="Ulm"), "points": [Point(1)]}))

    assert history.messages == [AIMessage("x", additional_kwargs={"parsed": {"city": "Ulm"}, "points": [{"x": 1}]})]


def test_a_class_of_ones_own_is_refused_since_another_would_come_back(memory: Memory):
    class MyMessage(AIMessage):
        pass

    with pytest.raises(InvalidValue, match="MyMessage is not one of langchain_core's"):
        BotWireChatHistory("s", memory=memory).add_message(MyMessage("x"))


# ----------------------------------------------------------------------- as others read LangChain


def read(memory: Memory, *messages: BaseMessage) -> list[Message]:
    BotWireChatHistory("s", memory=memory).add_messages(messages)
    return memory.session("s").messages()


def test_another_framework_reads_the_conversation(memory: Memory):
    found = read(
        memory,
        SystemMessage("be brief"),
        HumanMessage("1 + 2?", name="Ada"),
        AIMessage(
            [{"type": "text", "text": "let me see"}, {"type": "tool_use", "id": "call-1", "name": "add", "input": {}}], tool_calls=[CALL]
        ),
        ToolMessage("3", tool_call_id="call-1", name="add"),
        AIMessage("3", id="run-1"),
        ChatMessage("order!", role="moderator"),
    )

    assert [message.role for message in found] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert [message.text for message in found] == ["be brief", "1 + 2?", "let me see", "3", "3", "order!"]
    assert [message.name for message in found] == [None, "Ada", None, "add", None, "moderator"]
    (call,) = found[2].tool_calls
    assert (call.id, call.name, call.parsed()) == ("call-1", "add", CALL["args"])
    assert found[3].tool_call_id == "call-1"
    assert found[4].id == "run-1"


def test_a_call_that_the_model_wrote_badly_is_there_as_it_was_written(memory: Memory):
    (message,) = read(memory, AIMessage("", invalid_tool_calls=[BROKEN]))

    assert message.to_dict()["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1'}


def test_plain_text_is_stored_once(memory: Memory):
    human, ai = read(memory, HumanMessage("hi", id="1"), AIMessage("hello", tool_calls=[CALL]))

    assert (human.native, ai.native) == ({}, {})


def test_bytes_are_base64_to_others(memory: Memory):
    (message,) = read(memory, CASES["human with bytes in a part"])

    assert message.content == [{"type": "media", "data": "AP8=", "mime_type": "image/png"}]


# ---------------------------------------------------------------------- as LangChain reads others


def test_a_session_of_plain_dicts_opens_as_langchain_messages(memory: Memory):
    memory.session("s").append(
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "1 + 2?"}], "name": "Ada"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
        {"role": "assistant", "content": "3", "refusal": None},
    )

    system, human, calling, tool, answer = BotWireChatHistory("s", memory=memory).messages

    assert system == SystemMessage("be brief", additional_kwargs={"__openai_role__": "developer"})
    assert human == HumanMessage([{"type": "text", "text": "1 + 2?"}], name="Ada")
    assert calling == AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}])
    assert tool == ToolMessage("3", tool_call_id="c1")
    assert answer == AIMessage("3", additional_kwargs={"refusal": None})


def test_a_foreign_call_with_broken_arguments_is_an_invalid_call(memory: Memory):
    memory.session("s").append(
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]}
    )

    (message,) = BotWireChatHistory("s", memory=memory).messages

    assert isinstance(message, AIMessage)
    assert message.tool_calls == []
    assert message.invalid_tool_calls == [{"name": "f", "args": "{", "id": "c", "error": None, "type": "invalid_tool_call"}]


@pytest.mark.parametrize("native", [{"type": "hologram"}, {"tagged": {"id": {"$rune": "x"}}}, {"data": [1]}, "text"])
def test_data_of_a_newer_version_does_not_make_the_conversation_unreadable(memory: Memory, native: Any, caplog: pytest.LogCaptureFixture):
    memory.session("s").append(("user", "hi"), Message("assistant", "hello", native={"langchain": native}))

    assert BotWireChatHistory("s", memory=memory).messages == [HumanMessage("hi"), AIMessage("hello")]
    assert "message 2" in caplog.text


def test_messages_survive_the_process(programs: Programs, url: str):
    write = (
        "import sys; sys.path.insert(0, sys.argv[2])\nfrom botwire import BotWireChatHistory\nfrom cases import CASES\n"
        "BotWireChatHistory('s', url=sys.argv[1]).add_messages(list(CASES.values()))"
    )
    programs.run(write, url, str(Path(__file__).parent))

    found = BotWireChatHistory("s", url=url).messages

    assert [case for case, message in zip(CASES, found, strict=True) if not equal(message, CASES[case])] == []
