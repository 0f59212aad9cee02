"""Listening over HTTP: what goes wrong with the connection is noticed in bounded time, and nothing is missed for it."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from botwire import AsyncMemory, Closed, Memory, StoreUnavailable, Unauthorized
from botwire.server import serve_in_thread
from botwire.stores import Heard, open_store
from botwire.stores._http_listen import Events
from botwire.stores._polling import AsyncPollingListener, PollingListener
from botwire.stores.http import HTTPStore

PATIENCE = 30.0


def listening_threads() -> int:
    return sum(thread.name == "botwire-listener" for thread in threading.enumerate())


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("sizes", [1, 2, 7, 1_000])
def test_events_are_read_however_they_are_cut(sizes):
    text = (
        ': comment\r\n\r\nevent: ready\ndata: {"é": 1}\n\nretry: 5\nid: 3\n\n'
        "event: change\ndata: one\ndata: two\n\ndata:no name\r\n\r\nevent: never\ndata: finished"
    ).encode()
    events = Events()
    found = [event for start in range(0, len(text), sizes) for event in events.feed(text[start : start + sizes])]
    assert found == [("ready", '{"é": 1}'), ("change", "one\ntwo"), ("", "no name")]


def test_a_line_without_end_is_no_stream():
    events = Events()
    with pytest.raises(StoreUnavailable):
        for _ in range(6):
            events.feed(b"x" * 1_000_000)


class Gate:
    """A way to a server that can be frozen (nothing passes, nothing is closed) or cut."""

    def __init__(self, url: str) -> None:
        self.target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self.frozen = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            self.pairs.append((client, server))
            frozen = self.frozen
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other, frozen), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, frozen: threading.Event) -> None:
        try:
            while data := one.recv(65_536):
                if frozen.is_set():
                    return  # and close nothing: as when a machine on the way has forgotten the connection
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def freeze(self) -> None:
        """Let nothing pass on the connections there are; others work."""
        self.frozen.set()
        self.frozen = threading.Event()

    def cut(self) -> None:
        """Close the connections there are."""
        for pair in self.pairs:
            for each in pair:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def close(self) -> None:
        self._listening.close()
        for pair in self.pairs:
            for each in pair:
                each.close()


@pytest.fixture
def gate(url):
    gate = Gate(url)
    yield gate
    gate.close()


@pytest.fixture
def impatient(monkeypatch):
    """A connection without a sign of life is given up after two seconds."""
    monkeypatch.setattr("botwire.stores.http.KEEP_ALIVE", 1)
    monkeypatch.setattr("botwire.stores._http_listen.KEEP_ALIVE", 1)
    monkeypatch.setattr("botwire.stores._http_listen.PATIENCE", 2.0)


@pytest.mark.parametrize("trouble", ["freeze", "cut"])
def test_what_is_written_while_a_connection_is_dead_is_told_of(gate, store, impatient, trouble):
    memory, client = Memory("n", store=store), HTTPStore(gate.url, timeout=3)
    with Memory("n", store=client).watch(timeout=PATIENCE) as changes:
        memory.set("before", 1)
        assert next(changes).key == "before"
        getattr(gate, trouble)()
        memory.set("meanwhile", 1)
        assert next(changes).key == "meanwhile"
    client.close()


@pytest.mark.parametrize("trouble", ["freeze", "cut"])
def test_what_is_written_while_an_async_connection_is_dead_is_told_of(gate, store, impatient, trouble):
    memory = Memory("n", store=store)

    async def main() -> None:
        async with AsyncMemory("n", url=gate.url, timeout=3) as client, client.watch(timeout=PATIENCE) as changes:
            memory.set("before", 1)
            assert (await anext(changes)).key == "before"
            getattr(gate, trouble)()
            memory.set("meanwhile", 1)
            assert (await anext(changes)).key == "meanwhile"

    asyncio.run(main())


def test_a_silent_connection_that_lives_is_kept(gate, store, impatient):
    client = HTTPStore(gate.url)
    listener = client.listen("n")
    assert listener.wait(3.5) is None  # longer than the patience: the server showed that it is alive
    assert len(gate.pairs) <= 2
    listener.close()
    client.close()


def test_a_server_that_comes_back_is_listened_to_again(tmp_path):
    store = open_store(f"sqlite://{tmp_path}/memory.db")
    memory = Memory("n", store=store)
    with serve_in_thread(store) as url:
        client = HTTPStore(url, timeout=2)
        watch = Memory("n", store=client).watch(timeout=PATIENCE)
        messages = Memory("n", store=client).session("s").watch(timeout=PATIENCE)
    memory.set("meanwhile", 1)
    memory.session("s").append(("user", "1"), ("user", "2"))
    with serve_in_thread(store, port=int(url.rpartition(":")[2])):
        assert next(watch).key == "meanwhile"
        assert [next(messages).seq, next(messages).seq] == [1, 2]
        memory.set("after", 1)
        assert next(watch).key == "after"
        watch.close()
        messages.close()
    client.close()
    store.close()


def test_a_server_that_is_not_there_is_an_error_in_bounded_time(url):
    client = HTTPStore(url, timeout=2)
    client.check()
    unreachable = HTTPStore("http://127.0.0.1:9", timeout=2)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        unreachable.listen("n")
    assert time.monotonic() - begun < 15
    for store in (client, unreachable):
        store.close()


def test_a_refusal_is_an_error_at_once_and_later(store):
    allowed = {"n"}

    def authorize(headers, namespace, action):
        if namespace is not None and namespace not in allowed:
            raise Unauthorized("no")

    with serve_in_thread(store, authorize=authorize) as url:
        client = HTTPStore(url)
        with pytest.raises(Unauthorized):
            client.listen("m")
        watch = Memory("n", store=client).watch(timeout=PATIENCE)
        allowed.clear()
        Memory("n", store=store).set("k", 1)  # the server looks again whether it may tell
        with pytest.raises(Unauthorized):
            next(watch)
        watch.close()
        client.close()


def test_closing_leaves_no_thread_and_a_store_that_is_closed_says_so(url):
    client = HTTPStore(url)
    before = listening_threads()
    listeners = [client.listen("n") for _ in range(5)]
    assert listening_threads() == before + 5
    listeners[0].close()
    assert listeners[0].wait(0) is None
    until(lambda: listening_threads() == before + 4)
    client.close()
    with pytest.raises(Closed):
        listeners[1].wait(PATIENCE)
    until(lambda: listening_threads() == before)


def test_a_listener_that_is_forgotten_ends(url, store, impatient):
    client = HTTPStore(url)
    before = listening_threads()
    listener = client.listen("n")
    assert listening_threads() == before + 1
    del listener
    until(lambda: listening_threads() == before)
    client.close()


def test_a_client_that_was_handed_in_is_used(url, store):
    with httpx.Client(headers={"x-mine": "1"}) as mine:
        seen: list[str] = []
        mine.event_hooks["request"].append(lambda request: seen.append(request.url.path))
        client = HTTPStore(url, client=mine)
        with Memory("n", store=client).watch(timeout=PATIENCE) as changes:
            Memory("n", store=store).set("k", 1)
            assert next(changes).key == "k"
        assert "/watch/n" in seen
        client.close()


def test_parent_and_child_of_a_fork_both_go_on_watching(url, store):
    client = HTTPStore(url)
    watch = Memory("n", store=client).watch(timeout=PATIENCE)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, b"ready\n")
            os.write(writing, next(watch).key.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        assert pipe.readline() == "ready\n"
        Memory("n", store=store).set("k", 1)
        assert next(watch).key == "k"
        assert pipe.read() == "k"
    os.waitpid(pid, 0)
    Memory("n", store=store).set("after", 1)
    assert next(watch).key == "after"
    watch.close()
    client.close()


def test_one_change_costs_one_small_event_and_one_lookup(url, store):
    """What a change costs over HTTP: no listing, no value that did not change."""
    memory = Memory("n", store=store)
    memory.set_many({f"k{number}": "x" * 10_000 for number in range(100)})
    with httpx.Client() as mine:
        requests: list[httpx.Request] = []
        mine.event_hooks["request"].append(requests.append)
        client = HTTPStore(url, client=mine)
        with Memory("n", store=client).watch(timeout=PATIENCE) as changes:
            requests.clear()
            for number in range(10):
                memory.set(f"k{number}", number)
                assert next(changes).entry.value == number
        assert [request.url.path for request in requests] == ["/lookup/n"] * 10
        client.close()


# ------------------------------------------------------------------------------------------- polling


def test_a_polling_listener_says_now_and_then_that_anything_may_have_changed():
    listener = PollingListener(0.05)
    assert listener.wait(0.001) is None
    assert listener.wait(PATIENCE) == Heard(None, None)
    assert listener.wait(PATIENCE) == Heard(None, None)
    waiting = threading.Thread(target=PollingListener.wait, args=(slow := PollingListener(PATIENCE), PATIENCE))
    waiting.start()
    slow.close()
    waiting.join(5)
    assert not waiting.is_alive()

    async def main() -> None:
        listener = AsyncPollingListener(0.05)
        assert await listener.wait(0.001) is None
        assert await listener.wait(PATIENCE) == Heard(None, None)
        listener.close()

    asyncio.run(main())
