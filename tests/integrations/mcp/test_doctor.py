"""``botwire mcp doctor`` starts the server as a client does, and says what is wrong and what to do."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from commands import Runner

from botwire import Memory


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(capsys)


def test_a_server_that_works_is_used_in_both_eras_and_nothing_is_left(run, sqlite_url):
    ran = run("mcp", "doctor", "--url", sqlite_url, "-n", "app", "--json")
    assert ran.status == 0, ran.out
    assert ran.json["ok"] is True
    checks = ran.json["check"]
    assert [checks[era]["version"] for era in ("2026-07-28", "legacy")] == ["2026-07-28", "2025-11-25"]
    assert all(check["wrote"] and "memory_get" in check["tools"] for check in checks.values())
    with Memory("app", url=sqlite_url) as memory:
        assert memory.list_keys() == []


def test_what_a_clients_settings_say_is_what_is_started(run, sqlite_url):
    run("mcp", "config", "--client", "codex", "--write", "--url", sqlite_url, "--", "--read-only")
    ran = run("mcp", "doctor", "--client", "codex")
    assert ran.status == 0
    assert "(the server 'botwire' of " in ran.out
    assert "it shows no memory_set: started with --read-only" in ran.out


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"command": "/nowhere/botwire", "args": ["mcp"]}, "the command is not where this client would look"),
        ({"command": sys.executable, "args": ["-c", "import sys; sys.exit('no such thing')"]}, "ended at once.*It said: no such thing"),
        ({"command": sys.executable, "args": ["-c", "import time; time.sleep(100)"]}, "does not answer in time"),
        ({"command": sys.executable, "args": ["-m", "botwire", "mcp", "--nope"]}, "It said: botwire: No such option: --nope"),
    ],
)
def test_what_is_wrong_is_said(run, tmp_path, entry, said):
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"botwire": entry}}))
    ran = run("mcp", "doctor", "--client", "cursor", "--file", str(path), "--timeout", "3", "--json")
    problems = [finding["detail"] for finding in ran.json["findings"] if finding["level"] == "problem"]
    assert ran.status == 1
    assert len(problems) == 2
    for problem in problems:
        assert re.search(said, problem), problem


def test_another_server_is_told_from_botwires(run, tmp_path, root):
    path = tmp_path / "mcp.json"
    other = {"command": sys.executable, "args": [str(root / "examples" / "mcp_todo" / "server.py")]}
    path.write_text(json.dumps({"mcpServers": {"botwire": other}}))
    ran = run("mcp", "doctor", "--client", "cursor", "--file", str(path))
    assert ran.status == 1
    assert "this is not botwire's server: it has the tools list_create" in ran.out


def test_the_variables_of_the_settings_reach_the_server(run, tmp_path):
    path, store = tmp_path / "mcp.json", tmp_path / "other.db"
    entry = {"command": sys.executable, "args": ["-m", "botwire", "mcp"], "env": {"BOTWIRE_URL": f"sqlite://{store}"}}
    path.write_text(json.dumps({"mcpServers": {"botwire": entry}}))
    assert run("mcp", "doctor", "--client", "cursor", "--file", str(path)).status == 0
    assert store.exists()


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (None, 1, "has no server 'botwire' that is started by a command; `botwire mcp config --client cursor --write` adds it"),
        ('{"mcpServers": {"botwire": {"url": "http://x"}}}', 1, "has no server 'botwire' that is started by a command"),
        ("{", 6, "it cannot be read"),
    ],
)
def test_settings_without_the_server_are_named(run, tmp_path, text, status, said):
    path = tmp_path / "mcp.json"
    if text is not None:
        path.write_text(text)
    ran = run("mcp", "doctor", "--client", "cursor", "--file", str(path), "--json")
    assert ran.status == status
    assert said in ran.error["message"]
    assert str(path) in ran.error["message"]
    assert Path(path).exists() == (text is not None)
