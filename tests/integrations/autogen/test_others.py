"""One conversation, several frameworks: begun here, gone on with there, and the reverse."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any

import pytest
from scripted import agent, calling, client, seen

from botwire import Memory
from botwire.integrations.autogen import BotWireChatCompletionContext, BotWireTeamSession

if importlib.util.find_spec("langchain_core") is None:
    pytest.skip("not applicable: LangChain is installed only beside the newest AutoGen", allow_module_level=True)

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from botwire import BotWireChatHistory


def test_a_conversation_begun_here_goes_on_in_langchain(url: str):
    async def look(city: str) -> str:
        """Looks."""
        return f"sun in {city}"

    model = client(calling("look", city="Graz"), "sunny")
    context = BotWireChatCompletionContext("s", url=url)
    asyncio.run(agent("weather", model, tools=[look], model_context=context, max_tool_iterations=2).run(task="Graz?"))

    question, call, result, answer = BotWireChatHistory("s", url=url).messages
    assert question == HumanMessage("Graz?")
    assert (call.name, call.tool_calls[0]["args"]) == ("weather", {"city": "Graz"})
    assert isinstance(result, ToolMessage)
    assert (result.content, result.tool_call_id, result.name) == ("sun in Graz", "call-1", "look")
    assert (answer.content, answer.name) == ("sunny", "weather")


def test_a_conversation_begun_in_langchain_goes_on_here(url: str):
    history = BotWireChatHistory("s", url=url)
    call: Any = {"name": "look", "args": {"city": "Graz"}, "id": "1", "type": "tool_call"}
    history.add_messages(
        [HumanMessage("Graz?"), AIMessage("", tool_calls=[call]), ToolMessage("sun", tool_call_id="1"), AIMessage("sunny")]
    )
    model = client("rain")
    asyncio.run(agent("weather", model, model_context=BotWireChatCompletionContext("s", url=url)).run(task="Linz?"))
    assert seen(model) == ["SYSTEM", "Graz?", ["look"], ["sun"], "sunny", "Linz?"]
    assert [message.content for message in history.messages[-2:]] == ["Linz?", "rain"]


def test_what_a_team_said_opens_in_langchain(url: str):
    from autogen_agentchat.teams import RoundRobinGroupChat

    team = RoundRobinGroupChat([agent("a", client("a0")), agent("b", client("b0"))], max_turns=2)

    async def go() -> None:
        async with BotWireTeamSession(team, "s", url=url):
            await team.run(task="go")

    asyncio.run(go())
    assert [(message.type, message.content, message.name) for message in BotWireChatHistory("s", url=url).messages] == [
        ("human", "go", None),
        ("ai", "a0", "a"),
        ("ai", "b0", "b"),
    ]


def test_agent_framework_and_agentchat_share_a_conversation(url: str):
    from agent_framework import Message

    from botwire.integrations.agent_framework import BotWireHistoryProvider

    provider = BotWireHistoryProvider("s", url=url)
    asyncio.run(provider.save_messages(None, [Message("user", ["one"]), Message("assistant", ["1"], author_name="other")]))
    model = client("2")
    asyncio.run(agent("assistant", model, model_context=BotWireChatCompletionContext("s", url=url)).run(task="two"))
    assert seen(model) == ["SYSTEM", "one", "1", "two"]
    read = asyncio.run(provider.get_messages(None))
    assert [(message.role, message.text, message.author_name) for message in read] == [
        ("user", "one", None),
        ("assistant", "1", "other"),
        ("user", "two", None),
        ("assistant", "2", None),
    ]
    assert Memory(url=url).session("s").count() == 4
