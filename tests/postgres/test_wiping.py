"""A namespace that is deleted: to the last row, in short steps, while others write."""

from __future__ import annotations

import asyncio
import threading

import pytest

from botwire.stores import Append, Batch, Set
from botwire.stores._keeping import Gone
from botwire.stores._protocol import Cap, Charge, Heard, Terms
from botwire.stores.postgres._sweep import MOST

CAPPED = Terms((Charge("writes", 1, 10**9, 2**60),), Cap(keys=10**9))
TABLES = ("entry", "log", "message", "request", "meter", "usage", "usage_change")


def rows_of(server, database, namespace="ns"):
    counts = ", ".join(f"(SELECT count(*) FROM botwire.{table} WHERE namespace = %(namespace)s)" for table in TABLES)
    return dict(zip(TABLES, server.execute(f"SELECT {counts}", {"namespace": namespace}, database)[0], strict=True))


def test_it_goes_to_the_last_row_of_every_table_and_its_neighbour_stays(store, server, database):
    for namespace in ("ns", "ns2"):
        batches = [Batch(namespace, (Set(f"k{n}", "1"),), f"r{n}", CAPPED if n == 0 else None) for n in range(10)]
        batches += [Batch(namespace, (Append("s", agent, ("{}", "{}")),), f"r{agent}") for agent in "ab"]
        assert all(isinstance(outcome, list) for outcome in store.write(batches))
    before = rows_of(server, database, "ns2")
    assert all(before.values())
    assert store.delete_namespace("ns") == Gone(10, 1, 4)
    assert not any(rows_of(server, database).values())
    assert rows_of(server, database, "ns2") == before
    assert store.delete_namespace("ns") == Gone()
    assert store.check()["ok"]


def test_a_large_one_goes_in_steps(store, server, database):
    store.write([Batch("ns", tuple(Set(f"k{n}", "1") for n in range(5_000)))])
    store.write([Batch("ns", (Append("s", "", ("{}",) * 9_000), Append("s", "a", ("{}",) * 100)))])
    store.write([Batch("ns", tuple(Append(f"t{n:04}", "", ("{}",)) for n in range(MOST)))])
    assert store.delete_namespace("ns") == Gone(5_000, 1 + MOST, 9_100 + MOST)
    assert not any(rows_of(server, database).values())


def test_natively_async_too(store):
    async def story():
        native = store.native_async()
        await native.write([Batch("ns", (Set("k", "1"), Append("s", "", ("{}",))))])
        gone = await native.delete_namespace("ns")
        await native.close()
        return gone

    assert asyncio.run(story()) == Gone(1, 1, 1)


def test_who_listens_is_told_to_look(store):
    store.write([Batch("ns", (Set("k", "1"),))])
    listener = store.listen("ns")
    store.delete_namespace("ns")
    assert listener.wait(10) == Heard(None, None)
    listener.close()


@pytest.mark.timeout(120)
def test_what_others_write_meanwhile_goes_or_stays_whole_and_is_counted(open_store, server, database):
    """Three writers, one of them under a cap, while the namespace is deleted again and again: nothing of it goes wrong."""
    stores = [open_store() for _ in range(4)]
    ended = threading.Event()
    failed = []

    def write(number):
        for n in range(10**9):
            if ended.is_set():
                return
            operations = (Set(f"k{number}-{n % 50}", "1"), Append(f"s{n % 9}", f"{number}", ("{}",)))
            (outcome,) = stores[number].write([Batch("ns", operations, f"{number}-{n}", CAPPED if number == 0 else None)])
            if not isinstance(outcome, list):
                failed.append(outcome)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            stores[3].delete_namespace("ns")
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert stores[3].check()["problems"] == []
    stores[3].delete_namespace("ns")
    assert not any(rows_of(server, database).values())
