"""What the contract does not look at: many processes, locks, plans, sweeping, meters, sizes, and who listens."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time

import pytest

from botwire._errors import InvalidName, InvalidValue, QuotaExceeded, VersionConflict
from botwire.stores import Append, Batch, Change, Charge, Clear, Delete, Heard, Pop, Set, SetLog, Terms
from botwire.stores.postgres import _reads
from botwire.stores.postgres._advice import advise
from botwire.stores.postgres._connection import SyncConnection
from botwire.testing import together

BODY = '{"role":"user","content":"hi"}'

WRITER = """
import sys
from botwire.stores import Append, Batch, open_store
url, name, sessions, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = open_store(url)
sys.stdin.readline()
for number in range(count):
    (outcome,) = store.write([Batch("ns", (Append(f"s{(int(name) * count + number) % sessions}", "", (f'"{name}:{number}"',)),))])
    assert isinstance(outcome, list), outcome
store.close()
"""


@pytest.mark.parametrize("sessions", [1, 1_000])
def test_sixteen_processes_append_without_gap_or_loss(store, url, sessions):
    count = 25
    command = [sys.executable, "-c", WRITER, url]
    writers = [subprocess.Popen([*command, str(name), str(sessions), str(count)], stdin=subprocess.PIPE) for name in range(16)]
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    assert [writer.wait(100) for writer in writers] == [0] * 16
    for writer in writers:
        writer.stdin.close()
    bodies = []
    for info in store.scan_logs("ns", None, 2_000):
        rows = store.read_log("ns", info.session, "").rows
        assert [row.seq for row in rows] == list(range(1, info.count + 1))
        bodies += [json.loads(row.body) for row in rows]
    assert sorted(bodies) == sorted(f"{name}:{number}" for name in range(16) for number in range(count))


def test_batches_that_lock_the_same_in_other_orders_never_wait_for_each_other(store, open_store, server, database):
    """PostgreSQL notices a deadlock after a second and ends one; here there is none to notice."""
    stores = [open_store() for _ in range(6)]
    names = [f"k{number}" for number in range(8)]

    def writer(index):
        order = names if index % 2 else names[::-1]
        for _ in range(15):
            operations = (
                *(Set(name, str(index)) for name in order),
                *(Append(name, "", (BODY,)) for name in order),
                Change(order[0], "merge", "1"),
            )
            many = [Batch("ns", (Append(name, "", (BODY,)),)) for name in order]
            assert isinstance(stores[index].write([Batch("ns", operations)])[0], list)
            assert all(isinstance(outcome, list) for outcome in stores[index].write(many))

    together(*[lambda index=index: writer(index) for index in range(6)])
    assert server.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", (database,)) == [(0,)]


def test_of_many_batches_each_has_its_own_outcome(store):
    store.write([Batch("ns", (Set("k", "1"),))])
    batches = [
        Batch("ns", (Set("k", "2", if_version=1),)),
        Batch("ns", (Set("k", "3", if_version=1),)),
        Batch("ns", (Set("bad\0", "1"),)),
        Batch("ns", (Append("s", "", (BODY, BODY)),)),
        Batch("ns", (Append("s", "", (BODY,)),)),
        Batch("ns", (Set("x", "1"), Delete("k", if_version=9))),
        Batch("ns", (Change("n", "increment", "5"),), "r"),
        Batch("ns", (Change("n", "increment", "5"),), "r"),
        Batch("ns", (Pop("s", ""),)),
    ]
    outcomes = store.write(batches)
    assert outcomes[0] == [2]
    assert isinstance(outcomes[1], VersionConflict)
    assert isinstance(outcomes[2], InvalidValue)
    assert [outcome[0][1:] for outcome in outcomes[3:5]] == [(1, 2), (3, 3)]
    assert isinstance(outcomes[5], VersionConflict)
    assert outcomes[6] == outcomes[7]
    assert outcomes[8][0].seq == 3
    assert store.get("ns", "x") is None
    assert store.get("ns", "n").value == "5"


def test_a_batch_that_depends_on_versions_goes_in_one_round_trip_or_does_not_happen(store, monkeypatch):
    store.write([Batch("ns", (Set("head", "0"),))])
    trips = []
    perform = SyncConnection.perform
    monkeypatch.setattr(SyncConnection, "perform", lambda self, queries: (trips.append(len(queries)), perform(self, queries))[1])
    assert store.write([Batch("ns", (Set("head", "1", if_version=1), Set("page", "1", if_version=0), Set("x", "1")))])[0] == [2, 1, 1]
    assert len(trips) == 1
    for operations, current in [
        ((Set("x", "2"), Set("head", "2", if_version=1)), 2),
        ((Set("x", "2"), Set("page", "2", if_version=0)), 1),
        ((Set("x", "2"), Set("nothing", "2", if_version=3)), 0),
    ]:
        outcome = store.write([Batch("ns", operations)])[0]
        assert isinstance(outcome, VersionConflict)
        assert outcome.current == current
    assert [store.get("ns", key).version for key in ("head", "page", "x")] == [2, 1, 1]


def test_of_many_batches_that_depend_on_one_version_each_time_one_happens(store):
    """As a checkpointer writes: the head at the version that was seen, and what goes with it."""
    store.write([Batch("ns", (Set("head", "0"),))])

    def writer(number):
        done = 0
        while done < 10:
            head = store.get("ns", "head")
            operations = (Set("head", str(int(head.value) + 1), if_version=head.version), Set(f"{number}-{done}", head.value))
            done += isinstance(store.write([Batch("ns", operations)])[0], list)

    together(*[lambda number=number: writer(number) for number in range(6)])
    assert store.get("ns", "head").value == "60"
    assert sorted(int(row.value) for row in store.scan("ns", "", None, 100) if row.key != "head") == list(range(60))


def test_what_text_cannot_hold_is_refused_and_nothing_is_written(store):
    for text in ("nul \0", "surrogate \ud800"):
        assert isinstance(store.write([Batch("ns", (Set(text, "1"),))])[0], InvalidValue)
        with pytest.raises((InvalidValue, InvalidName)):
            store.get("ns", text)
    assert store.count("ns") == 0


def test_what_expires_is_swept_past_what_others_have_locked(open_store, server, database, clock_at):
    store = open_store(clock=clock_at)
    batches = [Batch("ns", (Set(f"k{number}", "1", ttl=1_000),)) for number in range(700)]
    batches += [Batch("ns", (Append(f"s{number}", "", (BODY, BODY), ttl=1_000),), f"r{number}") for number in range(20)]
    assert all(isinstance(outcome, list) for outcome in store.write(batches))
    clock_at.now += 10**12
    with server.connect(database) as other:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM botwire.entry WHERE key = 'k0' FOR UPDATE")
        for _ in range(6):
            store.plans.sweeper._due = 0.0
            store.write([Batch("ns", (Set("k", "1"),))])
        found = "SELECT (SELECT count(*) FROM botwire.entry), (SELECT count(*) FROM botwire.log), (SELECT count(*) FROM botwire.message), "
        assert server.execute(found + "(SELECT count(*) FROM botwire.request)", database=database) == [(2, 0, 0, 0)]
        other.execute("ROLLBACK")


@pytest.fixture
def clock_at():
    class Clock:
        now = time.time_ns() // 1_000

        def __call__(self):
            return self.now

    return Clock()


# -------------------------------------------------------------------------------------------- plans


def explained(connection, script):
    (query,) = next(script).queries
    cursor = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query.text.replace("@.", "botwire."), query.parameters or None)
    (((plan,),),) = cursor.fetchall()
    return plan["Plan"]


def nodes(plan):
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def read_rows(plan):
    """How many rows were taken from tables."""
    return sum(
        node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
        for node in nodes(plan)
        if "Relation Name" in node and node["Node Type"] != "ModifyTable"
    )


def test_pages_of_a_million_keys_and_the_last_messages_of_a_long_session_are_range_scans(store, server, database):
    store.write([Batch("ns", (Set("k", "1"), Append("s", "", (BODY,))))])
    server.execute(
        "INSERT INTO botwire.entry SELECT 'ns', 'key-' || lpad(n::text, 7, '0'), 1, 1, 1, NULL, '1' FROM generate_series(1, 1000000) n",
        database=database,
    )
    log = server.execute("SELECT id FROM botwire.log", database=database)[0][0]
    server.execute(f"INSERT INTO botwire.message SELECT 'ns', {log}, n, 1, '{{}}' FROM generate_series(2, 100000) n", database=database)
    server.execute("UPDATE botwire.log SET head = 100000, count = 100000", database=database)
    server.execute("INSERT INTO botwire.entry SELECT 'n' || n, 'k', 1, 1, 1, NULL, '1' FROM generate_series(1, 5000) n", database=database)
    connection = store._link.connect()
    connection.execute("SET plan_cache_mode = force_generic_plan")  # as a connection ends up with: it knows no parameters
    for analyzed in (False, True):
        if analyzed:
            connection.execute("ANALYZE")
        scripts = {
            "first page": _reads.scan_keys(None, "ns", "", None, 100),
            "page in the middle": _reads.scan_keys(None, "ns", "", "key-0500000", 100),
            "prefix": _reads.scan(None, "ns", "key-05", None, 100),
            "stamps": _reads.scan_stamps(None, "ns", "key-", "key-07", 100),
            "one": _reads.get(None, "ns", "key-0300000"),
            "last 20": _reads.read_log(None, "ns", "s", "", after=None, before=None, last=20, limit=None),
            "first 20 after": _reads.read_log(None, "ns", "s", "", after=50_000, before=None, last=None, limit=20),
            "namespaces": _reads.namespaces(None, None, 10),
        }
        taken = {name: read_rows(explained(connection, script)) for name, script in scripts.items()}
        assert {name: rows for name, rows in taken.items() if rows > 130} == {}
    connection.close()
    assert store.scan_keys("ns", "key-", None, 2) == ["key-0000001", "key-0000002"]
    assert [row.seq for row in store.read_log("ns", "s", "", last=2).rows] == [99_999, 100_000]
    assert store.check()["ok"]


# ---------------------------------------------------------------------------------- terms and usage


def test_charges_are_counted_in_the_same_transaction(store, clock_at, open_store):
    store = open_store(clock=clock_at)
    day = Charge("writes", 1, 3, clock_at.now + 86_400_000_000)

    def write(key, request_id=None, *charges):
        return store.write([Batch("ns", (Set(key, "1"),), request_id, Terms(charges or (day,)))])[0]

    assert write("a", "r") == write("a", "r") == [1]  # a repetition is not charged
    assert isinstance(store.write([Batch("ns", (Set("a", "2", if_version=9),), None, Terms((day,)))])[0], VersionConflict)
    assert write("b") == write("c") == [1]
    refused = write("d")
    assert isinstance(refused, QuotaExceeded)
    assert refused.retry_after == 86_400
    assert store.get("ns", "d") is None
    two = write("d", None, Charge("another", 1, 9, day.expires_at), day)
    assert isinstance(two, QuotaExceeded)
    assert isinstance(write("e", None, day._replace(meter="new", amount=4)), QuotaExceeded)
    assert store.write([Batch("other", (Set("d", "1"),), None, Terms((day,)))])[0] == [1]
    clock_at.now += 86_400_000_000
    assert write("d", None, day._replace(expires_at=clock_at.now + 1_000)) == [1]


def test_charges_of_many_writers_never_pass_the_limit(store):
    charge = Charge("writes", 1, 20, time.time_ns() // 1_000 + 10**10)
    outcomes = together(
        *[lambda n=n: [store.write([Batch("ns", (Set(f"{n}-{m}", "1"),), None, Terms((charge,)))])[0] for m in range(5)] for n in range(8)]
    )
    assert sum(isinstance(outcome, list) for mine in outcomes for outcome in mine) == 20
    assert store.count("ns") == 20


def test_usage_counts_what_is_there_in_bytes_of_utf8(store):
    store.write(
        [
            Batch(
                "ns",
                (Set("a", '"é"'), Set("b", "x" * 5_000), Append("s", "", ("{}", "{}")), Append("s", "agent", ('"é"',)), SetLog("t", "")),
            )
        ]
    )
    store.write([Batch("ns", (Set("gone", "1", ttl=1),))])
    found = store.usage("ns")
    assert found[:5] == (2, 5_004, 2, 3, 8)
    assert [day[1:] for day in found.days] == [(2, 3, 5_012)]
    assert found.days[0].day == time.strftime("%Y-%m-%d", time.gmtime())
    assert store.usage("nothing")[:5] == (0, 0, 0, 0, 0)


def test_stamps_are_entries_without_values(store):
    store.write([Batch("ns", tuple(Set(name, "1") for name in ("a", "b/1", "b/2", "c")))])
    rows = store.scan("ns", "", None, 10)
    stamps = store.scan_stamps("ns", "", None, 10)
    assert [(row.key, row.version, row.updated_at, row.expires_at) for row in rows] == stamps
    assert [stamp.key for stamp in store.scan_stamps("ns", "b/", "b/1", 10)] == ["b/2"]


# ----------------------------------------------------------------------------------------- listening


def heard_until(listener, enough, seconds=10):
    keys, sessions, deadline = set(), set(), time.monotonic() + seconds
    while not enough(keys, sessions):
        assert time.monotonic() < deadline, (keys, sessions)
        found = listener.wait(1)
        if found is not None:
            keys |= found.keys or {"*"} if found.keys is None or found.keys else set()
            sessions |= found.sessions or {"*"} if found.sessions is None or found.sessions else set()
    return keys, sessions


def test_a_listener_hears_of_every_way_to_write_wherever_it_was_made(store, open_store):
    other = open_store()
    listener = other.listen("ns")
    store.write([Batch("ns", (Set("a", "1"),)), Batch("ns", (Set("b", "1"),), "r"), Batch("ns", (Change("c", "increment", "1"),))])
    store.write([Batch("ns", (Set("d", "1"), Append("s", "", (BODY,))))])
    store.write([Batch("ns", (Delete("a"),))])
    store.write([Batch("elsewhere", (Set("no", "1"),))])
    keys, _ = heard_until(listener, lambda keys, sessions: keys >= {"a", "b", "c", "d"} and "s" in sessions)
    assert "no" not in keys
    store.write([Batch("ns", (Clear(),))])
    heard_until(listener, lambda keys, _: "*" in keys)
    assert listener.wait(0.05) is None
    listener.close()


def test_a_listener_of_a_session_hears_of_that_one(store):
    listener = store.listen("ns", "mine")
    store.write([Batch("ns", (Append("other", "", (BODY,)),))])
    store.write([Batch("ns", (Append("mine", "agent", (BODY,)),))])
    assert listener.wait(10) == Heard(frozenset(), frozenset({"mine"}))
    assert listener.wait(0.05) is None
    listener.close()


def test_nothing_is_told_where_nobody_listens_any_more(store, server, database):
    listener = store.listen("ns")
    assert server.execute("SELECT count(*) FROM botwire.listener", database=database) == [(1,)]
    listener.close()
    deadline = time.monotonic() + 10
    while server.execute("SELECT count(*) FROM botwire.listener", database=database) != [(0,)]:
        assert time.monotonic() < deadline
    again = store.listen("ns")
    store.write([Batch("ns", (Set("k", "1"),))])
    heard_until(again, lambda keys, _: keys)
    again.close()


def test_a_listener_whose_connection_was_cut_is_told_to_look_once_it_hears_again(store, server, database):
    listener = store.listen("ns")
    ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND query LIKE %s"
    server.execute(ours, (database, "%pg_snapshot_xmin%"))
    found = listener.wait(10)
    assert found == Heard(None, None)
    store.write([Batch("ns", (Set("k", "1"),))])
    heard_until(listener, lambda keys, _: "k" in keys)
    listener.close()


def test_a_large_batch_is_told_of_in_one_notification_that_fits(store):
    listener = store.listen("ns")
    store.write([Batch("ns", tuple(Set(f"{number}" + "x" * 400, "1") for number in range(100)))])
    found = listener.wait(10)
    assert found == Heard(None, frozenset())
    listener.close()


def test_closing_a_listener_wakes_who_waits_on_it(store):
    listener = store.listen("ns")
    found = []
    waiting = threading.Thread(target=lambda: found.append(listener.wait(60)))
    waiting.start()
    listener.close()
    waiting.join(10)
    assert found == [None]


def test_a_write_that_began_before_anybody_listened_is_not_missed(store, server, database):
    """It looked for listeners before there was one, and is committed after ``listen`` has returned."""
    store.write([Batch("ns", (Set("k", "1"),))])
    with server.connect(database) as slow:
        slow.execute("BEGIN")
        slow.execute("UPDATE botwire.entry SET value = '2', version = 2 WHERE key = 'k'")
        listener = store.listen("ns")
        assert listener.wait(0.3) is None
        slow.execute("COMMIT")
        assert listener.wait(10) == Heard(None, None)
    listener.close()


def test_native_async_listens(store):
    async def story():
        native = store.native_async()
        listener = await native.listen("ns")
        await native.write([Batch("ns", (Set("k", "1"),))])
        found = await listener.wait(10)
        nothing = await listener.wait(0.05)
        await listener.close()
        await native.close()
        return found, nothing

    found, nothing = asyncio.run(story())
    assert found.keys == frozenset({"k"})
    assert nothing is None


# -------------------------------------------------------------------------------------------- check


def test_the_check_finds_a_session_that_lost_messages(store, server, database):
    store.write([Batch("ns", (Append("s", "", (BODY, BODY)),))])
    assert store.check()["ok"] is True
    server.execute("DELETE FROM botwire.message WHERE seq = 1", database=database)
    found = store.check()
    assert found["ok"] is False
    assert "'s'" in found["problems"][0]


def test_the_check_finds_messages_whose_session_is_gone(store, server, database):
    store.write([Batch("ns", (Append("s", "", (BODY, BODY)),))])
    server.execute("DELETE FROM botwire.log", database=database)
    assert store.check()["problems"] == ["2 messages of 'ns' belong to no session"]


def test_settings_that_endanger_data_are_named(store):
    store.get("ns", "k")
    figures = store.check()
    assert figures["settings"]["fsync"] == "off"  # as the tests' server is set
    named = {advice.what: advice.level for advice in advise(figures)}
    assert named["fsync"] == named["full_page_writes"] == named["synchronous_commit"] == "problem"
    good = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": ""}
    assert {advice.level for advice in advise({"settings": good})} == {"ok"}
    local = {**good, "synchronous_commit": "local", "synchronous_standby_names": "*"}
    assert "problem" in {advice.level for advice in advise({"settings": local})}
