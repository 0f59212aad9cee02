"""The stream of changes as its clients see it: what is sent, to whom, and how it ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from botwire import Memory, Unauthorized
from botwire.server import serve_in_thread
from botwire.stores import open_store

PATIENCE = 30


@contextmanager
def stream(url: str, path: str, **options: Any) -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of a stream, as (name, data); comments as ("", text)."""
    with httpx.Client(timeout=PATIENCE) as client, client.stream("GET", url + path, **options) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        yield events(answer.iter_lines())


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith(":"):
            yield "", line[1:].strip()
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_stream_tells_names_and_no_values(url, store):
    memory = Memory("a/b c", store=store)
    with stream(url, "/watch/a%2Fb%20c") as told:
        assert next(told) == ("ready", {"keep_alive": 15})
        memory.set("k é\u2028\U0001f600"[:3], "a secret")
        assert next(told) == ("change", {"keys": ["k é"], "sessions": []})
        memory.session("s").append(("user", "hi"))
        assert next(told) == ("change", {"keys": [], "sessions": ["s"]})
        memory.clear()
        assert next(told) == ("change", {"keys": None, "sessions": []})


def test_a_stream_of_one_session_tells_of_it_alone(url, store):
    memory = Memory("n", store=store)
    with stream(url, "/watch/n?session=s%201") as told:
        assert next(told)[0] == "ready"
        memory.set("k", 1)
        memory.session("s 2").append(("user", "no"))
        Memory("m", store=store).session("s 1").append(("user", "no"))
        memory.session("s 1").append(("user", "yes"))
        assert next(told) == ("change", {"keys": [], "sessions": ["s 1"]})


def test_a_silent_stream_shows_that_it_is_alive(url):
    with stream(url, "/watch/n?keep_alive=1") as told:
        assert next(told) == ("ready", {"keep_alive": 1})
        assert next(told) == ("", "alive")
        assert next(told) == ("", "alive")


BAD = ["keep_alive=0", "keep_alive=61", "keep_alive=x", "session=", "sesion=s", "session=..", "session=a&session=b"]


@pytest.mark.parametrize("query", BAD)
def test_a_bad_request_is_refused(url, query):
    assert httpx.get(f"{url}/watch/n?{query}").status_code == 400


def test_head_ends(url):
    answer = httpx.head(f"{url}/watch/n")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_who_may_not_read_hears_nothing(store):
    open_to = {"n"}

    def authorize(headers, namespace, action):
        if namespace not in open_to or action != "read":
            raise Unauthorized("no")

    with serve_in_thread(store, authorize=authorize) as url:
        assert httpx.get(f"{url}/watch/m").status_code == 401
        assert httpx.get(f"{url}/stamps/m").status_code == 401
        with stream(url, "/watch/n?keep_alive=1") as told:
            assert next(told)[0] == "ready"
            open_to.clear()  # the token is withdrawn
            assert len(list(told)) <= 1


def test_a_hundred_streams_hold_no_threads(url, store):
    memory = Memory("n", store=store)
    with stream(url, "/watch/n") as first:
        assert next(first)[0] == "ready"
        before = threading.active_count()
        connections = []
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
            connection.sendall(b"GET /watch/n HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            connections.append(connection)
        for connection in connections:
            read_until(connection, b"event: ready")
        memory.set("k", 1)
        for connection in connections:
            read_until(connection, b'{"keys": ["k"]')
        assert threading.active_count() <= before + 8  # those of slow reads
        for connection in connections:
            connection.close()
        assert next(first)[0] == "change"


def read_until(connection: socket.socket, text: bytes) -> None:
    connection.settimeout(PATIENCE)
    data = b""
    while text not in data:
        chunk = connection.recv(65_536)
        assert chunk
        data += chunk


def listeners_of(store: Any) -> int:
    return sum(map(len, store._listeners._by_namespace.values()))


def test_streams_share_a_listener_and_leave_none_behind(url, store):
    with stream(url, "/watch/n") as one, stream(url, "/watch/n") as other:
        assert next(one)[0] == next(other)[0] == "ready"
        assert listeners_of(store) == 1
        with stream(url, "/watch/n?session=s") as third:
            assert next(third)[0] == "ready"
            assert listeners_of(store) == 2
    deadline = time.monotonic() + PATIENCE
    while listeners_of(store):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with stream(url, "/watch/n") as again:
        assert next(again)[0] == "ready"
        Memory("n", store=store).set("k", 1)
        assert next(again)[0] == "change"


def test_a_stop_does_not_wait_for_streams():
    """One client listens, one went to sleep with its buffers full: the server stops at once all the same."""
    store = open_store("memory://")
    memory = Memory("n", store=store)
    with serve_in_thread(store) as url, stream(url, "/watch/n") as told:
        assert next(told)[0] == "ready"
        sleeper = socket.socket()
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sleeper.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        sleeper.sendall(b"GET /watch/n HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        read_until(sleeper, b"event: ready")
        for number in range(150):
            memory.set_many({f"{number}-{'x' * 400}-{index}": 0 for index in range(40)})
            while next(told) == ("", "alive"):
                pass
        begun = time.monotonic()
        threading.Timer(0, lambda: None).start()
    assert time.monotonic() - begun < 15  # a stop waits 30 seconds for answers that do not end
    sleeper.close()
    store.close()


def test_stamps_come_in_pages(client, store):
    memory = Memory("n", store=store)
    memory.set_many({f"a{number}": "x" * 1_000 for number in range(5)}, ttl=1_000)
    first = client.get("/stamps/n?prefix=a&limit=3").json()
    assert [stamp["key"] for stamp in first["stamps"]] == ["a0", "a1", "a2"]
    rest = client.get(f"/stamps/n?prefix=a&limit=3&cursor={first['next_cursor']}").json()
    assert ([stamp["key"] for stamp in rest["stamps"]], rest["next_cursor"]) == (["a3", "a4"], None)
    entry = client.get("/memory/n/a4").json()
    assert rest["stamps"][1] == {name: entry[name] for name in ("key", "version", "updated_at", "expires_at")}
