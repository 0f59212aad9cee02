"""``botwire watch`` and ``botwire copy`` as commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from botwire import Memory
from botwire.stores import open_store


@contextmanager
def watching(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``botwire watch`` as a process; a key that is there already shows that it has begun."""
    command = [sys.executable, "-m", "botwire", "watch", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str]) -> str:
    """Ctrl-C; what is on standard error."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return err


def test_changes_are_printed_as_they_happen_and_ctrl_c_ends_it_cleanly(memory):
    memory.set_many({"user:1": {"a": 1}, "other": 1})
    with watching("user:*", "--initial") as process:
        assert process.stdout.readline() == 'user:1  v1  {"a":1}\n'
        memory.set("other", 2)
        memory.set("user:2", "te\x1bxt")
        assert process.stdout.readline() == 'user:2  v1  "te\\u001bxt"\n'
        memory.delete("user:1")
        assert process.stdout.readline() == "user:1  is gone\n"
        assert stop(process) == ""


def test_changes_are_printed_as_json_lines(memory):
    memory.set("k", 1, ttl=1_000)
    with watching("--initial", "--json") as process:
        record = json.loads(process.stdout.readline())
        assert (record["key"], record["value"], record["version"], record["deleted"]) == ("k", 1, 1, False)
        assert record["expires_at"] > record["updated_at"]
        memory.delete("k")
        assert json.loads(process.stdout.readline()) == {"namespace": "default", "key": "k", "deleted": True}
        assert stop(process) == ""


def test_a_conversation_is_followed(memory):
    session = memory.session("user-42")
    session.append(*[("user", f"{number}") for number in range(5)])
    with watching("--session", "user-42", "--last", "2", "--json") as process:
        assert [json.loads(process.stdout.readline())["seq"] for _ in range(2)] == [4, 5]
        session.append(("assistant", "hello"))
        record = json.loads(process.stdout.readline())
        assert (record["seq"], record["message"]) == (6, {"role": "assistant", "content": "hello"})
        session.replace(("user", "anew"))
        after = json.loads(process.stdout.readline())
        assert after["seq"] == 1
        assert after["epoch"] != record["epoch"]
        stop(process)
    with watching("--session", "user-42", "--after", "0") as process:
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[1].startswith("user  #1 · ")
        assert lines[2] == "  anew\n"
        stop(process)


@pytest.mark.parametrize(
    "arguments",
    [("--agent", "a"), ("--last", "2"), ("p", "--session", "s"), ("--session", "s", "--last", "1", "--after", "1"), ("--session", "")],
)
def test_what_makes_no_sense_is_refused(run, arguments):
    assert run("watch", *arguments).status == 2


def contents(path: Any) -> Any:
    store = open_store(f"sqlite://{path}")
    logs = [(info, store.read_log("default", info.session, info.agent).rows) for info in store.scan_logs("default", None, 100)]
    found = store.scan("default", "", None, 100), logs
    store.close()
    return found


@pytest.fixture
def one(tmp_path):
    with Memory(url=f"sqlite://{tmp_path}/one.db") as memory:
        memory.set_many({"a": 1, "b": 2})
        memory.session("s").append(("user", "1"), ("user", "2"))
    return f"sqlite://{tmp_path}/one.db"


def test_a_store_is_copied_and_compared(run, tmp_path, one):
    other = f"sqlite://{tmp_path}/other.db"
    would = run("copy", one, other, "--dry-run")
    assert (would.status, would.out) == (0, "")
    assert "would be copied: 2 entries, 1 session, 2 messages; equal already: 0" in would.err
    assert not (tmp_path / "other.db").exists()
    done = run("copy", one, other)
    assert done.status == 0
    assert "copied: 2 entries, 1 session, 2 messages" in done.err
    assert "verified: 4 of 4 entries and messages are equal" in done.err
    assert contents(tmp_path / "other.db") == contents(tmp_path / "one.db")
    again = run("copy", one, other, "--json").json
    assert (again["ok"], again["entries"], again["same"], again["compared"]) == (True, 0, 3, 4)


def test_what_is_newer_and_what_is_extra_is_told(run, tmp_path, one):
    other = f"sqlite://{tmp_path}/other.db"
    run("copy", one, other)
    with Memory(url=other) as memory:
        memory.set_many({"a": "newer", "extra": 1})
    done = run("copy", one, other)
    assert done.status == 1
    assert "entry 'a' in namespace 'default' is newer in the destination" in done.err
    assert "newer in the destination, and left as they are: 1 (--overwrite replaces them)" in done.err
    assert "in the destination alone, and left there: 1 (--delete removes them)" in done.err
    done = run("copy", one, other, "--overwrite", "--delete")
    assert done.status == 0
    assert "deleted: 1" in done.err
    assert contents(tmp_path / "other.db") == contents(tmp_path / "one.db")


def test_a_store_is_followed_until_ctrl_c(tmp_path, one):
    other = f"sqlite://{tmp_path}/other.db"
    command = [sys.executable, "-m", "botwire", "copy", one, other, "--follow", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert json.loads(process.stdout.readline())["entries"] == 2
        assert "following" in process.stderr.readline()
        with Memory(url=one) as memory:
            memory.set("c", 3)
            while json.loads(process.stdout.readline())["entries"] != 1:
                pass
            memory.session("s").append(("user", "3"))
            while json.loads(process.stdout.readline())["messages"] != 1:
                pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert contents(tmp_path / "other.db") == contents(tmp_path / "one.db")


def test_a_store_is_not_copied_onto_itself(run, one):
    done = run("copy", one, one)
    assert done.status == 2
    assert "the same store" in done.err


def test_following_cannot_be_tried_out(run, one):
    assert run("copy", one, "memory://", "--follow", "--dry-run").status == 2
