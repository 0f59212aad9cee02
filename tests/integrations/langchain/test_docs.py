"""The code of docs/langchain.md does what it says, in the order in which it stands, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, message_to_dict
from reading import Reader, blocks_of

from botwire import InvalidValue, Memory
from botwire.integrations.langchain import BotWireChatHistory, import_messages

BLOCK = re.compile(r"(?:<!-- (?P<comment>[^\n]*?) -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def old_history(path: Path) -> None:
    """A database as SQLChatMessageHistory leaves it."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")
    call = {"name": "f", "args": {"a": 1}, "id": "c", "type": "tool_call"}
    for session_id, message in (("ada", HumanMessage("hi")), ("bob", HumanMessage("hey")), ("ada", AIMessage("", tool_calls=[call]))):
        row = (session_id, json.dumps(message_to_dict(message)))
        database.execute("INSERT INTO message_store (session_id, message) VALUES (?, ?)", row)
    database.commit()
    database.close()


@pytest.mark.timeout(300)
def test_the_code_of_the_page(root: Path, tmp_path: Path):
    pytest.importorskip("langgraph.graph", reason="langgraph is not installed")
    page = root / "docs" / "langchain.md"
    text = page.read_text(encoding="utf-8")
    old_history(tmp_path / "chat.db")
    home = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    blocks = [found for found in BLOCK.finditer(text) if not (found["comment"] or "").startswith("not run")]
    assert len(blocks) >= 7
    for number, found in enumerate(blocks):
        line = text.count("\n", 0, found.start("code")) + 1
        snippet = tmp_path / f"block{number}.py"
        snippet.write_text(found["code"], encoding="utf-8")
        command = [sys.executable, str(root / "tests" / "run_snippet.py"), str(snippet), page.name, str(line)]
        ended = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, f"{page.name}, line {line}: {ended.stderr}"


@pytest.mark.timeout(300)
def test_the_code_of_the_page_on_migrating(root: Path, tmp_path: Path):
    pytest.importorskip("langgraph.graph", reason="langgraph is not installed")
    page = root / "docs" / "migrating.md"
    reader = Reader(tmp_path, page.name)
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if not block.reason:
            reader.try_out(block)


def test_imported_messages_are_in_their_sessions_and_equal(tmp_path: Path, memory: Memory):
    old_history(tmp_path / "chat.db")
    with closing(sqlite3.connect(tmp_path / "chat.db")) as database:
        rows = database.execute("SELECT session_id, message FROM message_store ORDER BY id").fetchall()

    assert import_messages(rows, memory=memory) == {"ada": 2, "bob": 1}
    assert [type(message) for message in BotWireChatHistory("ada", memory=memory).messages] == [HumanMessage, AIMessage]
    with pytest.raises(InvalidValue, match="'ada' already has 2 messages"):
        import_messages(rows, memory=memory)


@pytest.mark.parametrize("row", ["{", "[]", '{"type": "hologram", "data": {}}', b"\xff", {"type": "human", "data": {}}])
def test_a_row_that_is_no_message_is_named_and_nothing_is_written(memory: Memory, row: object):
    with pytest.raises(InvalidValue, match="message 2 of session 'bob'"):
        import_messages(
            [("ada", message_to_dict(HumanMessage("a"))), ("bob", message_to_dict(HumanMessage("b"))), ("bob", row)], memory=memory
        )  # type: ignore[list-item]
    assert memory.sessions() == []
