"""``Agent.kickoff`` with a history: the session goes in, request and answer come out exactly once, together or not at all."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from engines.programs import Programs
from flows import said
from scripted import ScriptedLLM, agent, tool_call

from botwire import InvalidName, InvalidValue, Memory, Message, StoreUnavailable, ToolCall
from botwire.integrations.crewai import BotWireHistory, memory_tools


def history(url: str, session_id: str = "s1", **more: Any) -> BotWireHistory:
    return BotWireHistory(session_id, url=url, **more)


def test_the_agent_is_shown_the_conversation_and_its_answer_is_added_once(any_url: str):
    first = agent(ScriptedLLM("Hello, Ada."), memory=None)
    assert history(any_url).run(first, "I am Ada.").raw == "Hello, Ada."
    llm = ScriptedLLM("You are Ada.")
    history(any_url).run(agent(llm), "Who am I?")

    shown = llm.prompt()
    assert shown.index("I am Ada.") < shown.index("Hello, Ada.") < shown.index("Who am I?")
    with Memory(url=any_url) as memory:
        messages = memory.session("s1").messages()
    assert said(messages) == [("user", "I am Ada."), ("assistant", "Hello, Ada."), ("user", "Who am I?"), ("assistant", "You are Ada.")]
    assert [message.name for message in messages] == [None, "clerk", None, "clerk"]
    assert said(history(any_url).messages()) == said(messages)


def test_sessions_and_namespaces_stay_apart(url: str):
    history(url, "s1").run(agent(ScriptedLLM("one")), "a")
    history(url, "s2").run(agent(ScriptedLLM("two")), "b")

    assert said(history(url, "s2").messages()) == [("user", "b"), ("assistant", "two")]
    assert history(url, "s1", namespace="other").messages() == []


def test_an_agent_that_fails_leaves_nothing_behind(url: str):
    class Down(ScriptedLLM):
        def call(self, *arguments, **more):
            raise ConnectionError("the model is down")

    with pytest.raises(ConnectionError):
        history(url).run(agent(Down("never")), "hi")

    assert history(url).messages() == []


def test_a_run_with_tools_keeps_the_request_and_the_final_answer(url: str):
    llm = ScriptedLLM(tool_call("botwire_remember", key="colour", value="teal", value_is_json=False), "Kept.")
    history(url).run(agent(llm, tools=memory_tools(url=url)), "My colour is teal.")

    assert said(history(url).messages()) == [("user", "My colour is teal."), ("assistant", "Kept.")]
    with Memory(url=url) as memory:
        assert memory.get("colour") == "teal"


def test_a_conversation_of_another_framework_goes_on(any_url: str):
    with Memory(url=any_url) as memory:
        session = memory.session("s1")
        session.append(
            ("system", "Answer in French."),
            Message("user", "the weather in Rome?", name="Ada Lovelace"),
            Message("assistant", "", tool_calls=[ToolCall("c1", "weather", {"place": "Rome"})], native={"langchain": {"data": {}}}),
            Message("tool", "soleil", name="weather", tool_call_id="c1"),
            ("assistant", "Du soleil."),
        )
        before = session.messages()
        assert history(any_url).messages() == [
            {"role": "system", "content": "Answer in French."},
            {"role": "user", "content": "the weather in Rome?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}],
            },
            {"role": "tool", "content": "soleil", "name": "weather", "tool_call_id": "c1"},
            {"role": "assistant", "content": "Du soleil."},
        ]
        history(any_url).run(agent(ScriptedLLM("Aussi.")), "and Ostia?")

        after = session.messages()
        assert after[:5] == before
        assert said(after[5:]) == [("user", "and Ostia?"), ("assistant", "Aussi.")]


def test_what_comes_out_of_crewai_is_read_back_with_its_tool_calls(any_url: str):
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    turns: list[Any] = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "[]", "tool_call_id": "c1", "name": "look"},
    ]
    history(any_url).append(*turns)

    assert history(any_url).messages() == turns
    with Memory(url=any_url) as memory:
        assert memory.session("s1").messages()[1].tool_calls == [ToolCall("c1", "look", '{"at": 1}')]


def test_history_size_bounds_what_the_agent_is_shown_not_what_is_stored(url: str):
    history(url).append(("system", "be kind"), *[("user", f"old {number}") for number in range(50)])
    llm = ScriptedLLM("ok")
    short = history(url, history_size=3)
    short.run(agent(llm), "new")

    assert "old 47" in llm.prompt()
    assert "old 46" not in llm.prompt()
    assert "be kind" in llm.prompt()
    assert len(short.session) == 53


def test_many_that_talk_in_one_session_each_store_their_pair_whole(any_url: str):
    barrier = threading.Barrier(6)

    def talk(number: int) -> None:
        own = agent(ScriptedLLM(f"answer {number}"), f"clerk {number}")
        barrier.wait()
        history(any_url).run(own, f"question {number}")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = said(history(any_url).messages())
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert sorted(pairs) == [(("user", f"question {number}"), ("assistant", f"answer {number}")) for number in range(6)]


def test_it_can_be_awaited(url: str):
    async def talk() -> list[str]:
        first = await history(url).arun(agent(ScriptedLLM("one")), "a")
        second = await history(url).arun(agent(ScriptedLLM("two")), "b")
        return [first.raw, second.raw]

    assert asyncio.run(talk()) == ["one", "two"]
    assert said(history(url).messages()) == [("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")]


def test_run_where_a_loop_runs_is_refused_before_anything_happens(url: str):
    llm = ScriptedLLM("never")

    async def talk() -> None:
        history(url).run(agent(llm), "a")

    with pytest.raises(InvalidValue, match="arun"):
        asyncio.run(talk())
    assert llm.seen == []
    assert history(url).messages() == []


def test_a_store_that_is_down_before_the_run_costs_no_model_call():
    llm = ScriptedLLM("never")

    with Memory(url="http://127.0.0.1:9", timeout=1) as memory, pytest.raises(StoreUnavailable):
        BotWireHistory("s1", memory=memory).run(agent(llm), "a")
    assert llm.seen == []


def test_an_answer_that_cannot_be_stored_is_in_the_error_and_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from botwire.server import serve_in_thread
    from botwire.stores import open_store

    store = open_store(f"sqlite://{tmp_path}/memory.db")
    stop = serve_in_thread(store)
    url = stop.__enter__()

    class Stops(ScriptedLLM):
        def call(self, *arguments, **more):
            stop.__exit__(None, None, None)
            return super().call(*arguments, **more)

    with (
        caplog.at_level(logging.ERROR, logger="botwire"),
        Memory(url=url, timeout=2) as memory,
        pytest.raises(StoreUnavailable) as caught,
    ):
        BotWireHistory("s1", memory=memory).run(agent(Stops("the precious answer")), "hi")

    assert any("the precious answer" in note for note in caught.value.__notes__)
    assert any("could not be stored" in record.getMessage() for record in caplog.records)
    assert store.read_log("default", "s1", "").rows == []
    store.close()


@pytest.mark.timeout(300)
def test_a_process_that_is_killed_while_the_agent_thinks_leaves_no_half_pair(programs: Programs, url: str):
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from scripted import ScriptedLLM, agent
from botwire.integrations.crewai import BotWireHistory
class Dies(ScriptedLLM):
    def call(self, *arguments, **more):
        os.kill(os.getpid(), signal.SIGKILL)
history = BotWireHistory("s1", url=sys.argv[1])
history.run(agent(ScriptedLLM("kept")), "first")
history.run(agent(Dies("never")), "second")
"""
    with programs.begin(code, url) as begun:
        _, errors = begun.communicate(timeout=250)
    assert begun.returncode == -9, errors

    llm = ScriptedLLM("third answer")
    history(url).run(agent(llm), "third")
    assert "kept" in llm.prompt()
    assert said(history(url).messages()) == [("user", "first"), ("assistant", "kept"), ("user", "third"), ("assistant", "third answer")]


def test_the_session_expires_after_its_last_message(url: str):
    own = history(url, ttl=3600)
    own.run(agent(ScriptedLLM("ok")), "hi")

    assert own.session.ttl == 3600


@pytest.mark.parametrize("text", ["", "  \n", None, 5])
def test_a_request_without_text_is_refused(url: str, text: Any):
    with pytest.raises(InvalidValue, match="not blank"):
        history(url).run(agent(ScriptedLLM("never")), text)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"session_id": ""}, InvalidName),
        ({"session_id": "s", "namespace": "a\n"}, InvalidName),
        ({"session_id": "s", "history_size": 0}, InvalidValue),
        ({"session_id": "s", "history_size": True}, InvalidValue),
        ({"session_id": "s", "ttl": -1}, InvalidValue),
        ({"session_id": "s", "url": "memory://", "memory": Memory(url="memory://")}, InvalidValue),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_used_are_refused_at_once(arguments: dict[str, Any], error: type[Exception]):
    with pytest.raises(error):
        BotWireHistory(**arguments)
