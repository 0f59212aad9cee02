"""What grows is bounded: the log of a busy file, what has expired, what was deleted, remembered requests."""

from __future__ import annotations

import itertools

import pytest

from botwire import Memory
from botwire.stores import Append, Batch, Restore, RestoreLog, Set
from botwire.stores._protocol import EntryRow, LogInfo
from botwire.stores.sqlite import _queries, _sweep

MB = 1 << 20


class Clock:
    def __init__(self):
        self.now = 1_000_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def eager(monkeypatch):
    """Every write sweeps."""
    monkeypatch.setattr(_sweep, "EVERY", 0.0)
    monkeypatch.setattr(_sweep, "SOON", 0.0)


def rows(store, table):
    return store.check()[f"{table}_rows"]


# ---------------------------------------------------------------------------------------------- log


def test_no_reader_pins_the_log_neither_an_idle_nor_a_broken_nor_an_abandoned_one(path, open_at, monkeypatch):
    store = open_at(path)
    memory = Memory("n", store=store)
    memory.set_many({f"key {number:04}": "x" * 100 for number in range(3000)})
    items, keys, messages = memory.items(page_size=10), memory.iter_keys(page_size=10), iter(memory.session("s"))
    assert next(items)
    assert next(keys)
    assert next(messages, None) is None

    with monkeypatch.context() as patch:
        patch.setattr(_queries, "match_entry", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            memory.search("xxx")
    for call in (memory.search, memory.session("s").search):
        call("x")
    memory.get_many([f"key {number:04}" for number in range(100)])

    for number in range(400):
        memory.set(f"key {number:04}", "y" * 20_000)
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size < 12 * MB, "the log was not begun anew: somebody still reads its beginning"
    assert [connection for connection in store._connections._readers if connection.in_transaction] == []
    assert next(items)


# -------------------------------------------------------------------------------------------- expiry


def test_what_has_expired_is_swept_a_part_at_a_time(path, open_at, clock, eager):
    store = open_at(path, clock=clock)
    memory = Memory("n", store=store)
    memory.set_many({f"short {number}": 1 for number in range(1200)}, ttl=10)
    memory.set_many({f"long {number}": 1 for number in range(10)}, ttl=1000)
    session = memory.session("brief", ttl=10)
    for _ in range(12):
        session.append(*(("user", "x") for _ in range(100)))
    clock.now += 11_000_000
    assert memory.count() == 10
    assert session.messages() == []
    assert (rows(store, "entry"), rows(store, "message")) == (1210, 1200), "nothing is removed before a write"
    left = []
    for number in range(8):
        memory.set("another", number)
        left.append((rows(store, "entry"), rows(store, "message"), rows(store, "log")))
    print(left)
    assert left[0][0] >= 700
    assert left[0][1] >= 700
    assert left[-1] == (11, 0, 0)
    assert memory.count() == 11


def test_a_process_that_lives_for_one_write_sweeps_too(path, open_at, clock):
    Memory("n", store=open_at(path, clock=clock)).set("short", 1, ttl=10)
    clock.now += 11_000_000
    store = open_at(path, clock=clock)
    Memory("n", store=store).set("other", 1)
    assert rows(store, "entry") == 1


def test_requests_are_forgotten_after_their_time_however_many_there_were(path, open_at, clock, eager):
    store = open_at(path, clock=clock)
    for number in range(0, 1500, 500):
        store.write(
            [Batch("n", (Append("s", "", ('{"role":"user","content":"x"}',)),), f"request {each}") for each in range(number, number + 500)]
        )
    assert rows(store, "request") == 1500
    clock.now += 3 * 86_400 * 1_000_000
    for number in range(5):
        Memory("n", store=store).set("key", number)
    assert rows(store, "request") == 0


def test_clearing_counts_only_what_had_not_expired(open_at, path, clock):
    memory = Memory("n", store=open_at(path, clock=clock))
    memory.set_many({"a": 1, "b": 1}, ttl=10)
    memory.set("c", 1)
    clock.now += 11_000_000
    assert memory.count() == 1
    assert memory.clear() == 1
    assert memory.set("a", 1) == 1, "an expired entry begins anew"


def test_restoring_what_has_expired_shows_nothing_and_is_swept(open_at, path, clock, eager):
    store = open_at(path, clock=clock)
    past = clock.now - 10
    log = LogInfo("s", "", "epoch", 2, 0, past, past, 5, past, "{}")
    store.write([Batch("n", (Restore(EntryRow("key", "1", 7, past, past, past)), RestoreLog(log, ())))])
    assert store.get("n", "key") is None
    assert store.scan_logs("n", None, 10) == []
    assert store.namespaces(None, 10) == []
    store.write([Batch("n", (Set("other", "1"),))])
    assert (rows(store, "entry"), rows(store, "log")) == (1, 0)


# --------------------------------------------------------------------------------------------- space


def test_a_cleared_session_gives_its_space_to_others_and_then_to_the_disk(path, open_at, eager):
    store = open_at(path)
    memory = Memory("n", store=store)
    session = memory.session("long")
    body = '{"role":"user","content":"' + "x" * 500 + '"}'
    for _ in range(20):
        store.write([Batch("n", (Append("long", "", (body,) * 5000),))])
    assert session.count() == 100_000
    full = store.check()["bytes"]
    assert session.clear() == 100_000
    assert store.check()["free_bytes"] > 0.9 * full
    for number in itertools.count():
        memory.set("key", number)
        if store.check()["bytes"] < 0.5 * full or number > 200:
            break
    figures = store.check()
    print(full, figures)
    assert figures["bytes"] < 0.5 * full
    assert figures["problems"] == []
    assert session.append(("user", "new")) == [1]
