"""Messages: any conversation in the common chat shape, and any Message, comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from botwire import Message, ToolCall
from botwire._message import decode_message, encode_message, to_message
from botwire.testing import exactly

texts = st.text(max_size=20)
names = st.text(min_size=1, max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)
KNOWN = {"role", "content", "name", "tool_calls", "tool_call_id", "id"}
unknown_members = st.dictionaries(names.filter(lambda name: name not in KNOWN), json_values, max_size=3)
kinds = st.sampled_from(["text", "image_url", "input_audio", "file", "refusal"])
parts = st.lists(st.builds(lambda kind, rest: {**rest, "type": kind}, kinds, unknown_members), max_size=3)
functions = st.builds(
    lambda name, arguments, rest: {"name": name, "arguments": arguments, **rest},
    names,
    texts | st.just('{"city": "Ulm"}'),
    st.dictionaries(st.sampled_from(["description", "strict", "x"]), json_values, max_size=1),
)
calls = st.builds(
    lambda identifier, function, rest: {"id": identifier, "type": "function", "function": function, **rest},
    names,
    functions,
    st.dictionaries(st.sampled_from(["index", "extra_content", "x"]), json_values, max_size=2),
)


@st.composite
def chat_messages(draw):
    """A message as the chat APIs write it."""
    message = {
        "role": draw(st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])),
        "content": draw(st.none() | texts | parts),
        **draw(unknown_members),
    }
    for member in ("name", "tool_call_id", "id"):
        if draw(st.booleans()):
            message[member] = draw(names)
    if draw(st.booleans()):
        message["tool_calls"] = draw(st.lists(calls, min_size=1, max_size=3))
    return message


zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3, seconds=7))])
arguments = texts | st.dictionaries(texts, json_values, max_size=2)
tool_calls = st.builds(ToolCall, st.none() | names, names, arguments, st.dictionaries(names, json_values, max_size=2))
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.none() | texts | parts,
    name=st.none() | texts,
    tool_calls=st.lists(tool_calls, max_size=3),
    tool_call_id=st.none() | texts,
    id=st.none() | texts,
    metadata=st.dictionaries(texts, json_values, max_size=3),
    native=st.dictionaries(texts, json_values, max_size=2),
    extra=unknown_members,
    created_at=st.none() | st.datetimes(timezones=zones),
)

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


@given(chat_messages())
def test_a_chat_dict_is_the_same_after_it_was_a_message(chat):
    """dict -> Message -> dict, and also through what is stored, is the same dict, unknown members and all."""
    message = to_message(chat)
    assert _same(message.to_dict(), chat)
    stored = decode_message(encode_message(message), 1, MOMENT, "s")
    assert stored == message
    assert _same(stored.to_dict(), chat)


@given(messages)
def test_a_message_is_equal_after_it_was_stored(message):
    """Every field of any Message comes back equal and of the same types, its own time included."""
    stored = decode_message(encode_message(to_message(message)), 7, MOMENT, "s")
    assert stored == message
    assert stored.seq == 7
    assert stored.created_at == (message.created_at or MOMENT)
    assert exactly(stored.metadata, message.metadata)
    assert exactly(stored.extra, message.extra)
    assert exactly([call.arguments for call in stored.tool_calls], [call.arguments for call in message.tool_calls])
    assert encode_message(stored) == encode_message(message) or message.created_at is None


def _same(found, expected):
    """Equal, of the same types, in whatever order of members."""
    return found == expected and exactly(_sorted(found), _sorted(expected))


def _sorted(value):
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
