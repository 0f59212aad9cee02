"""BotWireHistoryProvider: conversations that survive, once each, whoever reads them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from agent_framework import Agent, AgentSession, Content, ContextProvider, Message
from chatty import Chatty, call, short
from engines.programs import Programs

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory, StoreUnavailable
from botwire.integrations.agent_framework import BotWireHistoryProvider
from botwire.integrations.agent_framework._repair import INTERRUPTED

HERE = __file__.rpartition("/")[0]


def talk(provider: BotWireHistoryProvider, client: Chatty, *said: Any, **options: Any) -> list[Any]:
    """What the client was shown at its last call, when an agent was told this."""
    agent = Agent(client, context_providers=[provider], **options)

    async def go() -> None:
        for text in said:
            await agent.run(text)

    asyncio.run(go())
    return client.seen[-1]


def texts(session: Any) -> list[str]:
    return [message.text for message in session]


# ------------------------------------------------------------------------------------------ restart

TURN = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from agent_framework import Agent
from chatty import Chatty
from botwire.integrations.agent_framework import BotWireHistoryProvider
client = Chatty(sys.argv[4])
asyncio.run(Agent(client, context_providers=[BotWireHistoryProvider("s", url=sys.argv[2])]).run(sys.argv[3]))
print(client.seen)
"""


def test_the_second_process_shows_the_model_all_turns_in_order_once_each(in_process: Callable[..., str], url: str):
    assert in_process(TURN, HERE, url, "one", "first") == "[['one']]\n"
    assert in_process(TURN, HERE, url, "two", "second") == "[['one', 'first', 'two']]\n"
    assert in_process(TURN, HERE, url, "three", "third") == "[['one', 'first', 'two', 'second', 'three']]\n"


KILLED = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from agent_framework import Agent, tool
from chatty import Chatty, call
from botwire.integrations.agent_framework import BotWireHistoryProvider
async def pay() -> str:
    "Pays."
    print("called", flush=True)
    await asyncio.sleep(60)
    return "paid"
provider = BotWireHistoryProvider("s", url=sys.argv[2])
tools = [tool(pay, approval_mode="never_require")]
agent = Agent(Chatty(call("pay"), "done"), tools=tools, context_providers=[provider], **eval(sys.argv[3]))
asyncio.run(agent.run("pay"))
"""


@pytest.mark.parametrize("options", ["{}", "{'require_per_service_call_history_persistence': True}"])
def test_after_kill_9_between_a_call_and_its_result_the_model_is_shown_no_unanswered_call(programs: Programs, url: str, options: str):
    with programs.begin(KILLED, HERE, url, options) as victim:
        assert victim.stdout.readline() == "called\n"
        victim.send_signal(signal.SIGKILL)

    begun = ["pay", ["pay"], [INTERRUPTED]] if "True" in options else []
    assert talk(BotWireHistoryProvider("s", url=url), Chatty("fine"), "and now?") == [*begun, "and now?"]


async def add_up(a: int, b: int) -> str:
    """Adds."""
    return str(a + b)


@pytest.mark.parametrize("each_call", [False, True])
def test_calls_and_results_are_stored_once_each_and_shown_again(url: str, each_call: bool):
    from agent_framework import tool

    provider, tools = BotWireHistoryProvider("s", url=url), [tool(add_up, approval_mode="never_require")]
    client = Chatty(call("add_up", a=1, b=2), call("add_up", "call-2", a=3, b=4), "done")
    options = {"tools": tools, "require_per_service_call_history_persistence": each_call}
    said = ["add", ["add_up"], ["3"], ["add_up"], ["7"]]
    assert talk(provider, client, "add", **options) == said
    assert talk(provider, Chatty("bye"), "again", **options) == [*said, "done", "again"]
    rows = Memory(url=url).session("s").messages()
    assert [row.role for row in rows] == ["user", "assistant", "tool", "assistant", "tool", "assistant", "user", "assistant"]
    assert (rows[2].name, rows[2].tool_call_id, rows[2].text) == ("add_up", "call-1", "3")


def test_streamed_answers_are_stored_whole(url: str):
    agent = Agent(Chatty("one two three"), context_providers=[BotWireHistoryProvider("s", url=url)])

    async def go() -> None:
        async for _ in agent.run("hi", stream=True):
            pass

    asyncio.run(go())
    assert [message.role for message in Memory(url=url).session("s")] == ["user", "assistant"]
    assert talk(BotWireHistoryProvider("s", url=url), Chatty("x"), "again")[0] == "hi"


def test_one_provider_serves_several_event_loops(url: str):
    provider = BotWireHistoryProvider("s", url=url)
    for turn in range(3):
        assert len(talk(provider, Chatty("x"), "hi")) == 2 * turn + 1


# ---------------------------------------------------------------------------------------- no repeats


def test_a_transcript_that_is_given_again_is_not_stored_again(url: str):
    provider = BotWireHistoryProvider("s", url=url)
    transcript: list[Message] = []

    async def go() -> None:
        client = Chatty("1", "2", "3")
        agent = Agent(client, context_providers=[provider])
        for text in ("a", "b", "c"):
            transcript.append(Message("user", [text]))
            transcript.extend((await agent.run(list(transcript))).messages)

    asyncio.run(go())
    assert texts(Memory(url=url).session("s")) == ["a", "1", "b", "2", "c", "3"]
    asyncio.run(provider.save_messages("s", transcript))
    asyncio.run(provider.save_messages("s", transcript[-3:]))
    assert Memory(url=url).session("s").count() == 6
    asyncio.run(provider.save_messages("s", [*transcript[-2:], Message("user", ["d"])]))
    assert texts(Memory(url=url).session("s"))[-2:] == ["3", "d"]


def test_what_is_said_twice_is_stored_twice(url: str):
    provider = BotWireHistoryProvider("s", url=url)
    assert talk(provider, Chatty("hello", "hello", "hello"), "hi", "hi", "hi") == ["hi", "hello", "hi", "hello", "hi"]
    assert texts(Memory(url=url).session("s")) == ["hi", "hello"] * 3
    silent = BotWireHistoryProvider("t", url=url, store_outputs=False)
    talk(silent, Chatty("x", "x"), "yes", "yes")
    assert texts(Memory(url=url).session("t")) == ["yes", "yes"]
    deaf = BotWireHistoryProvider("u", url=url, store_inputs=False)
    talk(deaf, Chatty("ok", "ok"), "a", "b")
    assert texts(Memory(url=url).session("u")) == ["ok", "ok"]


def test_a_message_with_an_id_that_is_saved_twice_is_stored_once(url: str):
    provider = BotWireHistoryProvider("s", url=url)
    for _ in range(2):
        asyncio.run(provider.save_messages(None, [Message("user", ["hi"], message_id="m1")]))
    assert texts(Memory(url=url).session("s")) == ["hi"]


# ------------------------------------------------------------------------------------ sessions, flags


def test_each_run_may_have_its_session(url: str):
    provider = BotWireHistoryProvider(url=url)
    client = Chatty("1", "2", "3")
    agent = Agent(client, context_providers=[provider])

    async def go() -> None:
        for session_id in ("ada", "bob", "ada"):
            await agent.run("hi", session=agent.create_session(session_id=session_id))

    asyncio.run(go())
    assert client.seen == [["hi"], ["hi"], ["hi", "1", "hi"]]
    with pytest.raises(InvalidValue, match="which session"):
        asyncio.run(provider.get_messages(None))
    with pytest.raises(InvalidValue, match="which session"):
        asyncio.run(provider.save_messages(None, [Message("user", ["x"])]))


def test_providers_of_one_session_keep_apart_by_their_source_id(url: str):
    record = BotWireHistoryProvider("s", source_id="audit", url=url, load_messages=False, store_inputs=False)
    client = Chatty("1", "2")
    agent = Agent(client, context_providers=[BotWireHistoryProvider("s", url=url), record])
    asyncio.run(agent.run("a"))
    asyncio.run(agent.run("b"))
    assert client.seen[-1] == ["a", "1", "b"]
    assert texts(Memory(url=url).session("s")) == ["a", "1", "b", "2"]
    assert texts(Memory(url=url).session("s", agent="audit")) == ["1", "2"]


class Note(ContextProvider):
    async def before_run(self, *, agent: Any, session: AgentSession, context: Any, state: dict[str, Any]) -> None:
        context.extend_messages(self, [Message("user", [f"note of {self.source_id}"])])


@pytest.mark.parametrize(
    ("flags", "stored"),
    [
        ({}, ["a", "1"]),
        ({"store_inputs": False}, ["1"]),
        ({"store_outputs": False}, ["a"]),
        ({"store_context_messages": True}, ["note of x", "note of y", "a", "1"]),
        ({"store_context_messages": True, "store_context_from": {"y"}}, ["note of y", "a", "1"]),
    ],
)
def test_the_flags_say_what_is_stored(url: str, flags: dict[str, Any], stored: list[str]):
    provider = BotWireHistoryProvider("s", url=url, **flags)
    agent = Agent(Chatty("1"), context_providers=[Note("x"), Note("y"), provider])
    asyncio.run(agent.run("a"))
    assert texts(Memory(url=url).session("s")) == stored


def test_twenty_runs_of_two_users_at_once_keep_apart(url: str):
    provider = BotWireHistoryProvider(url=url)

    async def run(person: str, n: int) -> list[Any]:
        client = Chatty(f"{person} answer {n}")
        agent = Agent(client, context_providers=[provider])
        await agent.run(f"{person} question {n}", session=agent.create_session(session_id=person))
        return client.seen[-1]

    async def all_of_them() -> list[list[Any]]:
        return await asyncio.gather(*(run(person, n) for n in range(10) for person in ("ada", "bob")))

    for number, view in enumerate(asyncio.run(all_of_them())):
        assert all(text.startswith(("ada", "bob")[number % 2]) for text in view)
    for person in ("ada", "bob"):
        said = texts(Memory(url=url).session(person))
        assert sorted(said) == sorted(f"{person} {what} {n}" for n in range(10) for what in ("question", "answer"))


def test_a_session_expires(url: str):
    talk(BotWireHistoryProvider("s", url=url, ttl=60), Chatty("x"), "hi")
    assert Memory(url=url).session("s").ttl == 60


# ------------------------------------------------------------------------------------------- messages

CASES: dict[str, Message] = {
    "user": Message("user", ["hi"]),
    "user with a name and an id": Message("user", ["hi"], author_name="Ada", message_id="m1"),
    "system": Message("system", ["be brief"]),
    "developer": Message("developer", ["be brief"]),
    "of an unheard role": Message("moderator", ["order"]),
    "several texts": Message("user", ["a", "b", ""]),
    "nothing": Message("user", []),
    "properties": Message("user", ["hi"], additional_properties={"a": {"b": [1, None]}}),
    "image and file": Message(
        "user",
        [
            "look",
            Content.from_data(b"\x00\xff", media_type="image/png"),
            Content.from_uri("https://e.org/a.pdf", media_type="application/pdf"),
        ],
    ),
    "calls": Message(
        "assistant", ["wait", call("f", "1", a=[1]), Content.from_function_call("2", "g", arguments='{"b": 1}')], author_name="w"
    ),
    "calls before text": Message("assistant", [call("f"), "wait"]),
    "reasoning and usage": Message(
        "assistant", [Content.from_text_reasoning(text="hm"), "ok", Content.from_usage({"input_token_count": 1})]
    ),
    "result": Message("tool", [Content.from_function_result("1", result="3")]),
    "results": Message(
        "tool", [Content.from_function_result("1", result={"a": 1}), Content.from_function_result("2", result="", exception="boom")]
    ),
    "call and result in one": Message("assistant", [call("f", "9"), Content.from_function_result("9", result="x"), "done"]),
    "approval": Message("user", [Content.from_function_approval_response(approved=True, id="1", function_call=call("f"))]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", CASES)
def test_a_message_comes_back_equal(url: str, name: str):
    asyncio.run(BotWireHistoryProvider("s", url=url).save_messages(None, [CASES[name]]))
    (row,) = asyncio.run(_read(BotWireHistoryProvider("s", url=url)))
    assert row.to_dict() == CASES[name].to_dict()


def test_all_messages_in_a_row_stay_apart(url: str):
    messages = [message for message in CASES.values() for _ in range(2)]
    asyncio.run(BotWireHistoryProvider("s", url=url).save_messages(None, messages))
    back = asyncio.run(_read(BotWireHistoryProvider("s", url=url)))
    assert [message.to_dict() for message in back] == [message.to_dict() for message in messages]


async def _read(provider: BotWireHistoryProvider) -> list[Message]:
    """What is stored, without what is made up for the model."""
    return [message for message in await provider.get_messages(None) if INTERRUPTED not in short(message)]


def test_others_read_a_faithful_conversation(url: str):
    messages = [
        Message("user", ["look", Content.from_data(b"\x00", media_type="image/png")]),
        Message("assistant", ["wait", call("f", "1", a=1), call("g", "2")], author_name="writer"),
        Message("tool", [Content.from_function_result("1", result="3"), Content.from_function_result("2", result="4")]),
        Message("assistant", ["done"], author_name="writer", message_id="m4"),
    ]
    asyncio.run(BotWireHistoryProvider("s", url=url).save_messages(None, messages))
    user, calls, first, second, last = [message.to_dict() for message in Memory(url=url).session("s")]
    assert user["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert (calls["content"], calls["name"], len(calls["tool_calls"])) == ("wait", "writer", 2)
    assert first == {"role": "tool", "content": "3", "name": "f", "tool_call_id": "1"}
    assert second == {"role": "tool", "content": "4", "name": "g", "tool_call_id": "2"}
    assert last == {"role": "assistant", "content": "done", "name": "writer", "id": "m4"}


def test_a_conversation_that_others_wrote_is_read(url: str):
    shape = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    Memory(url=url).session("s").append(
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}, {"type": "x"}],
        },
        {"role": "assistant", "content": "", "tool_calls": [shape, {"id": "c2", "name": "g", "args": {}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "tool", "tool_call_id": "c2", "content": "4"},
        {"role": "assistant", "content": "done", "name": "bot"},
    )
    system, user, calls, results, last = asyncio.run(BotWireHistoryProvider("s", url=url).get_messages(None))
    assert (system.role, system.text) == ("system", "be brief")
    assert [content.type for content in user.contents] == ["text", "uri", "text"]
    assert [(content.call_id, content.name) for content in calls.contents] == [("c1", "f"), ("c2", "g")]
    assert [(content.call_id, content.result) for content in results.contents] == [("c1", "3"), ("c2", "4")]
    assert (last.text, last.author_name) == ("done", "bot")


def test_a_call_is_repaired_unless_its_answer_comes_with_the_run(url: str):
    provider = BotWireHistoryProvider("s", url=url)
    asyncio.run(provider.save_messages(None, [Message("user", ["a"]), Message("assistant", [call("f", "1"), call("g", "2")])]))
    asyncio.run(provider.save_messages(None, [Message("tool", [Content.from_function_result("2", result="4")])]))
    assert [short(message) for message in asyncio.run(provider.get_messages(None))] == ["a", ["f", "g"], ["4"], [INTERRUPTED]]
    coming = Message("tool", [Content.from_function_result("1", result="3")])
    assert talk(provider, Chatty("x"), coming) == ["a", ["f", "g"], ["4"], ["3"]]
    assert [short(message) for message in asyncio.run(provider.get_messages(None))] == ["a", ["f", "g"], ["4"], ["3"], "x"]


def test_a_message_that_would_lose_something_is_refused_and_nothing_is_stored(url: str):
    provider = BotWireHistoryProvider("s", url=url)
    odd = Message("user", ["b"], additional_properties={"when": datetime(2026, 1, 1, tzinfo=UTC), "raw": object()})
    with pytest.raises(InvalidValue, match=r"additional_properties\['(when|raw)'\]"):
        asyncio.run(provider.save_messages(None, [Message("user", ["a"]), odd]))
    assert Memory(url=url).sessions() == []


def test_an_unreadable_message_is_read_by_what_others_read_of_it(url: str, caplog: pytest.LogCaptureFixture):
    from botwire import Message as Row

    Memory(url=url).session("s").append(Row("user", "hi", native={"agent_framework": {"message": {"nonsense": 1}}}))
    (message,) = asyncio.run(BotWireHistoryProvider("s", url=url).get_messages(None))
    assert message.text == "hi"
    assert "cannot be read" in caplog.text


# ------------------------------------------------------------------------------------------- errors


def test_a_store_that_is_gone_raises_and_the_agent_does_not_answer():
    client = Chatty("x")
    with pytest.raises(StoreUnavailable):
        talk(BotWireHistoryProvider("s", memory=Memory(url="http://127.0.0.1:9", timeout=1)), client, "hi")
    assert client.seen == []


def test_bad_arguments_are_refused_at_once():
    for wrong in ({"session_id": ""}, {"source_id": "a\nb"}):
        with pytest.raises(InvalidName):
            BotWireHistoryProvider(**wrong)
    with pytest.raises(InvalidName):
        BotWireHistoryProvider(namespace="a\nb")
    with pytest.raises(InvalidValue, match="not both"):
        BotWireHistoryProvider(memory=Memory("a"), namespace="b")


def test_a_memory_that_was_handed_in_stays_open(url: str):
    for given in (Memory(url=url), AsyncMemory(url=url)):
        provider = BotWireHistoryProvider("s", memory=given)
        talk(provider, Chatty("x"), "hi")
        asyncio.run(provider.close())
        assert len(asyncio.run(provider.get_messages(None))) > 0
    own = BotWireHistoryProvider("s", url=url)
    asyncio.run(own.get_messages(None))
    asyncio.run(own.close())


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "agent_framework":
            raise ModuleNotFoundError("No module named 'agent_framework'", name="agent_framework")
sys.meta_path.insert(0, Missing())
import botwire
try:
    import botwire.integrations.agent_framework
except botwire.MissingExtra as error:
    print(error, "|", error.name)
"""


def test_without_agent_framework_the_error_says_what_to_install():
    ended = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'botwire[agent-framework]' | agent_framework" in ended.stdout
