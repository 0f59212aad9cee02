"""BotWireChatHistory: what it keeps, what it shows, and that nothing is lost or doubled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from engines.programs import Programs
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    filter_messages,
)

from botwire import AsyncMemory, BotWireChatHistory, Closed, InvalidName, InvalidValue, Memory, OutcomeUnknown, StoreUnavailable
from botwire.integrations.langchain._window import read_window
from botwire.stores import open_store


def texts(messages: list[BaseMessage]) -> list[Any]:
    return [message.content for message in messages]


def calling(*identifiers: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": identifier, "type": "tool_call"} for identifier in identifiers])


# ------------------------------------------------------------------------------- the interface


def test_it_is_a_langchain_chat_history(memory: Memory):
    assert isinstance(BotWireChatHistory("s", memory=memory), BaseChatMessageHistory)


def test_what_was_added_is_there_in_order(memory: Memory):
    history = BotWireChatHistory("s", memory=memory)
    history.add_user_message("hi")
    history.add_ai_message("hello")
    history.add_user_message(HumanMessage("bye", id="1"))
    history.add_ai_message(AIMessage("goodbye"))
    history.add_message(SystemMessage("end"))
    history.add_messages((HumanMessage("a"), AIMessage("b")))
    history.add_messages([])

    assert texts(history.messages) == ["hi", "hello", "bye", "goodbye", "end", "a", "b"]
    assert texts(history.get_messages()) == texts(history.messages)
    assert len(history) == 7
    assert str(history).startswith("Human: hi\nAI: hello\n")


@pytest.mark.anyio
async def test_everything_can_be_awaited(memory: Memory):
    history = BotWireChatHistory("s", memory=memory)
    await history.aadd_messages([HumanMessage("hi"), AIMessage("hello")])
    await history.aadd_message(HumanMessage("bye"))

    assert texts(await history.aget_messages()) == ["hi", "hello", "bye"]
    assert texts(history.messages) == ["hi", "hello", "bye"]

    await history.aclear()
    assert await history.aget_messages() == []


@pytest.mark.anyio
async def test_an_async_memory_serves_both_halves(url: str):
    async with AsyncMemory("team", url=url) as memory:
        history = BotWireChatHistory("s", memory=memory)
        await history.aadd_messages([HumanMessage("hi")])

        assert texts(history.messages) == ["hi"]
        assert texts(await history.aget_messages()) == ["hi"]


def test_clear_empties_this_session_alone(memory: Memory):
    one, other = BotWireChatHistory("one", memory=memory), BotWireChatHistory("other", memory=memory)
    one.add_user_message("hi")
    other.add_user_message("hi")
    one.clear()

    assert (one.messages, len(other.messages), len(one)) == ([], 1, 0)
    assert one  # an empty history is no reason for `if history:` to make another


def test_messages_can_be_set(memory: Memory):
    history = BotWireChatHistory("s", memory=memory)
    history.add_user_message("old")
    history.messages = [HumanMessage("new"), AIMessage("yes")]
    assert texts(history.messages) == ["new", "yes"]

    history.messages = []
    assert history.messages == []


def test_two_instances_show_the_same_live_session(memory: Memory):
    one, other = BotWireChatHistory("s", memory=memory), BotWireChatHistory("s", memory=memory)
    one.add_user_message("hi")
    assert texts(other.messages) == ["hi"]
    other.clear()
    assert one.messages == []


def test_namespaces_are_apart(url: str):
    BotWireChatHistory("s", namespace="a", url=url).add_user_message("hi")

    assert BotWireChatHistory("s", namespace="b", url=url).messages == []
    assert [m.text for m in Memory("a", url=url).session("s").messages()] == ["hi"]


def test_the_default_is_the_session_every_framework_has_by_that_id(url: str):
    Memory(url=url).session("user-42").append(("user", "hi"))

    assert texts(BotWireChatHistory("user-42", url=url).messages) == ["hi"]


@pytest.mark.parametrize("session_id", ["a/b", "whatsapp:+1 23?x#y", "🙂", "x" * 512, "7"])
def test_any_text_is_a_session_id(memory: Memory, session_id: str):
    BotWireChatHistory(session_id, memory=memory).add_user_message("hi")

    assert [info.session_id for info in memory.sessions()] == [session_id]


@pytest.mark.parametrize("session_id", ["", 7, None, "x" * 513, "a\nb"])
def test_what_is_no_session_id_is_refused_when_the_history_is_made(memory: Memory, session_id: Any):
    with pytest.raises(InvalidName, match="session id"):
        BotWireChatHistory(session_id, memory=memory)


@pytest.mark.parametrize(
    "options",
    [
        {"history_size": 0},
        {"history_size": True},
        {"history_size": 2.0},
        {"ttl": -1},
        {"objects": "pickle"},
        {"url": "memory://"},
        {"namespace": "x"},
    ],
)
def test_options_that_make_no_sense_are_refused_when_the_history_is_made(memory: Memory, options: dict[str, Any]):
    with pytest.raises(InvalidValue):
        BotWireChatHistory("s", memory=memory, **options)


def test_making_one_opens_nothing(tmp_path: Any):
    BotWireChatHistory("s", url=f"sqlite://{tmp_path}/new/memory.db")
    BotWireChatHistory.factory(url=f"sqlite://{tmp_path}/new/memory.db")("s")

    assert list(tmp_path.iterdir()) == []


def test_a_closed_memory_says_so(url: str):
    memory = Memory(url=url)
    history = BotWireChatHistory("s", memory=memory)
    memory.close()

    with pytest.raises(Closed):
        _ = history.messages


def test_an_expired_session_is_empty_all_at_once(memory: Memory):
    BotWireChatHistory("s", memory=memory, ttl=timedelta(hours=1)).add_messages([HumanMessage("hi"), AIMessage("hello")])
    assert memory.session("s").ttl == 3600

    history = BotWireChatHistory("s", memory=memory, ttl=0.000001)
    history.add_user_message("last words")

    assert history.messages == []
    assert len(history) == 0


def test_a_remove_message_is_kept_and_removes_nothing(memory: Memory):
    history = BotWireChatHistory("s", memory=memory)
    history.add_messages([HumanMessage("hi", id="1"), RemoveMessage("1")])

    assert history.messages == [HumanMessage("hi", id="1"), RemoveMessage("1")]


def test_streamed_chunks_are_kept_as_such_or_folded(memory: Memory):
    chunk = AIMessageChunk(
        "hello", id="1", chunk_position="last", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    )
    BotWireChatHistory("kept", memory=memory).add_message(chunk)
    BotWireChatHistory("folded", memory=memory, fold_chunks=True).add_message(chunk)

    assert BotWireChatHistory("kept", memory=memory).messages == [chunk]
    folded = BotWireChatHistory("folded", memory=memory).messages
    assert filter_messages(folded, include_types=["ai"]) == [AIMessage("hello", id="1", usage_metadata=chunk.usage_metadata)]


def test_an_unreadable_row_spoils_only_itself(file_url: str, caplog: pytest.LogCaptureFixture):
    import apsw

    history = BotWireChatHistory("s", url=file_url)
    for text in "abc":
        history.add_user_message(text)
    apsw.Connection(file_url.removeprefix("sqlite://")).execute("UPDATE message SET body = '{' WHERE seq = 2")

    assert texts(history.messages) == ["a", "c"]
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "message 2 of session 's'" in warning.getMessage()


# ----------------------------------------------------------------------------------- windowing


def window(memory: Memory, size: int, *messages: BaseMessage) -> list[BaseMessage]:
    BotWireChatHistory("s", memory=memory).add_messages(messages)
    return BotWireChatHistory("s", memory=memory, history_size=size).messages


def test_a_window_shows_the_last_messages_and_keeps_all(memory: Memory):
    assert texts(window(memory, 2, *map(HumanMessage, "abcde"))) == ["d", "e"]
    assert len(BotWireChatHistory("s", memory=memory, history_size=2)) == 5


@pytest.mark.parametrize("size", range(1, 9))
def test_a_window_never_begins_with_results_whose_call_is_cut_off(memory: Memory, size: int):
    tools = [ToolMessage("1", tool_call_id="a"), ToolMessage("2", tool_call_id="b"), ToolMessage("3", tool_call_id="c")]
    everything = [HumanMessage("q"), calling("a", "b", "c"), *tools, AIMessage("done"), HumanMessage("thanks")]

    shown = window(memory, size, *everything)

    asked: set[str | None] = set()
    for message in shown:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in asked
        if isinstance(message, AIMessage):
            asked |= {call["id"] for call in message.tool_calls}
    assert shown == everything[-len(shown) :]
    assert 1 <= len(shown) <= size


def test_a_window_of_results_alone_reaches_back_to_their_call(memory: Memory):
    tools = [ToolMessage(str(n), tool_call_id=str(n)) for n in range(5)]

    shown = window(memory, 2, HumanMessage("q"), calling(*"01234"), *tools)

    assert shown == [calling(*"01234"), *tools]


def test_a_result_whose_call_is_cut_off_is_left_out_in_the_middle_too(memory: Memory):
    shown = window(memory, 2, calling("a"), HumanMessage("meanwhile"), ToolMessage("1", tool_call_id="a"))

    assert shown == [HumanMessage("meanwhile")]


def test_a_leading_system_message_is_shown_besides(memory: Memory):
    shown = window(memory, 2, SystemMessage("be brief"), *map(HumanMessage, "abcd"))
    assert texts(shown) == ["be brief", "c", "d"]


@pytest.mark.parametrize("size", [2, 3, 4, 9])
def test_a_leading_system_message_is_shown_once(memory: Memory, size: int):
    shown = window(memory, size, SystemMessage("be brief"), *map(HumanMessage, "ab"))
    assert texts(shown) == ["be brief", "a", "b"][-3:]


def test_the_system_message_of_a_cleared_session_is_gone(memory: Memory):
    window(memory, 2, SystemMessage("old"), *map(HumanMessage, "abcd"))
    BotWireChatHistory("s", memory=memory).clear()

    assert texts(window(memory, 2, *map(HumanMessage, "xyz"))) == ["y", "z"]


def test_a_session_cleared_while_its_window_is_read_lends_it_no_system_message(memory: Memory):
    session = memory.session("s")
    session.append(("system", "old"), *[("user", text) for text in "abc"])
    reads = read_window(2)
    wanted = next(reads)
    wanted = reads.send(session.snapshot(**wanted))
    session.replace(("system", "new"))

    with pytest.raises(StopIteration) as end:
        reads.send(session.snapshot(**wanted))
    assert [message.text for message in end.value.value] == ["b", "c"]


@pytest.mark.anyio
async def test_a_window_can_be_awaited(memory: Memory):
    window(memory, 2, SystemMessage("be brief"), calling("a"), ToolMessage("1", tool_call_id="a"), HumanMessage("x"))
    shown = await BotWireChatHistory("s", memory=memory, history_size=2).aget_messages()

    assert texts(shown) == ["be brief", "x"]


def test_empty_sessions_have_empty_windows(memory: Memory):
    assert window(memory, 3) == []


# ------------------------------------------------------------------------------------ failures


class Failing:
    """A store whose next writes fail, before or after they were done."""

    def __init__(self, store: Any, errors: list[BaseException], *, done: bool) -> None:
        self._store, self._errors, self._done = store, errors, done
        self.url = store.url
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, batches: Any) -> Any:
        self.asked += 1
        if self._errors and not self._done:
            raise self._errors.pop()
        outcomes = self._store.write(batches)
        if self._errors:
            raise self._errors.pop()
        return outcomes


@pytest.fixture
def failing(file_url: str):
    store = open_store(file_url)
    yield lambda *errors, done=False: Failing(store, list(errors), done=done)
    store.close()


PAIR = [HumanMessage("hi"), AIMessage("hello")]


@pytest.mark.parametrize("done", [False, True])
def test_a_write_of_unknown_outcome_is_tried_again_and_applied_once(failing: Callable[..., Any], done: bool):
    history = BotWireChatHistory("s", memory=Memory(store=failing(OutcomeUnknown("?"), done=done)))
    history.add_messages(PAIR)

    assert texts(history.messages) == ["hi", "hello"]


@pytest.mark.anyio
@pytest.mark.parametrize("done", [False, True])
async def test_an_awaited_write_of_unknown_outcome_is_tried_again_and_applied_once(failing: Callable[..., Any], done: bool):
    history = BotWireChatHistory("s", memory=Memory(store=failing(OutcomeUnknown("?"), done=done)))
    await history.aadd_messages(PAIR)

    assert texts(await history.aget_messages()) == ["hi", "hello"]


def test_a_store_that_stays_away_raises_and_is_logged_with_the_session(failing: Callable[..., Any], caplog: pytest.LogCaptureFixture):
    history = BotWireChatHistory("user-42", memory=Memory(store=failing(*[StoreUnavailable("gone")] * 2)))

    with pytest.raises(StoreUnavailable):
        history.add_messages(PAIR)

    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "session 'user-42' in namespace 'default'" in error.getMessage()
    assert history.messages == []


@pytest.mark.anyio
async def test_an_awaited_failure_is_logged_too(failing: Callable[..., Any], caplog: pytest.LogCaptureFixture):
    history = BotWireChatHistory("user-42", memory=Memory(store=failing(*[StoreUnavailable("gone")] * 2)))

    with pytest.raises(StoreUnavailable):
        await history.aadd_messages(PAIR)
    assert "user-42" in caplog.text


# --------------------------------------------------------------------------------- concurrency


def test_pairs_of_many_threads_stay_together(memory: Memory):
    barrier = threading.Barrier(8)

    def talk(name: str) -> None:
        history = BotWireChatHistory("s", memory=memory)
        barrier.wait()
        for turn in range(10):
            history.add_messages([HumanMessage(f"{name} {turn}"), AIMessage(f"{name} {turn}")])

    threads = [threading.Thread(target=talk, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    said = texts(BotWireChatHistory("s", memory=memory).messages)
    assert len(said) == 160
    assert said[::2] == said[1::2]


TALK = """
import sys
from botwire import BotWireChatHistory
from langchain_core.messages import AIMessage, HumanMessage
history = BotWireChatHistory("s", url=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(200):
    history.add_messages([HumanMessage(f"{sys.argv[2]} {turn}"), AIMessage(f"{sys.argv[2]} {turn}")])
"""


@pytest.mark.timeout(300)
def test_pairs_of_8_processes_stay_together_and_none_is_lost(programs: Programs, url: str):
    talkers = [programs.begin(TALK, url, str(n)) for n in range(8)]
    for talker in talkers:
        assert talker.stdout.readline() == "ready\n"
    for talker in talkers:
        talker.stdin.write("go\n")
        talker.stdin.flush()
    ended = [talker.communicate(250)[1] for talker in talkers]
    for talker in talkers:
        talker.close()

    assert [error for error in ended if "Error" in error] == []  # a Cluster without replicas is warned of
    said = texts(BotWireChatHistory("s", url=url).messages)
    assert len(said) == 3_200
    assert said[::2] == said[1::2]
    for n in range(8):
        assert [text for text in said[::2] if text.startswith(f"{n} ")] == [f"{n} {turn}" for turn in range(200)]


def test_the_same_over_http(tmp_path: Any):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from botwire.server import serve_in_thread

    store = open_store(f"sqlite://{tmp_path}/server.db")
    with serve_in_thread(store) as url:
        history = BotWireChatHistory("user/42?", url=url, history_size=2)
        history.add_messages(
            [SystemMessage("be brief"), HumanMessage("a"), calling("1"), ToolMessage("x", tool_call_id="1", artifact=b"\xff")]
        )
        assert history.messages == [SystemMessage("be brief"), calling("1"), ToolMessage("x", tool_call_id="1", artifact=b"\xff")]
        history.messages = [HumanMessage("new")]
        assert texts(history.messages) == ["new"]
    store.close()


@pytest.mark.anyio
async def test_a_server_that_is_gone_raises_and_is_logged(caplog: pytest.LogCaptureFixture):
    history = BotWireChatHistory("user-42", memory=Memory(url="http://127.0.0.1:9", timeout=1))
    with pytest.raises(StoreUnavailable):
        history.add_user_message("a")
    with pytest.raises(StoreUnavailable):
        await history.aadd_messages([HumanMessage("a")])
    assert caplog.text.count("session 'user-42'") == 2
