"""HTTPStore beside its faults: connections, secrets, closing, forks, clients handed in, and long listings."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any

import httpx
import pytest

from botwire import AsyncMemory, Closed, InvalidValue, Memory, StoreIncompatible
from botwire.stores import Append, Batch, EntryRow, Restore, RestoreLog, Set, open_store
from botwire.stores.http import HTTPStore


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://host:8377", "http://host:8377"),
        ("http://host:8377/", "http://host:8377"),
        ("https://host/some/path/", "https://host/some/path"),
        ("http://user:secret@host:1", "http://host:1"),
        ("http://[::1]:8377", "http://[::1]:8377"),
    ],
)
def test_a_url_is_shown_without_credentials(given: str, shown: str) -> None:
    store = HTTPStore(given, token="very-secret")
    assert store.url == shown
    assert "secret" not in repr(store) + str(store) + repr(store.__dict__["_service"])


@pytest.mark.parametrize("url", ["http://", "http://host?x=1", "http://host#x", "http://host:99999", "http://host:x", "ftp://host"])
def test_a_url_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidValue):
        HTTPStore(url)


@pytest.mark.parametrize("token", ["", "a\nb", "é", "a\r\nX-Other: b"])
def test_a_token_that_cannot_be_one_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        HTTPStore("http://host", token=token)
    assert not token or token not in str(caught.value)


def test_the_token_is_sent_and_stays_out_of_errors(faulty: Any, fault: Any) -> None:
    store = HTTPStore(faulty.url, token="very-secret", retries=0)
    faulty.faults += [fault["say"](200, b'{"count":1}'), fault["say"](500, b"boom"), fault["hang"]]
    assert store.count("ns") == 1
    assert b"authorization: bearer very-secret" in faulty.requests[-1].lower()
    with pytest.raises(Exception, match="500") as caught:
        store.count("ns")
    shown = "".join(str(error) + repr(error) for error in (caught.value, caught.value.__cause__))
    assert "secret" not in shown


def test_making_a_store_connects_to_nothing(elapsed: Any) -> None:
    for _ in range(1_000):
        HTTPStore("http://host.invalid")
    assert elapsed() < 2


def test_calls_in_a_row_share_one_connection(proxy: Any) -> None:
    store = HTTPStore(proxy.url)
    for number in range(20):
        store.write([Batch("ns", (Set(f"k{number}", "1"),))])
        store.get("ns", f"k{number}")
    assert len(proxy._threads) == 2  # the one that accepts, and one connection
    store.close()


def test_a_closed_store_says_so_and_closing_again_does_nothing(url: str) -> None:
    store = HTTPStore(url)
    assert store.count("ns") == 0
    store.close()
    store.close()
    with pytest.raises(Closed):
        store.count("ns")
    with pytest.raises(Closed):
        store.write([Batch("ns", (Set("k", "1"),))])


def test_a_client_that_was_handed_in_is_used_and_not_closed(url: str) -> None:
    seen: list[str] = []
    with httpx.Client(event_hooks={"request": [lambda request: seen.append(request.method)]}) as client:
        store = HTTPStore(url, client=client)
        store.write([Batch("ns", (Set("k", "1"),))])
        store.close()
        assert not client.is_closed
    assert seen == ["GET", "PUT"]


def test_an_async_client_that_was_handed_in_is_used_and_not_closed(url: str) -> None:
    async def check() -> None:
        async with httpx.AsyncClient() as client:
            native = HTTPStore(url, async_client=client).native_async()
            assert await native.count("ns") == 0
            await native.close()
            assert not client.is_closed
            with pytest.raises(Closed):
                await native.count("ns")

    asyncio.run(check())


def test_many_threads_share_a_store(url: str, store: Any) -> None:
    http = HTTPStore(url)
    begun = threading.Barrier(8)

    def append(worker: int) -> None:
        begun.wait()
        for number in range(20):
            http.write([Batch("ns", (Append("s", "", (json.dumps([worker, number]),)),))])

    threads = [threading.Thread(target=append, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = store.read_log("ns", "s", "").rows
    assert [row.seq for row in rows] == list(range(1, 161))
    for worker in range(8):
        assert [number for who, number in (json.loads(row.body) for row in rows) if who == worker] == list(range(20))
    http.close()


def test_many_tasks_share_a_store(url: str) -> None:
    async def check() -> None:
        http = HTTPStore(url)
        memory = AsyncMemory("ns", store=http)
        seqs = await asyncio.gather(*(memory.session("s").append(str(number), role="user") for number in range(60)))
        assert sorted(seq for (seq,) in seqs) == list(range(1, 61))
        await http.native_async().close()

    asyncio.run(check())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: there is no fork here")
def test_a_forked_child_makes_connections_of_its_own(proxy: Any) -> None:
    """Parent and child go on at once; neither reads the other's answers."""
    store = HTTPStore(proxy.url)
    store.write([Batch("ns", (Set("k", '"parent"'),))])
    child = os.fork()
    if child == 0:
        try:
            good = all(store.get("ns", "k") is not None for _ in range(20)) and store.get("ns", "none") is None
            os._exit(0 if good else 1)
        except BaseException:  # noqa: BLE001
            os._exit(2)
    for _ in range(20):
        row = store.get("ns", "k")
        assert row is not None
        assert row.value == '"parent"'
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(proxy._threads) == 3
    store.close()


def test_long_listings_are_fetched_page_by_page_and_complete(url: str, store: Any) -> None:
    keys = [f"k{number:05}" for number in range(10_001)]
    store.write([Batch("ns", tuple(Set(key, "1") for key in keys))])
    http = HTTPStore(url)
    assert http.scan_keys("ns", "", None, 1_000_000) == keys
    assert http.scan_keys("ns", "k0999", "k09995", 3) == ["k09996", "k09997", "k09998"]
    assert [row.key for row in http.scan("ns", "", None, 10_001)] == keys
    assert http.scan("ns", "", None, 0) == []
    http.close()


def test_values_larger_than_a_page_come_back_whole(url: str) -> None:
    http = HTTPStore(url)
    memory = Memory("ns", store=http)
    big = {f"k{number:02}": "x" * 900_000 for number in range(20)}
    for key, value in big.items():
        memory.set(key, value)
    memory.session("s").append(*[("user", "y" * 500_000) for _ in range(40)])
    assert dict(memory.items()) == big
    assert len(memory.session("s").messages()) == 40
    assert [message.seq for message in memory.session("s").messages(last=30)] == list(range(11, 41))
    http.close()


def test_a_session_of_many_messages_is_read_from_either_end(url: str, store: Any) -> None:
    bodies = tuple(f'{{"n":{number}}}' for number in range(12_000))
    store.write([Batch("ns", (Append("s", "", bodies),))])
    http = HTTPStore(url)
    assert [row.body for row in http.read_log("ns", "s", "").rows] == list(bodies)
    assert [row.seq for row in http.read_log("ns", "s", "", last=11_000).rows] == list(range(1_001, 12_001))
    assert [row.seq for row in http.read_log("ns", "s", "", after=11_990, before=11_995).rows] == [11_991, 11_992, 11_993, 11_994]
    assert [row.seq for row in http.read_log("ns", "s", "", after=5, last=2, before=9).rows] == [7, 8]
    assert [row.seq for row in http.read_log("ns", "s", "", limit=10_500).rows] == list(range(1, 10_501))
    assert http.read_log("ns", "s", "", last=0).rows == []
    assert http.read_log("ns", "none", "").info is None
    http.close()


def test_entries_and_sessions_are_restored_exactly(url: str, store: Any) -> None:
    row = EntryRow("k", '{"a": 1.0}', 41, 1, 1_795_355_965_123_456, 4_000_000_000_000_001)
    http = HTTPStore(url)
    http.write([Batch("ns", (Restore(row), Append("s", "w", ('{"role":"user","content":"hi"}',), 1_234_567)))])
    page = http.read_log("ns", "s", "w")
    assert http.get("ns", "k") == row == store.get("ns", "k")
    assert page == store.read_log("ns", "s", "w")
    assert page.info is not None
    assert page.info.ttl == 1_234_567
    other = open_store("memory://")
    other.write([Batch("ns", (RestoreLog(page.info, tuple(page.rows)),))])
    http.write([Batch("copy", (RestoreLog(page.info, tuple(page.rows)),))])
    assert http.read_log("copy", "s", "w") == other.read_log("ns", "s", "w") == page
    other.close()
    http.close()


VALUES = ["\ud800", "a\0b", 10**5_000, -0.0, 1e-320, {"": [None]}, "{not json", 2**70, True, None, "\u2028é😀"]


@pytest.mark.parametrize("value", VALUES, ids=[f"{number}-{type(value).__name__}" for number, value in enumerate(VALUES)])
def test_every_value_comes_back_equal_and_of_its_type(url: str, value: Any) -> None:
    http = HTTPStore(url)
    memory = Memory("ns", store=http)
    memory.set("k", value)
    memory.set_many({"m": value})
    for found in (memory.get("k"), memory.get_many(["k"])["k"], dict(memory.items())["m"]):
        assert found == value
        assert type(found) is type(value)
    http.close()


@pytest.mark.parametrize("request_id", ["plain-id", "with space", "é/ü", '"quoted"', "x" * 512])
def test_any_request_id_works_for_any_write(url: str, request_id: str) -> None:
    http = HTTPStore(url)
    memory = Memory("ns", store=http)
    assert memory.set("k", 1, request_id=request_id) == memory.set("k", 1, request_id=request_id) == 1
    assert memory.increment("n", request_id=request_id[:-1] + "2") == 1
    http.close()


def test_a_server_of_another_protocol_is_refused(faulty: Any, fault: Any) -> None:
    health = b'{"service":"botwire","version":"9","protocol":99,"store":"x","ok":true}'
    faulty.faults.append(fault["at_health"](fault["say"](200, health)))
    with pytest.raises(StoreIncompatible, match="99"):
        HTTPStore(faulty.url).get("ns", "k")


def test_a_path_in_the_url_is_put_before_every_route(faulty: Any, fault: Any) -> None:
    faulty.faults += [fault["at_health"](fault["say"](200, b'{"service":"botwire","protocol":1}')), fault["say"](200, b'{"count":2}')]
    assert HTTPStore(faulty.url + "/behind/proxy").count("a/b") == 2
    assert [request.split()[1] for request in faulty.requests] == [b"/behind/proxy/health", b"/behind/proxy/count/a%2Fb"]


def test_a_store_that_nobody_closes_leaves_no_connection(url: str) -> None:
    for _ in range(5):
        assert HTTPStore(url).count("ns") == 0  # a socket left open would be an error here: ResourceWarning is one


@pytest.mark.alone
def test_waiting_for_a_lost_server_takes_no_processor_time() -> None:
    started, used = time.monotonic(), time.process_time()
    with pytest.raises(ConnectionError):
        HTTPStore("http://127.0.0.1:9").count("ns")
    assert time.process_time() - used < 0.5
    assert time.monotonic() - started < 6
    assert sys.exc_info() == (None, None, None)
