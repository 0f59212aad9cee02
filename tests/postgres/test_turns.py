"""Writers of one process share round trips and commits, and none of them suffers for another."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from botwire._errors import InvalidValue, VersionConflict
from botwire.stores import Append, Batch, Set
from botwire.stores._protocol import Change
from botwire.stores.postgres._connection import SyncConnection
from botwire.stores.postgres._turns import LANES
from botwire.testing import together

WRITERS = 16


@pytest.fixture
def held(server, database):
    """Transactions of a stranger that hold the lock of an entry, by its key."""
    connections = []

    def hold(key):
        connection = server.connect(database)
        connections.append(connection)
        connection.execute("BEGIN")
        assert connection.execute("SELECT 1 FROM botwire.entry WHERE key = %s FOR UPDATE", (key,)).rowcount == 1
        return connection

    yield hold
    for connection in connections:
        connection.close()


@pytest.fixture
def blocked(server, database):
    """How many statements wait for the lock of a stranger."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    return lambda: server.execute(sql, (database,))[0][0]


@pytest.fixture
def patient(monkeypatch):
    """Who waits for a turn waits until it is handed over."""
    monkeypatch.setattr("botwire.stores.postgres._turns.PATIENCE", 60.0)


@pytest.fixture
def pending(store):
    """How many writes wait for a turn."""
    return lambda: len(store._turns._queue._waiting)


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline


def write(store, key, value="1"):
    return store.write([Batch("ns", (Set(key, value),))])[0]


def in_thread(outcomes, name, call):
    thread = threading.Thread(target=lambda: outcomes.__setitem__(name, call()), daemon=True)
    thread.start()
    return thread


def test_those_that_come_while_all_lanes_are_in_use_go_in_one_transaction(store, held, pending, blocked, patient, monkeypatch):
    trips = []
    perform = SyncConnection.perform

    def noted(self, queries):
        trips.append([text for text, _ in queries])
        return perform(self, queries)

    monkeypatch.setattr(SyncConnection, "perform", noted)
    outcomes, threads = {}, []
    for number in range(LANES):
        write(store, f"busy{number}")
    strangers = [held(f"busy{number}") for number in range(LANES)]
    threads += [in_thread(outcomes, f"busy{number}", lambda number=number: write(store, f"busy{number}")) for number in range(LANES)]
    until(lambda: blocked() == LANES)
    for number in range(10):
        append = Batch("ns", (Append(f"s{number}", "", ("1",)),))
        threads.append(in_thread(outcomes, f"s{number}", lambda append=append: store.write([append])))
        threads.append(in_thread(outcomes, f"k{number}", lambda number=number: write(store, f"k{number}")))
    until(lambda: pending() == 20)
    trips.clear()
    strangers[0].execute("ROLLBACK")
    for thread in threads[LANES:]:
        thread.join(10)
    writing = [len(texts) for texts in trips if any("INSERT" in text for text in texts)]
    assert writing == [23], "all of them, with begin, a limit, and commit"
    for stranger in strangers[1:]:
        stranger.execute("ROLLBACK")
    for thread in threads:
        thread.join(10)
    assert len(outcomes) == LANES + 20
    assert store.count("ns") == LANES + 10
    assert [info.head for info in store.scan_logs("ns", None, 20)] == [1] * 10


def test_nobody_waits_long_for_what_a_stranger_has_locked_for_another(store, held, pending, blocked, patient):
    """The group gives up after a moment, and each goes alone: all are through but the one whose entry is locked."""
    keys = [f"k{number}" for number in range(WRITERS)]
    for key in (*keys, *(f"busy{number}" for number in range(LANES))):
        write(store, key)
    strangers = [held(f"busy{number}") for number in range(LANES)]
    outcomes = {}
    busy = [in_thread(outcomes, f"busy{number}", lambda number=number: write(store, f"busy{number}")) for number in range(LANES)]
    until(lambda: blocked() == LANES)
    locked = held("k5")
    threads = {key: in_thread(outcomes, key, lambda key=key: write(store, key)) for key in keys}
    until(lambda: pending() == WRITERS)
    for stranger in strangers:
        stranger.execute("ROLLBACK")
    for key, thread in threads.items():
        if key != "k5":
            thread.join(5)
            assert outcomes[key] == [2]
    assert "k5" not in outcomes
    locked.execute("ROLLBACK")
    for thread in (*threads.values(), *busy):
        thread.join(10)
    assert outcomes["k5"] == [2]


def test_writes_go_on_while_others_of_the_process_wait_for_what_strangers_have_locked(store, held, blocked):
    """Whoever waits for long no longer takes anybody's turn."""
    keys = [f"busy{number}" for number in range(2 * LANES)]
    for key in keys:
        write(store, key)
    strangers = [held(key) for key in keys]
    outcomes = {}
    threads = [in_thread(outcomes, key, lambda key=key: write(store, key)) for key in keys]
    until(lambda: blocked() == len(keys))
    assert together(*[lambda number=number: write(store, f"k{number}") for number in range(WRITERS)]) == [[1]] * WRITERS

    async def story():
        native = store.native_async()
        waiting = [asyncio.create_task(native.write([Batch("ns", (Set(key, "3"),))])) for key in keys]
        found = await asyncio.gather(*(native.write([Batch("ns", (Set(f"a{number}", "1"),))]) for number in range(WRITERS)))
        for stranger in strangers:
            stranger.execute("ROLLBACK")
        await asyncio.gather(*waiting)
        await native.close()
        return found

    assert asyncio.run(story()) == [[[1]]] * WRITERS
    for thread in threads:
        thread.join(10)
    assert set(map(str, outcomes.values())) <= {"[2]", "[3]"}


def test_what_is_refused_in_a_group_spoils_nothing_of_it(store):
    """From many threads at once: texts that cannot be stored, versions that are not there, appends to what has expired."""
    write(store, "taken")
    store.write([Batch("ns", (Append("gone", "", ("1",), ttl=1),))])

    def work(number):
        found = []
        for turn in range(20):
            key = f"{number}-{turn}"
            batches = [
                Batch("ns", (Set(key, "1"),)),
                Batch("ns", (Set(key + "\0", "1"),)),
                Batch("ns", (Set("taken", "2", if_version=7),)),
                Batch("ns", (Append("gone", f"{number}", ("1",), ttl=1),)),
                Batch("ns", (Change("n", "increment", "1"),)),
                Batch("ns", (Append(key, "", ("1",)),), key),
                Batch("ns", (Append(key, "", ("1",)),), key),
            ]
            found.append([store.write([batch])[0] for batch in batches])
        return found

    for number, found in enumerate(together(*[lambda number=number: work(number) for number in range(WRITERS)])):
        for turn, (done, bad, taken, gone, change, first, again) in enumerate(found):
            assert done == [1]
            assert isinstance(bad, InvalidValue)
            assert isinstance(taken, VersionConflict)
            assert [gone[0].first, gone[0].last] == [1, 1] or gone[0].first == gone[0].last
            assert isinstance(change, list)
            assert first == again
            assert store.read_log("ns", f"{number}-{turn}", "").info.head == 1
    assert store.get("ns", "n").value == str(WRITERS * 20)
    assert store.check()["ok"]


def test_natively_async_writers_share_commits_too(store):
    async def story():
        native = store.native_async()
        batches = [Batch("ns", (Append(f"s{number % 50}", "", (f"{number}",)),)) for number in range(400)]
        outcomes = await asyncio.gather(*(native.write([batch]) for batch in batches))
        await native.close()
        return outcomes

    outcomes = [outcome[0] for (outcome,) in asyncio.run(story())]
    assert sorted(appended.first for appended in outcomes) == sorted(number for number in range(1, 9) for _ in range(50))
    assert all(info.head == info.count == 8 for info in store.scan_logs("ns", None, 100))


async def settled(condition):
    """The event loop has come so far."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


def test_one_that_is_cancelled_while_it_waits_is_not_written_and_holds_up_nobody(store, held, patient):
    for number in range(LANES):
        write(store, f"busy{number}")
    strangers = [held(f"busy{number}") for number in range(LANES)]

    async def story():
        native = store.native_async()
        busy = [asyncio.create_task(native.write([Batch("ns", (Set(f"busy{number}", "2"),))])) for number in range(LANES)]
        await settled(lambda: len(native._turns._queue._lanes) == LANES)
        waiting = [asyncio.create_task(native.write([Batch("ns", (Set(f"k{number}", "1"),))])) for number in range(3)]
        await settled(lambda: len(native._turns._queue._waiting) == 3)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        for stranger in strangers:
            stranger.execute("ROLLBACK")
        found = await asyncio.gather(*waiting[1:], *busy)
        await native.close()
        return found

    assert asyncio.run(story()) == [[[1]], [[1]], *[[[2]]] * LANES]
    assert store.get("ns", "k0") is None
