"""A conversational Flow's session is a botwire session: it goes on, is begun and read by others, and never loses a message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flows import ConversationState, chat, said
from pydantic import Field

from botwire import Memory, Message, ToolCall, VersionConflict
from botwire.integrations.crewai import BotWireFlowPersistence


def contents(url: str, session_id: str = "s1") -> list[tuple[str, Any]]:
    with Memory(url=url) as memory:
        return said(memory.session(session_id).messages())


def test_a_session_goes_on_in_another_instance_and_others_stay_apart(any_url: str):
    chat(BotWireFlowPersistence(url=any_url), "one").handle_turn("hi", session_id="s1")
    chat(BotWireFlowPersistence(url=any_url), "other").handle_turn("hey", session_id="s2")
    flow = chat(BotWireFlowPersistence(url=any_url), "two")

    assert flow.handle_turn("more", session_id="s1") == "two"

    expected = [("user", "hi"), ("assistant", "one"), ("user", "more"), ("assistant", "two")]
    assert contents(any_url) == said(flow.state.messages) == expected
    assert said(flow.model.seen[0]) == [("system", "Be kind."), *expected[:3]]
    assert contents(any_url, "s2") == [("user", "hey"), ("assistant", "other")]


def test_what_is_loaded_is_exactly_the_state_that_was_saved(any_url: str):
    persistence = BotWireFlowPersistence(url=any_url)
    flow = chat(persistence, "one")
    flow.handle_turn("hi", session_id="s1")
    flow.append_agent_result("helper", "found it", metadata={"n": 1.0, "deep": [None, True, {"ü": 10**30}]})
    flow.append_assistant_message("and more", metadata={"mood": "good"})
    persistence.save_state(
        flow_uuid="s1", method_name="by hand", state_data=flow.state._unwrap() if hasattr(flow.state, "_unwrap") else flow.state
    )

    loaded = BotWireFlowPersistence(url=any_url).load_state("s1")

    assert loaded == flow._state.model_dump(mode="json")
    assert ConversationState.model_validate(loaded) == ConversationState.model_validate(flow._state.model_dump())


def test_a_conversation_of_another_framework_opens_as_the_state(any_url: str):
    call = ToolCall("c1", "weather", {"place": "Rome"})
    with Memory(url=any_url) as memory:
        memory.session("s1").append(
            ("user", "how is Rome?"),
            Message("assistant", None, tool_calls=[call], native={"langchain": {"data": {"usage_metadata": {"input_tokens": 3}}}}),
            Message("tool", "sunny", name="weather", tool_call_id="c1", id="m3"),
            Message("assistant", "It is sunny.", native={"langchain": {"data": {"response_metadata": {"model": "x"}}}}),
        )
        before = memory.session("s1").messages()

        flow = chat(BotWireFlowPersistence(url=any_url), "Sunny too.")
        flow.handle_turn("and Ostia?", session_id="s1")

        shown = flow.model.seen[0]
        assert [message["role"] for message in shown] == ["system", "user", "assistant", "tool", "assistant", "user"]
        assert shown[2]["tool_calls"] == [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}
        ]
        assert shown[3]["tool_call_id"] == "c1"
        after = memory.session("s1").messages()
        assert after[:4] == before  # as the other framework wrote them, with what only it understands
        assert said(after[4:]) == [("user", "and Ostia?"), ("assistant", "Sunny too.")]
        assert [message.seq for message in after] == [1, 2, 3, 4, 5, 6]


def test_what_a_flow_says_is_read_by_others(url: str):
    class State(ConversationState):
        topic: str = "none"

    persistence = BotWireFlowPersistence(url=url)
    flow = chat(persistence, "hello", state=State)
    flow.handle_turn("hi", session_id="s1")
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}]
    flow.state.messages.append(type(flow.state.messages[0])(role="assistant", content=None, tool_calls=calls, name="clerk"))
    flow.state.messages.append(type(flow.state.messages[0])(role="tool", content="[]", tool_call_id="c1", name="look"))
    persistence.save_state("s1", "by hand", flow._state)

    with Memory(url=url) as memory:
        messages = memory.session("s1").messages()
    assert messages[2] == Message("assistant", None, "clerk", [ToolCall("c1", "look", '{"at": 1}')])
    assert messages[3] == Message("tool", "[]", "look", tool_call_id="c1")


def test_messages_that_a_flow_trims_or_edits_are_so_in_the_session(any_url: str):
    persistence = BotWireFlowPersistence(url=any_url)
    flow = chat(persistence, "one", "two", "three")
    for text in ("a", "b"):
        flow.handle_turn(text, session_id="s1")
    persistence.load_state("s1")
    flow.state.messages[:] = flow.state.messages[-2:]
    persistence.save_state("s1", "trim", flow._state)
    assert contents(any_url) == [("user", "b"), ("assistant", "two")]

    flow.state.messages[0].content = "B"
    persistence.save_state("s1", "edit", flow._state)
    flow.state.messages.clear()
    persistence.save_state("s1", "clear", flow._state)
    assert contents(any_url) == []
    assert flow.handle_turn("c", session_id="s1") == "three"
    assert contents(any_url) == [("user", "c"), ("assistant", "three")]


def test_messages_that_stay_when_a_flow_trims_keep_what_only_others_understand(url: str):
    with Memory(url=url) as memory:
        session = memory.session("s1")
        call = ToolCall("c1", "look", {"at": 1})  # arguments that are no text, as CrewAI has them
        native = {"langchain": {"type": "AIMessageChunk"}}
        session.append(("user", "old"), Message("assistant", "kept", tool_calls=[call], id="lc-1", native=native, metadata={"a": 1}))
        kept = session.messages()[1]
        persistence = BotWireFlowPersistence(url=url)
        state = ConversationState.model_validate(persistence.load_state("s1"))
        del state.messages[0]

        persistence.save_state("s1", "trim", state)

        (found,) = session.messages()
        assert (found, found.created_at) == (kept, kept.created_at)


def test_what_others_append_during_a_turn_stays(any_url: str):
    with Memory(url=any_url) as memory:
        persistence = BotWireFlowPersistence(url=any_url)
        state = ConversationState.model_validate(persistence.load_state("s1") or {"id": "s1"})
        state.messages.append({"role": "user", "content": "mine"})  # as CrewAI's append_message does it
        memory.session("s1").append(("user", "theirs"))
        persistence.save_state("s1", "one", state)
        persistence.save_state("s1", "again", state)

        assert contents(any_url) == [("user", "theirs"), ("user", "mine")]
        assert said((persistence.load_state("s1") or {})["messages"]) == contents(any_url)


def test_a_flow_that_edits_what_others_have_added_to_is_refused_and_nothing_changes(any_url: str):
    with Memory(url=any_url) as memory:
        persistence = BotWireFlowPersistence(url=any_url)
        memory.session("s1").append(("user", "first"), ("user", "second"))
        state = ConversationState.model_validate(persistence.load_state("s1"))
        memory.session("s1").append(("user", "theirs"))
        del state.messages[0]

        with pytest.raises(VersionConflict, match="Run the turn again"):
            persistence.save_state("s1", "trim", state)

        assert [text for _, text in contents(any_url)] == ["first", "second", "theirs"]
        assert memory.list_keys() == []


def test_a_session_that_is_cleared_during_a_turn_goes_on_from_there(url: str):
    with Memory(url=url) as memory:
        persistence = BotWireFlowPersistence(url=url)
        memory.session("s1").append(("user", "secret"))
        state = ConversationState.model_validate(persistence.load_state("s1"))
        memory.session("s1").clear()
        state.messages.append(type(state.messages[0])(role="user", content="new"))

        persistence.save_state("s1", "turn", state)

        assert contents(url) == [("user", "new")]


def test_of_two_runs_on_one_session_the_slower_is_refused_and_no_message_is_lost(any_url: str):
    persistence = BotWireFlowPersistence(url=any_url)  # one object serves both, as in a web server
    slow, fast = chat(persistence, "slow"), chat(persistence, "fast")

    def overtaken(*arguments: Any, **more: Any) -> str:
        fast.handle_turn("from the other", session_id="s1")
        return "too late"

    slow.model.call = overtaken
    with pytest.raises(RuntimeError, match="saved by another run"):
        slow.handle_turn("from this one", session_id="s1")

    assert contents(any_url) == [("user", "from this one"), ("user", "from the other"), ("assistant", "fast")]
    del slow.model.call
    assert slow.handle_turn("again", session_id="s1") == "slow"
    assert len(contents(any_url)) == 5


def test_a_fork_has_the_messages_and_leaves_its_source_alone(any_url: str):
    persistence = BotWireFlowPersistence(url=any_url)
    chat(persistence, "one").handle_turn("hi", session_id="s1")
    fork = chat(persistence, "two")
    fork.kickoff(restore_from_state_id="s1")

    assert fork.state.id != "s1"
    assert contents(any_url, fork.state.id)[:2] == contents(any_url) == [("user", "hi"), ("assistant", "one")]


def test_a_fork_onto_a_session_that_is_there_is_refused(url: str):
    persistence = BotWireFlowPersistence(url=url)
    for session_id in ("s1", "s2"):
        chat(BotWireFlowPersistence(url=url), session_id).handle_turn("hi", session_id=session_id)

    with pytest.raises(RuntimeError, match="has not read it"):
        chat(persistence, "no").kickoff(inputs={"id": "s2"}, restore_from_state_id="s1")

    assert contents(url, "s2") == [("user", "hi"), ("assistant", "s2")]


def test_a_turn_in_an_event_loop_is_saved_as_well(url: str):
    flow = chat(BotWireFlowPersistence(url=url), "one", "two")

    async def turns() -> None:
        flow.handle_turn("a", session_id="s1")
        await asyncio.to_thread(flow.handle_turn, "b", session_id="s1")

    asyncio.run(turns())

    assert [text for _, text in contents(url)] == ["a", "one", "b", "two"]


def test_messages_of_a_class_with_members_of_its_own_come_back(url: str):
    Said = ConversationState.model_fields["messages"].annotation.__args__[0]  # noqa: N806 - a class

    class Noted(Said):
        note: str = ""

    class State(ConversationState):
        messages: list[Noted] = Field(default_factory=list)

    persistence = BotWireFlowPersistence(url=url)
    state = State(id="s1", messages=[Noted(role="user", content="hi", note="first")])
    persistence.save_state("s1", "turn", state)

    assert State.model_validate(persistence.load_state("s1")) == state
    state.messages.append(Noted(role="assistant", content="hello", note="second"))
    persistence.save_state("s1", "turn", state)
    assert contents(url) == [("user", "hi"), ("assistant", "hello")]
    with Memory(url=url) as memory:
        assert memory.session("s1").info().epoch  # appended, not replaced
        assert [message.seq for message in memory.session("s1").messages()] == [1, 2]


def test_the_whole_state_expires_together(any_url: str):
    persistence = BotWireFlowPersistence(url=any_url, ttl=3600)
    flow = chat(persistence, "one")
    flow.handle_turn("hi", session_id="s1")

    with Memory(url=any_url) as memory:
        entry, info = memory.get_entry("crewai:flow:s1"), memory.session("s1").info()
        assert info.ttl == 3600
        persistence.load_state("s1")
        persistence.save_state("s1", "nothing new", flow._state)
        entry, info = memory.get_entry("crewai:flow:s1"), memory.session("s1").info()
        assert abs((entry.expires_at - info.expires_at).total_seconds()) < 0.01


def test_a_save_is_one_round_trip_and_a_load_two(server: str):
    persistence = BotWireFlowPersistence(url=server)
    flow = chat(persistence, "one")
    flow.handle_turn("hi", session_id="s1")
    asked: list[str] = []
    store = persistence._memory.store

    class Counted:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(store, name)

    counted = BotWireFlowPersistence(memory=Memory(store=Counted()))  # type: ignore[arg-type]
    loaded = counted.load_state("s1")
    assert asked == ["get", "read_log"]
    asked.clear()
    state = ConversationState.model_validate(loaded)
    state.messages.append(type(state.messages[0])(role="user", content="more"))
    counted.save_state("s1", "turn", state)
    assert asked == ["write"]
