"""What a connection goes by for ever, once it has learnt it: no statement reads a whole table because that was small at first."""

from __future__ import annotations

import time

import pytest

from botwire._errors import BotWireError
from botwire.stores import Append, Batch, Change, Charge, Clear, Delete, Pop, Set, SetLog, Terms
from botwire.stores._protocol import Cap, ClearLog, DeleteLog, EntryRow, LogInfo, LogRow, Restore, RestoreLog, Trim
from botwire.stores.postgres._script import Query, one

USES = 12
"""So often that the server has made a plan for good: it makes five for the parameters that are given first."""
CAPPED = Terms((Charge("writes", 1, 10**9, 2**60),), Cap(10**9, 10**9, 10**9))
INFO = LogInfo("restored", "", "epoch", 1, 1, 1, 1, None, None, "{}")


def write(store, *operations, request_id=None, terms=None):
    (outcome,) = store.write([Batch("ns", operations, request_id, terms)])
    assert isinstance(outcome, list | BotWireError)


def expire_and_sweep(store, _):
    write(store, Set("gone", "1", ttl=1))
    write(store, Append("gone", "", ("{}",), ttl=1))
    write(store, SetLog("gone", "", ttl=1, metadata="{}"))
    write(store, Append("gone too", "", ("{}",), ttl=1))
    time.sleep(0.001)
    store.plans.sweeper._due = 0.0
    write(store, Append("gone", "", ("{}",)))


def delete_sessions(store, n):
    write(store, Append("x", "a", ("{}", "{}")), Append("x", "b", ("{}",)))
    write(store, Trim("x", "a", 1))
    write(store, ClearLog("x", "a"))
    write(store, DeleteLog("x", "a"))
    write(store, DeleteLog("x", None))


def write_entries(store, n):
    write(store, Set(f"k{n}", "1"))
    write(store, Set("q", "1", if_version=0))
    write(store, Set("q", "1", if_version=1))
    write(store, Delete("q", if_version=2))
    write(store, Set("other", "1"), Change("n", "increment", "1"), Delete("q"))
    write(store, Clear("o"))


def delete_another(store, n):
    for operation in (Set("k", "1"), Append("s", "", ("{}",))):
        store.write([Batch("other", (operation,), f"{n}", CAPPED)])
    store.delete_namespace("other")


STEPS = {
    "entries": write_entries,
    "append": lambda store, n: write(store, Append("s", "", ("{}", "{}"))),
    "append once": lambda store, n: write(store, Append("s", "", ("{}",)), request_id=f"a{n}"),
    "set once": lambda store, n: write(store, Set("s", "1"), request_id=f"s{n}"),
    "several once": lambda store, n: write(store, Set("s", "1"), Append("s", "", ("{}",)), request_id=f"b{n}"),
    "pop": lambda store, n: write(store, Pop("s", "")),
    "metadata": lambda store, n: write(store, SetLog("s", "", metadata='{"a":1}', merge=True)),
    "restore": lambda store, n: write(store, Restore(EntryRow("r", "1", 1, 1, 1, None)), RestoreLog(INFO, (LogRow(1, "{}", 1),))),
    "under a cap": lambda store, n: write(store, Set("capped", "1"), terms=CAPPED),
    "sessions": delete_sessions,
    "sweep": expire_and_sweep,
    "another namespace": delete_another,
    "get": lambda store, n: (store.get("ns", "k1"), store.get_many("ns", ["k1", "k2"])),
    "read": lambda store, n: (store.read_log("ns", "s", "", last=2), store.read_log("ns", "s", "", after=1, limit=2)),
    "pages": lambda store, n: (store.scan("ns", "", None, 2), store.scan_keys("ns", "k", "k1", 2), store.scan_stamps("ns", "k", None, 2)),
    "sessions' names": lambda store, n: (store.scan_logs("ns", None, 2), store.scan_logs("ns", ("a", ""), 2)),
    "namespaces": lambda store, n: store.namespaces(None, 3),
}
MANY = "generate_series(1, 20000) n"
LOAD = (
    f"INSERT INTO botwire.entry SELECT 'ns', 'x' || n, 1, 1, 1, NULL, '1' FROM {MANY}",
    f"INSERT INTO botwire.message SELECT 'ns', -n, 1, 1, '1' FROM {MANY}",
    f"INSERT INTO botwire.log SELECT 'ns', 'x' || n, '', -n, 1, 1, 1, 1, NULL, NULL, '', '' FROM {MANY}",
    f"INSERT INTO botwire.request SELECT 'ns', n::text::bytea, 2^60, '', '[1]' FROM {MANY}",
    f"INSERT INTO botwire.meter SELECT n::text, 'writes', 1, 2^60 FROM {MANY}",
    f"INSERT INTO botwire.usage SELECT n::text, true, 1, 1, 1 FROM {MANY}",
)


@pytest.fixture
def store(open_store, url):
    """One connection, which is used for all."""
    return open_store(url + "?connections=1")


@pytest.mark.parametrize("analyzed", ["once", "all the while", "at the end too"])
def test_a_connection_that_knew_small_tables_reads_no_whole_one_later(store, server, database, analyzed):
    def rows_read():
        store._link.run(one(Query("SELECT pg_stat_force_next_flush()")), time.monotonic() + 10)
        text = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables WHERE schemaname = 'botwire'"
        return int(server.execute(text, database=database)[0][0])

    write(store, Append("s", "", ("{}",)), request_id="first")
    write(store, Set("k1", "1"), terms=CAPPED)
    server.execute("VACUUM ANALYZE", database=database)  # as the server does by itself: now it knows how small they are
    for n in range(USES):
        if analyzed == "all the while":
            server.execute("ANALYZE", database=database)
        for step in STEPS.values():
            step(store, n)
    for statement in LOAD:
        server.execute(statement, database=database)
    if analyzed == "at the end too":
        server.execute("ANALYZE", database=database)
    taken = {}
    for name, step in STEPS.items():
        before = rows_read()
        for n in range(USES, USES + 5):
            step(store, n)
        taken[name] = rows_read() - before
    assert {name: rows for name, rows in taken.items() if rows > 2_000} == {}
