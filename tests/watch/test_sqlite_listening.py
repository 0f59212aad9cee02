"""Listening to a file: other processes are heard, one thread polls for all listeners, and only while there are any."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from botwire import AsyncMemory, Closed, Memory, StoreCorrupt
from botwire.stores import Heard, open_store
from botwire.stores.sqlite import SQLiteStore, _connections

PATIENCE = 30.0
WRITER = """
import sys
from botwire import Memory
memory = Memory("n", url=sys.argv[1])
for line in sys.stdin:
    name, *arguments = eval(line)
    getattr(memory, name)(*arguments)
    print("done", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest.fixture
def store(path: Path):
    store = open_store(f"sqlite://{path}")
    yield store
    store.close()


class Other:
    """Another process that does to the namespace "n" what it is told."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *call: Any) -> None:
        self.process.stdin.write(f"{call!r}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def other(path: Path):
    other = Other(f"sqlite://{path}")
    yield other
    other.end()


def pollers() -> int:
    return sum(thread.name == "botwire-poller" for thread in threading.enumerate())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_changes_by_another_process_are_told_of(store, other):
    memory = Memory("n", store=store)
    with memory.watch(timeout=PATIENCE) as changes, memory.session("s").watch(timeout=PATIENCE) as messages:
        other("set", "k", {"from": "there"})
        assert next(changes).entry.value == {"from": "there"}
        memory.set("k", "from here")
        assert next(changes).entry.value == "from here"
        other("delete", "k")
        assert next(changes).deleted
        memory.session("s").append(("user", "1"))
        assert next(messages).seq == 1


def test_a_file_that_is_not_there_yet_is_watched(path, store, other):
    memory = Memory("n", store=store)
    with memory.watch(timeout=PATIENCE) as changes:
        assert not path.exists()
        other("set", "k", 1)
        assert next(changes).key == "k"


def test_a_file_that_is_removed_and_one_put_in_its_place_are_noticed(path, tmp_path, store):
    """An in-place replacement of the file shows the new one's entries, and that the old one's are gone."""
    replacement = open_store(f"sqlite://{tmp_path}/new.db")
    Memory("n", store=replacement).set("new", 1)
    replacement.close()
    writer = open_store(f"sqlite://{path}")
    Memory("n", store=writer).set("old", 1)
    writer.close()
    with Memory("n", store=store).watch(timeout=PATIENCE) as changes:
        os.replace(tmp_path / "new.db", path)
        told = {change.key: change.deleted for change in (next(changes), next(changes))}
        assert told == {"new": False, "old": True}
        for ending in ("", "-wal", "-shm"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
        change = next(changes)
        assert (change.key, change.deleted) == ("new", True)


def test_a_writer_does_not_wait_for_who_looks_for_changes_and_waits_for_it(path, tmp_path, store, monkeypatch):
    """The poller finds another file, and asks for the file lock to change over, which a writer has just taken."""
    looking, written = threading.Event(), threading.Event()

    class Late(_connections.Alone):
        def __enter__(self) -> None:
            if threading.current_thread().name == "botwire-poller":
                looking.set()
                assert written.wait(PATIENCE)
            super().__enter__()

    memory, other = Memory("n", store=store), tmp_path / "other.db"
    memory.set("k", 1)
    with memory.watch() as changes:
        monkeypatch.setattr(_connections, "Alone", Late)
        with Memory("n", url=f"sqlite://{other}") as another:
            another.set("k", 2)
        other.replace(path)
        assert looking.wait(PATIENCE)
        writer = threading.Thread(target=memory.set, args=("k", 3))
        writer.start()
        writer.join(PATIENCE / 3)
        is_through = not writer.is_alive()
        written.set()
        writer.join(PATIENCE)
        assert is_through
        assert next(change for change in changes if change.entry.value == 3).key == "k"


def test_one_thread_polls_for_all_and_none_when_nobody_listens(store):
    memory = Memory("n", store=store)
    memory.set("k", 1)
    before = pollers()
    watches = [memory.watch() for _ in range(20)] + [memory.session(f"{number}").watch() for number in range(20)]
    assert pollers() == before + 1
    for watch in watches[:39]:
        watch.close()
    assert pollers() == before + 1
    watches[39].close()
    until(lambda: pollers() == before)
    forgotten = memory.watch()
    until(lambda: pollers() == before + 1)
    del forgotten
    until(lambda: pollers() == before)


def test_ram_needs_no_thread():
    store = open_store("memory://")
    before = threading.active_count()
    with Memory("n", store=store).watch(timeout=PATIENCE) as changes:
        assert threading.active_count() == before
        Memory("n", store=store).set("k", 1)
        assert next(changes).key == "k"
    store.close()


def test_a_write_in_this_process_is_named_and_wakes_nobody_else(store):
    """No other process writes, so there is no hint that anything may have changed."""
    memory = Memory("n", store=store)
    memory.set("k", 0)
    entries, session, elsewhere = store.listen("n"), store.listen("n", "s"), store.listen("m")
    heard: list[Heard] = []
    for number in range(50):
        memory.set("k", number)
        heard.append(entries.wait(PATIENCE))
    assert set(heard[5:]) == {Heard(frozenset({"k"}), frozenset())}
    while session.wait(0.2) or elsewhere.wait(0):
        pass
    memory.session("s").append(("user", "1"))
    assert session.wait(PATIENCE) == Heard(frozenset(), frozenset({"s"}))
    assert entries.wait(PATIENCE) == Heard(frozenset(), frozenset({"s"}))
    memory.clear()
    assert entries.wait(PATIENCE) == Heard(None, frozenset())
    for listener in (entries, session, elsewhere):
        listener.close()


def test_a_sleeping_listener_keeps_little(store):
    listener = store.listen("n")
    memory = Memory("n", store=store)
    for start in range(0, 3_000, 500):
        memory.set_many({f"{number}": 0 for number in range(start, start + 500)})
    assert listener.wait(0).keys is None
    listener.close()


def test_closing_the_store_ends_a_wait_with_an_error(store):
    memory = Memory("n", store=store)
    watch = memory.watch()
    errors: list[Any] = []

    def iterate() -> None:
        try:
            next(watch)
        except Closed as error:
            errors.append(error)

    thread = threading.Thread(target=iterate)
    thread.start()
    store.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(errors) == 1
    with pytest.raises(Closed):
        store.listen("n")


def test_an_unreadable_entry_spoils_only_itself(path, store):
    memory = Memory("n", store=store)
    memory.set_many({"a": 1, "b": 1})
    with memory.watch(timeout=PATIENCE) as changes:
        connection = apsw.Connection(str(path))
        connection.execute("UPDATE entry SET value = 'no json', version = 2 WHERE key = 'a'")
        connection.execute("UPDATE entry SET value = '2', version = 2 WHERE key = 'b'")
        connection.close()
        with pytest.raises(StoreCorrupt, match="'a'"):
            next(changes)
        assert next(changes).entry.value == 2


def test_parent_and_child_of_a_fork_both_go_on_watching(store, other):
    memory = Memory("n", store=store)
    changes = memory.watch(timeout=PATIENCE)
    other("set", "before", 1)
    assert next(changes).key == "before"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, b"ready\n")
            os.write(writing, json.dumps([next(changes).key, next(changes).key]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        assert pipe.readline() == "ready\n"
        other("set", "one", 1)
        assert next(changes).key == "one"
        memory.set("two", 1)
        assert next(changes).key == "two"
        assert sorted(json.loads(pipe.read())) == ["one", "two"]
    os.waitpid(pid, 0)
    changes.close()


def test_an_expiry_is_told_of_when_it_happens(store):
    memory = Memory("n", store=store)
    with memory.watch(timeout=PATIENCE) as changes:
        memory.set("k", 1, ttl=0.3)
        until_then = next(changes).entry.expires_at.timestamp()
        assert next(changes).deleted
        assert time.time() >= until_then


def test_a_clock_that_lags_behind_delays_no_expiry_for_ever(path):
    """The store's clock is an hour behind: what has expired here is asked for again until it has there."""
    lag = [3_600_000_000]
    store = SQLiteStore(f"sqlite://{path}", clock=lambda: time.time_ns() // 1_000 - lag[0])
    memory = Memory("n", store=store)
    memory.set("k", 1, ttl=0.1)
    with memory.watch(timeout=0.5) as changes:
        assert list(changes) == []
        lag[0] = 0
        changes._timeout = PATIENCE
        assert next(changes).deleted
    store.close()


# ------------------------------------------------------------------------------------------- asyncio


def test_a_step_that_is_cancelled_loses_nothing(store):
    async def main() -> None:
        memory = AsyncMemory("n", store=store)
        async with memory.watch() as changes, memory.session("s").watch() as messages:
            told: list[Any] = []
            for number in range(100):
                await memory.set(f"k{number}", number)
                await memory.session("s").append(("user", str(number)))
                for iterator in (changes, messages):
                    try:
                        told.append(await asyncio.wait_for(anext(iterator), 0.0003 * (number % 5)))
                    except TimeoutError:
                        continue
            async with asyncio.timeout(PATIENCE):
                while len(told) < 200:
                    iterator = changes if sum(hasattr(each, "key") for each in told) < 100 else messages
                    told.append(await anext(iterator))
        assert {each.key for each in told if hasattr(each, "key")} == {f"k{number}" for number in range(100)}
        assert [each.seq for each in told if hasattr(each, "seq")] == list(range(1, 101))

    asyncio.run(main())


def test_a_hundred_watches_of_a_loop_hold_no_threads(store):
    async def main() -> None:
        memory = AsyncMemory("n", store=store)
        await memory.set("k", 0)
        watches = [memory.watch() for _ in range(100)]
        for watch in watches:
            await watch.__aenter__()
        waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
        await asyncio.sleep(0.05)
        before = threading.active_count()
        assert before < 45  # the calls' own, at most 32, and the poller
        await memory.set("k", 1)
        async with asyncio.timeout(PATIENCE):
            assert {change.entry.value for change in await asyncio.gather(*waiting)} == {1}
        for watch in watches:
            await watch.close()

    asyncio.run(main())


def test_closing_ends_an_async_iteration_in_another_task(store):
    async def main() -> None:
        watch = AsyncMemory("n", store=store).watch()
        await watch.__aenter__()

        async def iterate() -> list[Any]:
            return [change async for change in watch]

        task = asyncio.ensure_future(iterate())
        await asyncio.sleep(0)
        await watch.close()
        async with asyncio.timeout(PATIENCE):
            assert await task == []

    asyncio.run(main())


class Plain:
    """A store whose listener can do no more than the protocol asks for."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name == "native_async":
            raise AttributeError(name)
        return getattr(self._store, name)

    def listen(self, namespace: str, session: str | None = None) -> Any:
        listener = self._store.listen(namespace, session)

        class OnlyWaits:
            wait = listener.wait
            close = listener.close

        return OnlyWaits


def test_any_store_can_be_watched_from_a_loop(store, other):
    async def main() -> None:
        memory = AsyncMemory("n", store=Plain(store))
        async with memory.watch(timeout=PATIENCE) as changes:
            await memory.set("here", 1)
            assert (await anext(changes)).key == "here"
            await asyncio.to_thread(other, "set", "there", 1)
            assert (await anext(changes)).key == "there"

    asyncio.run(main())
    until(lambda: not any(thread.name == "botwire-listener" for thread in threading.enumerate()))
