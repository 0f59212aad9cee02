"""A Cluster and sentinels: slots that move under load, primaries that die, and the list of namespaces."""

from __future__ import annotations

import threading
import time

import pytest
from engines.valkey_cluster import ValkeyCluster, ValkeySentinels

from botwire import Memory
from botwire.stores.redis._keys import Keys


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ValkeyCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


class Writers:
    """Threads that append and increment until they are stopped; what was acknowledged is kept."""

    def __init__(self, memory, count=4):
        self.memory, self.acked, self.errors = memory, [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(name,)) for name in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, name):
        number = 0
        while not self._stop.is_set():
            try:
                text = f"{name}:{number}"
                (seq,) = self.memory.session("s").append(("user", text))
                self.acked.append((seq, text))
                self.memory.increment("n")
            except Exception as error:  # noqa: BLE001 - shown by the test
                self.errors.append(error)
            number += 1

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def moved(cluster, slot, source, target):
    """Move a slot with its keys, one after the other, as resharding does."""
    with source.client() as giver, target.client() as taker:
        giver_id, taker_id = giver.execute_command("CLUSTER", "MYID"), taker.execute_command("CLUSTER", "MYID")
        taker.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", giver_id)
        giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", taker_id)
        while keys := giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 20):
            giver.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for client in (taker, giver):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", taker_id)


def test_a_slot_that_moves_under_load_loses_and_doubles_nothing(cluster, open_at):
    store = open_at(cluster.url)
    memory = Memory("moving", store=store)
    memory.set("k", 1)
    writers = Writers(memory)
    slot = Keys("bw:", "moving").slot
    try:
        for _ in range(4):
            time.sleep(0.3)
            source = cluster.primary_of(slot)
            target = next(node for node in cluster.nodes[:3] if node is not source)
            moved(cluster, slot, source, target)
            assert memory.get("k") == 1
    finally:
        time.sleep(0.3)
        writers.stop()
    assert writers.errors == []
    messages = memory.session("s").messages()
    assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
    assert sorted((message.seq, message.text) for message in messages) == sorted(writers.acked)
    assert memory.get("n") == len(writers.acked)
    assert store.check()["problems"] == []


def test_namespaces_enter_and_leave_the_list(cluster, open_at):
    store = open_at(f"{cluster.url}?prefix=list:")
    names = [f"name{number}" for number in range(30)]
    for name in names:
        Memory(name, store=store).set("k", 1)
    assert Memory(store=store).namespaces() == sorted(names)
    for name in names[:10]:
        Memory(name, store=store).delete("k")
    assert Memory(store=store).namespaces() == sorted(names[10:])
    key, _, slot = store._calls.listed_at()
    with cluster.primary_of(slot).client() as client:
        assert client.zcard(key) == 20
    Memory(names[0], store=open_at(f"{cluster.url}?prefix=list:")).session("s").append(("user", "back"))
    assert names[0] in Memory(store=store).namespaces()


def test_a_namespace_that_was_pruned_while_a_writer_knew_it_is_listed_again(cluster, open_at):
    store, other = open_at(f"{cluster.url}?prefix=race:"), open_at(f"{cluster.url}?prefix=race:")
    stop = threading.Event()

    def prune():
        while not stop.is_set():
            other._links.run(other._calls.namespaces(None, 10))

    thread = threading.Thread(target=prune)
    thread.start()
    memory = Memory("here", store=store)
    try:
        for number in range(150):
            memory.set("k", number)
            assert Memory(store=store).namespaces() == ["here"]
            memory.delete("k")
    finally:
        stop.set()
        thread.join()


def test_with_wait_a_killed_primary_loses_nothing_acknowledged(tmp_path, open_at):
    with ValkeyCluster(tmp_path, replicas=2) as cluster:
        store = open_at(f"{cluster.url}?wait=1&wait_timeout=1")
        memory = Memory("failover", store=store)
        memory.set("k", 1)
        writers = Writers(memory)
        slot = Keys("bw:", "failover").slot
        time.sleep(0.5)
        cluster.primary_of(slot).kill()
        before = len(writers.acked)
        deadline = time.monotonic() + 40
        while len(writers.acked) < before + 100:
            assert time.monotonic() < deadline, writers.errors
            time.sleep(0.1)
        writers.stop()
        messages = {message.seq: message.text for message in memory.session("s").messages()}
        assert list(messages) == list(range(1, len(messages) + 1))
        assert [(seq, text) for seq, text in writers.acked if messages.get(seq) != text] == []
        assert len({seq for seq, _ in writers.acked}) == len(writers.acked)
        assert len(set(messages.values())) == len(messages)


def test_sentinels_lead_to_the_new_primary(tmp_path, open_at):
    with ValkeySentinels(tmp_path) as servers:
        memory = Memory("n", store=open_at(f"{servers.url}?wait=1&wait_timeout=2"))
        memory.set("k", 1)
        assert memory.session("s").append(("user", "before")) == [1]
        servers.primary.kill()
        plain = Memory("n", store=open_at(servers.url))
        assert plain.session("s").append(("user", "after")) == [2]
        assert plain.get("k") == 1
