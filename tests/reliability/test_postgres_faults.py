"""PostgreSQL under faults: what was acknowledged is there, nothing happens twice, and the client goes on without a restart."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest
from conftest import mount
from engines.crowd import Crowd
from engines.load import GOOD, Load, harm
from engines.pgbouncer import pgbouncer
from engines.postgres import Postgres
from engines.postgres_standby import replicated
from engines.proxy import Proxy
from faultlines import connection_faults, judge

from botwire import Memory, OutcomeUnknown, StoreFull, StoreUnavailable

KILLED_ONLY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}  # processes are killed here, not machines


@pytest.fixture
def server():
    """A server whose commits survive its own death."""
    server = Postgres(settings=KILLED_ONLY).create().start()
    yield server
    server.remove()


@pytest.fixture
def pair():
    with replicated() as pair:
        yield pair


# ------------------------------------------------------------------------------------------ failover


@pytest.mark.timeout(240)
def test_a_primary_killed_under_load_and_its_standby_promoted(pair):
    """Nothing acknowledged is lost, nothing is doubled, and the clients find the new primary by themselves."""
    with Memory("n", url=pair.url(), timeout=5) as memory:
        with Load(memory) as load:
            load.wait_for(300)
            pair.primary.kill()
            pair.promote()
            load.wait_for(300)
        report = load.report(memory, "postgres: primary killed, synchronous standby promoted")
    assert harm(report) == GOOD
    assert report["unavailable_s"] > 0


def waiting_for_standby(server):
    return server.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


def in_thread(call):
    """Start a call; what it returns or raises is in the list when the thread has ended."""
    outcome = []

    def run():
        try:
            outcome.append(call())
        except Exception as error:  # noqa: BLE001 - the outcome
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def until(true, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
    return found


CALLS = {
    "append": lambda memory: memory.session("s").append(("user", "in doubt"), request_id="r"),
    "set_many": lambda memory: memory.set_many({"in doubt": 1}, request_id="r"),
    "increment": lambda memory: memory.increment("in doubt", request_id="r"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_cancelled_wait_for_the_standby_is_not_acknowledged(pair, name):
    """The server reports it as success, with a notice: the row is there, but on one machine only."""
    with Memory("n", url=pair.url(), timeout=20) as memory:
        memory.set("before", 1)
        pair.freeze_standby()
        thread, outcome = in_thread(lambda: CALLS[name](memory))
        ((process,),) = until(lambda: waiting_for_standby(pair.primary))
        pair.primary.execute("SELECT pg_cancel_backend(%s)", (process,))
        thread.join(30)
        pair.thaw_standby()
        assert [type(error) for error in outcome] == [OutcomeUnknown], outcome
        again = CALLS[name](memory)
        assert again == CALLS[name](memory), "it was applied once"
        assert again in ([1], 1, {"in doubt": 1})


@pytest.mark.parametrize("name", CALLS)
def test_without_its_standby_nothing_is_acknowledged_and_no_call_waits_for_ever(pair, name):
    with Memory("n", url=pair.url(), timeout=2) as memory:
        memory.set("before", 1)
        pair.freeze_standby()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            CALLS[name](memory)
        assert time.monotonic() - started < 6
        assert memory.get("before") == 1, "reads go on"
        pair.thaw_standby()
        assert CALLS[name](memory) in ([1], 1, {"in doubt": 1}), "it was applied once"


@pytest.mark.timeout(240)
def test_a_standby_cut_off_before_the_primary_dies_has_all_that_was_acknowledged(pair):
    """What the primary takes alone is acknowledged to nobody, so nobody misses it afterwards."""
    with Memory("n", url=pair.url(), timeout=3) as memory:
        with Load(memory) as load:
            load.wait_for(100)
            pair.freeze_standby()
            time.sleep(2)
            pair.primary.kill()
            pair.thaw_standby()
            pair.promote()
            load.wait_for(100)
        report = load.report(memory, "postgres: standby cut off, then primary killed and standby promoted")
    assert harm(report) == GOOD


# ------------------------------------------------------------------------------------ one server's faults


@pytest.mark.timeout(240)
def test_a_server_killed_and_started_again_under_load(server):
    with Memory("n", url=server.url(), timeout=5) as memory:
        with Load(memory) as load:
            for _ in range(3):
                load.wait_for(100)
                server.kill()
                time.sleep(0.2)
                server.start()
            load.wait_for(100)
        report = load.report(memory, "postgres: server killed and started again, 3 times")
    assert harm(report) == GOOD


@pytest.mark.timeout(240)
def test_connections_that_fail_in_the_middle_of_commands(server):
    with Proxy(server.port) as proxy, Memory("n", url=server.url(port=proxy.port), timeout=3) as memory:
        with Load(memory) as load:
            for hurt in [*connection_faults(proxy).values()] * 2:
                load.wait_for(20)
                hurt()
            load.wait_for(40)
        report = load.report(memory, "postgres: connections cut, frozen, half-open, replies lost and truncated, 12 faults")
    assert harm(report) == GOOD


def test_a_call_on_a_frozen_server_ends_at_its_deadline(server):
    with Proxy(server.port) as proxy, Memory("n", url=server.url(port=proxy.port), timeout=1.5) as memory:
        memory.set("key", 1)
        proxy.freeze()
        for call in (lambda: memory.get("key"), lambda: memory.increment("n"), lambda: memory.session("s").append(("user", "x"))):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                call()
            assert time.monotonic() - started < 6.5, "a second and a half, and four to ask the server to stop"
        proxy.thaw()
        assert memory.get("key") == 1


@pytest.mark.timeout(240)
def test_a_pooler_that_is_restarted_under_load(server, need):
    """pgbouncer in transaction mode goes and comes again at the same address, three times."""
    program = need.command("pgbouncer")
    with ExitStack() as stack:
        address = stack.enter_context(Proxy(server.port))
        memory = stack.enter_context(Memory("n", url=server.url(port=address.port, sslmode="disable"), timeout=5))
        running = stack.enter_context(ExitStack())
        address.upstream = ("127.0.0.1", running.enter_context(pgbouncer(program, server.port, connections=4)))
        with Load(memory) as load:
            for _ in range(3):
                load.wait_for(60)
                running.close()  # its connections end with it
                time.sleep(0.2)
                address.upstream = ("127.0.0.1", running.enter_context(pgbouncer(program, server.port, connections=4)))
            load.wait_for(60)
        report = load.report(memory, "postgres: pgbouncer restarted, 3 times")
    assert harm(report) == GOOD
    assert report["unavailable_s"] > 0


def test_backends_terminated_by_the_administrator(server):
    with Memory("n", url=server.url(), timeout=10) as memory:
        with Load(memory) as load:
            for _ in range(8):
                load.wait_for(50)
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
                )
            load.wait_for(50)
        report = load.report(memory, "postgres: all backends terminated, 8 times")
    assert harm(report) == GOOD


def test_a_full_disk_is_told_and_the_store_goes_on_when_there_is_space(tmp_path):
    """Data on a small disk, the log on another, as is usual: the server survives, and says so."""
    place = tmp_path / "small"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=72m,mode=755", "botwire-test", str(place))
    with ExitStack() as stack:
        stack.callback(unmount, place)
        server = on_small_disk(place, tmp_path)
        stack.callback(server.remove)
        memory = stack.enter_context(Memory("n", url=server.url(), timeout=10))
        memory.set("first", "x")
        written = []
        with pytest.raises(StoreFull, match="space"):
            for number in range(2_000):
                memory.set(f"key {number:04}", incompressible(number))
                written.append(f"key {number:04}")
        assert memory.list_keys("key") == written, "nothing of what was refused is there, all of what was acknowledged is"
        assert memory.get("first") == "x"
        (place / "filler").unlink()
        assert memory.set("after", 1) == 1
        assert memory.session("s").append(("user", incompressible(1))) == [1]


def incompressible(number):
    return random.Random(number).randbytes(60_000).hex()


def on_small_disk(place, tmp_path):
    folder = place / "server"
    folder.mkdir()
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != parent.parent:
            parent.chmod(parent.stat().st_mode | 0o011)
    server = Postgres(settings=KILLED_ONLY, folder=folder).create()
    log = tmp_path / "wal"
    shutil.copytree(server.data / "pg_wal", log)
    for path in (log, *log.rglob("*")):
        shutil.chown(path, 65_534, 65_534)
    shutil.rmtree(server.data / "pg_wal")
    (server.data / "pg_wal").symlink_to(log)
    server.start()
    (place / "filler").write_bytes(bytes(4_000_000))
    return server


def unmount(place):
    subprocess.run(["umount", "-l", str(place)], check=True)


# ------------------------------------------------------------------------------------ linearizability


@pytest.mark.timeout(240)
def test_histories_while_the_server_is_killed_and_clients_too(server, tmp_path):
    with Crowd(server.url(), tmp_path, processes=2, threads=4) as crowd:

        def restart():
            server.kill()
            server.start()

        judge("linearizable: postgres, server and clients killed", crowd, {"restart": restart, "kill": crowd.kill_one})


@pytest.mark.timeout(240)
def test_histories_while_connections_fail(server, tmp_path):
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(server.port))
        crowd = stack.enter_context(Crowd(server.url(port=proxy.port), tmp_path, processes=2, threads=4))
        judge("linearizable: postgres, connections cut and frozen", crowd, connection_faults(proxy))


@pytest.mark.timeout(240)
def test_histories_while_the_primary_dies_and_the_standby_takes_over(pair, tmp_path):
    with Crowd(pair.url(), tmp_path, processes=2, threads=4) as crowd:

        def fail_over():
            pair.primary.kill()
            pair.promote()
            time.sleep(3)

        judge("linearizable: postgres, failover to a synchronous standby", crowd, {"fail over": fail_over}, once=True)
