"""``botwire mcp`` as a client starts it: standard input and output, its options, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from clients import Lines, call, command, opening, request

from botwire import InvalidValue, Memory
from botwire.cli import main
from botwire.integrations.mcp import _serving

BUSY = 3.0
"""Seconds from the start to the answer of tools/list that a client waits at most, on a busy machine of two cores."""


@pytest.fixture
def store(tmp_path: Path) -> tuple[str, str]:
    return ("--store", str(tmp_path / "memory.db"))


@pytest.fixture(params=[False, True], ids=["older", "newer"])
def modern(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_both_eras_are_answered(store: tuple[str, str], modern: bool):
    with Lines(*store, modern=modern) as server:
        if modern:
            assert "2026-07-28" in server.ask("server/discover")["result"]["supportedVersions"]
        listed = server.ask("tools/list")["result"]
        assert len(json.dumps(listed, separators=(",", ":"))) < 8_192
        if modern:
            assert (listed["ttlMs"], listed["cacheScope"]) == (0, "private")
        assert server.call("memory_set", key="k", value=1)["version"] == 1


def test_a_client_that_closes_its_end_gets_all_answers_first(store: tuple[str, str]):
    with Lines(*store) as server:
        server.send(b"".join(call(number, "memory_append", {"key": "l", "items": [number]}) for number in range(1, 51)))
        status, rest = server.end()
    answers = [json.loads(line) for line in rest.splitlines()]

    assert status == 0
    assert sorted(answer["id"] for answer in answers) == list(range(1, 51))
    with Memory(url=f"sqlite://{store[1]}") as memory:
        assert sorted(memory.get("l")) == list(range(1, 51))


def test_lines_that_are_no_messages_are_answered_and_do_no_harm(store: tuple[str, str]):
    with Lines(*store) as server:
        for line, code, number in [
            (b'{"garbage\n', -32700, None),
            (b"[]\n", -32600, None),
            (b'{"jsonrpc":"2.0","id":5}\n', -32600, 5),
            (b"\xff\xfe\n", -32700, None),
            (b'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"x":' + b"1" * 5_000 + b"}}\n", -32602, 6),
        ]:
            server.send(line)
            answer = server.receive()
            assert (answer["error"]["code"], answer["id"]) == (code, number)
        server.send(b"\n  \n")
        assert server.call("memory_set", key="k", value=1)["version"] == 1


def test_nothing_but_messages_is_on_standard_output(tmp_path: Path):
    """Whatever prints in the process, a library say, prints to standard error."""
    program = f"""
import botwire.integrations.mcp._tools_core as core, os, sys
async def noisy(call, inner=core.CORE[5].run):
    print("printed"); os.system("echo from a child"); sys.stdout.write("written\\n"); sys.stdout.flush()
    return await inner(call)
core.CORE = (*core.CORE[:5], type(core.CORE[5])(**{{**vars(core.CORE[5]), "run": noisy}}), core.CORE[6])
from botwire.cli import main
sys.exit(main(["mcp", "--store", {str(tmp_path / "memory.db")!r}]))
"""
    sent = opening() + call(1, "memory_list", {}) + request(2, "ping")
    ended = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, timeout=60, check=True)

    assert sorted(json.loads(line)["id"] for line in ended.stdout.splitlines()) == [0, 1, 2]
    assert all(word in ended.stderr for word in (b"printed", b"from a child", b"written"))


def test_a_child_of_the_server_reads_nothing_of_the_clients_input(tmp_path: Path):
    """git is started to name the namespace; it must not swallow messages."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    sent = opening() + call(1, "memory_info", {})
    ended = subprocess.run(
        command("--namespace-from", "git", "--tools", "admin"), input=sent, capture_output=True, timeout=60, check=True, cwd=tmp_path
    )
    assert len(ended.stdout.splitlines()) == 2


def test_a_server_that_is_told_to_stop_leaves_what_it_acknowledged(store: tuple[str, str]):
    with Lines(*store) as server:
        assert server.call("memory_set", key="k", value=1)["version"] == 1
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
    with Memory(url=f"sqlite://{store[1]}") as memory:
        assert memory.get("k") == 1


def test_a_client_that_is_gone_ends_the_server(store: tuple[str, str]):
    with Lines(*store) as server:
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.send(call(1, "memory_set", {"key": "k", "value": 1}))
        assert server.process.wait(60) is not None


def test_a_subscriber_of_the_older_protocol_is_told_of_changes(store: tuple[str, str]):
    with Lines(*store) as server:
        assert "result" in server.ask("resources/subscribe", {"uri": "memory://default/k"})
        server.send(call(90, "memory_set", {"key": "other", "value": 1}) + call(91, "memory_set", {"key": "k", "value": 1}))
        messages = [server.receive() for _ in range(3)]
        told = [message["params"]["uri"] for message in messages if message.get("method") == "notifications/resources/updated"]
        assert told == ["memory://default/k"]
        assert "result" in server.ask("resources/unsubscribe", {"uri": "memory://default/k"})
        assert server.call("memory_set", key="k", value=2)["version"] == 2


def test_a_subscriber_of_the_older_protocol_is_told_of_what_another_process_changed(store: tuple[str, str]):
    with Lines(*store) as server:
        assert "result" in server.ask("resources/subscribe", {"uri": "memory://default/k"})
        with Memory(url=f"sqlite://{store[1]}") as memory:
            memory.set("other", 1)
            memory.set("k", 1)
        message = server.receive()
        assert (message["method"], message["params"]["uri"]) == ("notifications/resources/updated", "memory://default/k")


@pytest.mark.alone
@pytest.mark.timeout(120)
def test_tools_are_listed_within_three_seconds_of_the_start(store: tuple[str, str]):
    best = min(seconds_to_tools(store) for _ in range(4))

    assert best < BUSY


def seconds_to_tools(store: tuple[str, str]) -> float:
    start = time.monotonic()
    with subprocess.Popen(command(*store), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(opening() + request(1, "tools/list"))
        process.stdin.flush()
        assert [json.loads(process.stdout.readline())["id"] for _ in range(2)] == [0, 1]
        return time.monotonic() - start


# ------------------------------------------------------------------------------------------ the options


def told(arguments: list[str], folder: Path, **environment: str) -> dict[str, Any]:
    """What memory_info says of a server started so, in a folder."""
    sent = opening() + call(1, "memory_info", {})
    ended = subprocess.run(
        command("--tools", "core,admin", *arguments),
        input=sent,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[1])["result"]["structuredContent"]


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], check=True, capture_output=True)


ORIGINS = {
    "https://user:secret@Example.org/team/app.git": "example.org/team/app",
    "git@example.org:team/app.git": "example.org/team/app",
    "ssh://git@example.org/team/app": "example.org/team/app",
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_namespace_from_git_is_that_of_the_origin_and_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str):
    from botwire.cli._mcp_namespace import namespace_of

    git("init", "-q", str(tmp_path / "repo"))
    git("-C", str(tmp_path / "repo"), "remote", "add", "origin", origin)
    (tmp_path / "repo" / "deep" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repo" / "deep" / "inside")

    assert namespace_of(None, "git") == ORIGINS[origin]


def test_worktrees_share_a_namespace_and_other_repositories_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from botwire.cli._mcp_namespace import namespace_of

    for name in ("a", "b"):
        git("init", "-q", str(tmp_path / name / "same"))
    git("-C", str(tmp_path / "a" / "same"), "commit", "-q", "--allow-empty", "-m", "x")
    git("-C", str(tmp_path / "a" / "same"), "worktree", "add", "-q", str(tmp_path / "tree"))
    found: list[str] = []
    for folder in ("a/same", "tree", "b/same"):
        monkeypatch.chdir(tmp_path / folder)
        found.append(namespace_of(None, "git"))
    assert found[0] == found[1] == str(tmp_path / "a" / "same")
    assert found[2] == str(tmp_path / "b" / "same")


def test_a_namespace_from_the_directory_is_its_path_also_if_that_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from botwire.cli._mcp_namespace import namespace_of

    long = tmp_path.joinpath(*["x" * 200] * 3)
    names: set[str] = set()
    for folder in (tmp_path, long / "a", long / "b"):
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(folder)
        names.add(namespace_of(None, "cwd"))
    assert str(tmp_path) in names
    assert len(names) == 3
    assert all(len(name.encode()) <= 512 for name in names)


def test_the_store_and_the_namespace_are_as_told(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    found = told(["--store", "sub/a b.db", "-n", "mine"], tmp_path)
    assert (found["namespace"], found["entries"]) == ("mine", 0)
    assert found["store"].endswith("/sub/a%20b.db") or found["store"].endswith("/sub/a b.db")
    assert told([], tmp_path, BOTWIRE_URL=f"sqlite://{tmp_path}/other.db")["store"].endswith("/other.db")
    assert told(["--namespace-from", "cwd"], tmp_path)["namespace"] == str(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--namespace-from", "git"], "is in no git repository"),
        (["--namespace-from", "git", "-n", "x"], "not both"),
        (["--namespace-from", "moon"], "must be git or cwd"),
        (["--tools", "core,everything"], "--tools must be"),
        (["--token-file", "x"], "--token-file is for --transport http"),
        (["token", "x", "--for", "a*b"], "a * stands at the end"),
        (["token", "x", "--for", ""], "namespace must not be empty"),
        (["--transport", "pigeon"], "must be stdio or http"),
        (["--namespace", ".."], "namespace must not be"),
        (["--store", "a.db", "--url", "sqlite:///b.db"], "two names of one thing"),
        (["--max-result-bytes", "10"], "--max-result-bytes"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
):
    monkeypatch.chdir(tmp_path)
    status = main(["mcp", *arguments])
    printed, errors = capsys.readouterr()
    assert (status, printed) == (2, "")
    assert says in " ".join(errors.split())
    assert "Traceback" not in errors


def test_a_store_that_there_is_none_of_ends_the_server_in_one_line():
    ended = subprocess.run(
        command("--store", "carrier://x"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert "no store for the URL 'carrier://x'" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_what_ends_the_server_is_told_also_where_ending_it_made_others_fail():
    async def serve() -> None:
        raise ExceptionGroup("", [RuntimeError("of being ended"), ExceptionGroup("", [InvalidValue("the cause")])])

    with pytest.raises(InvalidValue, match="the cause"):
        _serving._run(serve)


def test_without_the_package_the_command_says_what_to_install():
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mcp", "mcp_types"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from botwire.cli import main
sys.exit(main(["mcp"]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert ended.returncode == 8
    assert "pip install 'botwire[mcp]'" in ended.stderr
    assert "Traceback" not in ended.stderr
