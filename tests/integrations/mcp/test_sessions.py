"""The session tools see the same sessions as everything else."""

from __future__ import annotations

import re

import pytest
from inside import tools
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from botwire import BotWireChatHistory, Memory

pytestmark = pytest.mark.anyio


async def test_a_session_is_begun_written_and_read_back(url: str, era: str):
    async with tools(url, era) as server:
        session_id = (await server.call("session_create", label="trip", ttl_seconds=3_600))["session_id"]
        assert re.fullmatch(r"ses_[\w-]{22,}", session_id)  # 128 bits at least
        assert (await server.call("session_read", session_id=session_id))["messages"] == []
        messages = [
            {"role": "user", "content": "How is the weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "sunny", "tool_call_id": "c"},
        ]
        assert await server.call("session_append", session_id=session_id, messages=messages) == {"first_seq": 1, "last_seq": 3}
        read = (await server.call("session_read", session_id=session_id))["messages"]
        assert [{name: value for name, value in message.items() if name not in ("seq", "created_at")} for message in read] == messages
        (listed,) = (await server.call("session_list"))["sessions"]
        assert (listed["session_id"], listed["label"], listed["messages"]) == (session_id, "trip", 3)
        assert "expires_at" in listed


async def test_two_sessions_never_get_one_id(url: str, era: str):
    async with tools(url, era) as server:
        made = {(await server.call("session_create"))["session_id"] for _ in range(20)}
    assert len(made) == 20


async def test_a_retry_with_the_same_key_is_applied_once(url: str, era: str):
    async with tools(url, era) as server:
        session_id = (await server.call("session_create"))["session_id"]
        for _ in range(3):
            result = await server.call(
                "session_append", session_id=session_id, messages=[{"role": "user", "content": "hi"}], dedupe_key="turn-1"
            )
            assert result == {"first_seq": 1, "last_seq": 1}
        other = [{"role": "user", "content": "other"}]
        error = await server.error("session_append", session_id=session_id, messages=other, dedupe_key="turn-1")
        assert error.startswith("request_conflict: ")
        assert (await server.call("session_read", session_id=session_id))["count"] == 1


async def test_a_batch_with_a_bad_message_stores_none(url: str, era: str):
    async with tools(url, era) as server:
        session_id = (await server.call("session_create"))["session_id"]
        messages = [{"role": "user", "content": "good"}, {"role": "user", "content": "bad", "tool_calls": "nonsense"}]
        assert (await server.error("session_append", session_id=session_id, messages=messages)).startswith("invalid_argument: ")
        assert (await server.call("session_read", session_id=session_id))["count"] == 0


async def test_an_expired_session_is_unknown(url: str, era: str):
    with Memory(url=url) as memory:
        memory.session("brief", ttl=0.001).append({"role": "user", "content": "x"})
    async with tools(url, era) as server:
        assert (await server.error("session_read", session_id="brief")).startswith("unknown_or_expired_session: ")
        error = await server.error("session_append", session_id="brief", messages=[{"role": "user", "content": "x"}])
        assert error.startswith("unknown_or_expired_session: ")
        assert (await server.call("session_list"))["sessions"] == []


async def test_a_conversation_of_langchain_is_read_and_continued(url: str, era: str):
    with Memory(url=url) as memory:
        history = BotWireChatHistory("user-42", memory=memory)
        history.add_messages(
            [
                SystemMessage("Be brief."),
                HumanMessage("Weather in Graz?"),
                AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Graz"}, "id": "c1"}]),
                ToolMessage("sunny", tool_call_id="c1"),
                AIMessage("Sunny."),
            ]
        )
        async with tools(url, era) as server:
            read = (await server.call("session_read", session_id="user-42"))["messages"]
            assert [message["role"] for message in read] == ["system", "user", "assistant", "tool", "assistant"]
            assert read[2]["tool_calls"][0]["function"]["name"] == "weather"
            assert read[3]["tool_call_id"] == "c1"
            await server.call("session_append", session_id="user-42", messages=[{"role": "user", "content": "And in Wien?"}])
        assert isinstance(history.messages[-1], HumanMessage)
        assert history.messages[-1].content == "And in Wien?"


async def test_a_fact_set_through_mcp_is_in_a_prompt_of_langchain(url: str, era: str):
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import RunnableLambda

    async with tools(url, era) as server:
        await server.call("memory_set", key="user-42/preferences", value={"language": "German"})
    with Memory(url=url) as memory:
        facts = RunnableLambda(lambda question: {"question": question, "facts": memory.get("user-42/preferences")})
        prompt = facts | ChatPromptTemplate([("system", "Known: {facts}"), ("user", "{question}")])
        assert "German" in str(prompt.invoke("Hello").to_messages()[0].content)


async def test_an_agents_own_transcript_is_found_by_its_name(url: str, era: str):
    with Memory(url=url) as memory:
        memory.session("team", agent="writer").append({"role": "user", "content": "draft"})
        memory.session("team", agent="critic").append({"role": "user", "content": "no"})
    async with tools(url, era) as server:
        error = await server.error("session_read", session_id="team")
        assert "pass agent, one of critic, writer" in error
        assert (await server.call("session_read", session_id="team", agent="writer"))["messages"][0]["content"] == "draft"
        first = await server.call("session_list", limit=1)
        second = await server.call("session_list", limit=1, cursor=first["next_cursor"])
        assert [one["sessions"][0]["agent"] for one in (first, second)] == ["critic", "writer"]
        assert "next_cursor" not in second
