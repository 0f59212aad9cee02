"""Sessions that are removed while others write to them: what was acknowledged is there or was removed, and never without its session."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from botwire.stores import Append, Batch, Set
from botwire.stores._protocol import ClearLog, DeleteLog, Pop, RestoreLog, Trim
from botwire.stores.postgres._sweep import MOST

SOON, LATER = 2_000_000_000_000_000, 2_000_000_001_000_000
"""Before a session expires, and after, in microseconds since 1970."""


def write(store, *operations):
    (outcome,) = store.write([Batch("ns", operations)])
    return outcome


@pytest.fixture
def until_one_waits(server, database):
    """Waits until a statement waits for a lock on a relation, or for a transaction that has locked a row."""

    def wait(what):
        text = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = %s AND locktype = %s"
        deadline = time.monotonic() + 20
        while server.execute(text, (database, what)) == [(0,)]:
            assert time.monotonic() < deadline

    return wait


@pytest.fixture
def left_behind(server, database):
    """How many messages have no session."""
    text = "SELECT count(*) FROM botwire.message m WHERE NOT EXISTS (SELECT FROM botwire.log l WHERE l.id = m.log)"
    return lambda: server.execute(text, database=database)[0][0]


@contextlib.contextmanager
def meanwhile(work):
    """Work in a thread, whose answer is in the list once the block has ended."""
    done = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    yield done
    thread.join(30)
    assert not thread.is_alive()


def add(connection, number):
    """A message more, as an append does it: made with the first one, in a transaction that is open or not."""
    if number == 1:
        connection.execute("INSERT INTO botwire.log VALUES ('ns', 's', '', 77, 1, 1, 1, 1, NULL, NULL, 'epoch', '{}')")
    else:
        connection.execute("UPDATE botwire.log SET head = %s, count = count + 1 WHERE session = 's'", (number,))
    connection.execute("INSERT INTO botwire.message VALUES ('ns', (SELECT id FROM botwire.log), %s, 1, '{}')", (number,))


REMOVALS = [DeleteLog("s", ""), DeleteLog("s", None), ClearLog("s", ""), Trim("s", "", 0), Pop("s", "")]


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda operation: f"{type(operation).__name__} {operation[1:]}")
def test_a_session_that_is_made_while_it_is_removed_keeps_all_its_messages(store, server, database, until_one_waits, left_behind, removal):
    """It was not there to be locked; then it is, with its first message, while another writer adds the second."""
    store.get("ns", "k")
    with server.connect(database) as gate, server.connect(database) as other:
        gate.execute("BEGIN")
        gate.execute("LOCK TABLE botwire.listener IN ACCESS EXCLUSIVE MODE")  # what locks the session asks nothing of it
        with meanwhile(lambda: write(store, removal)) as outcome:
            until_one_waits("relation")
            add(other, 1)
            other.execute("BEGIN")
            add(other, 2)
            gate.execute("COMMIT")
            until_one_waits("transactionid")
            other.execute("COMMIT")
    assert isinstance(outcome[0], list)
    page = store.read_log("ns", "s", "")
    assert (page.info.head, page.info.count, [row.seq for row in page.rows]) == (2, 2, [1, 2])
    assert left_behind() == 0
    assert store.check()["problems"] == []
    assert write(store, Append("s", "", ("{}",)))[0][1:] == (3, 3)


@pytest.mark.parametrize("removal", [Append("s", "", ("{}",)), "restore"], ids=["append", "restore"])
def test_a_session_that_expires_while_somebody_adds_to_it_goes_with_what_was_added(
    open_store, server, database, until_one_waits, left_behind, removal
):
    """Whoever takes its name removes the expired one, also what a transaction adds that is open then."""
    store = open_store(clock=lambda: LATER)
    write(open_store(clock=lambda: SOON), Append("s", "", ("{}",), ttl=1_000))
    info = store.read_log("ns", "s", "").info
    assert info is None
    if removal == "restore":
        fresh = open_store(clock=lambda: SOON).read_log("ns", "s", "")
        removal = RestoreLog(fresh.info._replace(epoch="another", expires_at=None, ttl=None), fresh.rows)
    with server.connect(database) as other:
        other.execute("BEGIN")
        add(other, 2)
        with meanwhile(lambda: write(store, Set("k", "1"), removal)) as outcome:
            until_one_waits("transactionid")
            other.execute("COMMIT")
    assert isinstance(outcome[0], list)
    page = store.read_log("ns", "s", "")
    assert (page.info.head, page.info.count, [row.seq for row in page.rows]) == (1, 1, [1])
    assert left_behind() == 0
    assert store.check()["problems"] == []


def test_an_append_that_began_before_a_session_expired_does_not_revive_half_of_it(
    open_store, server, database, until_one_waits, left_behind
):
    """It waits, while others find that the session has expired, and remove as much of it as they do at a time."""
    early, late = open_store(clock=lambda: SOON), open_store(clock=lambda: LATER)
    late.get("ns", "k")
    late.plans.sweeper.begin()
    early.plans.sweeper.begin()
    write(early, Append("s", "", ("{}",) * (MOST + 100), ttl=1_000))
    with server.connect(database) as gate:
        gate.execute("BEGIN")
        gate.execute("ALTER SEQUENCE botwire.log_id OWNED BY NONE")  # from which an append takes a number, and a sweep none
        with meanwhile(lambda: write(early, Append("s", "", ('"new"',)))) as outcome:
            until_one_waits("relation")
            late.plans.sweeper._due = 0.0
            write(late, Set("k", "1"))
            assert server.execute("SELECT count(*) FROM botwire.message", database=database) == [(100,)]
            gate.execute("COMMIT")
    assert outcome[0][0][1:] == (1, 1)
    page = early.read_log("ns", "s", "")
    assert (page.info.head, page.info.count, [row.body for row in page.rows]) == (1, 1, ['"new"'])
    assert left_behind() == 0
    assert early.check()["problems"] == []


def test_a_long_session_that_has_expired_goes_in_several_sweeps(open_store, server, database):
    early, late = open_store(clock=lambda: SOON), open_store(clock=lambda: LATER)
    write(early, Append("s", "", ("{}",) * (2 * MOST + 100), ttl=1_000))
    for left in (MOST + 100, 100, 0):
        late.plans.sweeper._due = 0.0
        write(late, Set("k", "1"))
        assert server.execute("SELECT count(*) FROM botwire.message", database=database) == [(left,)]
        assert late.read_log("ns", "s", "").info is None
        assert late.check()["problems"] == []
    assert server.execute("SELECT count(*) FROM botwire.log", database=database) == [(0,)]
