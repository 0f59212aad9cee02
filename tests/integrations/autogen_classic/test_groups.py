"""BotWireGroupChat: a group goes on after the restart as it would have gone on without it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from autogen import GroupChat, GroupChatManager, UserProxyAgent
from classic import Shape, calling, group, person, texts, thinker

from botwire import InvalidValue, Memory, StoreUnavailable
from botwire.integrations.autogen_classic import BotWireGroupChat

CHATS = [("alice", "go"), ("carol", "again"), ("alice", "once more")]


def by_turns(last_speaker: Any, chat: GroupChat) -> Any:
    """A choice that looks at all that was said."""
    return chat.agents[sum(len(message["content"]) for message in chat.messages) % len(chat.agents)]


def uninterrupted(**options: Any) -> tuple[list[Any], list[Shape]]:
    log: list[Any] = []
    agents, manager = group(log, **options)
    for name, text in CHATS:
        agents[name].initiate_chat(manager, message=text, clear_history=False, silent=True)
    return log, manager.groupchat.messages


@pytest.mark.parametrize("choice", ["round_robin", by_turns], ids=["in turn", "by what was said"])
@pytest.mark.parametrize("way", ["defaults", "restored first", "awaited"])
def test_a_group_that_restarts_speaks_as_one_that_does_not(memory: Memory, choice: Any, way: str):
    expected, messages = uninterrupted(speaker_selection_method=choice)
    log: list[Any] = []
    for name, text in CHATS:
        agents, manager = group(log, speaker_selection_method=choice)
        remembered = BotWireGroupChat(manager, "team", memory=memory)
        if way == "restored first":
            assert texts(remembered.restore()) == texts(messages)[: len(memory.session("team"))]
            agents[name].initiate_chat(manager, message=text, clear_history=False, silent=True)
        elif way == "awaited":
            asyncio.run(agents[name].a_initiate_chat(manager, message=text, silent=True))
        else:
            agents[name].initiate_chat(manager, message=text, silent=True)

    assert log == expected
    assert manager.groupchat.messages == messages


@pytest.mark.parametrize("awaits", [True, False])
def test_the_message_that_ends_a_chat_is_remembered(memory: Memory, awaits: bool):
    agents, manager = group([])
    manager._is_termination_msg = lambda message: message["content"] == "carol heard 2"
    BotWireGroupChat(manager, "team", memory=memory)
    if awaits:
        asyncio.run(agents["alice"].a_initiate_chat(manager, message="go", silent=True))
    else:
        agents["alice"].initiate_chat(manager, message="go", silent=True)

    assert texts(BotWireGroupChat(group([])[1], "team", memory=memory).restore()) == ["go", "bob heard 1", "carol heard 2"]


def test_autogens_own_resume_says_nothing_twice(memory: Memory):
    agents, manager = group([])
    BotWireGroupChat(manager, "team", memory=memory)
    agents["alice"].initiate_chat(manager, message="go", silent=True)
    said = [dict(message) for message in manager.groupchat.messages]
    _, manager = group([])
    remembered = BotWireGroupChat(manager, "team", memory=memory)
    manager.resume(messages=said, silent=True)

    assert len(remembered.session) == 3


def test_a_manager_that_runs_another_chat_is_refused(memory: Memory):
    _, manager = group([])
    manager.replace_reply_func(GroupChatManager.run_chat, lambda *arguments: (True, None))
    with pytest.raises(InvalidValue, match="is not the one that GroupChatManager runs"):
        BotWireGroupChat(manager, "team", memory=memory)


@pytest.mark.parametrize("clear", [True, False])
def test_within_one_process_nothing_is_heard_twice(memory: Memory, clear: bool):
    expected, messages = uninterrupted()
    log: list[Any] = []
    agents, manager = group(log)
    remembered = BotWireGroupChat(manager, "team", memory=memory)
    for name, text in CHATS:
        agents[name].initiate_chat(manager, message=text, clear_history=clear, silent=True)
        assert remembered.restore() == manager.groupchat.messages

    assert log == expected
    assert len(memory.session("team")) == len(messages) == 9


def test_two_processes_of_one_group_hear_each_other(memory: Memory):
    log: list[Any] = []
    (here, manager), (there, other) = group(log), group([])
    BotWireGroupChat(manager, "team", memory=memory)
    BotWireGroupChat(other, "team", memory=memory)
    here["alice"].initiate_chat(manager, message="from here", silent=True)
    there["alice"].initiate_chat(other, message="from there", silent=True)
    here["alice"].initiate_chat(manager, message="once more", clear_history=False, silent=True)

    heard = [text for _, _, text in log[-2][1]]
    assert heard[0] == "from here"
    assert heard[3] == "from there"
    assert heard[6] == "once more"


def test_someone_from_outside_begins(memory: Memory):
    log: list[Any] = []
    for text in ("go", "again"):
        _, manager = group(log)
        BotWireGroupChat(manager, "team", memory=memory)
        person("visitor").initiate_chat(manager, message=text, silent=True)

    assert [text for _, _, text in log[-2][1]] == ["go", "alice heard 1", "bob heard 2", "again"]


def test_others_read_who_said_what(memory: Memory):
    _, manager = group([])
    BotWireGroupChat(manager, "team", memory=memory)
    person("visitor").initiate_chat(manager, message="go", silent=True)

    said = [(message.role, message.name, message.text) for message in memory.session("team").messages()]
    assert said == [("user", "visitor", "go"), ("assistant", "alice", "alice heard 1"), ("assistant", "bob", "bob heard 2")]


def test_a_conversation_that_another_framework_began_is_heard_by_all(memory: Memory):
    memory.session("team").append({"role": "user", "content": "hello", "name": "ada"}, ("assistant", "welcome"))
    log: list[Any] = []
    agents, manager = group(log)
    BotWireGroupChat(manager, "team", memory=memory)
    agents["alice"].initiate_chat(manager, message="go", silent=True)

    assert log[0] == ("bob", [("user", "ada", "hello"), ("user", "chat_manager", "welcome"), ("user", "alice", "go")])


def test_the_last_messages_are_restored(memory: Memory):
    agents, manager = group([], max_round=9)
    BotWireGroupChat(manager, "team", memory=memory)
    agents["alice"].initiate_chat(manager, message="go", silent=True)
    _, manager = group([])
    assert texts(BotWireGroupChat(manager, "team", memory=memory, max_messages=2).restore()) == ["bob heard 7", "carol heard 8"]


@pytest.mark.parametrize("awaits", [True, False])
def test_resume_goes_on_without_a_new_message(memory: Memory, awaits: bool):
    expected: list[Any] = []
    agents, manager = group(expected, max_round=5)
    agents["alice"].initiate_chat(manager, message="go", silent=True)
    log: list[Any] = []
    for _ in range(2):
        agents, manager = group(log)
        remembered = BotWireGroupChat(manager, "team", memory=memory)
        if not memory.session("team").count():
            agents["alice"].initiate_chat(manager, message="go", silent=True)
        elif awaits:
            asyncio.run(remembered.a_resume(silent=True))
        else:
            remembered.resume(silent=True)

    assert log == expected
    assert len(memory.session("team")) == 5


def test_a_group_killed_while_a_tool_runs_goes_on_by_running_it(story: Callable[..., tuple[int, Any]], url: str):
    assert story("grouped", url, "die")[0] == -signal.SIGKILL

    status, seen = story("grouped", url, "resume")
    assert status == 0
    assert [message["role"] for message in seen[-1]] == ["system", "user", "assistant", "tool"]
    assert seen[-1][-1]["content"] == "3"


def test_a_group_killed_while_a_tool_runs_leaves_no_call_unanswered(story: Callable[..., tuple[int, Any]], url: str):
    assert story("grouped", url, "die")[0] == -signal.SIGKILL

    status, seen = story("grouped", url, "and now?")
    assert status == 0
    assert [message["role"] for message in seen[0]] == ["system", "user", "assistant", "tool", "user"]
    assert "interrupted" in seen[0][3]["content"]


def test_calls_and_results_come_back_as_they_were(memory: Memory):
    def script(messages: list[Shape]) -> Any:
        return calling(f"c{len(messages)}") if messages[-1]["content"] == "add" else "done"

    def run(*, restarts: bool) -> list[list[Shape]]:
        asked: list[list[Shape]] = []
        manager: Any = None
        for _ in range(2):
            if manager is None or restarts:
                (assistant, seen), user = (
                    thinker(script=script),
                    UserProxyAgent("user", human_input_mode="NEVER", code_execution_config=False),
                )
                user.register_function({"add": lambda a, b: str(a + b)})
                rounds = GroupChat(agents=[user, assistant], messages=[], max_round=4, speaker_selection_method="round_robin")
                manager = GroupChatManager(rounds, llm_config=False)
                if restarts:
                    BotWireGroupChat(manager, "team", memory=memory)
            user.initiate_chat(manager, message="add", clear_history=restarts, silent=True)
            asked += seen if restarts else []
        return asked or seen

    assert run(restarts=True) == run(restarts=False)
    assert [message.role for message in memory.session("team").messages()] == ["user", "assistant", "tool", "assistant"] * 2


# ----------------------------------------------------------------------------------- what goes wrong


def test_what_cannot_be_stored_nobody_hears(serve: Any):
    log: list[Any] = []
    agents, manager = group(log)
    with serve() as address:
        BotWireGroupChat(manager, "team", memory=Memory(url=address, timeout=2)).restore()
    with pytest.raises(StoreUnavailable):
        agents["alice"].initiate_chat(manager, message="go", silent=True)
    assert not log
    assert manager.groupchat.messages == []


def test_a_group_can_have_one_memory_and_only_from_its_begin(memory: Memory):
    agents, manager = group([])
    BotWireGroupChat(manager, "team", memory=memory)
    with pytest.raises(InvalidValue, match="has a memory already"):
        BotWireGroupChat(manager, "team", memory=memory)

    agents, manager = group([])
    agents["alice"].initiate_chat(manager, message="go", silent=True)
    with pytest.raises(InvalidValue, match="before its first one"):
        BotWireGroupChat(manager, "team", memory=memory)


def test_what_is_no_manager_is_refused(memory: Memory):
    with pytest.raises(InvalidValue, match="give the GroupChatManager, not a GroupChat"):
        BotWireGroupChat(group([])[1].groupchat, "team", memory=memory)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"max_messages": 0}, {"url": "memory://"}, {"namespace": "x"}])
def test_options_of_a_group_that_cannot_be_are_refused(memory: Memory, options: Any):
    with pytest.raises(InvalidValue):
        BotWireGroupChat(group([])[1], "team", memory=memory, **options)


def test_resume_says_why_it_cannot(memory: Memory):
    with pytest.raises(InvalidValue, match="nothing was said yet"):
        BotWireGroupChat(group([])[1], "team", memory=memory).resume()
    agents, manager = group([])
    BotWireGroupChat(manager, "team", memory=memory)
    agents["alice"].initiate_chat(manager, message="go", silent=True)
    _, manager = group([], ("alice", "bob"))
    remembered = BotWireGroupChat(manager, "team", memory=memory)
    with pytest.raises(InvalidValue, match="'carol', who spoke last, is not in the group"):
        remembered.resume()
    assert len(memory.session("team")) == 3
