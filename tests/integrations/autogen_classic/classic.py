"""Agents whose model is scripted. As a program, one process of a story: ``python classic.py STORY URL``, told on standard output."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import autogen
    from autogen import ConversableAgent, GroupChat, GroupChatManager

Shape = dict[str, Any]


class Said:
    """A message as clients of models give it."""

    function_call = None

    def __init__(self, said: str | Shape) -> None:
        self.shape: Shape = {"role": "assistant", "content": said} if isinstance(said, str) else said
        self.content, self.tool_calls = self.shape["content"], self.shape.get("tool_calls")

    def model_dump(self) -> Shape:
        return self.shape


class ScriptedModel:
    """A model client that answers from a script, and keeps what it was asked."""

    def __init__(self, config: Shape, *, seen: list[list[Shape]], script: Callable[[list[Shape]], Any]) -> None:
        self.seen, self.script = seen, script

    def create(self, params: Shape) -> Any:
        self.seen.append(json.loads(json.dumps(params["messages"])))
        return SimpleNamespace(choices=[SimpleNamespace(message=Said(self.script(params["messages"])))], model="scripted", cost=0)

    def message_retrieval(self, response: Any) -> list[Any]:
        return [choice.message if choice.message.tool_calls else choice.message.content for choice in response.choices]

    def cost(self, response: Any) -> float:
        return 0

    @staticmethod
    def get_usage(response: Any) -> Shape:
        return {}


def count(messages: list[Shape]) -> str:
    return f"answer {sum(message['role'] != 'system' for message in messages)}"


def thinker(
    name: str = "assistant", script: Callable[[list[Shape]], Any] = count, **options: Any
) -> tuple[ConversableAgent, list[list[Shape]]]:
    """An agent with a model, and what that model was asked."""
    seen: list[list[Shape]] = []
    model = {"config_list": [{"model": "scripted", "model_client_cls": "ScriptedModel"}], "cache_seed": None}
    agent = ConversableAgent(name, system_message="SYS", llm_config=model, human_input_mode="NEVER", **options)
    agent.register_model_client(model_client_cls=ScriptedModel, seen=seen, script=script)
    return agent, seen


def person(name: str = "user", **options: Any) -> ConversableAgent:
    return ConversableAgent(name, llm_config=False, human_input_mode="NEVER", **{"max_consecutive_auto_reply": 0, **options})


def texts(call: Iterable[Shape]) -> list[Any]:
    return [message["content"] for message in call]


def calling(identifier: str = "c1", name: str = "add") -> Shape:
    function = {"name": name, "arguments": '{"a": 1, "b": 2}'}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": identifier, "type": "function", "function": function}]}


def group(
    log: list[Any], names: Iterable[str] = ("alice", "bob", "carol"), **options: Any
) -> tuple[dict[str, ConversableAgent], GroupChatManager]:
    """A group whose agents say how much they have heard."""
    agents: dict[str, ConversableAgent] = {}
    for name in names:
        agent = agents[name] = ConversableAgent(name, llm_config=False, human_input_mode="NEVER")

        def reply(recipient: Any, messages: list[Shape], sender: Any, config: Any) -> tuple[bool, str]:
            log.append((recipient.name, [(message["role"], message.get("name"), message["content"]) for message in messages]))
            return True, f"{recipient.name} heard {len(messages)}"

        agent.register_reply([autogen.Agent, None], reply, position=0)
    settings = {"max_round": 3, "speaker_selection_method": "round_robin", **options}
    return agents, GroupChatManager(GroupChat(agents=list(agents.values()), messages=[], **settings), llm_config=False)


# ---------------------------------------------------------------------------------------- stories


def turn(url: str, text: str) -> None:
    """One turn of a conversation; tells what the model was asked."""
    from botwire.integrations.autogen_classic import attach_memory

    assistant, seen = thinker()
    attach_memory(assistant, session_id="s1", url=url)
    person().initiate_chat(assistant, message=text, max_turns=1, silent=True)
    print("TOLD", json.dumps(seen))


def interrupted(url: str, text: str) -> None:
    """A turn in which the process is killed while the tool runs, if ``text`` says so."""
    from botwire.integrations.autogen_classic import attach_memory

    def add(a: int, b: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return a + b

    def script(messages: list[Shape]) -> Any:
        return calling() if messages[-1]["content"] == "die" else "done"

    assistant, seen = thinker(script=script)
    user = person(max_consecutive_auto_reply=1)
    user.register_function({"add": add})
    attach_memory(assistant, session_id="s1", url=url)
    attach_memory(user, session_id="s1", agent="user", url=url)
    user.initiate_chat(assistant, message=text, silent=True)
    print("TOLD", json.dumps(seen))


def grouped(url: str, text: str) -> None:
    """A group in which the process is killed while the tool runs, if ``text`` says so; else it goes on from there."""
    from botwire.integrations.autogen_classic import BotWireGroupChat

    def add(a: int, b: int) -> int:
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return a + b

    def script(messages: list[Shape]) -> Any:
        return calling() if messages[-1]["content"] == "die" else "done"

    assistant, seen = thinker(script=script)
    user = person(max_consecutive_auto_reply=9)
    user.register_function({"add": add})
    rounds = GroupChat(agents=[user, assistant], messages=[], max_round=4, speaker_selection_method="round_robin")
    manager = GroupChatManager(rounds, llm_config=False)
    memory = BotWireGroupChat(manager, "team", url=url)
    if text == "resume":
        memory.resume(silent=True)
    else:
        user.initiate_chat(manager, message=text, silent=True)
    print("TOLD", json.dumps(seen))


if __name__ == "__main__":
    {"turn": turn, "interrupted": interrupted, "grouped": grouped}[sys.argv[1]](sys.argv[2], sys.argv[3])
