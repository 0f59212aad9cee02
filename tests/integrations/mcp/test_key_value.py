"""BotWireKeyValue keeps py-key-value's protocol: what its own stores are tested for, and what they do not promise."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from key_value.aio.errors import InvalidTTLError, SerializationError
from key_value.aio.protocols import AsyncKeyValue
from key_value.aio.protocols import key_value as protocols
from key_value.aio.wrappers.encryption import FernetEncryptionWrapper
from key_value.aio.wrappers.limit_size import LimitSizeWrapper
from key_value.aio.wrappers.prefix_keys import PrefixKeysWrapper

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory, StoreCorrupt
from botwire.integrations.mcp import BotWireKeyValue

Use = Callable[[BotWireKeyValue], Awaitable[Any]]


@pytest.fixture
def using(url: str) -> Callable[[Use], Any]:
    """Runs a coroutine function with a store on this test's memory."""

    def using(use: Use) -> Any:
        async def main() -> Any:
            async with BotWireKeyValue(url=url) as store:
                return await use(store)

        return asyncio.run(main())

    return using


# ----------------------------------------------------------------------------------------- the protocol


@pytest.mark.parametrize("part", ["KeyValue", "Cull", "EnumerateKeys", "EnumerateCollections", "DestroyStore", "DestroyCollection"])
def test_it_is_of_the_protocol(part):
    assert isinstance(BotWireKeyValue(), getattr(protocols, f"Async{part}Protocol"))


def test_type_checkers_take_it_for_the_protocol():
    store: AsyncKeyValue = BotWireKeyValue()
    assert store


def test_what_was_never_put_is_not_there(using):
    async def use(store):
        assert await store.get("k", collection="c") is None
        assert await store.ttl("k", collection="c") == (None, None)
        assert await store.get_many(["a", "b"]) == [None, None]
        assert await store.ttl_many(["a", "b"]) == [(None, None), (None, None)]
        assert await store.delete("k") is False
        assert await store.delete_many(["a", "b"]) == 0
        assert await store.keys() == []
        assert await store.collections() == []

    using(use)


def test_put_get_put_get_delete_get(using):
    async def use(store):
        await store.put("k", {"n": 1}, collection="c")
        assert await store.get("k", collection="c") == {"n": 1}
        await store.put("k", {"n": 2}, collection="c")
        assert await store.get("k", collection="c") == {"n": 2}
        assert await store.get("k") is None
        assert await store.delete("k", collection="c") is True
        assert await store.delete("k", collection="c") is False
        assert await store.get("k", collection="c") is None

    using(use)


def test_many_at_once(using):
    async def use(store):
        await store.put_many(["a", "b"], ({"n": 1}, {"n": 2}), collection="c", ttl=100)
        assert await store.get_many(("b", "x", "a", "b"), collection="c") == [{"n": 2}, None, {"n": 1}, {"n": 2}]
        (value, left), missing = await store.ttl_many(["a", "x"], collection="c")
        assert value == {"n": 1}
        assert 90 < left <= 100
        assert missing == (None, None)
        assert await store.delete_many(["a", "x", "a"], collection="c") == 1
        assert await store.delete_many(["a", "b"], collection="c") == 1

    using(use)


def test_of_a_key_given_twice_the_last_value_is_kept(using):
    async def use(store):
        await store.put_many(["a", "a"], [{"n": 1}, {"n": 2}])
        assert await store.get("a") == {"n": 2}

    using(use)


def test_put_many_stores_all_or_nothing(using):
    async def use(store):
        with pytest.raises(SerializationError):
            await store.put_many(["a", "b"], [{"n": 1}, {"n": object()}])
        with pytest.raises(ValueError, match="2 keys and 1 values"):
            await store.put_many(["a", "b"], [{"n": 1}])
        assert await store.keys() == []

    using(use)


def test_only_the_first_of_many_puts_if_absent(using):
    async def use(store):
        stored = await asyncio.gather(*(store.put_if_absent("k", {"n": n}) for n in range(10)))
        assert sorted(stored) == [False] * 9 + [True]
        assert await store.get("k") == {"n": stored.index(True)}

    using(use)


# -------------------------------------------------------------------------------------------- values

VALUES: list[Any] = [
    None,
    [None, {"a": None}],
    "null",
    "true",
    '{"a": 1}',
    True,
    1,
    1.0,
    -42,
    10**18,
    2**64 + 1,
    1.23456789012345e10,
    "1",
    "Hello 世界 🌍 émojis\n\t\x00",
    "\ud800",
    "a" * 100_000,
    list(range(1_000)),
    {"1": {"2": {"3": [{"4": 5.5}]}}},
    {},
    [],
    "",
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:20])
def test_a_value_comes_back_equal_and_of_the_same_type(using, value):
    async def use(store):
        await store.put("k", {"v": value, "null": "x"})
        found = await store.get("k")
        assert repr(found) == repr({"v": value, "null": "x"})

    using(use)


@pytest.mark.parametrize(
    "value", [datetime(2025, 1, 1, tzinfo=UTC), date(2025, 1, 1), time(1), uuid.UUID(int=1), b"x", {1}, (1, 2), float("nan"), {1: 2}]
)
def test_what_would_not_come_back_equal_is_refused(using, value):
    async def use(store):
        with pytest.raises(SerializationError) as raised:
            await store.put("k", {"v": value})
        assert isinstance(raised.value, InvalidValue)
        assert "['v']" in str(raised.value)
        assert await store.get("k") is None

    using(use)


@pytest.mark.parametrize("value", [[1], "x", None, 1])
def test_a_value_that_is_no_dict_is_refused(using, value):
    async def use(store):
        with pytest.raises(SerializationError, match="must be a dict"):
            await store.put("k", value)

    using(use)


def test_an_entry_that_something_else_wrote_is_named(using, url):
    with Memory(BotWireKeyValue.DEFAULT_NAMESPACE, url=url) as memory:
        memory.set("kv/default_collection/k", "text")

    async def use(store):
        with pytest.raises(StoreCorrupt, match="'kv/default_collection/k' is not one that BotWireKeyValue wrote"):
            await store.get("k")

    using(use)


# -------------------------------------------------------------------------------------- time to live


@pytest.mark.parametrize("ttl", [100, 100.0, "number-like"])
def test_ttl_tells_what_is_left(using, ttl):
    class Seconds:
        def __float__(self) -> float:
            return 100.0

    async def use(store):
        await store.put("k", {"n": 1}, ttl=Seconds() if ttl == "number-like" else ttl)
        value, left = await store.ttl("k")
        assert value == {"n": 1}
        assert 90 < left <= 100
        await store.put("k", {"n": 2})
        assert await store.ttl("k") == ({"n": 2}, None)

    using(use)


@pytest.mark.parametrize("ttl", [-100, 0, -0.5, True, False, "100", float("nan"), float("inf"), 1e12, [1]])
def test_a_ttl_that_cannot_be_one_is_refused_before_anything_is_written(using, ttl):
    async def use(store):
        for call in (store.put("k", {"n": 1}, ttl=ttl), store.put_many(["k"], [{"n": 1}], ttl=ttl), store.put_if_absent("k", {}, ttl=ttl)):
            with pytest.raises(InvalidTTLError, match="ttl") as raised:
                await call
            assert isinstance(raised.value, InvalidValue)
        assert await store.get("k") is None

    using(use)


def test_what_has_expired_is_nowhere(using):
    async def use(store):
        await store.put("short", {"n": 1}, collection="c", ttl=0.2)
        await store.put("long", {"n": 2}, ttl=100)
        until = asyncio.get_running_loop().time() + 10
        while await store.get("short", collection="c") is not None:
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.02)
        await store.cull()
        assert await store.ttl("short", collection="c") == (None, None)
        assert await store.get_many(["short"], collection="c") == [None]
        assert await store.collections() == ["default_collection"]
        assert await store.delete("short", collection="c") is False
        assert await store.put_if_absent("short", {"n": 3}, collection="c")

    using(use)


# --------------------------------------------------------------------------------------------- names

NAMES = [
    "",
    " ",
    ".",
    "..",
    "a/b",
    "a%2Fb",
    "%",
    "=",
    "=a",
    "*",
    "a*",
    "test_collection!@#$%^&*()",
    "user:42",
    "a\nb\x00c",
    "\u2028",
    "é",
    "e\u0301",
    "日本語🌍",
    "\ud800",
    "A",
    "a",
    "test_key" * 100,
    "test_key" * 100 + "x",
    "ü" * 300,
    "/" * 200,
    "?x#y",
    "c:\\d",
]


def test_no_two_keys_are_the_same_and_all_are_listed_as_they_were(using):
    async def use(store):
        for number, name in enumerate(NAMES):
            await store.put(name, {"n": number})
        assert [await store.get(name) for name in NAMES] == [{"n": number} for number in range(len(NAMES))]
        assert sorted(await store.keys()) == sorted(NAMES)
        assert len(await store.keys(limit=3)) == 3
        assert await store.keys(limit=0) == []

    using(use)


def test_no_two_collections_share_anything_and_all_are_listed_as_they_were(using):
    names = [name for name in NAMES if name]  # the empty one is the default one

    async def use(store):
        for number, name in enumerate(names):
            await store.put("k", {"n": number}, collection=name)
            await store.put("l" * 400, {"n": -number}, collection=name)
        assert [await store.get("k", collection=name) for name in names] == [{"n": number} for number in range(len(names))]
        assert [await store.get("l" * 400, collection=name) for name in names] == [{"n": -number} for number in range(len(names))]
        assert sorted(await store.collections()) == sorted(names)
        assert len(await store.collections(limit=2)) == 2
        assert all([sorted(await store.keys(name)) == ["k", "l" * 400] for name in names])
        assert await store.destroy_collection("a/b")
        assert not await store.destroy_collection("a/b")
        assert sorted(await store.collections()) == sorted(set(names) - {"a/b"})

    using(use)


def test_a_collection_and_key_are_not_joined(using):
    async def use(store):
        await store.put("b/c", {"n": 1}, collection="a")
        await store.put("c", {"n": 2}, collection="a/b")
        assert await store.get("b/c", collection="a") == {"n": 1}
        assert await store.get("c", collection="a/b") == {"n": 2}

    using(use)


@pytest.mark.parametrize("key", [None, 1, b"x"])
def test_a_key_that_is_no_text_is_refused(using, key):
    async def use(store):
        with pytest.raises(InvalidName):
            await store.put(key, {})

    using(use)


def test_all_keys_are_listed_however_many_there_are(using):
    async def use(store):
        await store.put_many([f"k{n}" for n in range(2_500)], [{"n": n} for n in range(2_500)])
        await store.put("other", {}, collection="z")
        assert len(await store.keys()) == 2_500
        assert await store.collections() == ["default_collection", "z"]
        assert await store.get("k0") == {"n": 0}  # nothing is evicted

    using(use)


# --------------------------------------------------------------------------------- where it lies, sharing


def test_destroy_removes_only_what_this_class_stored(url):
    async def main():
        async with AsyncMemory("app", url=url) as memory:
            store = BotWireKeyValue(memory=memory)
            await memory.set("mine", 1)
            await store.put("k", {"n": 1})
            assert await store.destroy()
            await store.close()
            assert await memory.list_keys() == ["mine"]  # and the memory is still open

    asyncio.run(main())


def test_a_memory_that_is_not_awaitable_does_too(memory):
    async def main():
        async with BotWireKeyValue(memory=memory, default_collection="c") as store:
            await store.put("k", {"n": 1})

    asyncio.run(main())
    assert memory.get("kv/c/k") == {"n": 1}  # and the memory is still open


def test_memory_and_url_contradict_each_other(memory):
    with pytest.raises(InvalidValue, match="not both"):
        BotWireKeyValue(memory=memory, url="memory://")
    with pytest.raises(InvalidValue, match="not both"):
        BotWireKeyValue(memory=memory, namespace="other")


def test_many_tasks_at_once(using):
    async def use(store):
        async def worker(name):
            for n in range(5):
                key = f"{name}-{n}"
                assert await store.get(key) is None
                await store.put(key, {"n": n})
                assert await store.get(key) == {"n": n}
                await store.put(key, {"n": -n})
                assert await store.get(key) == {"n": -n}
                assert await store.delete(key)
                assert await store.get(key) is None

        await asyncio.gather(*(worker(n) for n in range(20)))

    using(use)


WRITER = """
import asyncio, sys
from botwire.integrations.mcp import BotWireKeyValue
async def main(url, name):
    async with BotWireKeyValue(url=url) as store:
        sys.stdin.read(1)
        for n in range(1_000_000):
            await store.put(f"{name}-{n}", {"n": n})
            print(n, flush=True)
asyncio.run(main(*sys.argv[1:]))
"""


def test_what_processes_put_is_there_after_they_are_killed(url, using):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in range(3)
    ]
    for writer in writers:
        writer.stdin.write("x")
        writer.stdin.flush()
    acknowledged = []
    for writer in writers:
        with writer:
            last = [int(writer.stdout.readline()) for _ in range(20)][-1]
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged.append(max([last, *map(int, writer.stdout.read().splitlines())]))

    async def use(store):
        for name, last in enumerate(acknowledged):
            keys = [f"{name}-{n}" for n in range(last + 1)]
            assert await store.get_many(keys) == [{"n": n} for n in range(last + 1)]

    using(use)


def test_wrappers_of_py_key_value_work_on_it(using):
    async def use(store):
        sized = LimitSizeWrapper(PrefixKeysWrapper(store, prefix="p"), max_size=10_000)
        wrapped = FernetEncryptionWrapper(sized, source_material="s", salt="t")
        await wrapped.put("k", {"secret": "plain"}, ttl=100)
        assert await wrapped.get("k") == {"secret": "plain"}
        [key] = await store.keys()
        assert "plain" not in repr(await store.get(key))

    using(use)


def test_the_errors_can_be_sent_to_another_process():
    async def put():
        await BotWireKeyValue(url="memory://").put("k", {}, ttl=-1)

    with pytest.raises(InvalidTTLError) as raised:
        asyncio.run(put())
    copy = pickle.loads(pickle.dumps(raised.value))
    assert isinstance(copy, InvalidValue)
    assert str(copy) == str(raised.value)


def test_it_needs_neither_mcp_nor_py_key_value():
    script = """
import asyncio, sys
for name in ("mcp", "mcp_types", "fastmcp", "key_value"):
    sys.modules[name] = None
import botwire.integrations.mcp as adapter
from botwire import InvalidValue, MissingExtra
from botwire.integrations.mcp import BotWireKeyValue, session_namespace

async def main():
    async with BotWireKeyValue(url="memory://") as store:
        await store.put("k", {"n": 1})
        assert await store.get("k") == {"n": 1}
        for wrong in ({"ttl": -1, "value": {}}, {"value": {"v": b""}}):
            try:
                await store.put("k", **wrong)
            except InvalidValue as error:
                assert type(error) is InvalidValue
asyncio.run(main())
try:
    adapter.principal_namespace
except MissingExtra as error:
    assert "botwire[mcp]" in str(error)
else:
    sys.exit("no MissingExtra")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
