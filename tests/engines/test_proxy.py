"""The fault proxy itself, and what the HTTP store makes of each of its faults."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from engines.proxy import Proxy

from botwire import Memory, OutcomeUnknown, StoreBusy, StoreUnavailable
from botwire.server import serve_in_thread
from botwire.stores import open_store


@pytest.fixture
def proxy():
    store = open_store("memory://")
    with serve_in_thread(store) as url, Proxy(("127.0.0.1", int(url.rpartition(":")[2]))) as proxy:
        yield proxy
    store.close()


@pytest.fixture
def memory(proxy):
    with Memory("n", url=f"http://127.0.0.1:{proxy.port}", timeout=1) as memory:
        memory.set("key", 1)
        yield memory


def test_without_a_fault_everything_passes(memory):
    memory.set("large", "x" * 1_000_000)
    assert memory.get("large") == "x" * 1_000_000


def test_a_cut_connection_is_replaced_without_a_word(proxy, memory):
    assert proxy.cut() == 1
    assert memory.get("key") == 1
    assert memory.increment("n") == 1


def test_a_frozen_server_ends_a_call_at_its_deadline_and_a_thawed_one_serves(proxy, memory):
    proxy.freeze()
    started = time.monotonic()
    with pytest.raises(StoreBusy):
        memory.get("key")
    with pytest.raises(OutcomeUnknown):
        memory.session("s").append(("user", "hi"))
    assert time.monotonic() - started < 4
    proxy.thaw()
    assert memory.get("key") == 1
    assert memory.session("s").count() <= 1


def test_a_server_that_refuses_connections_has_written_nothing(proxy, memory):
    proxy.refuse()
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        memory.get("key")
    proxy.refuse(False)
    assert memory.list_keys() == ["key"]


@pytest.mark.parametrize("keep", [0, 1, 40])
def test_an_append_whose_reply_is_lost_or_cut_short_is_applied_once(proxy, memory, keep):
    for number in range(1, 4):
        proxy.truncate_next_reply(keep)
        assert memory.session("s").append(("user", f"{number}")) == [number]
    assert memory.session("s").count() == 3


def test_a_half_open_connection_ends_a_call_at_its_deadline_and_is_not_used_again(proxy, memory):
    """The server is gone, and nothing tells the client: neither end nor reset."""
    assert proxy.half_open() == 1
    with pytest.raises(StoreBusy):
        memory.get("key")
    assert memory.get("key") == 1


def test_a_slow_line_is_no_fault(proxy, memory):
    proxy.delay(0.05)
    started = time.monotonic()
    assert memory.get("key") == 1
    assert time.monotonic() - started >= 0.1


def test_calls_of_many_threads_survive_cuts_and_are_applied_once(proxy):
    memory = Memory("n", url=f"http://127.0.0.1:{proxy.port}", timeout=60)

    def append(lane):
        return [memory.session("s").append(("user", f"{lane}:{number}"))[0] for number in range(30)]

    given = []
    threads = [threading.Thread(target=lambda lane=lane: given.extend(append(lane))) for lane in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        proxy.cut()
        time.sleep(0.1)
    assert sorted(given) == list(range(1, 181))
    assert [message.seq for message in memory.session("s").messages()] == list(range(1, 181))
    memory.close()


def test_new_connections_go_where_the_address_has_moved():
    def greet(listening, text):
        server, _ = listening.accept()
        server.sendall(text)
        server.close()

    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two, Proxy(one.getsockname()) as proxy:
        for listening, text in ((one, b"one"), (two, b"two")):
            proxy.upstream = listening.getsockname()
            thread = threading.Thread(target=greet, args=(listening, text))
            thread.start()
            with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
                assert client.recv(10) == text
                assert client.recv(10) == b"", "the end is passed on"
            thread.join()
