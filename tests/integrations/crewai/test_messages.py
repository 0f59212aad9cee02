"""A message is the same to CrewAI and to every other framework: roles, text, tool calls, names."""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

import pytest

from botwire import InvalidValue, Message, Session, ToolCall
from botwire.integrations.crewai._messages import EMPTY, are_messages, digest, for_model, from_botwire, is_full, read_window, to_botwire

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}

SHAPES: dict[str, dict[str, Any]] = {
    "user": {"role": "user", "content": "hi"},
    "nothing said": {"role": "assistant", "content": None},
    "empty": {"role": "assistant", "content": ""},
    "calls": {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "c2"}]},
    "calls without content": {"role": "assistant", "tool_calls": [CALL]},
    "result": {"role": "tool", "content": "[]", "tool_call_id": "c1", "name": "look"},
    "named": {"role": "user", "content": "hi", "name": "Ada Lovelace"},
    "parts": {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:,"}}]},
    "files": {"role": "user", "content": "see", "files": {"a.txt": {"path": "a.txt"}}},
    "raw parts": {"role": "assistant", "content": None, "tool_calls": [CALL], "raw_tool_call_parts": [{"sig": "x"}]},
    "metadata": {"role": "user", "content": "hi", "metadata": {"a": [1.0, None]}},
    "odd call": {"role": "assistant", "content": "", "tool_calls": [{"name": "flat", "arguments": {"a": 1}}, {"what": 1}, CALL]},
    "call without id": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]},
    "odd content": {"role": "user", "content": 5},
    "odd everything": {"role": "tool", "content": {"a": 1}, "name": 1, "tool_call_id": [], "tool_calls": "x", "metadata": 0, "": {}},
    "surrogate": {"role": "user", "content": "\ud800"},
}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_dict_comes_back_equal(url: str, memory: Any, shape: dict[str, Any], full: bool):
    given = {**copy.deepcopy(EMPTY), **shape} if full else shape
    message = to_botwire(copy.deepcopy(given), full=full)
    memory.session("s").append(message)

    (stored,) = memory.session("s").messages()
    assert json.dumps(from_botwire(stored, full=full), sort_keys=True) == json.dumps(given, sort_keys=True)


@pytest.mark.parametrize("name", ["user", "nothing said", "empty", "calls", "result", "named", "parts"])
def test_a_plain_message_holds_nothing_of_crewai(name: str):
    assert to_botwire(SHAPES[name]).native == {}
    assert to_botwire({**EMPTY, **SHAPES[name]}, full=True).native == {}


def test_others_read_roles_text_calls_and_results():
    assert to_botwire(SHAPES["calls"]).tool_calls[0] == ToolCall("c1", "look", '{"at": 1}')
    assert to_botwire(SHAPES["result"]) == Message("tool", "[]", "look", tool_call_id="c1")
    assert to_botwire(SHAPES["named"]).name == "Ada Lovelace"
    assert to_botwire(SHAPES["metadata"]).metadata == {"a": [1.0, None]}
    assert [call.name for call in to_botwire(SHAPES["odd call"]).tool_calls] == ["flat", "look"]


def test_a_message_of_another_framework_is_a_plain_dict():
    call = ToolCall("c1", "look", {"at": 1})
    message = Message("assistant", "ok", tool_calls=[call], id="x", native={"langchain": {"data": {}}}, extra={"refusal": None})

    assert from_botwire(message) == {
        "role": "assistant",
        "content": "ok",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}],
    }
    assert from_botwire(message, full=True).keys() == {"role", "content", *EMPTY}


def test_what_is_stored_of_crewai_and_cannot_be_read_costs_only_itself(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="botwire"):
        assert from_botwire(Message("user", "hi", native={"crewai": {"members": 5}})) == {"role": "user", "content": "hi"}
        assert from_botwire(Message("user", "hi", native={"crewai": "x"})) == {"role": "user", "content": "hi"}
    assert len(caplog.records) == 2


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(InvalidValue, match="content"):
        to_botwire({"role": "user", "content": float("nan")})


def test_a_name_that_providers_refuse_is_kept_from_the_model_alone():
    assert "name" not in for_model(Message("user", "hi", name="Ada Lovelace"))
    assert for_model(Message("user", "hi", name="ada"))["name"] == "ada"
    assert for_model(Message("tool", "x", name="a tool", tool_call_id="c"))["name"] == "a tool"
    assert "metadata" not in for_model(to_botwire(SHAPES["metadata"]))


def test_equal_messages_have_equal_digests_whether_or_not_empty_members_are_there():
    for shape in SHAPES.values():
        assert digest(shape) == digest({**EMPTY, **shape})
    assert len({digest(shape) for shape in SHAPES.values()}) == len(SHAPES)
    assert digest({"role": "user", "content": "1"}) != digest({"role": "user", "content": 1})


def test_what_messages_are():
    assert are_messages([])
    assert are_messages([SHAPES["user"]])
    for none in (None, {}, "hi", [1], [{"role": "wizard"}], [{"content": "hi"}]):
        assert not are_messages(none)
    assert is_full([{**EMPTY, **SHAPES["user"]}])
    assert not is_full([SHAPES["user"]])


# ------------------------------------------------------------------------------------- the window


def asked(number: int) -> Message:
    return Message("assistant", None, tool_calls=[ToolCall(f"c{number}", "look"), ToolCall(f"d{number}", "look")])


def answered(number: int) -> list[Message]:
    return [Message("tool", "x", tool_call_id=f"{letter}{number}") for letter in "cd"]


def window(session: Session, size: int | None) -> list[str]:
    return [f"{message.role} {message.seq}" for message in read_window(session, size)]


def test_a_window_never_begins_with_an_orphaned_result_and_keeps_the_system_message(memory: Any):
    session = memory.session("s")
    session.append(("system", "be kind"), ("user", "q"), asked(1), *answered(1), ("assistant", "a"), ("user", "more"))

    assert window(session, None) == window(session, 7) == window(session, 100)
    assert window(session, 6) == ["system 1", "user 2", "assistant 3", "tool 4", "tool 5", "assistant 6", "user 7"]
    assert window(session, 5) == ["system 1", "assistant 3", "tool 4", "tool 5", "assistant 6", "user 7"]
    assert window(session, 4) == window(session, 3) == window(session, 2) == ["system 1", "assistant 6", "user 7"]
    assert window(session, 1) == ["system 1", "user 7"]


def test_a_window_of_nothing_but_results_begins_with_what_asked_for_them(memory: Any):
    session = memory.session("s")
    session.append(("user", "q"), asked(1), *answered(1))

    assert window(session, 1) == window(session, 2) == ["assistant 2", "tool 3", "tool 4"]
    assert window(session, 3) == ["assistant 2", "tool 3", "tool 4"]


def test_a_window_costs_no_more_for_a_long_session(memory: Any):
    session = memory.session("s")
    session.append(*[("user", "hi")] * 3_000)

    assert len(read_window(session, 5)) == 5
    assert [message.seq for message in read_window(session, 2)] == [2999, 3000]
    session.clear()
    assert read_window(session, 5) == []
