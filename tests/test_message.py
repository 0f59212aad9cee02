"""Messages: what may be given as one, what it has, and the chat shape that it came in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from botwire import InvalidValue, Memory, Message, ToolCall

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}


@pytest.fixture
def session():
    with Memory("messages", url="memory://") as memory:
        yield memory.session("s")


@pytest.mark.parametrize(
    ("given", "role"),
    [
        (Message("user", "hi"), None),
        ({"role": "user", "content": "hi"}, None),
        (("user", "hi"), None),
        ("hi", "user"),
    ],
)
def test_a_message_may_be_given_in_four_ways(session, given, role):
    """As a Message, a chat dict, a pair, or text with a role: it is the same message."""
    session.append(given, role=role)
    (message,) = session.messages()
    assert message == Message("user", "hi")
    assert (message.role, message.content, message.text, message.seq) == ("user", "hi", "hi", 1)
    assert message.to_dict() == {"role": "user", "content": "hi"}


@pytest.mark.parametrize(("written", "role"), [("developer", "system"), ("function", "tool"), ("human", "user"), ("ai", "assistant")])
def test_other_names_of_roles_are_understood_and_given_back(written, role):
    """A role by another name counts as the common one, and to_dict has the name that was written."""
    message = Message.from_dict({"role": written, "content": "hi"})
    assert message.role == role
    assert message.to_dict() == {"role": written, "content": "hi"}


def test_a_conversation_with_tools_keeps_its_shape(session):
    """A call, its result and unknown members come back as attributes, and as the same dicts."""
    chat = [
        {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "annotations": []},
        {"role": "tool", "content": "12 °C", "tool_call_id": "call_1", "name": "weather"},
    ]
    session.append(*chat)
    asked, answered = session.messages()
    assert [(call.id, call.name, call.parsed()) for call in asked.tool_calls] == [("call_1", "weather", {"city": "Ulm"})]
    assert (answered.role, answered.tool_call_id, answered.name) == ("tool", "call_1", "weather")
    assert asked.extra == {"refusal": None, "annotations": []}
    assert [asked.to_dict(), answered.to_dict()] == chat


def test_what_a_chat_dict_need_not_have_may_be_missing():
    """Content, and members that are None or empty, may be left out: the message is the same."""
    assert Message.from_dict({"role": "assistant", "tool_calls": [CALL]}) == Message.from_dict(
        {"role": "assistant", "content": None, "tool_calls": [CALL], "name": None, "id": None}
    )
    assert Message.from_dict({"role": "user", "content": "hi", "tool_calls": []}) == Message("user", "hi")


def test_a_flat_tool_call_becomes_a_common_one():
    """Frameworks that write {"id", "name", "args"} are understood; arguments given as an object stay one."""
    message = Message.from_dict(
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "name": "f", "args": {"a": 1}, "type": "tool_call"}]}
    )
    assert message.tool_calls == [ToolCall("1", "f", {"a": 1})]
    assert message.to_dict()["tool_calls"] == [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]


def test_the_arguments_of_a_call_are_an_object_or_say_why_not():
    """parsed() reads the model's text, none at all counts as empty, and what is no object is refused by the tool's name."""
    assert ToolCall("1", "f", "").parsed() == {}
    assert ToolCall("1", "f", {"a": 1}).parsed() == {"a": 1}
    for text in ("{", "[1]", "null"):
        with pytest.raises(InvalidValue, match="arguments of the call of 'f'"):
            ToolCall("1", "f", text).parsed()


def test_the_text_of_a_message_is_that_of_its_parts():
    """Text parts are joined by line ends; other parts have no text."""
    parts = [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "two"}]
    assert Message("user", parts).text == "one\ntwo"
    assert Message("assistant").text == ""


def test_a_message_has_the_time_of_its_append_unless_it_has_its_own(session):
    """created_at is stored to the microsecond with its zone's offset; without one, the time of the append is read."""
    own = datetime(2020, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    before = datetime.now(UTC)
    session.append(Message("user", "own", created_at=own), Message("user", "append's"))
    first, second = session.messages()
    assert first.created_at == own
    assert first.created_at.utcoffset() == own.utcoffset()
    assert before - timedelta(milliseconds=1) <= second.created_at <= datetime.now(UTC)


def test_equality_is_about_what_was_said(session):
    """Where and when a message was stored does not count; every other field does."""
    message = Message("user", "hi", metadata={"a": 1})
    session.append(message, message)
    assert session.messages() == [message, message]
    assert Message("user", "hi") != message
    assert Message("user", "hi", native={"x": 1}) != Message("user", "hi")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"content": "hi"}, "role must be one of system, user, assistant, tool, not None"),
        ({"role": "wizard", "content": "hi"}, "not 'wizard'"),
        ({"role": "user", "content": 5}, "content must be a list, not int: 5"),
        ({"role": "user", "content": [{"type": "text"}, "x"]}, r"content\[1\] must be a dict with a 'type'"),
        ({"role": "user", "content": "hi", "name": 5}, "name must be text or None, not int"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "needs the tool's name"),
        ({"role": "user", "content": "hi", "image": b"x"}, r"message\['extra'\]\['image'\]: a bytes"),
        (Message("user", "hi", metadata={"when": datetime(2026, 1, 1, tzinfo=UTC)}), r"message\['metadata'\]\['when'\]: a datetime"),
        (Message("user", "hi", created_at=datetime(2026, 1, 1)), "created_at needs a time zone"),  # noqa: DTZ001
        (Message("user", "hi", created_at="now"), "created_at must be a datetime"),
        (Message("user", "hi", tool_calls=None), "tool_calls must be a list"),
        ("hi", r"append\('hi', role='user'\)"),
        (("user", "hi", "x"), "tuple is no message; give a Message"),
        (42, "int is no message"),
    ],
)
def test_what_is_no_message_is_refused_by_its_field(session, message, complaint):
    """The message names the field and what it must be, and nothing of the call is stored."""
    with pytest.raises(InvalidValue, match=complaint):
        session.append(("user", "fine"), message)
    assert session.info() is None


def test_a_call_of_a_custom_tool_comes_back_in_its_own_shape() -> None:
    """Chat shapes have function tools and custom tools, whose input is free text."""
    call = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    message = Message.from_dict({"role": "assistant", "content": None, "tool_calls": [call]})
    assert (message.tool_calls[0].name, message.tool_calls[0].arguments) == ("sql", "SELECT 1")
    assert message.to_dict()["tool_calls"] == [call]
