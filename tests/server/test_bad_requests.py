"""A bad request is told what is wrong with it, and never harms the next one."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from botwire.server import serve_in_thread


def send(url: str, raw: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of what a server answers to raw bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw)
        data = b""
        while chunk := connection.recv(65_536):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if b"json" in head.lower() else {}


def request(url: str, method: str, target: str | bytes, body: bytes = b"", *headers: str) -> tuple[int, dict[str, Any]]:
    raw_target = target if isinstance(target, bytes) else target.encode()
    lines = [f"Host: {url.removeprefix('http://')}", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return send(url, method.encode() + b" " + raw_target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


# --------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%3F", "?"),
        ("a%3Fb%23c", "a?b#c"),
        ("%25", "%"),
        ("%252F", "%2F"),
        ("%2E%2E%2Fx", "../x"),
        ("...", "..."),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%F0%9F%98%80", "😀"),
        (";x=1", ";x=1"),
        ("a//b".replace("/", "%2F"), "a//b"),
    ],
)
def test_what_is_escaped_in_a_path_is_data(url: str, store: Any, sent: str, key: str) -> None:
    status, answer = request(url, "PUT", f"/memory/ns/{sent}", b'{"value":1}')
    assert (status, answer["key"]) == (200, key)
    assert store.scan_keys("ns", "", None, 10) == [key]


@pytest.mark.parametrize(
    "sent", ["..", ".", "%2E%2E", "%2e", "%00", "%0A", "%C2%85", "a%00b", "%ff", "%ED%A0%80", "%zz", "%2", "%", "", "x" * 513]
)
def test_names_that_cannot_be_are_refused_and_nothing_is_touched(url: str, store: Any, sent: str) -> None:
    store.write([])
    for target in (f"/memory/ns/{sent}", f"/memory/{sent}/k"):
        for method in ("PUT", "GET", "DELETE"):
            status, problem = request(url, method, target, b'{"value":1}' if method == "PUT" else b"")
            assert (status, problem["code"]) == (400, "invalid_name"), (method, target)
    assert store.namespaces(None, 10) == []


@pytest.mark.parametrize(
    "target",
    [
        "/memory/ns/../../x",
        "/memory/ns/a/b",
        "/memory/ns/%2e%2e/k",
        "//memory/ns/k",
        "/Memory/ns/k",
        "/memory/ns/k/",
        "/x",
        "/memoryx/ns/k",
    ],
)
def test_paths_are_not_resolved(url: str, store: Any, target: str) -> None:
    status, problem = request(url, "PUT", target, b'{"value":1}')
    assert (status, problem["code"]) == (404, "no_such_route")
    assert store.namespaces(None, 10) == []


def test_an_unescaped_query_or_fragment_mark_is_structure(url: str, store: Any) -> None:
    assert request(url, "PUT", "/memory/ns/a?b", b'{"value":1}')[1]["code"] == "invalid_value"
    assert store.namespaces(None, 10) == []


# -------------------------------------------------------------------------------------------- bodies

BAD_BODIES = [
    b"",
    b"{",
    b"null",
    b"[1]",
    b'"text"',
    b"{}",
    b'{"value":NaN}',
    b'{"value":Infinity}',
    b'{"value":1e999}',
    b'{"value":"\xff"}',
    b'{"value":"\xed\xa0\x80"}',
    b'{"value":1}}',
    b'{"value":1,}',
    b'{"value":01}',
    b'{"value":"a\nb"}',
    b"{'value':1}",
    b'{"value":1,"tll":5}',
    b'{"value":1,"ttl":0}',
    b'{"value":1,"ttl":-1}',
    b'{"value":1,"ttl":"60"}',
    b'{"value":1,"ttl":1e300}',
    b'{"value":1,"ttl":true}',
    b'{"value":' + b"[" * 300 + b"]" * 300 + b"}",
    b'{"value":' + b"[" * 100_000 + b"}",
    b"\xef\xbb\xbf" + b'{"value":1}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=[body[:24].decode("latin-1") for body in BAD_BODIES])
def test_a_malformed_body_is_refused_and_nothing_is_stored(url: str, store: Any, body: bytes) -> None:
    status, problem = request(url, "PUT", "/memory/ns/k", body)
    assert (status, problem["code"]) == (400, "invalid_value")
    assert store.namespaces(None, 10) == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/octet-stream"]
)
def test_another_content_type_is_refused(url: str, kind: str) -> None:
    status, problem = request(url, "PUT", "/memory/ns/k", b'{"value":1}', f"Content-Type: {kind}")
    assert (status, problem["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"])
def test_json_is_taken_under_all_its_names(url: str, kind: str) -> None:
    assert request(url, "PUT", "/memory/ns/k", b'{"value":1}', f"Content-Type: {kind}")[0] == 200
    assert request(url, "PUT", "/memory/ns/k", b'{"value":1}')[0] == 200


def test_every_problem_has_one_shape(client: Any) -> None:
    problems = [
        client.get("/memory/ns/none"),
        client.get("/nowhere"),
        client.post("/health"),
        client.put("/memory/ns/k", content=b"{"),
        client.get("/memory/ns?limit=0"),
        client.put("/memory/ns/k", content=b"x", headers={"Content-Type": "text/plain"}),
        client.put("/memory/ns/k", json={"value": 1}, headers={"If-Match": '"9"'}),
        client.put("/memory/ns/k", content=b"x" * 2_000_000),
        client.get("/memory/ns", headers={"Origin": "https://evil.example"}),
    ]
    assert [answer.status_code for answer in problems] == [404, 404, 405, 400, 400, 415, 412, 413, 403]
    for answer in problems:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json().keys() >= {"type", "title", "status", "detail", "code"}
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/memory/ns/k", "GET, HEAD, PUT, DELETE, PATCH, POST"),
        ("/memory/ns", "GET, DELETE, HEAD"),
        ("/batch/ns", "POST"),
        ("/health", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client: Any, path: str, allowed: str) -> None:
    answer = client.request("TRACE", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


# ---------------------------------------------------------------------------------------------- size


def test_a_value_up_to_the_limit_is_taken_and_one_over_it_is_not(store: Any) -> None:
    with serve_in_thread(store, max_value_bytes=1_000) as url, httpx.Client(base_url=url) as client:
        assert client.put("/memory/ns/k", json={"value": "x" * 998}).status_code == 200
        assert client.put("/memory/ns/k", json={"value": "x" * 999}).json()["code"] == "value_too_large"
        assert client.post("/batch/ns", json={"operations": [{"op": "set", "key": "b", "value": "x" * 999}]}).status_code == 413
        assert client.post("/memory/ns/k2", json={"append": ["x" * 600]}).status_code == 200
        grown = client.post("/memory/ns/k2", json={"append": ["x" * 600]})
        assert (grown.status_code, grown.json()["code"]) == (413, "value_too_large")
        assert client.get("/memory/ns").json()["keys"] == ["k", "k2"]


def test_a_huge_body_is_refused_before_it_has_arrived(url: str) -> None:
    """The answer comes although the client has sent next to nothing of what it announced."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"PUT /memory/ns/k HTTP/1.1\r\nHost: %s\r\nContent-Length: 99999999999\r\n\r\n{" % f"{host}:{port}".encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_a_huge_body_in_chunks_is_refused_while_it_streams(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"PUT /memory/ns/k HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % f"{host}:{port}".encode())
        connection.settimeout(0.01)
        answer = b""
        for _ in range(1_000):  # of 64 KiB each, and never the last chunk
            connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            try:
                answer = connection.recv(65_536)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 413")


def test_a_client_that_asks_first_is_told_before_it_sends(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    head = "PUT /memory/ns/k HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.format(f"{host}:{port}", 11).encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100")
        connection.sendall(b'{"value":1}')
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.format(f"{host}:{port}", 99_999_999).encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")


def test_an_integer_of_a_million_digits_does_not_stall_the_server(url: str, client: Any) -> None:
    started = time.monotonic()
    assert client.put("/memory/ns/k", content=b'{"value":' + b"7" * 1_000_000 + b"}").status_code == 200
    assert client.get("/memory/ns/k?as=text").json()["value"] == "7" * 1_000_000
    assert client.post("/memory/ns/n", content=b'{"increment":' + b"7" * 1_000_000 + b"}").status_code == 400
    assert time.monotonic() - started < 3


# --------------------------------------------------------------------------------------- the next one


def test_good_requests_are_answered_while_bad_ones_pour_in(url: str) -> None:
    """Four connections send every bad thing there is, over and over; every good request beside them succeeds."""
    stop = threading.Event()
    unexpected: list[Any] = []

    def pour() -> None:
        with httpx.Client(base_url=url) as client:
            while not stop.is_set():
                unexpected.extend(body for body in BAD_BODIES if client.put("/memory/ns/bad", content=body).status_code != 400)
                if client.put("/memory/ns/bad", content=b"x" * 3_000_000).status_code != 413:
                    unexpected.append("huge")
                if client.put("/memory/ns/bad", content=b"x", headers={"Content-Type": "text/html"}).status_code != 415:
                    unexpected.append("type")
                if request(url, "PUT", "/memory/../%2e%2e", b"{}")[0] != 400:
                    unexpected.append("path")
                for garbage in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"PUT /memory/ns/k HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"):
                    host, _, port = url.removeprefix("http://").partition(":")
                    with socket.create_connection((host, int(port))) as connection:
                        connection.sendall(garbage)

    threads = [threading.Thread(target=pour) for _ in range(4)]
    for thread in threads:
        thread.start()
    with httpx.Client(base_url=url, timeout=20) as client:
        for number in range(150):
            assert client.put(f"/memory/good/k{number}", json={"value": number}).status_code == 200
            assert client.get(f"/memory/good/k{number}").json()["value"] == number
    stop.set()
    for thread in threads:
        thread.join()
    assert unexpected == []
    with httpx.Client(base_url=url) as client:
        assert client.get("/memory").json()["namespaces"] == ["good"]


def test_a_connection_stays_good_after_bad_requests(url: str) -> None:
    """One connection, bad and good requests in turn: the bad ones neither close it nor shift what follows."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for body, status in [(b"{", 400), (b'{"value":1}', 200), (b"x" * 1_100_000, 413), (b'{"value":2}', 200)]:
            head = f"PUT /memory/ns/k HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 %d" % status)


# ------------------------------------------------------------------------------------------ web pages


def test_a_web_page_cannot_use_a_server_on_its_readers_machine(store: Any) -> None:
    with serve_in_thread(store, allow_hosts={"127.0.0.1"}) as url, httpx.Client(base_url=url) as client:
        assert client.put("/memory/ns/k", json={"value": 1}, headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.get("/memory/ns/k", headers={"Host": "evil.example"}).status_code == 403
        assert client.put("/memory/ns/k", json={"value": 1}, headers={"Origin": url}).status_code == 200
        assert client.get("/memory/ns/k").status_code == 200
