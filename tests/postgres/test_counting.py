"""What a namespace holds is counted without looking at all of it: exactly, whoever writes, and only where somebody set a cap."""

from __future__ import annotations

import random
import threading
import time

import pytest

from botwire._errors import QuotaExceeded
from botwire.stores import Append, Batch, Set
from botwire.stores._protocol import Cap, Change, Clear, ClearLog, Delete, DeleteLog, Pop, SetLog, Terms, Trim
from botwire.stores.postgres._script import Query, one
from botwire.testing._base import together

PLENTY = Terms(cap=Cap(2**60, 2**60, 2**60))


def write(store, *operations, terms=None, namespace="ns"):
    (outcome,) = store.write([Batch(namespace, operations, None, terms)])
    return outcome


def begin(store, namespace="ns"):
    """Have it counted."""
    assert isinstance(write(store, Set("first", "1"), terms=PLENTY, namespace=namespace), list)


@pytest.fixture
def counted(server, database):
    """What ``usage`` says, with the changes that were not added up yet."""

    def look(namespace="ns"):
        rows = server.execute("SELECT counted, bytes, keys, sessions FROM botwire.usage WHERE namespace = %s", (namespace,), database)
        return rows[0] if rows else None

    return look


@pytest.fixture
def changes(server, database):
    return lambda: server.execute("SELECT count(*) FROM botwire.usage_change", database=database)[0][0]


def held(store, namespace="ns"):
    usage = store.usage(namespace)
    return True, usage.entry_bytes + usage.message_bytes, usage.entries, usage.sessions


def test_nothing_is_counted_where_nobody_has_set_a_cap(store, counted, changes):
    begin(store, "capped")
    write(store, Set("k", "1"), Append("s", "", ("{}",)), Change("n", "increment", "1"))
    write(store, Delete("k"))
    write(store, Clear(), terms=PLENTY)  # what only takes away has nothing to keep within
    assert (counted(), changes()) == (None, 0)


def random_operation(draw):
    key, session, agent = f"k{draw.randrange(6)}", f"s{draw.randrange(3)}", draw.choice(["", "a", "b"])
    text = '"' + "ä" * draw.randrange(20) + '"'
    return draw.choice(
        [
            Set(key, text),
            Set(key, text, ttl=1_000),
            Set(key, text, if_version=0),
            Delete(key),
            Change(f"n{draw.randrange(3)}", "increment", "1"),
            Append(session, agent, (text,) * draw.randrange(1, 4)),
            Append(session, agent, (text,), ttl=1_000),
            Pop(session, agent),
            Trim(session, agent, 1),
            ClearLog(session, agent),
            SetLog(session, agent, metadata='{"a":1}', merge=True),
            DeleteLog(session, agent),
            DeleteLog(session, None),
            Clear(f"k{draw.randrange(3)}"),
        ]
    )


@pytest.mark.timeout(180)
def test_the_count_is_exact_whoever_writes_what_at_once(open_store, counted):
    """Several stores, with a cap and without, singly and in batches, while counting begins and expired rows are swept."""
    stores = [open_store() for _ in range(3)]
    stores[0].get("ns", "k")

    def work(number):
        draw, store = random.Random(number), stores[number % 3]
        for _ in range(150):
            store.plans.sweeper._due = 0.0
            operations = tuple(random_operation(draw) for _ in range(draw.choice([1, 1, 1, 3])))
            outcomes = store.write([Batch("ns", operations, None, PLENTY if draw.random() < 0.2 else None)])
            assert all(isinstance(outcome, list) or "version" in str(outcome) for outcome in outcomes), outcomes

    together(*[lambda number=number: work(number) for number in range(8)])
    assert stores[0].check()["problems"] == []
    time.sleep(0.01)  # longer than what has a time to live has
    stores[0].plans.sweeper._due = 0.0
    write(stores[0], Set("last", "1"), terms=PLENTY)
    assert write(stores[0], Set("last", "2"), terms=PLENTY) is not None
    assert counted() == held(stores[0])


def test_agents_that_open_and_delete_one_session_at_once_leave_it_counted_once(open_store, counted):
    """Each sees no transcript but its own, or still the other's: only all changes together say whether the session is there."""
    store = open_store()
    begin(store)
    for number in range(20):
        opened = [Append(f"s{number}", agent, ("{}",)) for agent in "abcd"]
        deleted = [DeleteLog(f"s{number}", agent) for agent in "abcd"] if number % 2 else []
        for operations in (opened, deleted):
            together(*[lambda operation=operation: write(store, operation) for operation in operations])
    write(store, Set("last", "1"), terms=PLENTY)
    assert counted()[3] == held(store)[3] == 10


def test_a_write_under_way_when_counting_begins_is_counted(store, server, database, counted):
    """It looked whether it is to be counted before it was, and is committed later: counting waits for it."""
    store.get("ns", "k")
    text = "INSERT INTO botwire.usage_change SELECT 'ns', 1, 1, 1, NULL, 0 FROM botwire.usage WHERE namespace = 'ns'"
    with server.connect(database) as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO botwire.entry VALUES ('ns', 'slow', 1, 1, 1, NULL, '1')")
        slow.execute(text)  # as every statement of the store, which finds nothing to do there
        done = []
        thread = threading.Thread(target=lambda: done.append(write(store, Set("k", "22"), terms=PLENTY)))
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'botwire.usage_change'::regclass"
        deadline = time.monotonic() + 10
        while server.execute(waiting, database=database) != [(1,)]:
            assert time.monotonic() < deadline, done
        slow.execute("COMMIT")
        thread.join()
    assert isinstance(done[0], list)
    assert counted() == (True, 3, 2, 0) == held(store)


def test_one_that_began_to_count_and_was_killed_is_replaced(store, server, database, counted):
    write(store, Set("a", "1"))
    server.execute("INSERT INTO botwire.usage VALUES ('ns', false, 0, 0, 0)", database=database)
    write(store, Set("b", "22"), Append("s", "", ("{}",)))
    assert isinstance(write(store, Set("c", "1"), terms=Terms(cap=Cap(6, 3, 1))), list)
    assert counted() == (True, 6, 3, 1)
    assert isinstance(write(store, Set("d", "1"), terms=Terms(cap=Cap(6, 9, 9))), QuotaExceeded)


def test_changes_are_added_up_where_nobody_writes_under_a_cap_any_more(store, server, database, counted, changes):
    begin(store)
    begin(store, "forgotten")
    for number in range(20):
        write(store, Set(f"k{number}", "1"), Append(f"s{number}", "", ("{}",)))
    write(store, Set("k", "1"), namespace="forgotten")
    server.execute("DELETE FROM botwire.usage WHERE namespace = 'forgotten'", database=database)
    assert changes() > 20
    store.plans.sweeper._due = 0.0
    write(store, Set("k", "1"), namespace="other")
    assert changes() == 0
    assert counted() == held(store)
    assert store.check()["problems"] == []


def test_a_wrong_count_is_found_and_counted_anew(store, server, database):
    begin(store)
    server.execute("DELETE FROM botwire.entry", database=database)
    assert store.check()["problems"] == ["the usage of 'ns' is not what was counted"]
    server.execute("UPDATE botwire.usage SET counted = false", database=database)
    assert isinstance(write(store, Set("k", "1"), terms=Terms(cap=Cap(keys=1))), list)
    assert store.check()["ok"]


def test_writes_without_a_cap_do_not_wait_for_one_another_nor_for_one_with(store, server, database):
    begin(store)
    with server.connect(database) as slow:
        slow.execute("BEGIN")
        slow.execute("SELECT 1 FROM botwire.usage WHERE namespace = 'ns' FOR UPDATE")
        assert isinstance(write(store, Set("a", "1")), list)
        assert isinstance(write(store, Append("s", "", ("{}",)), Set("b", "1")), list)
        slow.execute("ROLLBACK")


def test_a_cap_does_not_read_the_namespace(store, server, database):
    """Of a namespace of 50,000 entries that is counted, a write under a cap reads a few rows, near the cap and far from it."""
    store.get("ns", "k")
    many = "INSERT INTO botwire.entry SELECT 'ns', 'key-' || n, 1, 1, 1, NULL, '1' FROM generate_series(1, 50000) n"
    server.execute(many, database=database)
    begin(store)
    server.execute("VACUUM ANALYZE", database=database)
    read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables WHERE schemaname = 'botwire'"

    def rows_read(work):
        """Of tables, in one connection, which tells at once what it has done."""
        found = []
        for each in (lambda: None, work):
            each()
            store._link.run(one(Query("SELECT pg_stat_force_next_flush()")), time.monotonic() + 10)
            found.append(server.execute(read, database=database)[0][0])
        return found[1] - found[0]

    assert rows_read(lambda: [write(store, Set(f"new{n}", "1"), terms=PLENTY) for n in range(5)]) < 300
    full = Terms(cap=Cap(keys=50_006))
    assert rows_read(lambda: [write(store, Set(f"more{n}", "1"), terms=full) for n in range(5)]) < 300
    assert isinstance(write(store, Set("more", "1"), terms=full), QuotaExceeded)
