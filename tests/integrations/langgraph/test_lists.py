"""A list written or read with what is known of it is the list that the serializer alone would write or read."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from botwire.integrations.langgraph import _lists
from botwire.integrations.langgraph._lists import Encoded, Known, decode, encode
from botwire.integrations.langgraph._pages import split_head

SERDE = JsonPlusSerializer()
NUMBERS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, float("inf")])
TEXT = st.text(max_size=6)
ATOMS = NUMBERS | TEXT | st.binary(max_size=4)
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
MEMBERS = st.dictionaries(TEXT, VALUES, max_size=3)
MESSAGES = st.one_of(
    st.builds(HumanMessage, TEXT, additional_kwargs=MEMBERS, id=st.none() | TEXT),
    st.builds(AIMessage, TEXT, response_metadata=MEMBERS, name=st.none() | TEXT),
    st.builds(lambda text, artifact: ToolMessage(text, tool_call_id="c1", artifact=artifact), TEXT, VALUES),
    st.builds(lambda text, extra: SystemMessage(text, **{f"x{name}": value for name, value in extra.items()}), TEXT, MEMBERS),
)
LISTS = st.lists(MESSAGES | VALUES, max_size=6)


@pytest.fixture(autouse=True)
def _nothing_is_small(monkeypatch):
    monkeypatch.setattr(_lists, "SMALL", 0)


def written(value: Any, last: Encoded | None) -> Encoded:
    return encode(value, None if last is None else last.written, SERDE, remember=True)


def read(data: bytes, known: Known | None) -> tuple[Any, Known | None]:
    return decode("msgpack", *split_head("msgpack", data), known, SERDE)


def equal(one: Any, other: Any) -> bool:
    return repr(one) == repr(other) and SERDE.dumps_typed(one) == SERDE.dumps_typed(other)


@settings(max_examples=400, deadline=None)
@given(LISTS, LISTS, st.integers(0, 6), LISTS)
def test_what_is_known_changes_neither_what_is_written_nor_what_is_read(first, more, kept, changed):
    last, known = None, None
    for value in (first, first + more, first, (first + more)[:kept] + changed, first + more):
        last = written(value, last)
        plain = SERDE.dumps_typed(value)
        assert tuple(last[:2]) == plain
        found, known = read(last.data, known)
        assert equal(found, SERDE.loads_typed(plain))


@settings(max_examples=200, deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=4), st.data())
def test_a_message_changed_in_its_place_is_written_as_it_is(messages, data):
    last = written(messages, written(messages, None))
    message = data.draw(st.sampled_from(messages))
    if data.draw(st.booleans()):
        message.additional_kwargs["changed"] = data.draw(VALUES)
    else:
        message.content = data.draw(st.text(max_size=3) | st.lists(st.just({"type": "text", "text": "x"}), max_size=2))

    assert written(messages, last).data == SERDE.dumps_typed(messages)[1]


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (1, 1.0), (0.0, -0.0), ("a", ["a"]), (None, 0), ([1, 2], [2, 1]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ((), [])],
)
def test_values_that_python_calls_equal_are_told_apart(before, after):
    message = HumanMessage("x", additional_kwargs={"value": before})
    last = written([message], written([message], None))
    message.additional_kwargs["value"] = after

    found, _ = read(written([message], last).data, None)

    assert repr(found[0].additional_kwargs) == repr(SERDE.loads_typed(SERDE.dumps_typed(message)).additional_kwargs)


def test_what_an_application_does_to_a_list_it_was_given_never_reaches_the_next_reader():
    call = {"name": "t", "args": {"a": 1}, "id": "c"}
    message = AIMessage("x", additional_kwargs={"deep": {"er": [1]}}, tool_calls=[call], odd={"b": []})
    data = SERDE.dumps_typed([message, {"plain": [1]}])[1]
    first, known = read(data, None)
    pristine = copy.deepcopy(first)
    for _ in range(3):
        first[0].content = "spoilt"
        first[0].additional_kwargs["deep"]["er"].append(2)
        first[0].tool_calls[0]["args"]["a"] = 2
        first[0].odd["b"].append(1)
        first[1]["plain"].append(2)
        first.append(3)
        first, known = read(data, known)
        assert known is not None
        assert equal(first, pristine)


def test_of_a_list_that_grows_only_what_is_new_is_encoded_and_decoded(monkeypatch):
    messages = [HumanMessage(f"message {number}") for number in range(50)]
    last = written(messages, None)
    _, known = read(last.data, None)
    seen: list[int] = []
    dumps, loads = SERDE.dumps_typed, SERDE.loads_typed
    monkeypatch.setattr(SERDE, "dumps_typed", lambda value: seen.append(len(value)) or dumps(value))
    monkeypatch.setattr(SERDE, "loads_typed", lambda typed: seen.append(typed[1][0] & 0x0F) or loads(typed))

    more = written([*messages, HumanMessage("one more")], last)
    found, _ = read(more.data, known)

    assert seen == [1, 1]
    assert found == [*messages, HumanMessage("one more")]


@pytest.mark.parametrize("value", [b"bytes", None, {"a": [1]}, "text", [RemoveMessage("m")] * 20, [b"x"], [object], list(range(70_000))])
def test_whatever_is_no_list_of_messages_is_left_to_the_serializer(value):
    try:
        plain = SERDE.dumps_typed(value)
    except TypeError:
        with pytest.raises(TypeError):
            written(value, None)
        return
    last = written(value, written(value, None))
    assert tuple(last[:2]) == plain
    assert equal(decode(plain[0], *split_head(*plain), None, SERDE)[0], SERDE.loads_typed(plain))


def test_a_serializer_that_encrypts_is_not_interfered_with():
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"k" * 32)
    messages = [HumanMessage("secret")]
    kind, data, remembered = encode(messages, None, serde, remember=True)

    assert remembered is None
    assert decode(kind, b"", data, None, serde) == (messages, None)
