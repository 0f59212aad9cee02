"""What a namespace holds, counted for caps: exact whoever writes what, whatever was there before, and while it is still being counted."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time

import pytest
from engines.valkey_cluster import ValkeyCluster

from botwire import Memory, QuotaExceeded, StoreFull
from botwire.stores import Append, Batch, Cap, Clear, ClearLog, Delete, DeleteLog, Pop, RestoreLog, Set, SetLog, Terms, Trim
from botwire.stores._protocol import KEEP, LogInfo, LogRow, Restore
from botwire.stores._rows import EntryRow
from botwire.stores.redis import _scripts
from botwire.stores.redis._counting import figures_of
from botwire.stores.redis._keys import Keys

PLENTY = Terms(cap=Cap(bytes=10**9))
HOUR = 3_600_000_000


class Clock:
    def __init__(self):
        self.now = 1_700_000_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(valkey, open_at, clock):
    return open_at(f"{valkey.url}?prefix=caps{time.monotonic_ns()}:", clock=clock)


def figures(valkey, store, namespace="n"):
    with valkey.client() as client:
        return figures_of(client.get(Keys(store._settings.prefix, namespace).g))


def held(store, namespace="n"):
    usage = store.usage(namespace)
    return usage.entry_bytes, usage.message_bytes, usage.sessions


def step(store, namespace="n"):
    """One step of counting; what it answers."""
    calls = store._calls
    keys = calls.keys(namespace)
    places = (keys.e, keys.k, keys.s, keys.i, keys.g, calls.listed_at()[0])
    return store._links.run(calls.one(calls.script(_scripts.TALLY, keys.slot, places, b"", namespace.encode())))


def anything(dice, keys, sessions, wipes=True):
    """An operation, as likely to remove as to add."""
    key, session, agent = f"k{dice.randrange(keys):04}", f"s{dice.randrange(sessions):04}", dice.choice(["", "", "a", "b"])
    text = '"' + "é" * dice.randrange(30) + '"'
    ttl = dice.choice([None, None, KEEP, dice.randrange(1, 5) * 1_000_000])
    info = LogInfo(session, agent, dice.choice(["e1", "e2"]), 3, 2, 1, 1, None, dice.choice([None, 5]), "{}")
    return dice.choice(
        [
            lambda: Set(key, text, ttl=ttl),
            lambda: Set(key, text, ttl=ttl),
            lambda: Delete(key),
            lambda: Clear(key[:-1]),
            lambda: Clear("" if wipes and dice.randrange(20) == 0 else "nothing"),
            lambda: Restore(EntryRow(key, text, 7, 1, 1, dice.choice([None, 5]))),
            lambda: Append(session, agent, (text,) * dice.randrange(1, 4), ttl),
            lambda: Append(session, agent, (text,), KEEP),
            lambda: Pop(session, agent),
            lambda: Trim(session, agent, dice.randrange(4)),
            lambda: ClearLog(session, agent),
            lambda: SetLog(session, agent, KEEP, text),
            lambda: DeleteLog(session, agent),
            lambda: DeleteLog(session, None),
            lambda: RestoreLog(info, (LogRow(2, text, 1), LogRow(3, '"x"', 1))),
        ]
    )()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_written_the_figures_are_what_is_there(valkey, store, clock, seed):
    dice = random.Random(seed)
    store.write([Batch("n", (Delete("no"),), None, PLENTY)])
    for _ in range(60):
        batches = [
            Batch("n", tuple(anything(dice, 20, 5) for _ in range(dice.choice([1, 1, 3]))), None, dice.choice([None, None, PLENTY]))
            for _ in range(dice.randrange(1, 6))
        ]
        store.write(batches)
        clock.now += dice.choice([0, 1_000_000])
        found = store.write([Batch("n", (Set("a", "1"), Set("b", "1")), None, Terms(cap=Cap(bytes=0)))])[0]
        size = sum(held(store)[:2])
        assert (found.limit, found.current) == ("bytes", size)
        assert figures(valkey, store) == held(store), "after a sweep they are the same"
    assert store.check()["problems"] == []


@pytest.mark.parametrize("seed", range(3))
def test_what_is_there_is_counted_in_steps_between_which_others_write(valkey, store, seed):
    dice = random.Random(seed)
    store.write([Batch("n", tuple(Set(f"k{number:04}", f'"{number}"') for number in range(0, 4_000, 2)))])
    store.write([Batch("n", tuple(Append(f"s{number:04}", agent, ("{}",)) for number in range(900) for agent in ("", "a", "b")))])
    seen = []
    while not seen or seen[-1] != b"d":
        seen.append(step(store))
        for _ in range(30):
            store.write([Batch("n", (anything(dice, 4_000, 900, seed == 0),))])
    assert seed == 0 or len(seen) >= 4
    store.write([Batch("n", (Delete("no"),), None, PLENTY)])  # sweeps
    assert figures(valkey, store) == held(store)


def test_a_session_with_thousands_of_agents_is_counted_once(valkey, store):
    store.write([Batch("n", tuple(Append(session, f"a{number}", ("{}",)) for session in "st" for number in range(1_500)))])
    assert store.write([Batch("n", (Append("u", "", ("{}",)),), None, Terms(cap=Cap(sessions=2)))])[0].current == 2
    assert figures(valkey, store) == (0, 6_000, 2)


def test_what_was_written_before_there_were_figures_is_measured(valkey, store):
    memory = Memory("n", store=store)
    memory.set("k", "x" * 8)
    for agent in (None, "a"):
        memory.session("old", agent=agent).append(*[("user", "hi")] * 2_500)
    keys = Keys(store._settings.prefix, "n")
    with valkey.client() as client:
        for name, state in client.hgetall(keys.s).items():
            head, count, rest = state.split(b" ", 2)
            client.hset(keys.s, name, b" ".join((head, count.partition(b":")[0], rest)))
    memory.session("old").append(("user", "more"))
    memory.session("old").pop()
    memory.session("old").trim(2_000)
    memory.session("new").append(("user", "hi"))
    assert memory.session("old").info().count == 2_000
    store.write([Batch("n", (Delete("no"),), None, PLENTY)])
    assert figures(valkey, store) == held(store)
    memory.session("old").append(("user", "more"))
    assert figures(valkey, store) == held(store)
    assert store.check()["problems"] == []


def test_much_that_has_expired_makes_room_at_once(store, clock):
    terms = Terms(cap=Cap(bytes=10_000, keys=3_000, sessions=10))
    store.write([Batch("n", tuple(Set(f"k{number}", "111", ttl=HOUR) for number in range(3_000)), None, terms)])
    assert store.write([Batch("n", (Set("new", "1"),), None, terms)])[0].limit == "keys"
    assert store.write([Batch("n", (Set("k1", "1" * 1_500),), None, terms)])[0].limit == "bytes"
    clock.now += HOUR
    assert store.write([Batch("n", (Set("new", "1" * 10_000),), None, terms)]) == [[1]]
    assert store.write([Batch("n", (Set("new", "1" * 10_001),), None, terms)])[0].current == 10_000
    assert store.write([Batch("n", (Set("new", "1" * 9_000),), None, terms)]) == [[2]]


def test_figures_that_others_have_spoilt_are_found_and_counted_anew(valkey, store):
    store.write([Batch("n", (Set("k", "1234"), Append("s", "", ("{}",))), None, PLENTY)])
    keys = Keys(store._settings.prefix, "n")
    with valkey.client() as client:
        client.set(keys.g, b"1 1 2 1 d")
    (problem,) = store.check()["problems"]
    assert "(1, 2, 1), and holds (4, 2, 1)" in problem
    store.write([Batch("n", (Delete("k"),))])
    assert figures(valkey, store) is None
    assert store.write([Batch("n", (Set("k", "123456789"),), None, Terms(cap=Cap(bytes=10)))])[0].current == 2
    assert store.check()["problems"] == []


def test_a_namespace_that_was_emptied_begins_at_nothing(valkey, store):
    store.write([Batch("n", (Set("k", "1234"), Append("s", "", ("{}",))), None, PLENTY)])
    store.write([Batch("n", (Clear(), DeleteLog("s", None)))])
    assert figures(valkey, store) == (0, 0, 0)
    assert store.namespaces(None, 10) == []
    assert figures(valkey, store) is None
    store.write([Batch("n", (Set("k", "1"),))])
    assert store.write([Batch("n", (Set("l", "1"),), None, Terms(cap=Cap(keys=1)))])[0].current == 1


def test_where_memory_is_full_a_capped_write_changes_nothing(own, open_at):
    server = own(maxmemory_policy="noeviction")
    store = open_at(server.url)
    store.write([Batch("n", (Set("k", "1"), Append("s", "", ("{}",))), None, PLENTY)])
    with server.client() as client:
        client.config_set("maxmemory", 500_000)
    for operation in (Set("l", "1"), Append("s", "", ("{}",)), Append("t", "", ("{}",))):
        assert isinstance(store.write([Batch("n", (operation,), None, PLENTY)])[0], StoreFull)
    assert figures(server, store) == held(store) == (1, 2, 1)
    assert store.write([Batch("n", (Delete("k"), Pop("s", "")), None, PLENTY)])[0][0] is True
    assert figures(server, store) == held(store) == (0, 0, 1)


WRITER = """
import sys
from botwire.stores import open_store, Append, Batch, Cap, Set, Terms
store, name, accepted = open_store(sys.argv[1]), sys.argv[2], 0
terms = Terms(cap=Cap(bytes=30_000, keys=700, sessions=300))
sys.stdin.read(1)
for number in range(400):
    capped = Set(f"{name}-{number}", '"é"'), Append(f"{name}-{number}", "", ('"é"',))
    outcomes = store.write([*(Batch("n", (each,), None, terms) for each in capped), Batch("n", (Append("free", "", ("{}",)),))])
    assert isinstance(outcomes[2], list)
    accepted += isinstance(outcomes[0], list) + 1_000 * isinstance(outcomes[1], list)
print(accepted)
"""


@pytest.mark.parametrize("kind", ["server", "cluster"])
def test_processes_together_reach_the_cap_and_no_further(kind, valkey, open_at, tmp_path):
    if kind == "server":
        run_writers(f"{valkey.url}?prefix=many{time.monotonic_ns()}:", open_at)
    else:
        with ValkeyCluster(tmp_path / "cluster") as cluster:
            run_writers(cluster.url, open_at)


def run_writers(url, open_at):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in range(4)
    ]
    for writer in writers:
        writer.stdin.write("x")
        writer.stdin.flush()
    accepted = [int(writer.communicate(timeout=100)[0]) for writer in writers]
    assert sum(each % 1_000 for each in accepted) == 700
    assert sum(each // 1_000 for each in accepted) in (299, 300)  # the one that is free of the cap came first, or last
    store = open_at(url)
    assert store.usage("n")[:4] == (700, 2_800, store.usage("n").sessions, 1_600 + sum(each // 1_000 for each in accepted))
    assert store.usage("n").sessions in (300, 301)
    assert store.check()["problems"] == []


def test_a_long_count_goes_on_where_it_stopped(valkey, open_at):
    """Many ask for a cap at once while the namespace has not been counted: all are answered, and rightly."""
    store = open_at(f"{valkey.url}?prefix=long{time.monotonic_ns()}:")
    store.write([Batch("n", tuple(Set(f"k{number}", "1") for number in range(9_000)))])
    store.write([Batch("n", tuple(Append(f"s{number}", "", ("1",)) for number in range(3_000)))])
    barrier, outcomes = threading.Barrier(8), []

    def write(number):
        other = open_at(f"{valkey.url}?prefix={store._settings.prefix}")
        barrier.wait()
        outcomes.append(other.write([Batch("n", (Set(f"new{number}", "1"),), None, Terms(cap=Cap(keys=9_004)))])[0])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome == [1] for outcome in outcomes) == 4
    assert sum(isinstance(outcome, QuotaExceeded) for outcome in outcomes) == 4
    assert figures(valkey, store) == held(store) == (9_004, 3_000, 3_000)
