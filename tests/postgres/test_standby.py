"""A primary with a synchronous standby: what is acknowledged is on both."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from engines.postgres_standby import replicated

from botwire._errors import OutcomeUnknown
from botwire.stores import Append, Batch, Set
from botwire.stores.postgres import PostgresStore

BODY = '{"role":"user","content":"hi"}'


@pytest.fixture
def pair():
    with replicated() as found:
        yield found


def append(request_id=None):
    return Batch("ns", (Append("s", "", (BODY,)),), request_id)


def test_a_cancelled_wait_for_the_standby_is_not_acknowledged(pair):
    """The server calls it a success with a notice. Neither the store's own timeout nor somebody else's cancel makes it one."""
    store = PostgresStore(pair.url(), timeout=2)
    try:
        assert isinstance(store.write([append()])[0], list)
        pair.freeze_standby()
        for batches in ([append()], [append(), Batch("ns", (Set("k", "1"),))], [Batch("ns", (Set("k", "2"), Set("l", "2")))]):
            start = time.monotonic()
            outcomes = store.write(batches)
            assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes), outcomes
            assert time.monotonic() - start < 10
        pair.thaw_standby()
        pair.wait_synchronous()
        assert isinstance(store.write([append()])[0], list)
    finally:
        store.close()


def test_an_operators_cancel_is_not_acknowledged_either(pair):
    store = PostgresStore(pair.url(), timeout=20)
    try:
        store.write([append()])
        pair.freeze_standby()
        outcomes = []
        writing = threading.Thread(target=lambda: outcomes.extend(store.write([append()])))
        writing.start()
        waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        while not pair.primary.execute(waiting):
            time.sleep(0.01)
        writing.join()
        assert isinstance(outcomes[0], OutcomeUnknown)
        assert "request_id" in str(outcomes[0])
        pair.thaw_standby()
    finally:
        store.close()


def test_a_repetition_of_a_doubtful_write_is_acknowledged_only_when_the_standby_has_it(pair):
    """The row is visible on the primary. Repeated, it is found there, which alone must not count."""
    store = PostgresStore(pair.url(), timeout=2)
    try:
        store.write([append()])
        pair.freeze_standby()
        assert isinstance(store.write([append("r")])[0], OutcomeUnknown)
        assert isinstance(store.write([append("r")])[0], OutcomeUnknown)
        pair.thaw_standby()
        pair.wait_synchronous()
        (outcome,) = store.write([append("r")])
        assert outcome[0].last == 2
        pair.wait_replayed()
        assert pair.standby.execute("SELECT max(seq) FROM botwire.message") == [(2,)]
    finally:
        store.close()


def test_after_a_failover_the_same_store_goes_on_and_has_all_that_was_acknowledged(pair):
    store = PostgresStore(pair.url(), timeout=20)
    acknowledged, stop = [], threading.Event()

    def writer(name):
        number = 0
        while not stop.is_set():
            (outcome,) = store.write([append(f"{name}-{number}")])
            if isinstance(outcome, list):
                acknowledged.append(outcome[0].last)
            number += 1

    threads = [threading.Thread(target=writer, args=(name,)) for name in range(4)]
    try:
        for thread in threads:
            thread.start()
        while len(acknowledged) < 50:
            time.sleep(0.01)
        pair.primary.kill()
        pair.promote()
        before = len(acknowledged)
        deadline = time.monotonic() + 30
        while len(acknowledged) < before + 50:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        rows = store.read_log("ns", "s", "").rows
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert len(set(acknowledged)) == len(acknowledged)
        assert set(acknowledged) <= {row.seq for row in rows}
    finally:
        stop.set()
        store.close()


def test_the_native_async_side_does_not_acknowledge_it_either(pair):
    async def story():
        store = PostgresStore(pair.url(), timeout=2)
        native = store.native_async()
        assert isinstance((await native.write([append()]))[0], list)
        pair.freeze_standby()
        outcomes = await native.write([append()])
        pair.thaw_standby()
        await native.close()
        store.close()
        return outcomes

    assert isinstance(asyncio.run(story())[0], OutcomeUnknown)
