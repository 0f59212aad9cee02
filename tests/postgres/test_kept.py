"""Statements that are sent often, and so go another way than the first ones: they end, fail and are interrupted in the same way."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from botwire._errors import InvalidValue, StoreBusy, VersionConflict
from botwire.stores import Append, Batch, Set


def write(store, *operations, request_id=None):
    (outcome,) = store.write([Batch("ns", operations, request_id)])
    return outcome


@pytest.fixture
def used(open_store, url):
    """A store with one connection, which has sent a few statements often enough."""
    store = open_store(url + "?connections=1", timeout=1.0)
    for number in range(5):
        write(store, Set("k", f"{number}"))
        write(store, Append("s", "", ("{}",)), request_id=f"r{number}")
        store.get("ns", "k")
        store.read_log("ns", "s", "", last=2)
    return store


@pytest.fixture
def locked(server, database, used):
    """Has an entry locked by somebody else."""
    with server.connect(database) as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM botwire.entry FOR UPDATE")
        yield other


def test_text_that_the_server_cannot_hold_is_refused_and_the_connection_goes_on(used):
    for text in ('"a\0b"', '"\ud800"'):
        assert isinstance(write(used, Set("k", text)), InvalidValue)
    assert write(used, Set("k", '"é"')) == [6]
    assert used.get("ns", "k").value == '"é"'


def test_a_repeated_request_is_answered_with_what_it_did(used):
    assert write(used, Append("s", "", ("{}",)), request_id="r4")[0][1:] == (5, 5)
    assert len(used.read_log("ns", "s", "").rows) == 5


def test_what_is_refused_among_others_is_no_trouble_that_is_logged(used, caplog):
    batches = [Batch("others", (Set(f"k{number}", "1"),)) for number in range(50)]
    outcomes = used.write([Batch("ns", (Append("s", "", ("{}",)),), "r4"), *batches])
    assert outcomes[0][0][1:] == (5, 5)
    assert outcomes[1:] == [[1]] * 50
    for _ in range(20):
        assert isinstance(write(used, Set("k", "1", if_version=99), Set("q", "1")), VersionConflict)
    assert caplog.text == ""


def test_waiting_ends_at_the_timeout_and_then_nothing_was_written(used, locked):
    assert isinstance(write(used, Set("k", "9")), StoreBusy)
    locked.execute("ROLLBACK")
    assert used.get("ns", "k").value == "4"
    assert write(used, Set("k", "5")) == [6]


def test_an_interrupted_write_is_given_up_on_the_server_too(used, locked, server, database):
    used.plans.timeout = 30.0

    def interrupt():
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        deadline = time.monotonic() + 20
        while server.execute(waiting, (database,)) == [(0,)] and time.monotonic() < deadline:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        write(used, Set("k", "9"))
    thread.join()
    locked.execute("ROLLBACK")
    assert used.get("ns", "k").value == "4"
    assert write(used, Set("k", "5")) == [6]


def test_statements_that_somebody_has_the_server_forget_are_made_anew(used):
    with used._link._pool.connection() as connection:
        connection.execute("DEALLOCATE ALL")
    assert write(used, Set("k", "5")) == [6]
    assert used.get("ns", "k").value == "5"


def test_large_values_and_answers_arrive_whole(used):
    used.plans.timeout = 30.0
    text = '"' + "x" * 9_000_000 + '"'
    assert write(used, Set("k", text)) == [6]
    assert used.get("ns", "k").value == text
    assert write(used, Append("s", "", (text, text)))[0][1:] == (6, 7)
    assert [row.body for row in used.read_log("ns", "s", "", last=2).rows] == [text, text]


def test_of_many_statements_that_are_used_once_the_server_keeps_none(used):
    """A page's size stands in its statement."""
    for size in range(1, 250):
        assert used.scan_keys("ns", "", None, size) == ["k"]
    for _ in range(5):
        used.scan_keys("ns", "", None, 1_000)
    with used._link._pool.connection() as connection:
        kept = [text for (text,) in connection.execute("SELECT statement FROM pg_prepared_statements")]
    assert sum("LIMIT 1000" in text for text in kept) == 1
    assert len(kept) < 30


def test_natively_async_too(used):
    async def story():
        native = used.native_async()
        for number in range(5, 10):
            await native.write([Batch("ns", (Set("k", f"{number}"),))])
            assert (await native.get("ns", "k")).value == f"{number}"
        ((refused,),) = [await native.write([Batch("ns", (Set("k", '"\0"'),))])]
        found = await native.write([Batch("ns", (Set("k", "10"),))])
        await native.close()
        return refused, found

    refused, found = asyncio.run(story())
    assert isinstance(refused, InvalidValue)
    assert found == [[11]]
