"""Answers that get lost: a command that is sent again is carried out once, and what is not known is said to be not known."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest
from redis.exceptions import ConnectionError as DriverConnectionError

from botwire import AsyncMemory, Memory, OutcomeUnknown, StoreBusy, StoreUnavailable, VersionConflict
from botwire.stores import Append, Batch, Set


def url_of(proxy):
    return f"redis://127.0.0.1:{proxy.port}?prefix={secrets.token_hex(4)}:"


def test_an_append_whose_answers_are_dropped_is_done_once(proxy, open_at):
    memory = Memory("n", store=open_at(url_of(proxy)))
    memory.set("warm", 1)
    proxy.answers_to_drop = 3
    assert memory.session("s").append(("user", "one")) == [1]
    assert proxy.dropped == 3
    assert memory.session("s").append(("user", "two")) == [2]
    assert [message.text for message in memory.session("s").messages()] == ["one", "two"]


@pytest.mark.parametrize("call", ["increment", "append", "set", "pop", "delete"])
def test_every_kind_of_write_is_done_once(proxy, open_at, call):
    memory = Memory("n", store=open_at(url_of(proxy)))
    memory.set("gone", 1)
    memory.session("s").append(("user", "one"), ("user", "two"))
    proxy.answers_to_drop = 2
    done = {
        "increment": lambda: (memory.increment("n"), memory.get("n")) == (1, 1),
        "append": lambda: (memory.append("l", 1), memory.get("l")) == (1, [1]),
        "set": lambda: (memory.set("k", 1), memory.get_entry("k").version) == (1, 1),
        "pop": lambda: (memory.session("s").pop().text, memory.session("s").count()) == ("two", 1),
        "delete": lambda: (memory.delete("gone"), memory.exists("gone")) == (True, False),
    }[call]()
    assert done
    assert proxy.dropped == 2


def test_dropped_answers_do_not_double_natively_async_writes(proxy, open_at):
    async def main():
        memory = AsyncMemory("n", store=store)
        await memory.set("warm", 1)
        proxy.answers_to_drop = 3
        assert await memory.session("s").append(("user", "one")) == [1]
        assert await memory.increment("n") == 1
        assert await memory.session("s").count() == 1
        await memory.close()

    store = open_at(url_of(proxy))
    asyncio.run(main())
    assert proxy.dropped == 3


def test_many_batches_in_one_call_are_each_done_once(proxy, open_at):
    store = open_at(url_of(proxy))
    batches = [Batch("n", (Append("s", "", ("{}",)),)) for _ in range(20)] + [Batch("n", (Set(f"k{number}", "1"),)) for number in range(20)]
    store.count("n")
    proxy.answers_to_drop = 2
    outcomes = store.write(batches)
    assert [outcome[0].first for outcome in outcomes[:20]] == list(range(1, 21))
    assert outcomes[20:] == [[1]] * 20
    assert store.read_log("n", "s", "").info.count == 20


def test_no_answer_until_the_end_is_an_unknown_outcome(proxy, open_at):
    store = open_at(url_of(proxy), timeout=1.5)
    memory = Memory("n", store=store)
    memory.set("warm", 1)
    proxy.answers_to_drop = 10_000
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="request_id"):
        memory.session("s").append(("user", "one"))
    assert time.monotonic() - began < 4
    proxy.answers_to_drop = 0
    assert memory.session("s").count() == 1


def test_a_command_that_was_held_back_is_not_carried_out_twice(proxy, open_at):
    """The store gives up the connection and sends the command again; then the first one arrives after all."""
    store = open_at(url_of(proxy), timeout=6)
    memory = Memory("n", store=store)
    memory.set("k", 1)
    memory.session("s").append(("user", "before"))
    proxy.passing.clear()
    task = asyncio.new_event_loop()
    try:
        outcome = task.run_in_executor(None, lambda: memory.session("s").append(("user", "one")))
        assert proxy.held.wait(10)
        time.sleep(2)  # longer than the store waits for one answer
        proxy.passing.set()
        assert task.run_until_complete(outcome) == [2]
    finally:
        task.run_until_complete(task.shutdown_default_executor())
        task.close()
    time.sleep(0.3)
    assert memory.session("s").count() == 2


def test_a_connection_cut_between_calls_is_made_anew(proxy, open_at):
    memory = Memory("n", store=open_at(url_of(proxy)))
    memory.set("k", 1)
    for _ in range(3):
        proxy.cut()
        assert memory.get("k") == 1
        proxy.cut()
        memory.increment("k")
        memory.increment("k", -1)


def test_a_refused_write_is_refused_once_and_for_all(proxy, open_at):
    memory = Memory("n", store=open_at(url_of(proxy)))
    memory.set("k", 1)
    proxy.answers_to_drop = 1
    with pytest.raises(VersionConflict):
        memory.set("k", 2, if_version=7)
    assert memory.get("k") == 1


def test_a_frozen_server_is_waited_for_no_longer_than_the_timeout(own, open_at):
    server = own()
    store = open_at(server.url, timeout=2)
    memory = Memory("n", store=store)
    memory.set("k", 1)
    server.freeze()
    began = time.monotonic()
    with pytest.raises(StoreBusy, match="did not answer"):
        memory.get("k")
    with pytest.raises(OutcomeUnknown):
        memory.set("k", 2)
    assert time.monotonic() - began < 10
    server.thaw()
    memory = Memory("n", store=open_at(server.url))
    assert memory.get("k") in (1, 2)
    assert memory.set("k", 3) in (2, 3)


def test_no_server_at_all_is_said_soon(own, open_at):
    server = own()
    server.kill()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="is the server running") as caught:
        Memory("n", store=open_at(server.url)).get("k")
    assert time.monotonic() - began < 5
    assert isinstance(caught.value.__cause__, DriverConnectionError)


def test_a_server_that_is_killed_and_comes_back_loses_nothing_that_was_fsynced(own, open_at):
    server = own(appendfsync="always")
    memory = Memory("n", store=open_at(server.url))
    for number in range(50):
        memory.session("s").append(("user", str(number)))
        memory.set(f"k{number}", number)
        if number % 20 == 10:
            server.restart(kill=True)
    assert [message.text for message in memory.session("s").messages()] == [str(number) for number in range(50)]
    assert memory.count() == 50
    assert memory.store.check()["problems"] == []


def test_a_server_that_forgot_its_scripts_is_told_them_again(valkey, fresh):
    memory = Memory("n", store=fresh)
    memory.set("k", 1)
    with valkey.client() as client:
        client.script_flush()
    assert memory.increment("k") == 2
    with valkey.client() as client:
        client.script_flush()
    assert fresh.write([Batch("n", (Set(f"k{number}", "1"),)) for number in range(5)]) == [[1]] * 5
