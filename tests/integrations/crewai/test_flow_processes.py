"""Flows in processes of their own, which are killed, started again, and run at the same time."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from engines.programs import Programs
from flows import chat, review, said

from botwire import Memory
from botwire.integrations.crewai import BotWireFlowPersistence

pytestmark = pytest.mark.timeout(300)  # CrewAI takes seconds to import, and half a minute on a busy machine

START = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from flows import chat, review
from botwire.integrations.crewai import BotWireFlowPersistence
url = sys.argv[1]
persistence = BotWireFlowPersistence(url=url)
def die(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)
def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""


def killed(programs: Programs, code: str, *arguments: str) -> None:
    """Runs a program that ends by SIGKILL."""
    with programs.begin(START + code, *arguments) as started:
        _, errors = started.communicate(timeout=250)
    assert started.returncode == -signal.SIGKILL, errors


def test_a_session_goes_on_after_the_process_was_killed_between_two_turns(programs: Programs, any_url: str):
    killed(programs, "chat(persistence, 'My name is Bluebird.').handle_turn('who are you?', session_id='s1')\ndie()", any_url)

    flow = chat(BotWireFlowPersistence(url=any_url), "Bluebird.")
    flow.handle_turn("say it again", session_id="s1")

    assert said(flow.model.seen[0])[1:] == [("user", "who are you?"), ("assistant", "My name is Bluebird."), ("user", "say it again")]


def test_a_turn_that_was_killed_while_the_model_thought_leaves_a_whole_state(programs: Programs, url: str):
    code = """
flow = chat(persistence, "one")
flow.handle_turn("a", session_id="s1")
flow.model.call = die
flow.handle_turn("b", session_id="s1")
"""
    killed(programs, code, url)

    with Memory(url=url) as memory:
        session = said(memory.session("s1").messages())
    state = BotWireFlowPersistence(url=url).load_state("s1")
    assert session == said(state["messages"]) == [("user", "a"), ("assistant", "one"), ("user", "b")]
    assert state["last_user_message"] == "b"
    assert chat(BotWireFlowPersistence(url=url), "two").handle_turn("c", session_id="s1") == "two"


def test_state_and_messages_agree_wherever_a_process_is_killed(programs: Programs, any_url: str):
    """Each save adds a message and counts it in the state; whatever moment the kill hits, both tell the same."""
    code = """
count = (persistence.load_state("s1") or {"count": 0})["count"]
while True:
    count += 1
    said = [{"role": "user", "content": str(number)} for number in range(max(0, count - 5 * (count % 7 == 0)))]
    persistence.save_state("s1", "step", {"id": "s1", "count": count, "said": len(said), "messages": said})
    print(count, flush=True)
"""
    with programs.begin(START + code, any_url) as started:
        for line in started.stdout:
            if int(line) >= 60:
                break
        started.send_signal(signal.SIGKILL)
        started.wait()

    state = BotWireFlowPersistence(url=any_url).load_state("s1")
    with Memory(url=any_url) as memory:
        messages = memory.session("s1").messages()
    assert state["count"] >= 60
    assert len(state["messages"]) == state["said"] == len(messages)
    assert [message.content for message in messages] == [str(number) for number in range(state["said"])]


TURNS = """
from flows import ScriptedLLM
me = sys.argv[2]
ready()
refused = 0
for number in range(4):
    while True:
        try:
            chat(persistence, f"answer {me}{number}").handle_turn(f"{me}{number}", session_id="s1")
            break
        except RuntimeError as error:
            assert "saved by another run" in str(error), error
            refused += 1
print("refused", refused)
"""


def test_two_processes_that_talk_in_one_session_lose_no_message(programs: Programs, any_url: str):
    with programs.begin(START + TURNS, any_url, "a") as one, programs.begin(START + TURNS, any_url, "b") as other:
        for started in (one, other):
            assert started.stdout.readline() == "ready\n", started.stderr.read()
        for started in (one, other):
            started.stdin.write("go\n")
            started.stdin.flush()
        for started in (one, other):
            _, errors = started.communicate(timeout=250)
            assert started.returncode == 0, errors

    with Memory(url=any_url) as memory:
        found = said(memory.session("s1").messages())
    turns = [f"{me}{number}" for me in "ab" for number in range(4)]
    assert sorted(text for role, text in found if role == "assistant") == sorted(f"answer {turn}" for turn in turns)
    assert {text for role, text in found if role == "user"} == set(turns)
    assert said(BotWireFlowPersistence(url=any_url).load_state("s1")["messages"]) == found


def test_a_flow_that_waits_for_a_human_is_resumed_after_its_process_was_killed(programs: Programs, server: str):
    killed(programs, "review(persistence)(suppress_flow_events=True).kickoff(inputs={'id': 'r1'})\ndie()", server)

    persistence = BotWireFlowPersistence(url=server)
    assert review(persistence).from_pending("r1", persistence, suppress_flow_events=True).resume("yes") == "published after: yes"
    with pytest.raises(ValueError, match="No pending feedback"):
        review(persistence).from_pending("r1", persistence)
