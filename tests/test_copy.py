"""Copying between stores that are in use: exact, resumable, careful with what is newer, and able to follow."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from botwire import InvalidValue, Memory, ValueTooLarge
from botwire._copy import copy_store, follow_store
from botwire.server import serve_in_thread
from botwire.stores import Batch, RestoreLog, Set, open_store

PATIENCE = 60.0


@pytest.fixture(params=["file to file", "file to HTTP", "HTTP to file"])
def pair(request, tmp_path) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Source and destination as they are copied, and the stores behind them."""
    one, other = open_store(f"sqlite://{tmp_path}/one.db"), open_store(f"sqlite://{tmp_path}/other.db")
    with serve_in_thread(one) as one_url, serve_in_thread(other) as other_url:
        source = open_store(one_url) if request.param.startswith("HTTP") else one
        target = open_store(other_url) if request.param.endswith("HTTP") else other
        yield source, target, one, other
        for store in {source, target, one, other}:
            store.close()


def contents(store: Any) -> Any:
    found = {}
    for name in store.namespaces(None, 1_000):
        logs = [(info, store.read_log(name, info.session, info.agent).rows) for info in store.scan_logs(name, None, 10_000)]
        found[name] = store.scan(name, "", None, 100_000), logs
    return found


def fill(store: Any) -> Memory:
    memory = Memory("n", store=store)
    memory.set_many({f"k{number:04}": {"number": number, "fill": "x" * (number % 50)} for number in range(700)})
    memory.set("k0001", "changed")
    memory.set("ttl", 1, ttl=10_000)
    memory.set("large", "x" * 300_000)
    store.write([Batch("n", (Set("exact", "1e5"), Set("lone", '"\\ud800"')))])
    session = memory.session("s", ttl=10_000)
    session.append(*[("user", f"{number}") for number in range(600)])
    session.set_metadata({"a": 1})
    memory.session("s", agent="writer").append(("user", "draft"))
    memory.session("empty").set_metadata({})
    Memory("m é/", store=store).set("k", None)
    return memory


def test_a_copy_holds_exactly_what_the_source_does(pair):
    source, target, one, other = pair
    fill(one)
    done = copy_store(source, target)
    assert contents(other) == contents(one)
    assert (done.entries, done.sessions, done.messages, done.ok) == (705, 3, 601, True)
    assert (done.different, done.behind, done.newer, done.extra) == (0, 0, 0, 0)
    assert done.compared == 705 + 601


def test_a_second_run_writes_nothing(pair):
    source, target, one, other = pair
    fill(one)
    copy_store(source, target)
    before = contents(other)
    done = copy_store(source, target)
    assert (done.written, done.same) == (0, 708)
    assert contents(other) == before


def test_what_changed_since_is_caught_up_with_and_nothing_else_is_copied(pair):
    source, target, one, other = pair
    memory = fill(one)
    copy_store(source, target)
    memory.set("k0002", "new")
    memory.set("added", 1)
    session = memory.session("s")
    session.pop()
    session.pop()
    session.append(("user", "after two pops"))
    session.trim(100)
    memory.session("s", agent="writer").replace(("user", "anew"))
    memory.session("added").append(("user", "hi"))
    done = copy_store(source, target)
    assert contents(other) == contents(one)
    assert (done.entries, done.sessions, done.messages) == (2, 3, 3)


def test_a_session_whose_messages_have_all_gone_is_the_same_on_both_sides(pair):
    source, target, one, other = pair
    session = Memory("n", store=one).session("s")
    session.append(("user", "1"), ("user", "2"))
    copy_store(source, target)
    session.trim(0)
    copy_store(source, target)
    assert contents(other) == contents(one)
    session.append(("user", "3"))
    copy_store(source, target)
    assert contents(other) == contents(one)
    session.clear()
    copy_store(source, target)
    assert contents(other) == contents(one)


def test_deletions_are_copied_only_if_asked_for(pair):
    source, target, one, other = pair
    memory = fill(one)
    copy_store(source, target)
    memory.delete("k0003")
    memory.delete_session("s")
    Memory("m é/", store=one).clear()
    Memory("theirs", store=other).set("k", 1)
    done = copy_store(source, target)
    assert (done.deleted, done.extra) == (0, 3)
    assert Memory("n", store=other).get("k0003") is not None
    done = copy_store(source, target, delete=True)
    assert done.deleted == 5
    assert contents(other) == contents(one)


def test_what_is_newer_in_the_destination_stays_unless_it_is_to_be_replaced(pair):
    source, target, one, other = pair
    fill(one)
    copy_store(source, target)
    theirs = Memory("n", store=other)
    theirs.set("k0005", "newer")
    theirs.session("s").append(("user", "newer"))
    theirs.session("s", agent="writer").replace(("user", "newer"))
    done = copy_store(source, target)
    assert (done.newer, done.written, done.ok) == (3, 0, False)
    assert any("'k0005'" in name for name in done.names)
    assert theirs.get("k0005") == "newer"
    done = copy_store(source, target, overwrite=True)
    assert done.ok
    assert contents(other) == contents(one)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(pair):
    source, target, one, other = pair
    memory = fill(one)
    copy_store(source, target)
    memory.set("added", 1)
    memory.delete("k0003")
    memory.session("s").append(("user", "1"))
    before = contents(other)
    done = copy_store(source, target, delete=True, dry_run=True)
    assert (done.entries, done.sessions, done.messages, done.deleted) == (1, 1, 1, 1)
    assert contents(other) == before


def test_only_the_namespaces_asked_for_are_copied(pair):
    source, target, one, other = pair
    fill(one)
    copy_store(source, target, namespaces=("m é/",))
    assert list(contents(other)) == ["m é/"]


def test_a_comparison_finds_what_is_not_equal(pair):
    source, target, one, other = pair
    fill(one)
    copy_store(source, target)
    with other._writer.mutex:
        connection = other._connections.writer()
        connection.execute("UPDATE entry SET value = '0' WHERE key = 'k0007'")
        connection.execute("UPDATE message SET body = '{}' WHERE seq = 9")
    done = copy_store(source, target)
    assert (done.different, done.ok) == (2, False)
    assert any("'k0007'" in name for name in done.names)
    assert any("message 9 of session 's'" in name for name in done.names)


def test_a_store_is_not_copied_into_itself(tmp_path):
    one, other = open_store(f"sqlite://{tmp_path}/one.db"), open_store(f"sqlite://{tmp_path}/one.db")
    with pytest.raises(InvalidValue, match="the same store"):
        copy_store(one, other)
    one.close()
    other.close()


def test_what_the_destination_refuses_is_named(tmp_path):
    one, other = open_store("memory://"), open_store("memory://")
    Memory("n", store=one).set_many({"a": 1, "b": "x" * 5_000, "c": 1})
    with serve_in_thread(other, max_value_bytes=1_000) as url:
        target = open_store(url)
        with pytest.raises(ValueTooLarge, match="'b'"):
            copy_store(one, target)
        assert Memory("n", store=other).list_keys() == ["a", "c"]
        target.close()
    one.close()
    other.close()


class Interfering:
    """A destination to which somebody writes just before each write of the copy."""

    def __init__(self, store: Any, interfere: Any) -> None:
        self._store, self._interfere = store, interfere
        self.url = "interfering"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, batches: Any) -> Any:
        self._interfere(batches)
        return self._store.write(batches)


def test_nothing_that_somebody_writes_at_the_same_moment_is_lost():
    """Between the comparison and the write, others set, create and append in the destination: theirs stays."""
    one, other = open_store("memory://"), open_store("memory://")
    ours, theirs = Memory("n", store=one), Memory("n", store=other)
    ours.set_many({"there": 1, "absent": 1, "untouched": 1})
    ours.session("there").append(("user", "1"), ("user", "2"))
    ours.session("absent").append(("user", "1"))
    copy_store(one, other)
    theirs.delete("absent")
    theirs.delete_session("absent")
    ours.set_many({"there": 2, "absent": 2, "untouched": 2})
    ours.session("there").append(("user", "3"))
    ours.session("absent").append(("user", "2"))
    once = threading.Event()

    def interfere(batches: Any) -> None:
        touches = {type(operation).__name__ for batch in batches for operation in batch.operations}
        if "Restore" in touches and not once.is_set():
            once.set()
            theirs.set("there", "theirs")
            theirs.set("absent", "theirs")
        for batch in batches:
            for operation in batch.operations:
                if isinstance(operation, RestoreLog) and theirs.session(operation.info.session).count() in (0, 2):
                    theirs.session(operation.info.session).append(("user", "theirs"))

    done = copy_store(one, Interfering(other, interfere))
    assert theirs.get_many(["there", "absent", "untouched"]) == {"there": "theirs", "absent": "theirs", "untouched": 2}
    for name in ("there", "absent"):
        assert theirs.session(name).messages()[-1].content == "theirs"
    assert not done.ok
    one.close()
    other.close()


COPY = """
import os, random, signal, sys, threading
from botwire._copy import copy_store
from botwire.stores import open_store
done = 0
def on_step(count):
    global done
    done += count
    if done > int(sys.argv[3]):
        threading.Timer(random.uniform(0, 0.01), os.kill, (os.getpid(), signal.SIGKILL)).start()
copy_store(open_store(sys.argv[1]), open_store(sys.argv[2]), on_step=on_step)
"""


@pytest.mark.parametrize("over_http", [False, True])
def test_a_copy_that_was_killed_goes_on_where_it_was(tmp_path, over_http):
    """Killed at some moment, and again: what had arrived is not written again, and in the end both are equal."""
    one, other = open_store(f"sqlite://{tmp_path}/one.db"), open_store(f"sqlite://{tmp_path}/other.db")
    memory = Memory("n", store=one)
    for start in range(0, 6_000, 1_000):
        memory.set_many({f"k{number:04}": "x" * 200 for number in range(start, start + 1_000)})
        memory.session("s").append(*[("user", f"{number}" * 20) for number in range(start, start + 1_000)])
    with serve_in_thread(other) as url:
        target_url = url if over_http else other.url
        for limit in (1_000, 6_500):
            command = [sys.executable, "-c", COPY, one.url, target_url, str(limit)]
            assert subprocess.run(command, timeout=PATIENCE).returncode == -signal.SIGKILL
        arrived = amount(other)
        assert arrived > 6_000
        target = open_store(target_url)
        done = copy_store(one, target)
        # What was under way when it was killed may have arrived since.
        assert done.entries + done.messages <= 12_000 - arrived
        assert contents(other) == contents(one)
        target.close()
    one.close()
    other.close()


def amount(store: Any) -> int:
    info = store.read_log("n", "s", "", last=0).info
    return store.count("n") + (0 if info is None else info.count)


def writer(memory: Memory, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        memory.set(f"live{number % 40}", number)
        memory.session("live").append(("user", f"{number}"))
        if number % 7 == 0:
            memory.session("live").pop()
        if number % 50 == 0:
            memory.delete(f"live{number % 40}")


def test_a_copy_while_both_are_written_to_loses_nothing_of_either(pair):
    source, target, one, other = pair
    fill(one)
    stop = threading.Event()
    threads = [
        threading.Thread(target=writer, args=(Memory("n", store=one), stop)),
        threading.Thread(target=writer, args=(Memory("theirs", store=other), stop)),
    ]
    for thread in threads:
        thread.start()
    try:
        done = copy_store(source, target)
        assert done.different == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    theirs = contents(other)["theirs"]
    done = copy_store(source, target, namespaces=("n", "m é/"), delete=True)
    assert (done.ok, done.behind) == (True, 0)
    found = contents(other)
    assert found.pop("theirs") == theirs
    assert found == contents(one)


def test_following_keeps_up_with_a_store_that_is_written_to(pair):
    source, target, one, other = pair
    fill(one)
    stop, passes = threading.Event(), []
    following = threading.Thread(target=follow_store, args=(source, target, stop), kwargs={"delete": True, "on_pass": passes.append})
    following.start()
    try:
        memory = Memory("n", store=one)
        until(lambda: contents(other) == contents(one))
        for number in range(5):
            memory.set("k", number)
            until(lambda number=number: Memory("n", store=other).get("k") == number)
        memory.delete("k0001")
        memory.session("s").append(("user", "more"))
        Memory("a new namespace", store=one).set("k", 1)
        until(lambda: contents(other) == contents(one))
    finally:
        stop.set()
        following.join(PATIENCE)
    assert not following.is_alive()
    assert passes


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
