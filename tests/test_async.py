"""AsyncMemory: what is its own beside the contract, which it passes whole: cancellation, threads, loops, native async."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
import weakref

import pytest

from botwire import AsyncMemory, Closed, InvalidName, InvalidValue, Memory, VersionConflict
from botwire._aio import WORKER_THREADS
from botwire.server import serve_in_thread
from botwire.stores import open_store


@pytest.fixture
def store():
    store = open_store("memory://")
    yield store
    store.close()


class Gated:
    """A store whose writes wait at a gate: ``reached`` says that one has come, ``gate`` lets it through."""

    def __init__(self, store):
        self._store, self.reached, self.gate, self.entered, self.finished = store, threading.Event(), threading.Event(), 0, 0

    def __getattr__(self, name):
        return getattr(self._store, name)

    def write(self, batches):
        self.entered += 1
        self.reached.set()
        assert self.gate.wait(30)
        outcomes = self._store.write(batches)
        self.finished += 1
        return outcomes


class GatedNative(Gated):
    """The same with native async."""

    def native_async(self):
        return self._Native(self)

    class _Native:
        def __init__(self, outer):
            self._outer = outer

        async def write(self, batches):
            return await asyncio.get_running_loop().run_in_executor(None, self._outer.write, batches)

        async def close(self):
            pass


async def reached(gated):
    await asyncio.get_running_loop().run_in_executor(None, gated.reached.wait, 30)


async def settle():
    """Let everything run that can run now."""
    for _ in range(20):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------ cancellation


@pytest.mark.parametrize("kind", [Gated, GatedNative])
@pytest.mark.parametrize(
    "write",
    [
        lambda memory: memory.set("k", 1),
        lambda memory: memory.set_many({"k": 1, "l": 2}),
        lambda memory: memory.increment("n"),
        lambda memory: memory.session("s").append(("user", "hi")),
        lambda memory: memory.session("s").set_metadata({"a": 1}),
    ],
)
def test_a_cancelled_write_is_waited_for(store, kind, write):
    """The cancellation comes through once the write's outcome is known, however often it is asked for, and never before."""
    gated = kind(store)

    async def main():
        task = asyncio.create_task(write(AsyncMemory("a", store=gated)))
        await reached(gated)
        for _ in range(3):
            task.cancel()
            await settle()
            assert not task.done()
        gated.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (gated.entered, gated.finished) == (1, 1)

    asyncio.run(main())
    assert store.namespaces(None, 10) == ["a"]


def test_a_timeout_waits_for_the_write_too(store):
    """asyncio.timeout ends after the write did: what it reports is never followed by a late write."""
    gated = Gated(store)

    async def limited():
        async with asyncio.timeout(None) as limit:
            write = asyncio.create_task(AsyncMemory("a", store=gated).set("k", 1))
            await reached(gated)
            limit.reschedule(0)  # the time is up now
            asyncio.get_running_loop().call_later(0.05, gated.gate.set)
            await write

    async def main():
        with pytest.raises(TimeoutError):
            await limited()
        assert gated.finished == 1

    asyncio.run(main())


def test_a_cancelled_write_that_fails_leaves_no_unseen_error(store):
    """The caller is told of the cancellation; the write's own error does not surface elsewhere later."""
    gated = Gated(store)
    seen = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        task = asyncio.create_task(AsyncMemory("a", store=gated).set("k", 1, if_version=7))
        await reached(gated)
        task.cancel()
        await settle()
        gated.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        await settle()

    asyncio.run(main())
    assert seen == []


def test_a_cancelled_read_comes_back_at_once(store):
    """Reading changes nothing, so nobody waits for it."""
    gate, come = threading.Event(), threading.Event()

    class Slow(Gated):
        def get(self, namespace, key):
            come.set()
            assert gate.wait(30)

    async def main():
        task = asyncio.create_task(AsyncMemory("a", store=Slow(store)).get("k"))
        await asyncio.get_running_loop().run_in_executor(None, come.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gate.is_set()
        gate.set()

    asyncio.run(main())


# ------------------------------------------------------------------------------- threads and loops


def test_the_loops_own_executor_is_left_to_the_application(store):
    """With every thread of the default executor taken, memory still answers."""

    async def main():
        loop = asyncio.get_running_loop()
        done, started = threading.Event(), threading.Semaphore(0)
        hogs = [loop.run_in_executor(None, lambda: (started.release(), done.wait(30))) for _ in range(64)]
        memory = AsyncMemory("a", store=store)
        assert await asyncio.wait_for(memory.set("k", 1), 20) == 1
        assert await asyncio.wait_for(memory.get("k"), 20) == 1
        done.set()
        await asyncio.gather(*hogs)

    asyncio.run(main())


def test_calls_run_side_by_side_on_a_bounded_number_of_threads(store):
    """As many calls as there are worker threads run at once, and never more."""
    lock, running, most = threading.Lock(), [0], [0]
    full = threading.Event()

    class Counting(Gated):
        def get(self, namespace, key):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
                if running[0] == WORKER_THREADS:
                    full.set()
            assert full.wait(30), "fewer ran at once than there are threads"
            with lock:
                running[0] -= 1

    async def main():
        memory = AsyncMemory("a", store=Counting(store))
        await asyncio.gather(*[memory.get(f"k{number}") for number in range(100)])

    asyncio.run(main())
    assert most == [WORKER_THREADS]


def test_one_memory_is_used_from_several_loops(store):
    """Loops that follow each other, and loops at the same time in other threads, share a memory."""
    memory = AsyncMemory("a", store=store)

    async def count():
        for _ in range(10):
            await memory.increment("n")

    asyncio.run(count())
    asyncio.run(count())
    threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Memory("a", store=store).get("n") == 60


def test_native_async_is_used_where_there_is_some(store):
    """A store behind HTTP is called on the loop itself: no worker thread takes part, and each loop has its own connections."""
    threads = set()

    async def main(url):
        async with AsyncMemory("a", url=url) as memory:
            await memory.get("k")  # opening the store may take a thread, once
            before = {thread.ident for thread in threading.enumerate()}
            assert await asyncio.gather(*[memory.increment("n") for _ in range(20)])
            assert await memory.session("s").append(("user", "hi"))
            started = [thread for thread in threading.enumerate() if thread.ident not in before]
            threads.update({thread.name for thread in started if thread.name.startswith("botwire_")})
            return await memory.get("n")

    with serve_in_thread(store) as url:
        assert asyncio.run(main(url)) == 20
        assert asyncio.run(main(url)) == 40
    assert threads == set()


# --------------------------------------------------------------------------------- as Memory, awaited


def test_it_has_memorys_results_and_errors(store):
    """The same calls give the same results, and bad input is refused in the same words."""

    async def main():
        memory = AsyncMemory("a", store=store)
        assert await memory.set("k", {"a": 1}, ttl_seconds=60) == 1
        assert await memory.get("k") == {"a": 1}
        assert [key async for key in memory] == ["k"]
        assert [item async for item in memory.items()] == [("k", {"a": 1})]
        assert await memory.list("k*") == await memory.keys() == ["k"]
        session = memory.session("s", agent="x")
        assert await session.append("hi", role="user") == [1]
        assert [message.content async for message in session] == ["hi"]
        assert await session.metadata == {}
        assert await session.ttl is None
        assert repr(memory) == "<AsyncMemory 'a'>"
        assert repr(session) == "<AsyncSession 's', agent='x' of 'a'>"
        with pytest.raises(VersionConflict) as caught:
            await memory.set("k", 2, if_version=9)
        assert caught.value.current == 1
        with pytest.raises(InvalidName):
            await memory.get("")
        with pytest.raises(InvalidValue):
            memory.iter_keys(page_size=0)
        await memory.close()
        with pytest.raises(Closed):
            await memory.get("k")

    asyncio.run(main())


@pytest.mark.parametrize("served", [False, True])
def test_async_with_leaves_nothing_open(store, served, tmp_path):
    """After the block the store is closed, its connections too, and nothing warns of what was left behind."""

    async def main(url):
        async with AsyncMemory("a", url=url) as memory:
            await memory.set("k", 1)
            opened = memory.store
        with pytest.raises(Closed):
            opened.get("a", "k")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if served:
            with serve_in_thread(store) as url:
                asyncio.run(main(url))
        else:
            asyncio.run(main(f"sqlite://{tmp_path}/memory.db"))
        gc.collect()


def test_closing_over_a_store_handed_in_leaves_it_open(store):
    """The store goes on; connections that native async opened for this memory are closed."""

    async def main(url):
        given = open_store(url)
        first, second = AsyncMemory("a", store=given), AsyncMemory("a", store=given)
        await first.set("k", 1)
        await second.set("k", 2)
        await first.close()
        await first.close()
        assert await second.get("k") == 2
        await second.close()
        assert given.get("a", "k").version == 2
        given.close()

    with serve_in_thread(store) as url:
        asyncio.run(main(url))
        gc.collect()


@pytest.mark.filterwarnings("error")
def test_connections_of_a_loop_are_closed_although_a_synchronous_memory_holds_the_store(store):
    """The last AsyncMemory of a loop closes what native async opened there: no one else could, later."""

    async def main(url):
        async with AsyncMemory("a", url=url) as first:
            async with AsyncMemory("b", url=url) as second:
                await first.set("k", 1)
                await second.set("k", 2)
            assert await first.get("k") == 1

    with serve_in_thread(store) as url, Memory("a", url=url) as memory:
        assert memory.get("k") is None  # from here on it holds the store
        asyncio.run(main(url))
        gc.collect()
        assert memory.get("k") == 1


class Sides:
    """A store with a native async side for each loop, that says which of them are open."""

    def __init__(self, store):
        self._store, self.made, self.open = store, 0, set()

    def __getattr__(self, name):
        return getattr(self._store, name)

    def native_async(self):
        self.made += 1
        return self._Side(self, self.made)

    class _Side:
        def __init__(self, outer, number):
            self._outer, self._number, self._loop = outer, number, asyncio.get_running_loop()  # as connections know theirs
            outer.open.add(number)

        async def get(self, namespace, key):
            assert self._number in self._outer.open, "called after it was closed"
            await asyncio.sleep(0)
            return self._outer.get(namespace, key)

        async def close(self):
            await asyncio.sleep(0)
            self._outer.open.discard(self._number)


def test_a_loop_that_ends_closes_what_was_opened_in_it(store):
    """A program that calls asyncio.run for each request, as many do, does not pile up connections that nobody can close any more."""
    sides = Sides(store)
    memory = AsyncMemory("a", store=sides)
    loops = []

    async def main():
        assert sides.open == set()
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(memory.get("k"), memory.get("k"))
        assert sides.open == {sides.made}

    for _ in range(5):
        asyncio.run(main())
    assert (sides.made, sides.open) == (5, set())
    gc.collect()
    assert [loop() for loop in loops[:-1]] == [None] * 4


def test_a_loop_that_was_not_shut_down_is_forgotten_when_there_is_another(store):
    """Its connections cannot be closed any more; they are left to the garbage collector, as without botwire."""
    sides = Sides(store)
    memory = AsyncMemory("a", store=sides)
    dropped = asyncio.new_event_loop()
    dropped.run_until_complete(memory.get("k"))
    dropped.close()
    seen = weakref.ref(dropped)
    del dropped
    asyncio.run(memory.get("k"))
    gc.collect()
    assert seen() is None
    assert sides.open == {1}


@pytest.mark.filterwarnings("error")
def test_real_connections_are_closed_when_their_loop_ends(store):
    """Nothing warns of a connection that was left behind, although nobody closes the memory."""
    with serve_in_thread(store) as url:
        memory = AsyncMemory("a", url=url)
        for _ in range(3):
            asyncio.run(memory.increment("n"))
            gc.collect()
        with Memory("a", url=url) as other:
            assert other.get("n") == 3
        asyncio.run(memory.close())


def test_a_program_that_ends_without_closing_ends_cleanly(tmp_path):
    """Worker threads and open files do not keep a process from ending, and it says nothing on the way."""
    program = f"""
import asyncio
from botwire import AsyncMemory
async def main():
    memory = AsyncMemory("a", url="sqlite://{tmp_path}/memory.db")
    await memory.set("k", 1)
    print(await memory.get("k"))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")


def test_a_watch_that_is_cancelled_while_it_begins_is_closed(store):
    """Its block is not left, since it was never entered; the beginning neither goes on by itself nor leaves a listener open."""

    class Ears(Sides):
        class _Side(Sides._Side):
            async def listen(self, namespace, session):
                self._outer.listening.set()
                await self._outer.may_listen.wait()
                self._outer.heard.append("listens")

    async def main():
        sides = Ears(store)
        sides.listening, sides.may_listen, sides.heard = asyncio.Event(), asyncio.Event(), []

        async def watch():
            async with AsyncMemory("a", store=sides).watch():
                pass

        watching = asyncio.ensure_future(watch())
        await sides.listening.wait()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        sides.may_listen.set()
        await settle()
        assert sides.heard == []

    asyncio.run(main())
