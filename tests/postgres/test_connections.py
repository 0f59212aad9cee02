"""Connections that end in the middle, that never answer, that a pooler deals out, and that a fork doubles."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import traceback

import pytest
from engines.pgbouncer import pgbouncer
from engines.postgres import USER, free_port
from engines.proxy import Proxy

from botwire import AsyncMemory, Memory
from botwire._errors import Closed, OutcomeUnknown, StoreBusy, StoreUnavailable, Unauthorized
from botwire.stores import Append, Batch, Change, Set

BODY = '{"role":"user","content":"hi"}'


def append(number, request_id=None):
    return Batch("ns", (Append("s", "", (f'{{"role":"user","content":"{number}"}}',)),), request_id)


def contents(store):
    return [json.loads(row.body)["content"] for row in store.read_log("ns", "s", "").rows]


@pytest.fixture
def proxied(server, database, open_store):
    """A proxy to the server, and a store that goes through it."""
    with Proxy(server.port) as proxy:
        store = open_store(server.url(database, port=proxy.port), timeout=10)
        store.write([append("first")])
        yield proxy, store
        store.close()


# ------------------------------------------------------------------------------ cut in the middle


def cut_the_next_answer(proxy, *, times=1):
    """From now on the answer to a write is lost on the way, though the server has done it."""
    left = [times]

    def on_server(data):
        if left[0] and b"botwire" not in data and (b"SELECT" in data or b"COMMIT" in data or b"INSERT" in data):
            left[0] -= 1
            return None
        return data

    proxy.on_server = on_server


def test_a_write_whose_answer_is_lost_is_not_said_to_have_failed_and_not_repeated(proxied):
    proxy, store = proxied
    cut_the_next_answer(proxy)
    outcome = store.write([append("second")])[0]
    assert isinstance(outcome, OutcomeUnknown)
    assert "request_id" in str(outcome)
    assert contents(store) == ["first", "second"]


def test_with_a_request_id_it_is_repeated_and_applied_once(proxied):
    proxy, store = proxied
    for way in (append("second", "r1"), Batch("ns", (Change("n", "increment", "1"), *append("third").operations), "r2")):
        cut_the_next_answer(proxy)
        assert isinstance(store.write([way])[0], list)
    assert contents(store) == ["first", "second", "third"]
    assert store.get("ns", "n").value == "1"


def test_of_many_batches_in_one_commit_those_with_an_id_are_applied_once_and_the_others_are_unknown(proxied):
    proxy, store = proxied
    batches = [Batch("ns", (Append(f"s{number}", "", (BODY,)),), f"r{number}" if number % 2 else None) for number in range(6)]
    cut_the_next_answer(proxy)
    outcomes = store.write(batches)
    assert [isinstance(outcome, list) for outcome in outcomes] == [False, True] * 3
    assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes[::2])
    assert [len(store.read_log("ns", f"s{number}", "").rows) for number in range(6)] == [1] * 6


def test_a_read_whose_answer_is_lost_is_asked_again(proxied):
    proxy, store = proxied
    cut_the_next_answer(proxy)
    assert contents(store) == ["first"]


def test_connections_that_ended_while_nobody_used_them_are_noticed_before_a_write(proxied):
    proxy, store = proxied
    for number in range(3):
        proxy.cut()
        time.sleep(0.05)  # until the kernel knows
        assert isinstance(store.write([append(number)])[0], list)
    assert contents(store) == ["first", "0", "1", "2"]


def test_the_native_async_side_does_the_same(server, database, open_store):
    async def story(proxy):
        store = open_store(server.url(database, port=proxy.port), timeout=10)
        native = store.native_async()
        assert isinstance((await native.write([append("first")]))[0], list)
        cut_the_next_answer(proxy)
        assert isinstance((await native.write([append("second")]))[0], OutcomeUnknown)
        cut_the_next_answer(proxy)
        assert isinstance((await native.write([append("third", "r")]))[0], list)
        proxy.cut()
        await asyncio.sleep(0.05)
        assert isinstance((await native.write([append("fourth")]))[0], list)
        page = await native.read_log("ns", "s", "")
        await native.close()
        return [json.loads(row.body)["content"] for row in page.rows]

    with Proxy(server.port) as proxy:
        assert asyncio.run(story(proxy)) == ["first", "second", "third", "fourth"]


# ------------------------------------------------------------------------------------- no answer


def test_a_server_that_never_answers_is_given_up_at_the_timeout(server, database, open_store):
    with Proxy(server.port) as proxy:
        store = open_store(server.url(database, port=proxy.port), timeout=1)
        store.write([append("first")])
        hold = threading.Event()
        proxy.on_server = lambda data: (hold.wait(30), data)[1]
        start = time.monotonic()
        assert isinstance(store.write([append("second")])[0], OutcomeUnknown)
        with pytest.raises(StoreUnavailable):
            store.get("ns", "k")
        assert time.monotonic() - start < 15
        hold.set()


def test_waiting_for_a_lock_ends_at_the_timeout_and_then_nothing_was_written(server, database, open_store):
    store = open_store(timeout=1)
    store.write([append("first")])
    with server.connect(database) as other:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM botwire.log FOR UPDATE")
        outcome = store.write([append("second")])[0]
        assert isinstance(outcome, StoreBusy)
        other.execute("ROLLBACK")
    assert contents(store) == ["first"]
    assert isinstance(store.write([append("third")])[0], list)


def test_nobody_there_is_said_at_once_or_at_the_timeout_with_the_reason(open_store):
    store = open_store(f"postgresql://{USER}@127.0.0.1:{free_port()}/x", timeout=1)
    with pytest.raises(StoreUnavailable, match="refused"):
        store.get("ns", "k")


def test_a_database_that_is_not_there_is_said_at_once(server, open_store):
    start = time.monotonic()
    with pytest.raises(StoreUnavailable, match="create the database"):
        open_store(server.url("not_there"), timeout=20).get("ns", "k")
    assert time.monotonic() - start < 10


def test_a_wrong_password_is_said_at_once_and_never_shown(server, database, open_store):
    server.execute("DROP ROLE IF EXISTS locked")
    server.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    path = server.data / "pg_hba.conf"
    before = path.read_text()
    path.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + before)
    server.execute("SELECT pg_reload_conf()")
    try:
        url = f"postgresql://locked:hunter2@127.0.0.1:{server.port}/{database}"
        store = open_store(url, timeout=20)
        assert "hunter2" not in store.url + repr(store)
        for _ in range(50):  # until the server has read the file
            with pytest.raises(Unauthorized) as caught:
                store.get("ns", "k")
            if "password" in str(caught.value):
                break
        assert "password authentication failed" in str(caught.value)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    finally:
        path.write_text(before)
        server.execute("SELECT pg_reload_conf()")


def test_more_threads_than_connections_wait_for_one(server, database, open_store):
    store = open_store(server.url(database, connections="2"))
    threads = [
        threading.Thread(target=lambda n=n: [store.write([Batch("ns", (Set(f"k{n}", "1"),))]) for _ in range(10)]) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count("ns") == 12
    assert (
        server.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'botwire'", (database,))[0][0] <= 2
    )


def test_closing_leaves_no_connection_and_no_thread(server, database, open_store):
    before = threading.active_count()
    store = open_store()
    store.write([append("first")])
    store.listen("ns").close()
    store.close()
    with pytest.raises(Closed):
        store.get("ns", "k")
    deadline = time.monotonic() + 10
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'botwire'"
    while server.execute(query, (database,)) != [(0,)]:
        assert time.monotonic() < deadline
    assert threading.active_count() <= before


# --------------------------------------------------------------------------------------- pgbouncer


@pytest.fixture
def pooler(server, need):
    """The port of a pgbouncer before the server."""
    with pgbouncer(need.command("pgbouncer"), server.port) as port:
        yield port


def test_everything_works_behind_pgbouncer_in_transaction_mode(server, database, pooler, open_store):
    stores = [open_store(server.url(database, port=pooler, sslmode="disable")) for _ in range(4)]
    errors = []

    def story(number, store):
        try:
            memory = Memory("ns", store=store)
            for step in range(25):
                memory.increment("n")
                memory.set(f"k{number}", step)
                memory.session("s").append(("user", f"{number}:{step}"))
                memory.session("s").messages(last=5)
                store.write([Batch("ns", (Set(f"many{number}-{each}", "1"),)) for each in range(5)])
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=story, args=item) for item in enumerate(stores * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    memory = Memory("ns", store=stores[0])
    assert memory.get("n") == 200
    assert [message.seq for message in memory.session("s").messages()] == list(range(1, 201))
    assert server.execute("SELECT count(*) FROM pg_prepared_statements", database=database) == [(0,)]
    connection = stores[0]._link._pool.getconn()
    assert connection.direct is False
    stores[0]._link._pool.putconn(connection)


def test_behind_pgbouncer_a_listener_looks_instead_of_hearing(server, database, pooler, open_store):
    store = open_store(server.url(database, port=pooler, sslmode="disable"))
    with_pooler = store.listen("ns")
    store.write([append("first")])
    heard = with_pooler.wait(10)
    assert heard is not None
    assert heard.sessions is None
    with_pooler.close()


# -------------------------------------------------------------------------------------------- fork


def test_a_process_that_is_stopped_in_a_transaction_does_not_keep_its_locks_for_ever(store, server, database):
    store.write([append("first")])
    connection = store._link._pool.getconn()
    assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("10s",)
    store._link._pool.putconn(connection)


def test_after_a_fork_parent_and_child_have_connections_of_their_own(open_store):
    store = open_store()
    store.write([append("before")])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for number in range(20):
                store.write([append(f"child {number}")])
            gc.collect()
            os.write(writer, b"done")
            status = 0
        finally:
            os._exit(status)
    for number in range(20):
        assert isinstance(store.write([append(f"parent {number}")])[0], list)
    assert os.read(reader, 10) == b"done"
    assert os.waitpid(child, 0)[1] == 0
    assert isinstance(store.write([append("after")])[0], list)
    rows = store.read_log("ns", "s", "").rows
    assert [row.seq for row in rows] == list(range(1, 43))
    os.close(reader)
    os.close(writer)


def test_a_program_that_closes_nothing_ends_without_a_warning(url):
    code = (
        "from botwire import Memory, AsyncMemory\nimport asyncio, sys\n"
        f"Memory('ns', url={url!r}).set('k', 1)\n"
        f"async def main():\n    await AsyncMemory('ns', url={url!r}).set('l', 2)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------- async


@pytest.mark.timeout(40)
def test_a_loop_ends_although_a_connection_is_just_being_made():
    """The pool takes a cancellation of what connects for a failure to connect, and goes on; asyncio.run waited for ever."""

    async def main(port):
        memory = AsyncMemory("ns", url=f"postgresql://{USER}@127.0.0.1:{port}/postgres", timeout=0.3)
        with pytest.raises(StoreUnavailable):
            await memory.get("k")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(main(silent.getsockname()[1]))


def test_native_async_uses_no_worker_thread(url):
    async def story():
        async with AsyncMemory("ns", url=url) as memory:
            await memory.count()  # the store is opened on a thread: that may import a driver
            await asyncio.gather(
                *(memory.increment("n") for _ in range(30)), *(memory.session("s").append(("user", "x")) for _ in range(30))
            )
            names = {thread.name for thread in threading.enumerate()}
            return await memory.get("n"), await memory.session("s").count(), names

    before = {thread.name for thread in threading.enumerate()}  # other tests' workers stay for the next call
    number, messages, names = asyncio.run(story())
    assert (number, messages) == (30, 30)
    assert len([name for name in names - before if name.startswith("botwire")]) <= 1  # the one that opened the store


def test_a_cancelled_write_is_waited_for(url):
    async def story():
        async with AsyncMemory("ns", url=url) as memory:
            await memory.set("k", 0)
            for number in range(1, 20):
                task = asyncio.ensure_future(memory.set("k", number))
                await asyncio.sleep(secrets.randbelow(3) / 1_000)
                task.cancel()
                try:
                    await task
                    done = True
                except asyncio.CancelledError:
                    done = False
                found = await memory.get("k")
                assert found == number or not done
            await memory.set("k", "last")
            return await memory.get("k")

    assert asyncio.run(story()) == "last"
