"""What a user sees when the server is down, slow, half-open or answers nonsense: the right error, in time, nothing twice."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from botwire import (
    AsyncMemory,
    BotWireError,
    Memory,
    OutcomeUnknown,
    QuotaExceeded,
    StoreBusy,
    StoreCorrupt,
    StoreUnavailable,
    Unauthorized,
    ValueTooLarge,
    VersionConflict,
)
from botwire.stores.http import HTTPStore


def memory_at(url: str, timeout: float = 10.0, retries: int = 5) -> Memory:
    return Memory("ns", store=HTTPStore(url, timeout=timeout, retries=retries))


@pytest.fixture
def lone(faulty: Any, fault: Any) -> Any:
    """A memory on a server of which it is known already that it is botwire's."""
    memory = memory_at(faulty.url, timeout=1.0)
    faulty.faults.append(fault["say"](200, b'{"count":0}'))
    assert memory.count() == 0
    faulty.requests.clear()
    return memory


def test_a_server_that_is_down_is_named_within_seconds(elapsed: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(StoreUnavailable, match=url):
        memory_at(url).get("k")
    assert elapsed() < 6


@pytest.mark.parametrize("name", ["hang", "drip_body", "drip_head"])
def test_a_read_ends_at_its_deadline_however_slowly_the_answer_drips(lone: Any, faulty: Any, fault: Any, name: str) -> None:
    faulty.faults += [fault[name]] * 20
    started = time.monotonic()
    with pytest.raises(StoreBusy):
        lone.get("k")
    assert 0.5 < time.monotonic() - started < 2.5


@pytest.mark.parametrize("name", ["hang", "drip_body", "drip_head"])
def test_a_write_without_an_answer_has_an_unknown_outcome(lone: Any, faulty: Any, fault: Any, name: str) -> None:
    faulty.faults += [fault[name]] * 20
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="request_id"):
        lone.append("list", 1)
    assert time.monotonic() - started < 2.5


def test_a_write_that_was_never_sent_is_known_not_to_have_happened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(StoreUnavailable) as caught:
        memory_at(url, retries=1).append("list", 1)
    assert not isinstance(caught.value, OutcomeUnknown)


@pytest.mark.parametrize("name", ["close_before", "close_after", "truncate"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_append_whose_answer_is_lost_is_applied_exactly_once(proxy: Any, store: Any, fault: Any, name: str, times: int) -> None:
    memory = memory_at(proxy.url)
    memory.session("s").append("first", role="user")
    proxy.faults += [fault[name]] * times
    assert memory.session("s").append("second", role="user") == [2]
    assert [message.text for message in Memory("ns", store=store).session("s").messages()] == ["first", "second"]
    assert proxy.faults == []


@pytest.mark.parametrize("name", ["close_before", "close_after", "truncate"])
def test_every_kind_of_write_tells_the_truth_when_its_first_answer_is_lost(proxy: Any, store: Any, fault: Any, name: str) -> None:
    memory, direct = memory_at(proxy.url), Memory("ns", store=store)
    direct.set("gone", 1)
    direct.set("counter", 10)
    version = direct.set("cas", "old")
    direct.session("s").append("only", role="user")
    calls = [
        (lambda: memory.delete("gone"), True),
        (lambda: memory.increment("counter"), 11),
        (lambda: memory.set("cas", "new", if_version=version), version + 1),
        (lambda: memory.set("fresh", 1, if_version=0), 1),
        (lambda: memory.set("plain", 1), 1),
        (lambda: memory.append("list", "a", "b"), 2),
        (lambda: memory.session("s").pop().text, "only"),
        (lambda: memory.clear("list"), 1),
    ]
    memory.count()
    for call, expected in calls:
        proxy.faults.append(fault[name])
        assert call() == expected
    assert direct.get("counter") == 11
    assert direct.list_keys() == ["cas", "counter", "fresh", "plain"]


def test_a_retry_is_the_same_request_and_another_call_is_not(proxy: Any, fault: Any) -> None:
    memory = memory_at(proxy.url)
    memory.count()
    proxy.requests.clear()
    proxy.faults += [fault["close_before"]]
    memory.increment("n")
    memory.increment("n")
    first, second, third = proxy.requests
    assert first == second != third


def test_a_conflict_found_by_a_retry_is_still_told(proxy: Any, fault: Any) -> None:
    memory = memory_at(proxy.url)
    memory.set("k", 1)
    proxy.faults += [fault["close_before"]]
    with pytest.raises(VersionConflict) as caught:
        memory.set("k", 2, if_version=7)
    assert caught.value.current == 1


def test_503_is_tried_again_and_502_too(proxy: Any, fault: Any) -> None:
    memory = memory_at(proxy.url)
    memory.count()
    proxy.faults += [fault["say"](503), fault["say"](502, b"<html>", kind="text/html")]
    assert memory.increment("n") == 1
    assert proxy.faults == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_only_fails_is_unavailable(lone: Any, faulty: Any, fault: Any, status: int) -> None:
    faulty.faults += [fault["say"](status, b"oops", kind="text/plain")] * 20
    with pytest.raises(StoreUnavailable):
        lone.get("k")


def test_a_gateway_that_gives_up_on_a_write_leaves_it_unknown(lone: Any, faulty: Any, fault: Any) -> None:
    faulty.faults += [fault["say"](504)] * 20
    with pytest.raises(OutcomeUnknown):
        lone.increment("n")


def test_html_is_recognised_as_some_other_server(lone: Any, faulty: Any, fault: Any) -> None:
    faulty.faults.append(fault["say"](200, b"<html>Welcome to the hotel network</html>", kind="text/html"))
    with pytest.raises(StoreUnavailable, match="text/html"):
        lone.get("k")


def test_an_html_page_for_a_missing_route_is_not_a_missing_key(lone: Any, faulty: Any, fault: Any) -> None:
    faulty.faults.append(fault["say"](404, b"<html>Not here</html>", kind="text/html"))
    with pytest.raises(StoreUnavailable):
        lone.get("k")


def test_a_redirect_is_not_followed_and_its_target_is_named(lone: Any, faulty: Any, fault: Any) -> None:
    faulty.faults.append(fault["say"](307, b"", "Location: https://elsewhere.example/x"))
    with pytest.raises(StoreUnavailable, match=r"https://elsewhere\.example/x"):
        lone.get("k")
    assert len(faulty.requests) == 1


def test_429_waits_as_long_as_it_is_told_when_there_is_time(proxy: Any, fault: Any) -> None:
    memory = memory_at(proxy.url)
    memory.set("k", 1)
    proxy.faults.append(fault["say"](429, b"", "Retry-After: 1"))
    started = time.monotonic()
    assert memory.get("k") == 1
    assert time.monotonic() - started >= 1


def test_429_for_longer_than_the_deadline_says_how_long(lone: Any, faulty: Any, fault: Any) -> None:
    faulty.faults.append(fault["say"](429, b"", "Retry-After: 3600"))
    started = time.monotonic()
    with pytest.raises(QuotaExceeded) as caught:
        lone.set("k", 1)
    assert caught.value.retry_after == 3600
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Unauthorized), (413, ValueTooLarge)])
def test_plain_statuses_of_a_proxy_have_their_errors(lone: Any, faulty: Any, fault: Any, status: int, kind: type[BotWireError]) -> None:
    faulty.faults.append(fault["say"](status))
    with pytest.raises(kind):
        lone.set("k", 1)


def test_a_value_that_the_server_cannot_read_back_is_told_as_such(lone: Any, faulty: Any, fault: Any) -> None:
    times = b'"created_at":"2026-01-01T00:00:00.000000Z","updated_at":"2026-01-01T00:00:00.000000Z","expires_at":null'
    faulty.faults.append(fault["say"](200, b'{"namespace":"ns","key":"k","value":"{broken","version":1,' + times + b"}"))
    with pytest.raises(StoreCorrupt, match="'k'"):
        lone.get("k")


def test_a_fault_while_the_service_is_recognised_does_not_stick(faulty: Any, fault: Any) -> None:
    memory = memory_at(faulty.url, timeout=0.5, retries=0)
    faulty.faults.append(fault["at_health"](fault["say"](500)))
    with pytest.raises(StoreUnavailable):
        memory.count()
    faulty.faults.append(fault["say"](200, b'{"count":3}'))
    assert memory.count() == 3


# --------------------------------------------------------------------------------------------- async


@pytest.mark.parametrize("name", ["hang", "drip_body", "drip_head"])
def test_an_async_read_ends_at_its_deadline(faulty: Any, fault: Any, name: str) -> None:
    async def read() -> None:
        store = HTTPStore(faulty.url, timeout=1.0)
        native = store.native_async()
        faulty.faults.append(fault["say"](200, b'{"count":0}'))
        assert await native.count("ns") == 0
        faulty.faults += [fault[name]] * 20
        started = time.monotonic()
        with pytest.raises(StoreBusy):
            await native.get("ns", "k")
        assert time.monotonic() - started < 2.5
        await native.close()

    asyncio.run(read())


@pytest.mark.parametrize("name", ["close_before", "close_after", "truncate"])
def test_an_async_append_whose_answer_is_lost_is_applied_exactly_once(proxy: Any, store: Any, fault: Any, name: str) -> None:
    async def append() -> None:
        http = HTTPStore(proxy.url)
        memory = AsyncMemory("ns", store=http)
        await memory.count()
        proxy.faults.append(fault[name])
        assert await memory.session("s").append("hi", role="user") == [1]
        await http.native_async().close()

    asyncio.run(append())
    assert len(Memory("ns", store=store).session("s").messages()) == 1
