"""Listeners hear of every write, whoever makes it, and lose nothing over a broken connection."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time

from botwire import Memory
from botwire.stores import Heard


def hear(listener, seconds=5):
    return listener.wait(seconds)


def test_a_listener_hears_of_entries_and_sessions(valkey, fresh, open_at):
    other = Memory("n", store=open_at(f"{valkey.url}?prefix={fresh._settings.prefix}"))
    listener, one = fresh.listen("n"), fresh.listen("n", "s")
    assert listener.wait(0) is None
    other.set("k", 1)
    assert hear(listener) == Heard(frozenset({"k"}), frozenset())
    other.session("s").append(("user", "hi"))
    assert hear(listener) == Heard(frozenset(), frozenset({"s"}))
    assert hear(one) == Heard(frozenset(), frozenset({"s"}))
    other.set("k", 2)
    other.session("t").append(("user", "hi"))
    Memory("m", store=fresh).set("k", 1)
    assert one.wait(0.2) is None
    other.clear()
    deadline = time.monotonic() + 5
    while hear(listener, 1) != Heard(None, None):
        assert time.monotonic() < deadline
    listener.close()
    one.close()


def test_after_a_broken_connection_everything_may_have_changed(proxy, open_at):
    store = open_at(f"redis://127.0.0.1:{proxy.port}?prefix={secrets.token_hex(4)}:")
    memory = Memory("n", store=store)
    listener = store.listen("n")
    memory.set("k", 1)
    assert hear(listener).keys == {"k"}
    proxy.cut()
    memory.set("k", 2)
    assert hear(listener) == Heard(None, None)
    memory.set("l", 1)
    assert hear(listener) == Heard(frozenset({"l"}), frozenset())
    listener.close()


def test_closing_ends_a_wait_in_another_thread(fresh):
    listener = fresh.listen("n")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(listener.wait(60)))
    thread.start()
    listener.close()
    thread.join(10)
    assert answers == [None]


def test_a_native_listener_hears_and_reconnects(proxy, open_at):
    store = open_at(f"redis://127.0.0.1:{proxy.port}?prefix={secrets.token_hex(4)}:")

    async def main():
        native = store.native_async()
        listener = await native.listen("n")
        assert await listener.wait(0.05) is None
        await asyncio.to_thread(Memory("n", store=store).set, "k", 1)
        assert await listener.wait(5) == Heard(frozenset({"k"}), frozenset())
        proxy.cut()
        assert await listener.wait(5) == Heard(None, None)
        await asyncio.to_thread(Memory("n", store=store).set, "l", 1)
        assert await listener.wait(5) == Heard(frozenset({"l"}), frozenset())
        await listener.close()
        await native.close()

    asyncio.run(main())
