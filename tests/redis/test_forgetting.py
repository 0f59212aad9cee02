"""A namespace that is deleted is gone to its last key, and its neighbours stay."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
from engines.valkey_cluster import ValkeyCluster

from botwire import Memory
from botwire._forget import delete_namespace
from botwire.stores import Append, Batch, Charge, Set, Terms
from botwire.stores._keeping import Gone
from botwire.stores.redis._keys import Keys


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ValkeyCluster(tmp_path_factory.mktemp("cluster"), replicas=0) as cluster:
        yield cluster


@pytest.fixture(params=["server", "cluster"])
def store(request, open_at):
    engine = request.getfixturevalue("valkey" if request.param == "server" else "cluster")
    store = open_at(f"{engine.url}?prefix=forget{time.monotonic_ns()}:")
    store.server_of = (lambda slot: engine) if request.param == "server" else engine.primary_of
    return store


def keys_of(store, namespace):
    """What the server itself still has, but for what a write leaves for minutes to answer its own repetition."""
    keys = Keys(store._settings.prefix, namespace)
    with store.server_of(keys.slot).client() as client:
        found = [key.removeprefix(keys.base) for key in client.scan_iter(match=keys.base + b"*")]
    return sorted(key for key in found if not key.startswith(b"r:\x01"))


def fill(store, namespace):
    memory = Memory(namespace, store=store)
    memory.set_many({f"k{number}": "secret" for number in range(25)})
    memory.set("short", 1, ttl=1_000)
    for name in ("user-4", "user-42", "z"):
        memory.session(name).append(("user", "secret"), ("user", "secret"), request_id=f"r-{name}")
    memory.session("user-42", agent="writer").append(("user", "secret"))
    memory.session("z").set_metadata({"a": 1})
    memory.increment("n", request_id="count")
    store.write([Batch(namespace, (Set("k", "1"),), None, Terms((Charge("writes", 1, 9, 2**50),)))])


def test_a_deleted_namespace_is_gone_to_the_last_key_and_its_neighbours_stay(store):
    for name in ("app", "app2", "ap"):
        fill(store, name)
    before = keys_of(store, "app2")
    assert len(before) > 10
    assert delete_namespace(store, "app") == (Gone(28, 3, 7), True)
    assert keys_of(store, "app") == []
    assert keys_of(store, "app2") == before
    assert store.namespaces(None, 10) == ["ap", "app2"]
    assert delete_namespace(store, "app") == (Gone(), True)
    assert Memory("app", store=store).session("user-4").append(("user", "again"), request_id="r-user-4") == [1]  # the id is nobody's now
    assert Memory("app", store=store).increment("n", request_id="count") == 1
    assert store.namespaces(None, 10) == ["ap", "app", "app2"]


def test_a_large_one_goes_in_steps_with_what_others_write_meanwhile(store):
    store.write([Batch("n", tuple(Append(f"s{number}", "", ("{}",)) for number in range(1_700)), "r")])
    for number in range(700):
        store.write([Batch("n", (Set(f"k{number}", "1"),), f"r{number}")])
    stop, written = threading.Event(), []

    def write():
        while not stop.is_set():
            written.append(store.write([Batch("n", (Append(f"more{len(written)}", "", ("{}",)),), f"more{len(written)}")])[0])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        gone = store.delete_namespace("n")
    finally:
        stop.set()
        writer.join()
    assert gone.entries == 700
    assert gone.sessions == gone.messages >= 1_700
    assert gone.sessions + len(store.scan_logs("n", None, 10**6)) == 1_700 + len(written)
    store.delete_namespace("n")
    assert keys_of(store, "n") == []


def test_listeners_hear_of_it(store):
    fill(store, "app")
    listener = store.listen("app")
    store.delete_namespace("app")
    assert listener.wait(10) == (None, None)
    listener.close()


def test_the_list_of_request_ids_does_not_outgrow_their_lifetime(valkey, open_at):
    now = [1_700_000_000_000_000]
    store = open_at(f"{valkey.url}?prefix=ids{time.monotonic_ns()}:", clock=lambda: now[0])
    for number in range(300):
        store.write([Batch("n", (Append("s", "", ("{}",)),), f"a{number}"), Batch("n", (Set("k", "1"),), f"s{number}")])
        now[0] += 3_600_000_000
    with valkey.client() as client:
        assert client.zcard(Keys(store._settings.prefix, "n").q) <= 2 * (48 + 1)


def test_botwire_forget_works_on_it(store):
    fill(store, "app")
    command = [sys.executable, "-m", "botwire", "forget", "-n", "app", "--everything", "--yes", "--json", "--url", store.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {"namespace": "app", "entries": 28, "sessions": 3, "messages": 7, "entirely": True}
    assert store.namespaces(None, 10) == []
