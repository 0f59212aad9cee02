"""Tokens: made and revoked while servers run, several of them on one store; what the client makes of a refusal; TLS and proxies."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from botwire import InvalidName, InvalidValue, Memory, Unauthorized
from botwire._tokens import RESERVED_NAMESPACE, TokenBook, make_token
from botwire.server import serve, serve_in_thread
from botwire.server._gate import TRUST_SECONDS, Gate
from botwire.stores import open_store

BOUND = 1.0
"""Seconds within which a revocation counts at another server, as the documentation says."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def url_of_store(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/served.db"


def eventually(said: Callable[[], bool], within: float) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + within
    while not said():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


# ------------------------------------------------------------------------------------ made and revoked


def test_a_token_made_while_two_servers_run_opens_both_at_once_and_revoked_neither(serving: Any, botwire: Any, url_of_store: str) -> None:
    """Made by the command on the store's file, used at two server processes, revoked through one of them."""
    admin = botwire("token", "create", "--url", url_of_store, "--scope", "admin").stdout.strip()
    first, second = serving("--url", url_of_store), serving("--url", url_of_store)
    assert "tokens are asked for" in first.line
    made = botwire("token", "create", "--url", url_of_store, "-n", "team-*", "--label", "of the test", "--json")
    token = json.loads(made.stdout)
    for server in (first, second):
        assert httpx.put(f"{server.url}/memory/team-a/k", json={"value": 1}).status_code == 401
        assert httpx.put(f"{server.url}/memory/team-a/k", json={"value": 1}, headers=bearer(token["token"])).status_code == 200
        assert httpx.put(f"{server.url}/memory/other/k", json={"value": 1}, headers=bearer(token["token"])).status_code == 403
    revoked = botwire("token", "revoke", token["id"], "--url", first.url, BOTWIRE_TOKEN=admin)
    assert revoked.returncode == 0, revoked.stderr
    at = time.monotonic()
    assert httpx.get(f"{first.url}/memory/team-a/k", headers=bearer(token["token"])).status_code == 401
    with httpx.Client(base_url=second.url, headers=bearer(token["token"])) as client:
        assert eventually(lambda: client.get("/memory/team-a/k").status_code == 401, BOUND - (time.monotonic() - at))
        assert client.put("/memory/team-a/k", json={"value": 2}).status_code == 401


def test_no_request_that_begins_after_the_bound_gets_through_on_a_revoked_token(url_of_store: str) -> None:
    """A client that calls all the time, at a server that did not revoke it, is out within a second of the revocation."""
    mine, theirs = open_store(url_of_store), open_store(url_of_store)
    text, token = make_token(namespaces=["n"])
    TokenBook(theirs).add(token)
    answers: list[tuple[float, int]] = []
    with serve_in_thread(mine) as url, httpx.Client(base_url=url, headers=bearer(text)) as client:
        assert client.get("/memory/n").status_code == 200

        def call() -> None:
            while not answers or answers[-1][1] == 200:
                begun = time.monotonic()
                answers.append((begun, client.get("/memory/n").status_code))

        thread = threading.Thread(target=call)
        thread.start()
        assert eventually(lambda: len(answers) > 20, 20)
        assert TokenBook(theirs).revoke(token.id)
        revoked = time.monotonic()
        thread.join(30)
    assert answers[-1][1] == 401
    assert [status for begun, status in answers if begun > revoked + BOUND and status == 200] == []
    mine.close()
    theirs.close()


def test_the_first_token_closes_a_server_that_ran_without_and_revoking_the_last_does_not_open_it_again(
    serving: Any, botwire: Any, url_of_store: str
) -> None:
    server = serving("--url", url_of_store)
    assert "tokens" not in server.line
    with httpx.Client(base_url=server.url) as client:
        assert client.put("/memory/n/k", json={"value": 1}).status_code == 200
        token = json.loads(botwire("token", "create", "-n", "n", "--url", url_of_store, "--json").stdout)
        assert eventually(lambda: client.get("/memory/n/k").status_code == 401, BOUND)
        assert client.get("/memory/n/k", headers=bearer(token["token"])).status_code == 200
        assert botwire("token", "revoke", token["token"], "--url", url_of_store).returncode == 0
        assert eventually(lambda: client.get("/memory/n/k", headers=bearer(token["token"])).status_code == 401, BOUND)
        assert client.get("/memory/n/k").status_code == 401
    again = serving("--url", url_of_store)
    assert httpx.get(f"{again.url}/memory/n/k").status_code == 401


def test_tokens_are_managed_over_http_with_an_admin_token(serving: Any, botwire: Any) -> None:
    """A server over RAM, which no other process can reach: the first token is the one in its environment."""
    first = "an-admin-token-of-the-operator-0123456789"
    server = serving("--url", "memory://", BOTWIRE_ADMIN_TOKEN=first)
    assert httpx.get(f"{server.url}/memory/n").status_code == 401
    far = {"BOTWIRE_URL": server.url, "BOTWIRE_TOKEN": first}
    made = json.loads(
        botwire("token", "create", "-n", "n", "--scope", "read", "--expires", "90d", "--label", "a b", "--json", **far).stdout
    )
    listed = json.loads(botwire("token", "list", "--json", **far).stdout)["tokens"]
    assert listed == [{name: value for name, value in made.items() if name != "token"}]
    assert made["token"] not in botwire("token", "list", **far).stdout
    assert httpx.get(f"{server.url}/memory/n", headers=bearer(made["token"])).status_code == 200
    refused = botwire("token", "list", BOTWIRE_URL=server.url, BOTWIRE_TOKEN=made["token"])
    assert (refused.returncode, "scope admin" in refused.stderr) == (5, True)
    assert botwire("token", "revoke", made["id"], **far).returncode == 0
    assert botwire("token", "revoke", made["id"], **far).returncode == 1
    assert httpx.get(f"{server.url}/memory/n", headers=bearer(made["token"])).status_code == 401
    assert httpx.get(f"{server.url}/check", headers=bearer(first)).status_code == 200


def test_a_token_expires_at_its_time_also_while_it_is_trusted() -> None:
    now = [1_700_000_000_000_000]
    store = open_store("memory://")
    text, token = make_token(namespaces=["n"], expires_in=60, now=now[0])
    TokenBook(store).add(token)
    gate = Gate(store, clock=lambda: now[0])
    header = {b"authorization": f"Bearer {text}".encode()}
    gate(header, "n", "read")
    now[0] += 59_999_999
    gate(header, "n", "read")
    now[0] += 1
    with pytest.raises(Exception, match="expired"):
        gate(header, "n", "read")
    store.close()


def test_what_the_store_holds_of_a_token_does_not_open_anything(url_of_store: str, tmp_path: Path) -> None:
    store = open_store(url_of_store)
    text, token = make_token(namespaces=["*"])
    TokenBook(store).add(token)
    row = store.get(RESERVED_NAMESPACE, f"token:{token.id}")
    assert row is not None
    with serve_in_thread(store) as url:
        for stolen in (token.hash, f"bw_{token.id}_{token.hash[:43]}", token.id, f"bw_{token.id}_"):
            assert httpx.get(f"{url}/memory/n", headers=bearer(stolen)).status_code == 401
        assert httpx.get(f"{url}/memory/n", headers=bearer(text)).status_code == 200
    store.close()
    secret = text.rpartition("_")[2].encode()
    assert [file.name for file in tmp_path.iterdir() if secret in file.read_bytes()] == []


def test_the_form_of_a_token_can_be_looked_for() -> None:
    texts = {make_token(namespaces=["n"])[0] for _ in range(50)}
    assert len(texts) == 50
    for text in texts:
        start, token_id, secret = text.split("_")
        assert (start, len(token_id), len(secret), secret.isalnum()) == ("bw", 8, 43, True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"namespaces": []}, "at least one"),
        ({"namespaces": ["a*b"]}, "at its end"),
        ({"namespaces": ["a**"]}, "at its end"),
        ({"namespaces": [""]}, "empty"),
        ({"namespaces": ["."]}, "path step"),
        ({"namespaces": ["\n"]}, "control"),
        ({"namespaces": [RESERVED_NAMESPACE]}, "own"),
        ({"namespaces": ["n"], "scopes": []}, "list"),
        ({"namespaces": ["n"], "scopes": ["write"]}, "needs read"),
        ({"namespaces": ["n"], "scopes": ["root"]}, "no scope"),
        ({"namespaces": ["n"], "scopes": ["admin"]}, "leave the namespaces out"),
        ({"namespaces": ["n"], "expires_in": 0}, "over zero"),
        ({"namespaces": ["n"], "expires_in": -1}, "over zero"),
        ({"namespaces": ["n"], "label": "a\nb"}, "control"),
        ({}, "at least one"),
    ],
)
def test_a_token_that_would_be_no_use_is_not_made(store: Any, given: dict[str, Any], says: str) -> None:
    with pytest.raises((InvalidValue, InvalidName), match=says):
        make_token(**given)
    with serve_in_thread(store) as url:
        answer = httpx.post(f"{url}/admin/tokens", json=given)
        assert (answer.status_code, answer.json()["code"] in ("invalid_value", "invalid_name")) == (400, True)
    assert TokenBook(store).list() == []


def test_no_memory_opens_the_namespace_of_tokens(url_of_store: str, botwire: Any, tmp_path: Path) -> None:
    """Not by the library, not by the commands, and not by the way of an import."""
    store = open_store(url_of_store)
    TokenBook(store).add(make_token(namespaces=["n"])[1])
    store.close()
    with pytest.raises(InvalidName, match="own"):
        Memory(RESERVED_NAMESPACE, url=url_of_store)
    with Memory("n", url=url_of_store) as memory:
        assert memory.namespaces() == []
    assert RESERVED_NAMESPACE not in botwire("info", "--url", url_of_store).stdout
    assert botwire("keys", "-n", RESERVED_NAMESPACE, "--url", url_of_store).returncode == 2
    file = tmp_path / "all.jsonl"
    assert botwire("export", str(file), "--url", url_of_store).returncode == 0
    exported = file.read_text()
    assert "token:" not in exported
    line = (
        exported.splitlines()[0]
        + "\n"
        + json.dumps(
            {
                "type": "entry",
                "namespace": RESERVED_NAMESPACE,
                "key": "token:aaaaaaaa",
                "version": 1,
                "created_at": "2026-01-01T00:00:00.000000Z",
            }
            | {"updated_at": "2026-01-01T00:00:00.000000Z", "expires_at": None, "value": {}}
        )
    )
    (tmp_path / "planted.jsonl").write_text(line + "\n")
    assert botwire("import", str(tmp_path / "planted.jsonl"), "--url", url_of_store).returncode != 0
    store = open_store(url_of_store)
    assert store.get(RESERVED_NAMESPACE, "token:aaaaaaaa") is None
    store.close()


# -------------------------------------------------------------------------------------------- starting


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_it_does_not_listen_beyond_this_machine_without_tokens(host: str, url_of_store: str) -> None:
    with pytest.raises(InvalidValue, match=r"botwire token create.*no_auth"):
        serve(url_of_store, host=host, port=0)


def test_with_tokens_it_listens_anywhere_and_asks_for_one(serving: Any, botwire: Any, url_of_store: str) -> None:
    assert botwire("token", "create", "-n", "n", "--url", url_of_store).returncode == 0
    server = serving("--url", url_of_store, "--host", "0.0.0.0")
    assert "tokens are asked for" in server.line
    assert httpx.get(f"http://127.0.0.1:{server.url.rpartition(':')[2]}/memory/n").status_code == 401


def test_a_stranger_is_not_told_which_store_is_served(store: Any) -> None:
    text, token = make_token(namespaces=["n"])
    with serve_in_thread(store) as url, httpx.Client(base_url=url) as client:
        for path in ("/health", "/ready"):
            assert client.get(path).json()["store"] == store.url  # nobody is a stranger to a server without tokens
    TokenBook(store).add(token)
    with serve_in_thread(store) as url, httpx.Client(base_url=url) as client:
        for path in ("/health", "/ready"):
            for headers in ({}, bearer("bw_aaaaaaaa_" + "x" * 43)):
                answer = client.get(path, headers=headers)
                assert (answer.status_code, store.url in answer.text) == (200, False)
            assert client.get(path, headers=bearer(text)).json()["store"] == store.url


def test_no_auth_is_said_aloud(serving: Any, botwire: Any, url_of_store: str) -> None:
    assert botwire("token", "create", "-n", "n", "--url", url_of_store).returncode == 0
    server = serving("--url", url_of_store, "--host", "0.0.0.0", "--no-auth")
    assert "NO TOKENS ARE ASKED FOR" in server.line
    assert httpx.get(f"http://127.0.0.1:{server.url.rpartition(':')[2]}/memory/n").status_code == 200


def test_an_admin_token_may_come_from_a_file(serving: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x" * 40 + "\n")
    server = serving("--url", "memory://", BOTWIRE_ADMIN_TOKEN_FILE=str(tmp_path / "secret"))
    assert httpx.get(f"{server.url}/check", headers=bearer("x" * 40)).status_code == 200
    assert httpx.get(f"{server.url}/check", headers=bearer("x" * 39)).status_code == 401


@pytest.mark.parametrize("text", ["short", "", "x" * 31, "ä" * 40, "x " * 20])
def test_an_admin_token_that_could_be_guessed_is_refused(botwire: Any, text: str) -> None:
    refused = botwire("serve", "--url", "memory://", "--port", "0", BOTWIRE_ADMIN_TOKEN=text)
    assert (refused.returncode, "openssl rand" in refused.stderr) == (2, True)


# ------------------------------------------------------------------------------------------ the client


def test_the_client_says_what_to_do(store: Any) -> None:
    text, token = make_token(namespaces=["n"], scopes=["read"])
    TokenBook(store).add(token)
    with serve_in_thread(store) as url:
        with pytest.raises(Unauthorized, match=r"asks for a token.*token=.*BOTWIRE_TOKEN"):
            Memory("n", url=url).get("k")
        with pytest.raises(Unauthorized, match="revoked, has expired, or never was"):
            Memory("n", url=url, token="bw_aaaaaaaa_" + "x" * 43).get("k")
        memory = Memory("n", url=url, token=text)
        assert memory.get("k") is None
        with pytest.raises(Unauthorized, match=r"does not open namespace 'n' for writing.*botwire token create"):
            memory.set("k", 1)
        assert Memory("other", url=url, token=text).list_keys() == []
        assert text not in repr(memory.store)
        memory.close()


def test_the_client_takes_its_token_from_the_environment(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text, token = make_token(namespaces=["n"])
    TokenBook(store).add(token)
    monkeypatch.setenv("BOTWIRE_TOKEN", text)
    with serve_in_thread(store) as url, Memory("n", url=url) as memory:
        assert memory.set("k", 1) == 1


def test_a_store_that_is_out_of_reach_lets_nobody_in(store: Any) -> None:
    """A token that cannot be looked up opens nothing."""
    from botwire import StoreUnavailable

    text, token = make_token(namespaces=["n"])
    TokenBook(store).add(token)

    class Broken:
        url, reads_are_fast = "broken:", True

        def __getattr__(self, name: str) -> Any:
            def fail(*_: Any, **__: Any) -> Any:
                raise StoreUnavailable("it is down")

            return fail

    broken: Any = Broken()
    with serve_in_thread(broken) as url:
        for headers in ({}, bearer(text)):
            assert httpx.get(f"{url}/memory/n", headers=headers).status_code == 503


def test_a_store_whose_reads_take_long_is_asked_on_a_thread(store: Any) -> None:
    """With such a store too a token opens what it says, one that nobody has opens nothing, and a revoked one is out."""

    class Slow:
        reads_are_fast = False

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    text, token = make_token(namespaces=["n"])
    TokenBook(store).add(token)
    asked: list[str] = []
    slow: Any = Slow()
    slow.get = lambda *names: asked.append(threading.current_thread().name) or store.get(*names)
    with serve_in_thread(slow) as url, httpx.Client(base_url=url) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/memory/n").status_code == 401
        assert client.get("/memory/n", headers=bearer("bw_aaaaaaaa_" + "x" * 43)).status_code == 401
        assert client.get("/memory/n", headers=bearer(text)).status_code == 200
        TokenBook(store).revoke(token.id)
        assert eventually(lambda: client.get("/memory/n", headers=bearer(text)).status_code == 401, BOUND)
    assert asked
    assert all(name.startswith("botwire-reader") for name in asked)


def test_the_bound_that_is_documented_has_room_for_the_request_itself() -> None:
    assert TRUST_SECONDS < BOUND


# -------------------------------------------------------------------------------------- TLS and proxies


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A certificate authority of the test's own, and a certificate of it for this machine: files of PEM."""
    import trustme

    made = trustme.CA()
    certificate = made.issue_cert("localhost", "127.0.0.1")
    files = (tmp_path / "authority.pem", tmp_path / "server.pem", tmp_path / "server.key")
    made.cert_pem.write_to_path(str(files[0]))
    certificate.private_key_pem.write_to_path(str(files[2]))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(files[1]), append=True)
    return files


def test_it_serves_https_and_the_client_trusts_the_authority_that_it_is_told(
    serving: Any, authority: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, botwire: Any, url_of_store: str
) -> None:
    from botwire import StoreUnavailable

    ca, certificate, key = map(str, authority)
    text = botwire("token", "create", "-n", "n", "--url", url_of_store).stdout.strip()
    server = serving("--url", url_of_store, "--tls-cert", certificate, "--tls-key", key)
    assert server.url.startswith("https://127.0.0.1:")
    assert f"{server.url}/docs" in server.line
    with Memory("n", url=server.url, token=text, timeout=2) as memory, pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        memory.set("k", 1)
    monkeypatch.setenv("SSL_CERT_FILE", ca)
    with Memory("n", url=server.url, token=text) as memory:
        assert memory.set("k", 1) == 1
        assert memory.get("k") == 1
    assert f"{server.url}/memory" in httpx.get(f"{server.url}/docs").text
    with pytest.raises(httpx.HTTPError):
        httpx.get(server.url.replace("https", "http"))


def test_a_key_in_the_file_of_the_certificate_is_enough(serving: Any, authority: tuple[Path, Path, Path], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(authority[2].read_bytes() + authority[1].read_bytes())
    assert serving("--url", "memory://", "--tls-cert", str(both)).url.startswith("https://")


def test_a_certificate_that_cannot_be_used_is_refused_at_the_start(
    botwire: Any, authority: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    ca, certificate, key = map(str, authority)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("not a certificate")
    for arguments, says in [
        (("--tls-cert", str(tmp_path / "none.pem")), "cannot be read"),
        (("--tls-cert", str(nonsense), "--tls-key", key), "no certificate to serve with"),
        (("--tls-cert", certificate), "no certificate to serve with"),
        (("--tls-cert", ca, "--tls-key", key), "no certificate to serve with"),
        (("--tls-key", key), "--tls-cert"),
    ]:
        refused = botwire("serve", "--url", "memory://", "--port", "0", *arguments)
        assert (refused.returncode, says in refused.stderr) == (2, True), refused.stderr


def forwarded(url: str, address: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{url}/memory/n", headers={"X-Forwarded-For": address, **headers})


def test_the_address_that_a_proxy_tells_is_believed_of_that_proxy_alone(serving: Any) -> None:
    """Told by a limit of one request for each address: behind a proxy that is named each client has its own."""
    limit = ("--url", "memory://", "--requests-per-second", "0.001", "--burst", "1")
    plain = serving(*limit)
    assert [forwarded(plain.url, f"192.0.2.{number}").status_code for number in range(3)] == [200, 429, 429]
    behind = serving(*limit, "--forwarded-allow-ips", "127.0.0.1")
    assert [forwarded(behind.url, f"192.0.2.{number}").status_code for number in (1, 2, 1)] == [200, 200, 429]
    other = serving(*limit, "--forwarded-allow-ips", "192.0.2.7")
    assert [forwarded(other.url, f"192.0.2.{number}").status_code for number in range(2)] == [200, 429]


def test_behind_a_proxy_the_documentation_shows_the_urls_of_the_proxy(serving: Any) -> None:
    server = serving("--url", "memory://", "--forwarded-allow-ips", "127.0.0.1", "--allow-host", "memory.example.com")
    headers = {"Host": "memory.example.com", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    assert "https://memory.example.com/memory" in httpx.get(f"{server.url}/docs", headers=headers).text
    page = {**headers, "Origin": "https://memory.example.com"}
    assert httpx.get(f"{server.url}/memory/n", headers=page).status_code == 200
    assert httpx.get(f"{server.url}/memory/n", headers={**page, "Origin": "https://evil.example.com"}).status_code == 403
    assert httpx.get(f"{server.url}/memory/n", headers={**headers, "Host": "evil.example.com"}).status_code == 403


def test_a_token_in_a_cookie_or_query_opens_nothing(store: Any) -> None:
    text, token = make_token(namespaces=["*"])
    TokenBook(store).add(token)
    with serve_in_thread(store) as url:
        for name in ("token", "authorization", "access_token"):
            assert httpx.get(f"{url}/memory/n", headers={"Cookie": f"{name}={text}"}).status_code == 401
            assert httpx.get(f"{url}/memory/n", params={name: text}).status_code == 401
        assert "set-cookie" not in httpx.get(f"{url}/memory/n", headers=bearer(text)).headers


def test_two_tokens_in_one_request_open_nothing(store: Any) -> None:
    """What stands before this server may have looked at the other one."""
    text, token = make_token(namespaces=["*"])
    TokenBook(store).add(token)
    with serve_in_thread(store) as url, socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as connection:
        lines = f"Authorization: Bearer {'x' * 40}\r\nAuthorization: Bearer {text}\r\n"
        connection.sendall(f"GET /memory/n HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
        assert connection.recv(65_536).split(b" ")[1] == b"400"


def test_a_token_is_nowhere_in_what_the_server_says(serving: Any, botwire: Any, url_of_store: str) -> None:
    text = botwire("token", "create", "-n", "n", "--url", url_of_store).stdout.strip()
    server = serving("--url", url_of_store)
    for target in ("/memory/n/k", "/memory/n/k?bad=1", "/check", "/memory/other/k", "/nothing"):
        for method in ("GET", "PUT", "DELETE"):
            answer = httpx.request(method, server.url + target, headers=bearer(text), content=b"{")
            assert text not in answer.text + str(answer.headers)
    server.process.terminate()
    assert text not in server.line + server.process.stdout.read()
