"""The memory server over HTTP: who is let in, what stays apart, what a restart does not break."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from clients import ENVELOPE, HttpServer, command, make_tokens

from botwire import Memory

CODE_OF_ONE_LINE = 2


class Answer(NamedTuple):
    status: int
    body: Any
    headers: httpx.Headers

    @property
    def result(self) -> Any:
        assert self.status == 200, self.body
        return self.body["result"]

    @property
    def structured(self) -> Any:
        assert not self.result["isError"], self.result
        return self.result["structuredContent"]

    @property
    def text(self) -> str:
        return self.result["content"][0]["text"]


class Caller:
    """A client of one token, in one era of the protocol."""

    def __init__(self, url: str, token: str | None, *, modern: bool) -> None:
        self.url = url
        self.token = token
        self.modern = modern

    def send(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> Answer:
        given = dict(params or {})
        sent = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if self.modern:
            given["_meta"] = ENVELOPE
            sent |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
            if name := given.get("name") or given.get("uri"):
                sent["Mcp-Name"] = name
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": given}
        response = httpx.post(self.url, content=json.dumps(message), headers={**sent, **headers}, timeout=60)
        body = response.text
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            body = next(line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {"))
        try:
            return Answer(response.status_code, json.loads(body), response.headers)
        except ValueError:
            return Answer(response.status_code, body, response.headers)

    def call(self, tool: str, **arguments: Any) -> Answer:
        return self.send("tools/call", {"name": tool, "arguments": arguments})


class Guarded(NamedTuple):
    server: HttpServer
    tokens: dict[str, str]
    file: Path
    store: Path

    def __call__(self, name: str | None, *, modern: bool = False) -> Caller:
        return Caller(self.server.url, None if name is None else self.tokens.get(name, name), modern=modern)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    file, tokens = make_tokens(folder, "alice", "bob", "reader=alice:read", "team=team/*,alice", "patterns=x/*")
    with HttpServer("--store", str(folder / "memory.db"), "--token-file", str(file), "--tools", "core,sessions,admin") as server:
        yield Guarded(server, tokens, file, folder / "memory.db")


@pytest.fixture(params=[False, True], ids=["older", "newer"])
def modern(request: pytest.FixtureRequest) -> bool:
    return request.param


# ------------------------------------------------------------------------------------------- who is let in


@pytest.mark.parametrize("token", [None, "nonsense", "bwm_" + "A" * 43])
def test_without_a_good_token_the_answer_is_401_and_says_where_to_read_what_is_wanted(guarded: Guarded, modern: bool, token: str | None):
    answer = guarded(token, modern=modern).send("tools/list")

    assert answer.status == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="invalid_token"')
    address = challenge.partition('resource_metadata="')[2].partition('"')[0]
    metadata = httpx.get(address).json()
    assert metadata["resource"] == guarded.server.url
    assert metadata["scopes_supported"] == ["read", "write"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer a b"])
def test_other_headers_open_nothing(guarded: Guarded, header: str):
    assert guarded(None).send("tools/list", Authorization=header).status == 401


def test_a_token_in_the_address_opens_nothing(guarded: Guarded):
    token = guarded.tokens["alice"]
    assert httpx.post(f"{guarded.server.url}?access_token={token}", json={}).status_code == 401


def test_a_token_that_may_read_writes_nothing(guarded: Guarded, modern: bool):
    guarded("alice", modern=modern).call("memory_set", key="kept", value=1)
    reader = guarded("reader", modern=modern)

    for tool in ("memory_set", "memory_delete", "memory_clear", "session_create"):
        answer = reader.call(tool, key="kept", value=2)
        assert answer.status == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert 'scope="write"' in answer.headers["www-authenticate"]
    assert reader.call("memory_get", key="kept").structured["value"] == 1
    assert all(tool["annotations"]["readOnlyHint"] for tool in reader.send("tools/list").result["tools"])


def test_a_call_in_a_member_written_twice_is_not_let_by(guarded: Guarded):
    """Whichever of two parsers takes the first member and which the last, the server behind checks again."""
    params = '{"name":"memory_get","name":"memory_set","arguments":{"key":"x","value":1}}'
    body = '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":' + params + "}"
    for sent in (body, body.replace('"name":"memory_get","name":"memory_set"', '"name":"memory_set","name":"memory_get"')):
        headers = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {guarded.tokens['reader']}"}
        httpx.post(guarded.server.url, content=sent, headers={**headers, "Content-Type": "application/json"})
    assert guarded("alice").call("memory_get", key="x").structured == {"found": False}


# --------------------------------------------------------------------------------------- what stays apart


def test_a_principal_comes_to_nothing_of_anothers_by_any_way(guarded: Guarded, modern: bool):
    alice, bob = guarded("alice", modern=modern), guarded("bob", modern=modern)
    alice.call("memory_set", key="secret", value="of alice")
    session_id = alice.call("session_create", label="of alice").structured["session_id"]
    alice.call("session_append", session_id=session_id, messages=[{"role": "user", "content": "secret"}])

    assert bob.call("memory_get", key="secret").structured == {"found": False}
    assert bob.call("memory_list").structured["keys"] == []
    assert bob.call("memory_search", query="secret").structured["hits"] == []
    assert bob.call("memory_export").structured["entries"] == []
    assert bob.call("session_list").structured["sessions"] == []
    assert bob.call("namespace_list").structured["namespaces"] == []
    assert bob.call("session_read", session_id=session_id).text.startswith("unknown_or_expired_session: ")
    appended = bob.call("session_append", session_id=session_id, messages=[{"role": "user", "content": "x"}])
    assert appended.text.startswith("unknown_or_expired_session: ")
    assert "store" not in bob.call("memory_info").structured
    assert [resource["uri"] for resource in bob.send("resources/list").result["resources"]] == ["memory://bob"]
    prompt = bob.send("prompts/get", {"name": "recall", "arguments": {"topic": "secret"}}).result
    assert "of alice" not in json.dumps(prompt)


def test_a_namespace_of_anothers_is_refused_as_one_that_is_not_there(guarded: Guarded, modern: bool):
    alice, bob = guarded("alice", modern=modern), guarded("bob", modern=modern)
    alice.call("memory_set", key="secret", value="of alice")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("memory_get", {"key": "secret"}),
        ("memory_set", {"key": "secret", "value": 1}),
        ("memory_delete", {"key": "secret"}),
        ("memory_list", {}),
        ("memory_search", {"query": "secret"}),
        ("session_list", {}),
        ("memory_clear", {"confirm": "alice"}),
    ]
    for tool, arguments in calls:
        there, absent = (bob.call(tool, **arguments, namespace=name).text for name in ("alice", "ghost"))
        assert there.startswith("forbidden: ")
        assert there.replace("alice", "ghost") == absent
    for uri in ("memory://alice/secret", "memory://alice"):
        there, absent = bob.send("resources/read", {"uri": uri}), bob.send("resources/read", {"uri": uri.replace("alice", "ghost")})
        assert there.status == absent.status
        assert json.dumps(there.body["error"]).replace("alice", "ghost") == json.dumps(absent.body["error"])
    reference = {"type": "ref/resource", "uri": "memory://{namespace}/{key}"}
    for context in ("alice", "ghost"):
        params = {"ref": reference, "argument": {"name": "key", "value": ""}, "context": {"arguments": {"namespace": context}}}
        assert bob.send("completion/complete", params).result["completion"]["values"] == []
    params = {"ref": reference, "argument": {"name": "namespace", "value": ""}}
    assert "alice" not in bob.send("completion/complete", params).result["completion"]["values"]
    assert alice.call("memory_get", key="secret").structured["value"] == "of alice"


def test_a_cursor_shows_nothing_of_what_it_passes_over(guarded: Guarded):
    import base64

    alice, team = guarded("alice"), guarded("team")
    for name in ("alice", "team/a", "team/z"):
        team.call("memory_set", key="k", value=1, namespace=name)
    with Memory("team-of-others", url=f"sqlite://{guarded.store}") as memory:
        memory.set("k", 1)
    listed = team.call("namespace_list", limit=1).structured
    cursor = listed["next_cursor"]
    assert "others" not in base64.urlsafe_b64decode(cursor + "==").decode()
    rest = team.call("namespace_list", cursor=cursor).structured["namespaces"]
    assert [*listed["namespaces"], *rest] == ["alice", "team/a", "team/z"]
    assert alice.call("namespace_list", cursor=cursor).structured["namespaces"] == []


def test_of_several_namespaces_the_first_that_is_no_pattern_is_meant(guarded: Guarded):
    assert guarded("team").call("memory_info").structured["namespace"] == "alice"
    assert guarded("team").call("memory_get", key="k", namespace="team/").structured == {"found": False}
    assert guarded("team").call("memory_get", key="k", namespace="team").text.startswith("forbidden: ")
    assert guarded("patterns").call("memory_list").text.startswith("invalid_argument: say which namespace")
    assert guarded("patterns").call("memory_list", namespace="x/1").structured["keys"] == []


def listen(caller: Caller, heard: list[str], ready: threading.Event, until: threading.Event) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "subscriptions/listen",
        "params": {"_meta": ENVELOPE, "notifications": {"resourcesListChanged": True, "resourceSubscriptions": ["memory://alice/watched"]}},
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {caller.token}",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "subscriptions/listen",
    }
    with httpx.stream("POST", caller.url, json=message, headers=headers, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                heard.append(json.loads(line.removeprefix("data: ")).get("method", "the end"))
                ready.set()
                if heard[-1] == "notifications/resources/updated" and not until.is_set():
                    until.set()
                    return


def test_only_those_who_may_see_a_change_hear_of_it(guarded: Guarded):
    heard: dict[str, list[str]] = {"alice": [], "bob": []}
    ready = {name: threading.Event() for name in heard}
    seen = {name: threading.Event() for name in heard}
    for name, methods in heard.items():
        threading.Thread(target=listen, args=(guarded(name, modern=True), methods, ready[name], seen[name]), daemon=True).start()
        assert ready[name].wait(30)
    guarded("alice").call("memory_set", key="watched", value=1)
    assert seen["alice"].wait(30)
    guarded("bob").call("memory_set", key="own", value=1)  # whatever bob hears of is told by now

    assert "notifications/resources/updated" in heard["alice"]
    assert "notifications/resources/updated" not in heard["bob"]
    assert heard["bob"].count("notifications/resources/list_changed") <= 1


# -------------------------------------------------------------------------------------------- the file


def test_a_token_that_is_taken_out_of_the_file_opens_nothing_any_more(tmp_path: Path):
    file, tokens = make_tokens(tmp_path, "alice", "bob")
    with HttpServer("--store", str(tmp_path / "memory.db"), "--token-file", str(file)) as server:
        alice, bob = (Caller(server.url, tokens[name], modern=False) for name in ("alice", "bob"))
        assert (alice.send("tools/list").status, bob.send("tools/list").status) == (200, 200)
        whole = file.read_text(encoding="utf-8")
        file.write_text(whole.partition("[bob]")[0], encoding="utf-8")
        assert (alice.send("tools/list").status, bob.send("tools/list").status) == (200, 401)
        file.write_text("[alice]\nsha256 = 'half", encoding="utf-8")
        assert (alice.send("tools/list").status, bob.send("tools/list").status) == (401, 401)
        file.write_text(whole, encoding="utf-8")
        assert (alice.send("tools/list").status, bob.send("tools/list").status) == (200, 200)


BAD_FILES = {
    "": "there is no token",
    "[a": "cannot be read",
    "a = 1": "'a' in the token file must be a table",
    "[a]": "sha256 of [a]",
    "[a]\nsha256 = 'x'": "64 hexadecimal digits",
    f"[a]\nsha256 = '{'0' * 64}'\nscopes = ['admin']": "scopes of [a]",
    f"[a]\nsha256 = '{'0' * 64}'\nnamespace = 'b'": "which mean nothing",
    f"[a]\nsha256 = '{'0' * 64}'\nexpires = 2027-01-01": "expires of [a]",
    f"[a]\nsha256 = '{'0' * 64}'\n[b]\nsha256 = '{'0' * 64}'": "stands twice",
}


@pytest.mark.parametrize(("text", "says"), BAD_FILES.items())
def test_a_token_file_that_is_wrong_is_named_and_nothing_is_served(tmp_path: Path, text: str, says: str):
    from botwire import InvalidValue
    from botwire.integrations.mcp._tokens import TokenFile

    file = tmp_path / "tokens.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidValue) as caught:
        TokenFile(file)
    assert says in str(caught.value)


def test_an_expired_token_opens_nothing(tmp_path: Path):
    from botwire.integrations.mcp._tokens import TokenFile, new_token

    (old, one), (new, two) = new_token("old", ["n"], ["read"]), new_token("new", ["n"], ["read"])
    file = tmp_path / "tokens.toml"
    file.write_text(f"{one}expires = 2020-01-01T00:00:00Z\n{two}expires = 2999-01-01T00:00:00Z\n", encoding="utf-8")
    tokens = TokenFile(file)
    assert tokens.principal(old) is None
    assert tokens.principal(new) is not None


# ------------------------------------------------------------------------------------ without tokens


def test_only_names_of_this_machine_are_answered(tmp_path: Path, modern: bool):
    """A web page that lets its own name stand for this machine gets nothing."""
    with HttpServer("--store", str(tmp_path / "memory.db"), "--allow-host", "memory.test") as server:
        caller = Caller(server.url, None, modern=modern)
        assert caller.send("tools/list", Host="evil.example").status == 421
        assert caller.send("tools/list", Origin="https://evil.example").status == 403
        assert caller.send("tools/list", Host="memory.test").status == 200
        assert caller.send("tools/list").status == 200


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0"], ["--path", "/"], ["--public-url", "nonsense"], ["--token-file", "none.toml"]])
def test_what_cannot_be_served_is_refused_in_one_line(tmp_path: Path, arguments: list[str]):
    ended = subprocess.run(
        command("--transport", "http", "--port", "0", *arguments), capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert ended.returncode == CODE_OF_ONE_LINE
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""


def test_a_restart_is_not_noticed(tmp_path: Path, modern: bool):
    store = ("--store", str(tmp_path / "memory.db"))
    with HttpServer(*store) as first:
        caller = Caller(first.url, None, modern=modern)
        caller.call("memory_set", key="k", value=1)
        port = first.url.split(":")[2].split("/")[0]
    with HttpServer(*store, "--port", port):
        assert caller.call("memory_get", key="k").structured["value"] == 1  # no session of the connection's to begin anew


def test_a_stop_answers_what_is_under_way_and_loses_nothing(tmp_path: Path):
    server = HttpServer("--store", str(tmp_path / "memory.db"))
    kept: list[int] = []

    def write(name: int) -> None:
        caller, number = Caller(server.url, None, modern=True), 0
        while True:
            number += 1
            try:
                answer = caller.call("memory_set", key=f"{name}/{number}", value=number)
            except httpx.TransportError:
                return
            assert answer.structured["version"] == 1
            kept.append(name)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while len(kept) < 20:
        assert server.process.poll() is None
        threads[0].join(0.05)
    os.kill(server.process.pid, signal.SIGTERM)
    assert server.process.wait(60) == 0
    for thread in threads:
        thread.join()
    server.process.communicate()
    with Memory(url=f"sqlite://{tmp_path}/memory.db") as memory:
        assert memory.count() >= len(kept)
