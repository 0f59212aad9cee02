"""BotWireChatCompletionContext: a transcript that survives, seen through windows, shared by instances."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import FunctionCall
from autogen_core.model_context import (
    BufferedChatCompletionContext,
    ChatCompletionContext,
    HeadAndTailChatCompletionContext,
    TokenLimitedChatCompletionContext,
    UnboundedChatCompletionContext,
)
from autogen_core.models import AssistantMessage, FunctionExecutionResult, FunctionExecutionResultMessage, UserMessage
from engines.programs import Programs
from scripted import agent, calling, client, seen, short

from botwire import InvalidName, InvalidValue, Memory, StoreUnavailable
from botwire.integrations.autogen import BotWireChatCompletionContext
from botwire.integrations.autogen._repair import INTERRUPTED, NOT_SHOWN

TURN = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from scripted import agent, client, seen
from botwire.integrations.autogen import BotWireChatCompletionContext
model = client(sys.argv[4])
asyncio.run(agent("assistant", model, model_context=BotWireChatCompletionContext("s", url=sys.argv[2])).run(task=sys.argv[3]))
print(seen(model))
"""


def user(text: str) -> UserMessage:
    return UserMessage(content=text, source="user")


def call(*identifiers: str) -> AssistantMessage:
    return AssistantMessage(
        content=[FunctionCall(id=identifier, name="f", arguments="{}") for identifier in identifiers], source="assistant"
    )


def result(*identifiers: str) -> FunctionExecutionResultMessage:
    results = [FunctionExecutionResult(content=f"of {identifier}", name="f", call_id=identifier) for identifier in identifiers]
    return FunctionExecutionResultMessage(content=results)


async def add(context: ChatCompletionContext, *messages: Any) -> None:
    for message in messages:
        await context.add_message(message)


async def shown(context: ChatCompletionContext) -> list[Any]:
    return [short(message) for message in await context.get_messages()]


# ------------------------------------------------------------------------------------------ restart


def test_the_second_process_shows_the_model_all_turns_in_order_once_each(in_process: Callable[..., str], url: str):
    here = __file__.rpartition("/")[0]
    in_process(TURN, here, url, "one", "first")
    assert in_process(TURN, here, url, "two", "second") == "['SYSTEM', 'one', 'first', 'two']\n"
    assert in_process(TURN, here, url, "three", "third") == "['SYSTEM', 'one', 'first', 'two', 'second', 'three']\n"


KILLED = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
from scripted import agent, calling, client
from botwire.integrations.autogen import BotWireChatCompletionContext
async def pay() -> str:
    "Pays."
    print("called", flush=True)
    await asyncio.sleep(60)
    return "paid"
context = BotWireChatCompletionContext("s", url=sys.argv[2])
asyncio.run(agent("assistant", client(calling("pay"), "done"), model_context=context, tools=[pay]).run(task="pay"))
"""


def test_after_kill_9_between_a_call_and_its_result_the_model_is_shown_no_unanswered_call(programs: Programs, url: str):
    with programs.begin(KILLED, __file__.rpartition("/")[0], url) as victim:
        assert victim.stdout.readline() == "called\n"
        victim.send_signal(signal.SIGKILL)

    model = client("fine")
    asyncio.run(agent("assistant", model, model_context=BotWireChatCompletionContext("s", url=url)).run(task="and now?"))
    assert seen(model) == ["SYSTEM", "pay", ["pay"], [INTERRUPTED], "and now?"]
    assert model.create_calls[0]["messages"][3].content[0].is_error
    assert [message.role for message in Memory(url=url).session("s")] == ["user", "assistant", "user", "assistant"]


def test_one_object_serves_several_event_loops(url: str):
    context = BotWireChatCompletionContext("s", url=url)
    for turn in range(3):
        asyncio.run(add(context, user(str(turn))))
        assert asyncio.run(shown(context)) == [str(n) for n in range(turn + 1)]


def test_making_one_does_no_io_and_refuses_bad_names(file_url: str):
    BotWireChatCompletionContext("s", url="http://127.0.0.1:9")
    with pytest.raises(InvalidName):
        BotWireChatCompletionContext("", url=file_url)
    with pytest.raises(InvalidName):
        BotWireChatCompletionContext("s", agent="a\nb", url=file_url)
    with pytest.raises(InvalidValue, match="not both"):
        BotWireChatCompletionContext("s", memory=Memory(), url=file_url)
    with pytest.raises(InvalidValue, match="inner="):
        BotWireChatCompletionContext("s", inner=BotWireChatCompletionContext("t"))


# ------------------------------------------------------------------------------------------ windows


def windows() -> dict[str, ChatCompletionContext]:
    return {
        "all": UnboundedChatCompletionContext(),
        "last": BufferedChatCompletionContext(3),
        "head and tail": HeadAndTailChatCompletionContext(2, 2),
        "tokens": TokenLimitedChatCompletionContext(client(), token_limit=12),
    }


@pytest.mark.parametrize("name", list(windows()))
def test_a_window_shows_after_a_restart_what_it_shows_without_one(url: str, name: str):
    messages = [user(f"text {n}") for n in range(9)]

    async def compare() -> None:
        plain = windows()[name]
        await add(plain, *messages)
        await add(BotWireChatCompletionContext("s", inner=windows()[name], url=url), *messages)
        again = BotWireChatCompletionContext("s", inner=windows()[name], url=url)
        assert await shown(again) == await shown(plain)

    asyncio.run(compare())


@pytest.mark.parametrize("size", range(1, 9))
def test_no_window_tears_a_call_from_its_result(url: str, size: int):
    messages = [
        user("a"),
        call("1", "2"),
        result("1", "2"),
        user("b"),
        call("3"),
        result("3"),
        AssistantMessage(content="c", source="assistant"),
    ]

    async def look() -> None:
        await add(BotWireChatCompletionContext("s", url=url), *messages)
        for inner in (BufferedChatCompletionContext(size), HeadAndTailChatCompletionContext(size, size), Middleless(size)):
            view = await BotWireChatCompletionContext("s", inner=inner, url=url).get_messages()
            asked: list[str] = []
            for message in view:
                if isinstance(message, FunctionExecutionResultMessage):
                    assert [one.call_id for one in message.content] == asked
                    asked = []
                    continue
                assert asked == []
                if isinstance(message, AssistantMessage) and isinstance(message.content, list):
                    asked = [one.id for one in message.content]
            assert asked == []

    asyncio.run(look())


class Middleless(ChatCompletionContext):
    """Drops messages from the middle, as the token-limited one does."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    async def get_messages(self) -> list[Any]:
        messages = list(self._messages)
        while len(messages) > self.size:
            messages.pop(len(messages) // 2)
        return messages


def test_a_made_up_result_says_whether_the_true_one_is_known(url: str):
    async def look() -> None:
        context = BotWireChatCompletionContext("s", inner=Hiding(), url=url)
        await add(context, user("a"), call("1"), result("1"), call("2", "3"), result("3"), user("b"))
        assert await shown(context) == ["a", ["f"], [NOT_SHOWN], ["f", "f"], [INTERRUPTED, NOT_SHOWN], "b"]

    asyncio.run(look())


class Hiding(UnboundedChatCompletionContext):
    async def get_messages(self) -> list[Any]:
        return [message for message in self._messages if not isinstance(message, FunctionExecutionResultMessage)]


def test_of_two_calls_the_answered_one_keeps_its_result(url: str):
    async def look() -> None:
        context = BotWireChatCompletionContext("s", url=url)
        await add(context, call("1", "2"), result("2"), user("b"))
        assert await shown(context) == [["f", "f"], ["of 2", INTERRUPTED], "b"]

    asyncio.run(look())


def test_initial_messages_are_shown_first_and_not_stored(url: str):
    def context() -> BotWireChatCompletionContext:
        return BotWireChatCompletionContext("s", inner=UnboundedChatCompletionContext([user("example")]), url=url)

    async def look() -> None:
        await add(context(), user("a"))
        again = context()
        assert await shown(again) == ["example", "a"]
        await again.load_state(await again.save_state())
        assert await shown(context()) == ["example", "a"]

    asyncio.run(look())
    assert [message.text for message in Memory(url=url).session("s")] == ["a"]


# ---------------------------------------------------------------------------------------- instances


def test_instances_see_what_the_others_add_and_that_they_clear(url: str):
    async def look() -> None:
        one, other = BotWireChatCompletionContext("s", url=url), BotWireChatCompletionContext("s", url=url)
        await add(one, user("a"))
        await add(other, user("b"))
        await add(one, user("c"))
        assert await shown(one) == await shown(other) == ["a", "b", "c"]
        await one.clear()
        assert await shown(other) == []
        await add(other, user("d"))
        assert await shown(one) == ["d"]

    asyncio.run(look())


def test_instances_that_speak_in_turn_show_the_same_order(url: str):
    async def look() -> None:
        one, other = BotWireChatCompletionContext("s", url=url), BotWireChatCompletionContext("s", url=url)
        for n in range(3):
            for context in (one, other, one):
                assert await shown(context) == await shown(other)
                await add(context, user(str(n)), user(f"{n} more"))
                await add(other, user(f"{n} between"))
                await add(context, user(f"{n} at last"))
        assert await shown(one) == await shown(other) == [message.text for message in Memory(url=url).session("s")]

    asyncio.run(look())


def test_a_message_taken_back_or_trimmed_elsewhere_is_no_longer_shown(url: str):
    async def look() -> None:
        context = BotWireChatCompletionContext("s", url=url)
        await add(context, user("a"), user("b"), user("c"))
        assert await shown(context) == ["a", "b", "c"]
        Memory(url=url).session("s").pop()
        assert await shown(context) == ["a", "b"]
        Memory(url=url).session("s").trim(keep_last=1)
        await add(context, user("d"))
        assert await shown(context) == ["b", "d"]

    asyncio.run(look())


def test_results_that_another_framework_adds_one_by_one_become_one_message(url: str):
    session = Memory(url=url).session("s")
    context = BotWireChatCompletionContext("s", url=url)
    session.append({"role": "assistant", "content": "", "tool_calls": [{"id": n, "name": "f", "args": {}} for n in "12"]})
    for n in "12":
        session.append({"role": "tool", "tool_call_id": n, "content": f"of {n}"})
        messages = asyncio.run(shown(context))
    assert messages == [["f", "f"], ["of 1", "of 2"]]


def test_many_tasks_add_through_one_object_and_none_is_lost(url: str):
    async def look() -> None:
        context = BotWireChatCompletionContext("s", url=url)
        await asyncio.gather(*(add(context, user(str(n))) for n in range(30)), *(shown(context) for _ in range(10)))
        there = await shown(context)
        assert sorted(there, key=int) == [str(n) for n in range(30)]
        assert there == await shown(BotWireChatCompletionContext("s", url=url))

    asyncio.run(look())


def test_each_agent_has_its_own_transcript_in_a_session(url: str):
    async def look() -> None:
        await add(BotWireChatCompletionContext("s", "alice", url=url), user("a"))
        await add(BotWireChatCompletionContext("s", agent="bob", url=url), user("b"))
        assert await shown(BotWireChatCompletionContext("s", "alice", url=url)) == ["a"]
        assert await shown(BotWireChatCompletionContext("s", url=url)) == []
        await BotWireChatCompletionContext("s", "alice", url=url).clear()
        assert await shown(BotWireChatCompletionContext("s", "bob", url=url)) == ["b"]

    asyncio.run(look())


def test_twenty_runs_of_two_users_at_once_keep_apart(url: str):
    async def run(person: str, n: int) -> list[Any]:
        model = client(f"{person} answer {n}")
        context = BotWireChatCompletionContext(person, url=url, inner=BufferedChatCompletionContext(100))
        await agent("assistant", model, model_context=context).run(task=f"{person} question {n}")
        return seen(model)

    async def look() -> list[list[Any]]:
        return await asyncio.gather(*(run(person, n) for n in range(10) for person in ("ada", "bob")))

    for number, view in enumerate(asyncio.run(look())):
        person = ("ada", "bob")[number % 2]
        assert all(text == "SYSTEM" or text.startswith(person) for text in view)
    for person in ("ada", "bob"):
        texts = [message.text for message in Memory(url=url).session(person)]
        assert sorted(texts) == sorted(f"{person} {what} {n}" for n in range(10) for what in ("question", "answer"))


# ------------------------------------------------------------------------------- two agents, one key


def pair(url: str, alice: Any, bob: Any) -> RoundRobinGroupChat:
    return RoundRobinGroupChat(
        [agent("alice", client("a1", "a2"), model_context=alice), agent("bob", client("b1", "b2"), model_context=bob)], max_turns=2
    )


def test_two_agents_of_a_team_on_one_transcript_are_refused(url: str):
    shared = BotWireChatCompletionContext("s", url=url)
    for other in (shared, BotWireChatCompletionContext("s", url=url)):
        with pytest.raises(RuntimeError, match="'alice' and 'bob' of one team write to the same transcript"):
            asyncio.run(pair(url, shared, other).run(task="go"))


def test_two_agents_of_a_team_keep_separate_transcripts(url: str):
    def contexts() -> tuple[Any, Any]:
        return BotWireChatCompletionContext("s", "alice", url=url), BotWireChatCompletionContext("s", "bob", url=url)

    asyncio.run(pair(url, *contexts()).run(task="go"))
    alice, bob = contexts()
    assert asyncio.run(shown(alice)) == ["go", "a1"]
    assert asyncio.run(shown(bob)) == ["go", "a1", "b1"]
    assert [message.name for message in Memory(url=url).session("s", agent="bob")] == [None, "alice", "bob"]


# -------------------------------------------------------------------------------------- clear, state


def test_clear_on_reset_false_keeps_the_messages_and_begins_a_new_view_everywhere(url: str):
    def context() -> BotWireChatCompletionContext:
        return BotWireChatCompletionContext("s", clear_on_reset=False, url=url)

    async def look() -> None:
        one, other = context(), context()
        await add(one, user("a"), user("b"))
        assert await shown(other) == ["a", "b"]
        await one.clear()
        assert await shown(one) == await shown(other) == await shown(context()) == []
        await add(other, user("c"))
        assert await shown(one) == await shown(context()) == ["c"]
        await BotWireChatCompletionContext("s", url=url).clear()  # removes all: sequence numbers may begin anew
        await add(one, user("d"))
        assert await shown(context()) == ["d"]

    asyncio.run(look())


def test_a_reset_of_the_agent_clears(url: str):
    from autogen_core import CancellationToken

    context = BotWireChatCompletionContext("s", url=url)
    assistant = agent("assistant", client("x", "y"), model_context=context)
    asyncio.run(assistant.run(task="a"))
    asyncio.run(assistant.on_reset(CancellationToken()))
    assert Memory(url=url).session("s").count() == 0


def test_load_state_replaces_and_what_is_the_same_stays_untouched(url: str):
    async def look() -> None:
        context = BotWireChatCompletionContext("s", url=url)
        await add(context, user("a"), call("1"), result("1"))
        state = await context.save_state()
        epoch = Memory(url=url).session("s").info().epoch
        await context.load_state(state)
        assert Memory(url=url).session("s").info().epoch == epoch
        other = BotWireChatCompletionContext("s", url=url)
        await add(other, user("b"))
        await context.load_state(state)
        assert await shown(other) == await shown(context) == ["a", ["f"], ["of 1"]]
        with pytest.raises(InvalidValue, match="not the state of a context"):
            await context.load_state({"messages": [{"type": "Nonsense"}]})
        assert len(await shown(other)) == 3

    asyncio.run(look())


def test_an_agents_state_holds_the_transcript(url: str):
    context = BotWireChatCompletionContext("s", url=url)
    assistant = agent("assistant", client("x"), model_context=context)
    asyncio.run(assistant.run(task="a"))
    state = asyncio.run(assistant.save_state())
    copy = agent("assistant", client(), model_context=UnboundedChatCompletionContext())
    asyncio.run(copy.load_state(state))
    assert asyncio.run(shown(copy.model_context)) == ["a", "x"]


def test_tools_that_run_are_in_the_transcript_with_their_results(url: str):
    async def add_up(a: int, b: int) -> str:
        """Adds."""
        return str(a + b)

    model = client(calling("add_up", a=1, b=2, thought="hm"), "three")
    context = BotWireChatCompletionContext("s", url=url)
    asyncio.run(agent("assistant", model, model_context=context, tools=[add_up], max_tool_iterations=2).run(task="1 + 2?"))
    assert seen(model) == ["SYSTEM", "1 + 2?", ["add_up"], ["3"]]
    assert [message.role for message in Memory(url=url).session("s")] == ["user", "assistant", "tool", "assistant"]


# ------------------------------------------------------------------------------------------- errors


def test_a_store_that_is_gone_raises_and_the_agent_does_not_answer():
    gone = Memory(url="http://127.0.0.1:9", timeout=1)
    context = BotWireChatCompletionContext("s", memory=gone)
    model = client("x")
    with pytest.raises(StoreUnavailable):
        asyncio.run(agent("assistant", model, model_context=context).run(task="a"))
    assert model.create_calls == []
    for method in (context.get_messages, context.clear, context.save_state):
        with pytest.raises(StoreUnavailable):
            asyncio.run(method())


def test_a_turn_costs_one_request_for_each_message_and_each_view(file_url: str):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    from botwire.server import serve_in_thread
    from botwire.stores import open_store

    store = open_store(file_url)
    calls: list[str] = []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            value = getattr(store, name)
            if not callable(value):
                return value

            def counted(*arguments: Any, **options: Any) -> Any:
                calls.append(name)
                return value(*arguments, **options)

            return counted

    with serve_in_thread(Counted()) as url:
        context = BotWireChatCompletionContext("s", url=url)
        asyncio.run(agent("assistant", client("x", "y"), model_context=context).run(task="warm up"))
        calls.clear()
        asyncio.run(agent("assistant", client("x", "y"), model_context=context).run(task="a"))
        assert len(calls) == 3, calls  # the question, what the model is shown, the answer
    store.close()
