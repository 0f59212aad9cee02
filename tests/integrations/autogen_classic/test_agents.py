"""BotWireCapability: what agents say and hear is there after the restart, once each, and in order."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Callable
from typing import Any

import autogen
import pytest
from autogen import ConversableAgent
from classic import Shape, calling, count, group, person, texts, thinker

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory, StoreUnavailable
from botwire.integrations.autogen_classic import BotWireCapability, BotWireGroupChat, attach_memory
from botwire.integrations.autogen_classic._facts import facts_message

VERSION = tuple(int(part) for part in autogen.__version__.split(".")[:2])


def say(user: ConversableAgent, assistant: ConversableAgent, text: str, **options: Any) -> None:
    user.initiate_chat(assistant, message=text, **{"max_turns": 1, "silent": True, **options})


# ---------------------------------------------------------------------------------------- restarts


def test_the_next_process_goes_on_where_the_last_one_ended(story: Callable[..., tuple[int, Any]], url: str):
    assert story("turn", url, "I like tea")[1] == [
        [{"role": "system", "content": "SYS"}, {"role": "user", "name": "user", "content": "I like tea"}]
    ]

    assert story("turn", url, "what do I like?")[1] == [
        [
            {"role": "system", "content": "SYS"},
            {"role": "user", "name": "user", "content": "I like tea"},
            {"role": "assistant", "name": "assistant", "content": "answer 1"},
            {"role": "user", "name": "user", "content": "what do I like?"},
        ]
    ]


def test_a_process_killed_between_a_call_and_its_result_leaves_no_call_unanswered(story: Callable[..., tuple[int, Any]], url: str):
    assert story("interrupted", url, "die")[0] == -signal.SIGKILL
    assert [call.id for message in Memory(url=url).session("s1").messages() for call in message.tool_calls] == ["c1"]

    status, seen = story("interrupted", url, "and now?")
    assert status == 0
    asked = seen[0]
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "tool", "user"]
    assert asked[2]["tool_calls"][0]["id"] == asked[3]["tool_call_id"] == "c1"
    assert "interrupted" in asked[3]["content"]


def in_order(user: ConversableAgent, assistant: ConversableAgent, text: str) -> None:
    say(user, assistant, text)


def kept(user: ConversableAgent, assistant: ConversableAgent, text: str) -> None:
    say(user, assistant, text, clear_history=False)


def after_reset(user: ConversableAgent, assistant: ConversableAgent, text: str) -> None:
    assistant.reset()
    say(user, assistant, text, clear_history=False)


def after_a_cut(user: ConversableAgent, assistant: ConversableAgent, text: str) -> None:
    if any(assistant.chat_messages.values()):
        assistant.clear_history(nr_messages_to_preserve=1)
    say(user, assistant, text, clear_history=False)


def awaited(user: ConversableAgent, assistant: ConversableAgent, text: str) -> None:
    asyncio.run(user.a_initiate_chat(assistant, message=text, max_turns=1, silent=True))


def in_a_thread(user: ConversableAgent, assistant: ConversableAgent, text: str) -> None:
    response = user.run(assistant, message=text, max_turns=1, silent=True)
    response.process()


WAYS = [in_order, kept, after_reset, after_a_cut, awaited]
if VERSION >= (0, 9):
    WAYS.append(in_a_thread)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("restarts", [True, False])
def test_each_way_to_chat_shows_the_model_everything_once(memory: Memory, way: Callable[..., None], restarts: bool):
    assistant, user, seen = None, None, []
    for number in range(3):
        if assistant is None or restarts:
            (assistant, seen), user = thinker(), person()
            attach_memory(assistant, session_id="s1", memory=memory)
        way(user, assistant, f"question {number}")

    assert texts(seen[-1]) == ["SYS", "question 0", "answer 1", "question 1", "answer 3", "question 2"]
    assert [message.text for message in memory.session("s1").messages()][-2:] == ["question 2", "answer 5"]
    assert len(memory.session("s1")) == 6


def test_both_agents_remember_each_in_a_transcript_of_its_own(memory: Memory):
    for _ in range(2):
        (writer, seen), (critic, heard) = thinker("writer"), thinker("critic")
        attach_memory(writer, session_id="s1", memory=memory)
        attach_memory(critic, session_id="s1", agent="critic", memory=memory)
        critic.initiate_chat(writer, message="write", max_turns=2, silent=True)

    assert texts(seen[-1]) == ["SYS", "write", "answer 1", "answer 2", "answer 3", "write", "answer 5", "answer 6"]
    assert texts(heard[-1]) == ["SYS", "write", "answer 1", "answer 2", "answer 3", "write", "answer 5"]
    assert [m.role for m in memory.session("s1").messages()] == ["user", "assistant"] * 4
    assert [m.role for m in memory.session("s1", agent="critic").messages()] == ["assistant", "user"] * 4


def test_a_group_chat_is_remembered_by_each_agent_that_has_memory(memory: Memory):
    for _ in range(2):
        log: list[Any] = []
        agents, manager = group(log)
        for agent in agents.values():
            attach_memory(agent, session_id="team", agent=agent.name, memory=memory)
        agents["alice"].initiate_chat(manager, message="go", silent=True)

    name, heard = log[0]
    assert name == "bob"
    assert [text for _, _, text in heard] == ["go", "bob heard 1", "carol heard 2", "go"]
    assert [len(memory.session("team", agent=name)) for name in agents] == [6, 6, 6]


@pytest.mark.skipif(VERSION < (0, 9), reason="not applicable: patterns came with 0.9")
def test_a_pattern_of_group_chats_is_remembered_by_each_agent_that_has_memory(memory: Memory):
    from autogen.agentchat import initiate_group_chat
    from autogen.agentchat.group.patterns import RoundRobinPattern

    for _ in range(2):
        (alice, seen), (bob, _) = thinker("alice"), thinker("bob")
        for agent in (alice, bob):
            attach_memory(agent, session_id="team", agent=agent.name, memory=memory)
        initiate_group_chat(pattern=RoundRobinPattern(initial_agent=alice, agents=[alice, bob]), messages="go", max_rounds=3)

    assert texts(seen[-1])[:2] == ["SYS", "go"]
    assert texts(seen[-1]).count("go") == 2
    contents = [content for content in texts(seen[-1]) if content != "go"]
    assert len(contents) == len(set(contents))


# ----------------------------------------------------------------------------- what the model is shown


def tool_turn(memory: Memory, **options: Any) -> tuple[list[list[Shape]], Any]:
    def script(messages: list[Shape]) -> Any:
        return calling(f"c{len(messages)}") if messages[-1]["content"] == "add" else count(messages)

    assistant, seen = thinker(script=script)
    user = person(max_consecutive_auto_reply=1)
    user.register_function({"add": lambda a, b: str(a + b)})
    attach_memory(assistant, session_id="s1", memory=memory, **options)
    say(user, assistant, "add", max_turns=2)
    return seen, assistant


def test_calls_and_results_are_shown_in_pairs_after_a_restart(memory: Memory):
    tool_turn(memory)
    seen, _ = tool_turn(memory)

    assert [message["role"] for message in seen[0]] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert seen[0][2]["tool_calls"][0]["id"] == seen[0][3]["tool_call_id"]
    assert seen[0][3]["content"] == "3"


@pytest.mark.parametrize("size", range(1, 12))
def test_a_window_never_begins_with_a_result(memory: Memory, size: int):
    for _ in range(4):
        seen, _ = tool_turn(memory, max_messages=size)

    for asked in seen:
        called = {call["id"] for message in asked for call in message.get("tool_calls", ())}
        answered = {message["tool_call_id"] for message in asked if message["role"] == "tool"}
        assert called == answered
        assert size <= len(asked) - 1 <= size + 1 or asked[1]["content"] == "add"
        assert asked[-1]["role"] in ("user", "tool")


def test_a_window_is_filled_from_far_back_if_others_have_talked_since(memory: Memory):
    for peer, number in [("ada", 5), ("bob", 260)]:
        session = memory.session("s1")
        session.append(*({"role": "user", "content": f"{peer} {n}"} for n in range(number)))
    rows = memory.session("s1").messages()
    for row in rows:
        row.metadata = {"peer": row.text.split()[0]}
    memory.session("s1").replace(*rows)
    assistant, seen = thinker()
    attach_memory(assistant, session_id="s1", memory=memory, max_messages=4)
    say(person("ada"), assistant, "hello")

    assert texts(seen[0]) == ["SYS", "ada 2", "ada 3", "ada 4", "hello"]


def test_each_peer_has_a_talk_of_its_own(memory: Memory):
    for _ in range(2):
        assistant, seen = thinker()
        attach_memory(assistant, session_id="s1", memory=memory)
        for name in ("ada", "bob"):
            say(person(name), assistant, f"I am {name}")

    assert texts(seen[-1]) == ["SYS", "I am bob", "answer 1", "I am bob"]


def test_only_the_peers_that_are_named_are_remembered(memory: Memory):
    for _ in range(2):
        assistant, seen = thinker()
        attach_memory(assistant, session_id="s1", memory=memory, peers=["ada"])
        say(person("ada"), assistant, "I am ada")
        say(person("bob"), assistant, "I am bob")

    assert texts(seen[-2]) == ["SYS", "I am ada", "answer 1", "I am ada"]
    assert texts(seen[-1]) == ["SYS", "I am bob"]
    assert {message.metadata["peer"] for message in memory.session("s1").messages()} == {"ada"}


def test_nested_chats_are_remembered_by_peer(memory: Memory):
    for _ in range(2):
        (assistant, _), (expert, asked) = thinker(), thinker("expert")
        attach_memory(assistant, session_id="s1", memory=memory)
        attach_memory(expert, session_id="s1", agent="expert", memory=memory)
        user = person()
        assistant.register_nested_chats([{"recipient": expert, "max_turns": 1, "summary_method": "last_msg"}], trigger=user)
        say(user, assistant, "a question")

    assert texts(asked[-1]) == ["SYS", "a question", "answer 1", "a question"]
    peers = [message.metadata["peer"] for message in memory.session("s1").messages()]
    assert peers == ["user", "expert", "expert", "user"] * 2


def test_messages_given_to_generate_reply_are_left_alone(memory: Memory):
    assistant, seen = thinker()
    attach_memory(assistant, session_id="s1", memory=memory)
    say(person(), assistant, "hello")
    assistant.generate_reply(messages=[{"role": "user", "content": "alone"}])

    assert texts(seen[-1]) == ["SYS", "alone"]
    assert len(memory.session("s1")) == 2


def test_what_other_hooks_make_of_a_message_is_not_stored(memory: Memory):
    for _ in range(2):
        assistant, seen = thinker()
        assistant.register_hook("process_last_received_message", lambda text: f"{text} (today)")
        assistant.register_hook("process_all_messages_before_reply", lambda messages: [dict(message) for message in messages])
        attach_memory(assistant, session_id="s1", memory=memory)
        say(person(), assistant, "hello")

    assert texts(seen[-1]) == ["SYS", "hello", "answer 1", "hello (today)"]
    assert [message.text for message in memory.session("s1").messages()] == ["hello", "answer 1", "hello", "answer 3"]


def test_a_hook_that_cuts_the_conversation_cuts_all_of_it(memory: Memory):
    for _ in range(3):
        assistant, seen = thinker()
        assistant.register_hook("process_all_messages_before_reply", lambda messages: messages[-2:])
        attach_memory(assistant, session_id="s1", memory=memory)
        say(person(), assistant, "hello")

    assert texts(seen[-1]) == ["SYS", "answer 2", "hello"]


def test_a_session_that_is_cleared_is_forgotten_at_once(memory: Memory):
    assistant, seen = thinker()
    capability = attach_memory(assistant, session_id="s1", memory=memory)
    user = person()
    say(user, assistant, "hello")
    Memory(store=memory.store).session("s1").clear()
    say(user, assistant, "again", clear_history=False)

    assert texts(seen[-1])[-1] == "again"
    say(user, assistant, "and again")
    assert texts(seen[-1]) == ["SYS", "again", texts(seen[-1])[2], "and again"]
    assert capability.session.session_id == "s1"


# ------------------------------------------------------------------------------------------- facts


def test_facts_are_told_in_one_message_and_as_they_are_now(memory: Memory):
    facts = Memory("app", store=memory.store)
    facts.set("user.diet", "vegan")
    for number in range(10):
        assistant, seen = thinker()
        attach_memory(assistant, session_id="s1", memory=memory, facts="app")
        facts.set("user.city", {"name": f"city {number}"})
        say(person(), assistant, "hello")
        told = [message for message in seen[-1] if message.get("name") == "memory"]
        assert texts(told) == [f'What is known from before:\nuser.city: {{"name": "city {number}"}}\nuser.diet: vegan']
        assert seen[-1].index(told[0]) == 1

    assert len(memory.session("s1")) == 20
    assert not [message for message in memory.session("s1").messages() if "vegan" in message.text]


def test_of_very_many_facts_some_are_told_and_that_there_are_more(memory: Memory):
    facts = Memory("app", store=memory.store)
    for number in range(150):
        facts.set(f"fact {number:03}", "x" * 50)

    (message,) = facts_message(facts)

    assert message["content"].count("fact ") == 100
    assert message["content"].endswith("(More is remembered than is told here.)")
    facts.set("fact 000", "y" * 9_000)
    assert "y" not in facts_message(facts)[0]["content"]


def test_without_facts_nothing_is_told(memory: Memory):
    assistant, seen = thinker()
    attach_memory(assistant, session_id="s1", memory=memory, facts="app")
    say(person(), assistant, "hello")

    assert texts(seen[-1]) == ["SYS", "hello"]


# ------------------------------------------------------------------------- with other frameworks


def test_others_read_the_assistants_conversation_in_the_plain_session(memory: Memory):
    tool_turn(memory)

    assert [message.to_dict() | {"id": None} for message in memory.session("s1").messages()] == [
        {"role": "user", "content": "add", "name": "user", "id": None},
        {"role": "assistant", "content": None, "id": None, "tool_calls": calling("c2")["tool_calls"]},
        {"role": "tool", "content": "3", "name": "user", "tool_call_id": "c2", "id": None},
        {"role": "assistant", "content": "answer 3", "name": "assistant", "id": None},
    ]


def test_a_conversation_goes_on_in_langchain_and_back(url: str, memory: Memory):
    pytest.importorskip("langchain_core", reason="not applicable: langchain-core is not installed beside this version of autogen")
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    from botwire.integrations.langchain import BotWireChatHistory

    tool_turn(memory)
    history = BotWireChatHistory("s1", url=url)
    said = history.messages
    assert [type(message) for message in said] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert said[1].tool_calls == [{"name": "add", "args": {"a": 1, "b": 2}, "id": "c2", "type": "tool_call"}]
    assert (said[2].tool_call_id, said[2].content, said[0].name, said[3].name) == ("c2", "3", "user", "assistant")

    history.add_messages([HumanMessage("and now?"), AIMessage("six")])
    seen, _ = tool_turn(memory)
    assert texts(seen[0])[1:] == ["add", None, "3", "answer 3", "and now?", "six", "add"]


def test_a_conversation_that_another_framework_began_goes_on_here(memory: Memory):
    result = {"role": "tool", "content": "3", "tool_call_id": "c1", "id": "m3"}
    memory.session("s1").append({"role": "user", "content": "1+2?", "id": "m1"}, calling(), result, ("assistant", "three"))
    assistant, seen = thinker()
    attach_memory(assistant, session_id="s1", memory=memory)
    say(person(), assistant, "and 2+3?")

    assert seen[0][1:] == [
        {"role": "user", "content": "1+2?"},
        calling(),
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
        {"role": "assistant", "content": "three"},
        {"role": "user", "content": "and 2+3?", "name": "user"},
    ]


# --------------------------------------------------------------------------------------- isolation


@pytest.mark.parametrize("awaits", [True, False])
def test_twenty_runs_of_two_users_at_once_keep_apart(url: str, awaits: bool):
    asked: dict[str, list[list[Shape]]] = {}
    start = threading.Barrier(20)

    def run(number: int) -> None:
        user = f"user-{number % 2}"
        assistant, asked[str(number)] = thinker()
        attach_memory(assistant, session_id=user, url=url)
        start.wait()
        for turn in range(2):
            if awaits:
                asyncio.run(person(user).a_initiate_chat(assistant, message=f"{user} {number} {turn}", max_turns=1, silent=True))
            else:
                say(person(user), assistant, f"{user} {number} {turn}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(20):
        heard = [message["content"] for call in asked[str(number)] for message in call if message["role"] == "user"]
        assert {text.split()[0] for text in heard} == {f"user-{number % 2}"}
    for user in ("user-0", "user-1"):
        said = [message.text for message in Memory(url=url).session(user).messages() if message.role == "user"]
        assert sorted(said) == sorted(
            f"{user} {number} {turn}" for number in range(20) for turn in range(2) if user.endswith(str(number % 2))
        )


# ----------------------------------------------------------------------------------- what goes wrong


def test_a_store_that_is_gone_is_an_error_and_never_an_empty_memory(serve: Any):
    assistant, seen = thinker()
    with serve() as address:
        memory = Memory(url=address, timeout=2)
        attach_memory(assistant, session_id="s1", memory=memory)
        say(person(), assistant, "hello")

    with pytest.raises(StoreUnavailable):
        say(person(), assistant, "again")
    assert len(seen) == 1


def test_a_store_that_goes_while_the_agent_is_to_reply_is_an_error_too(serve: Any):
    assistant, seen = thinker()
    user = person()
    with serve() as address:
        memory = Memory(url=address, timeout=2)
        attach_memory(assistant, session_id="s1", memory=memory)
        user.send("hello", assistant, request_reply=False, silent=True)
    with pytest.raises(StoreUnavailable):
        assistant.generate_reply(sender=user)
    assert not seen


def test_an_agent_can_have_one_memory(memory: Memory):
    assistant, _ = thinker()
    attach_memory(assistant, session_id="s1", memory=memory)
    with pytest.raises(InvalidValue, match="has a memory already"):
        attach_memory(assistant, session_id="s1", memory=memory)


def test_two_agents_cannot_write_to_one_transcript(memory: Memory):
    assistant, _ = thinker()
    attach_memory(assistant, session_id="s1", memory=memory)
    with pytest.raises(
        InvalidValue, match=r"transcript of agent 'assistant'; give 'user' its own: BotWireCapability\('s1', agent='user'\)"
    ):
        attach_memory(person(), session_id="s1", memory=memory)
    attach_memory(person("user2"), session_id="s1", agent="user2", memory=memory)


def test_an_agent_that_is_gone_leaves_its_transcript_to_another(memory: Memory):
    gc.disable()
    try:
        attach_memory(person("before"), session_id="s1", memory=memory)
        attach_memory(person("after"), session_id="s1", memory=memory)
    finally:
        gc.enable()


def test_a_group_chats_manager_is_told_what_is_for_it(memory: Memory):
    _, manager = group([])
    with pytest.raises(InvalidValue, match=r"whose memory is BotWireGroupChat\(manager, session_id\)"):
        attach_memory(manager, session_id="s1", memory=memory)


def test_what_is_no_agent_is_refused(memory: Memory):
    with pytest.raises(InvalidValue, match="not for a dict"):
        attach_memory({}, session_id="s1", memory=memory)  # type: ignore[arg-type]


def test_an_autogen_that_keeps_messages_elsewhere_is_refused_by_name(memory: Memory):
    assistant, _ = thinker()
    del assistant._oai_messages
    with pytest.raises(InvalidValue, match=rf"autogen {autogen.__version__} \(.*\) does not keep an agent's messages where"):
        attach_memory(assistant, session_id="s1", memory=memory)
    assert not assistant.hook_lists["process_all_messages_before_reply"]


@pytest.mark.parametrize(
    "options", [{"max_messages": 0}, {"max_messages": True}, {"peers": "ada"}, {"url": "memory://"}, {"namespace": "x"}]
)
def test_options_that_cannot_be_are_refused(memory: Memory, options: Any):
    with pytest.raises(InvalidValue):
        BotWireCapability("s1", memory=memory, **options)


@pytest.mark.parametrize(
    "names", [{"session_id": ""}, {"session_id": 7}, {"session_id": "s", "agent": "."}, {"session_id": "s", "facts": ""}]
)
def test_names_that_cannot_be_are_refused(memory: Memory, names: Any):
    with pytest.raises(InvalidName):
        BotWireCapability(memory=memory, **names)


def test_a_memory_to_be_awaited_is_refused():
    with pytest.raises(InvalidValue, match="not a AsyncMemory: autogen calls its hooks without awaiting them"):
        BotWireCapability("s1", memory=AsyncMemory())  # type: ignore[arg-type]


def test_a_message_that_cannot_be_stored_is_refused_before_anyone_has_heard_it(memory: Memory):
    assistant, seen = thinker()
    attach_memory(assistant, session_id="s1", memory=memory)
    with pytest.raises(InvalidValue, match="context"):
        say(person(), assistant, {"content": "hello", "context": {"a": {1, 2}}})  # type: ignore[arg-type]
    assert not seen
    assert len(memory.session("s1")) == 0


def test_a_turn_over_http_takes_three_calls(serve: Any, monkeypatch: pytest.MonkeyPatch):
    import httpcore

    requests: list[str] = []
    handle = httpcore.ConnectionPool.handle_request

    def counting(self: Any, request: Any) -> Any:
        requests.append(f"{request.method.decode()} {request.url.target.decode()}")
        return handle(self, request)

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", counting)
    assistant, _ = thinker()
    user = person()
    with serve() as address, Memory(url=address) as memory:
        attach_memory(assistant, session_id="s1", memory=memory)
        say(user, assistant, "hello")
        requests.clear()
        say(user, assistant, "again")
        assert len(requests) == 3, requests


def test_another_group_does_not_disturb(memory: Memory):
    """An agent's own memory, and that of a group it is in, are two: nothing of the group is stored twice."""
    log: list[Any] = []
    for _ in range(2):
        agents, manager = group(log)
        BotWireGroupChat(manager, "team", memory=memory)
        attach_memory(agents["bob"], session_id="bob", memory=memory)
        say(person(), agents["bob"], "privately")
        agents["alice"].initiate_chat(manager, message="go", silent=True)

    assert [message.text for message in memory.session("bob").messages()] == ["privately", "bob heard 1", "privately", "bob heard 3"]
    assert [text for _, _, text in log[-2][1]] == ["go", "bob heard 1", "carol heard 2", "go"]
