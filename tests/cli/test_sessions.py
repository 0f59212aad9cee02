from __future__ import annotations

import pytest

from botwire import Message, ToolCall


@pytest.fixture
def conversation(memory):
    session = memory.session("user-42", ttl=86_400)
    session.append(
        {"role": "user", "content": "What's the weather\nin Paris?", "name": "alice"},
        Message("assistant", None, tool_calls=[ToolCall("c1", "weather", '{"city":"Paris"}')]),
        {"role": "tool", "content": "17 degrees", "tool_call_id": "c1"},
        {"role": "assistant", "content": [{"type": "text", "text": "Mild."}, {"type": "image_url", "image_url": {"url": "data:x"}}]},
    )
    memory.session("crew", agent="writer").append(("user", "draft"))
    memory.session("crew", agent="critic").append(("user", "no"))
    return session


def test_sessions_are_listed(run, conversation) -> None:
    rows = [line.split() for line in run("sessions").out.splitlines()]
    assert [row[:3] for row in rows] == [
        ["SESSION", "AGENT", "MESSAGES"],
        ["crew", "critic", "1"],
        ["crew", "writer", "1"],
        ["user-42", "-", "4"],
    ]
    listed = run("sessions", "--json").json
    assert [(one["session"], one["agent"], one["head"]) for one in listed["sessions"]] == [
        ("crew", "critic", 1),
        ("crew", "writer", 1),
        ("user-42", "", 4),
    ]
    assert listed["sessions"][2]["ttl"] == 86_400.0
    none = run("sessions", "-n", "empty")
    assert (none.status, none.out, none.err) == (0, "", "no sessions in namespace 'empty'\n")


def test_a_session_is_shown_as_a_transcript(run, conversation) -> None:
    shown = run("show", "user-42").out
    assert shown.splitlines()[0] == "default / user-42 · 4 messages · expires in 24 h"
    without_times = [line.partition(" · 2")[0] for line in shown.splitlines()[1:]]
    assert without_times == [
        "", "user (alice)  #1", "  What's the weather", "  in Paris?",
        "", "assistant  #2", '  → weather({"city":"Paris"})',
        "", "tool  #3", "  (answers call c1)", "  17 degrees",
        "", "assistant  #4", "  Mild.", '  [image_url: {"type":"image_url","image_url":{"url":"data:x"}}]',
    ]  # fmt: skip


def test_the_last_messages_and_one_agent_alone(run, conversation) -> None:
    assert "the last 1 of 4 messages" in run("show", "user-42", "--last", "1").out
    assert [message["seq"] for message in run("show", "user-42", "--last", "2", "--json").json["messages"]] == [3, 4]
    assert "draft" in run("show", "crew", "--agent", "writer").out
    assert run("show", "user-42", "--last", "0").status == 2


def test_a_session_as_json_has_messages_in_the_common_shape(run, memory, conversation) -> None:
    shown = run("show", "user-42", "--json").json
    assert {"namespace", "session", "agent", "epoch", "head", "count", "metadata", "messages"} == set(shown)
    assert shown["messages"][0]["message"] == {"role": "user", "content": "What's the weather\nin Paris?", "name": "alice"}
    assert shown["messages"][1]["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}


def test_a_session_that_is_not_there_is_status_1_and_says_what_is(run, conversation) -> None:
    assert run("show", "nope").status == 1
    assert "`botwire sessions` lists them" in run("show", "nope").err
    assert "its agents are: critic, writer" in run("show", "crew").err
    assert "no agent 'editor'" in run("show", "crew", "--agent", "editor").err
    assert run("show", "nope", "--json").error["code"] == "not_found"


def test_a_long_message_is_cut_with_a_mark_and_shown_whole_when_asked(run, memory) -> None:
    memory.session("s").append(("user", "x" * 10_000))
    cut = run("show", "s").out
    assert "… 6,000 more characters; --full shows them" in cut
    assert run("show", "s", "--full").out.count("x") == 10_000
    assert run("show", "s", "--json").out.count("x") == 10_000


def test_search_finds_entries_and_messages(run, memory, conversation) -> None:
    memory.set("pref", {"city": "Paris", "theme": "dark"})
    found = run("search", "PARIS", "--json").json
    assert [hit["key"] for hit in found["entries"]] == ["pref"]
    assert {hit["seq"] for hit in found["messages"]} == {1, 2}
    assert run("search", "paris", "--in", "entries", "--json").json["messages"] == []
    assert run("search", "paris", "--in", "messages", "--json").json["entries"] == []
    assert run("search", "dark", "paris").out.splitlines()[0] == "pref"
    only = run("search", "paris", "--session", "user-42", "--limit", "1", "--json").json
    assert (only["entries"], len(only["messages"])) == ([], 1)


def test_search_that_finds_nothing_is_status_1(run, conversation) -> None:
    assert run("search", "zebra").status == 1
    assert run("search", "zebra", "--json").json == {"namespace": "default", "entries": [], "messages": []}
    assert run("search", "!?").status == 2
