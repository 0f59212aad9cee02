"""Redis and Valkey under faults: what is kept with which settings, and that the clients go on without a restart.

A Cluster copies writes after it has answered them, so by itself it may lose some when a primary goes. With ``wait=`` a write is
acknowledged only once that many replicas have it. What is measured here stands in docs/reliability.md.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from engines.crowd import Crowd
from engines.load import GOOD, Load, harm
from engines.proxy import Proxy
from engines.valkey import Valkey
from engines.valkey_cluster import ValkeyCluster
from engines.valkey_partition import PartedCluster
from faultlines import connection_faults, judge

from botwire import Memory, StoreUnavailable

ONE_SLOT = "botwire:0"


@pytest.fixture
def server(tmp_path):
    """One that writes to disk before it answers."""
    with Valkey(tmp_path / "valkey", appendfsync="always") as server:
        yield server


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}"


# ---------------------------------------------------------------------------------------- one server


@pytest.mark.timeout(240)
def test_a_server_killed_and_started_again_under_load(server):
    with Memory("n", url=server.url, timeout=5) as memory:
        with Load(memory) as load:
            for _ in range(3):
                load.wait_for(100)
                server.kill()
                time.sleep(0.2)
                server.start()
            load.wait_for(100)
        report = load.report(memory, "redis, appendfsync always: server killed and started again, 3 times")
    assert harm(report) == GOOD
    assert report["unavailable_s"] > 0.1, "nobody noticed"


@pytest.mark.timeout(240)
def test_connections_that_fail_in_the_middle_of_commands(server):
    with Proxy(server.port) as proxy, Memory("n", url=through(proxy), timeout=3) as memory:
        with Load(memory) as load:
            for hurt in [*connection_faults(proxy).values()] * 2:
                load.wait_for(20)
                hurt()
            load.wait_for(40)
        report = load.report(memory, "redis: connections cut, frozen, half-open, replies lost and truncated, 12 faults")
    assert harm(report) == GOOD


def test_a_call_on_a_frozen_server_ends_at_its_deadline(server):
    with Memory("n", url=server.url, timeout=1.5) as memory:
        memory.set("key", 1)
        server.freeze()
        for call in (lambda: memory.get("key"), lambda: memory.increment("n"), lambda: memory.session("s").append(("user", "x"))):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                call()
            assert time.monotonic() - started < 5
        server.thaw()
        assert memory.get("key") == 1


@pytest.mark.parametrize("call", [lambda memory: memory.get("key"), lambda memory: memory.set("key", 1)], ids=["read", "write"])
def test_the_first_call_of_all_ends_at_its_deadline_too(server, call):
    with Memory("n", url=server.url, timeout=1.5) as memory:
        assert memory.store.url == server.url  # the driver is loaded
        server.freeze()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            call(memory)
        assert time.monotonic() - started < 2.5
        server.thaw()
        call(memory)


@pytest.mark.timeout(240)
def test_histories_while_the_server_is_killed_and_clients_too(server, tmp_path):
    def restart():
        server.kill()
        server.start()

    with Crowd(server.url, tmp_path, processes=2, threads=4) as crowd:
        judge("linearizable: redis, server and clients killed", crowd, {"restart": restart, "kill": crowd.kill_one})


@pytest.mark.timeout(240)
def test_histories_while_connections_fail(server, tmp_path):
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(server.port))
        crowd = stack.enter_context(Crowd(through(proxy), tmp_path, processes=2, threads=4))
        judge("linearizable: redis, connections cut and frozen", crowd, connection_faults(proxy))


# ------------------------------------------------------------------------------------------ a Cluster


def serving(cluster, memory):
    """The primary that serves the namespace's sessions; the cluster's nodes are tried."""
    memory.session("s0").append(("user", "where?"))
    for node in cluster.nodes:
        with node.client() as client:
            if client.info("replication")["role"] == "master" and client.dbsize():
                return node
    raise AssertionError("no primary holds anything")


def wait_out(cluster, load, acknowledged=200):
    load.wait_for(acknowledged, seconds=90)


@pytest.mark.timeout(240)
def test_histories_on_a_cluster_while_clients_are_killed(tmp_path):
    with ValkeyCluster(tmp_path / "nodes", replicas=0) as cluster, Crowd(cluster.url, tmp_path, processes=2, threads=4) as crowd:
        judge("linearizable: redis cluster, clients killed", crowd, {"kill": crowd.kill_one})


def kill(cluster, node):
    node.kill()


def freeze(cluster, node):
    node.freeze()


def part(cluster, node):
    cluster.part([node])


def after(cluster, node, how):
    """The fault ends: what was gone comes back, and follows whoever leads now."""
    if how is kill:
        node.start()
    elif how is freeze:
        node.thaw()
    else:
        cluster.heal()
    cluster.wait_until_whole()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [kill, freeze, part])
def test_with_wait_and_two_replicas_nothing_acknowledged_is_lost(tmp_path, how):
    """Whichever way a primary goes: killed, frozen, or cut off from the others while clients still reach it."""
    with PartedCluster(tmp_path, replicas=2) as cluster, Memory("n", url=f"{cluster.url}?wait=1", timeout=5) as memory:
        node = serving(cluster, memory)
        with Load(memory, sessions=12) as load:
            load.wait_for(100)
            how(cluster, node)
            time.sleep(6)
            load.wait_for(100)
            after(cluster, node, how)
            load.wait_for(100)
        report = load.report(memory, f"redis cluster 3x(1+2), wait=1: primary {how.__name__}")
    assert harm(report) == GOOD


def follower(cluster, node):
    """A replica of a primary."""
    with node.client() as client:
        port = int(client.info("replication")["slave0"]["port"])
    return next(each for each, proxy in zip(cluster.nodes, cluster.ports, strict=True) if port in (each.port, proxy.port))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("wait", [1, 2])
def test_a_replica_that_is_cut_off_with_its_primary_keeps_nothing_for_the_others(tmp_path, wait):
    """Waiting for one of two replicas is not enough if that one is on the wrong side; waiting for both is."""
    with PartedCluster(tmp_path, replicas=2) as cluster, Memory("n", url=f"{cluster.url}?wait={wait}", timeout=5) as memory:
        node = serving(cluster, memory)
        lost_with_it = [node, follower(cluster, node)]
        with Load(memory, sessions=12) as load:
            load.wait_for(100)
            cluster.part(lost_with_it)
            time.sleep(6)
            cluster.heal()
            cluster.wait_until_whole()
            load.wait_for(100)
        report = load.report(memory, f"redis cluster 3x(1+2), wait={wait}: primary cut off together with one replica")
    assert report["gaps"] == report["duplicates"] == 0
    assert wait == 1 or harm(report) == GOOD


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [kill, part])
def test_without_wait_the_loss_is_bounded_by_the_time_of_the_failover_and_the_clients_recover(tmp_path, how):
    """Redis promises no more: what a primary had answered and not yet copied goes with it. Measured, not hidden."""
    with PartedCluster(tmp_path, replicas=1) as cluster, Memory("n", url=cluster.url, timeout=5) as memory:
        node = serving(cluster, memory)
        with Load(memory, sessions=12) as load:
            load.wait_for(100)
            how(cluster, node)
            time.sleep(6)
            load.wait_for(100)
            after(cluster, node, how)
            load.wait_for(100)
        report = load.report(memory, f"redis cluster 3x(1+1), without wait: primary {how.__name__}")
    assert report["gaps"] == report["duplicates"] == 0, "what is there is in order, and once"
    assert report["acknowledged"] > report["lost"]
