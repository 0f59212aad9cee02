"""Memory, as a Python user handles it: like a dict, cheap to make, by its older names too. The store contract holds the rest."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from botwire import Closed, InvalidName, InvalidValue, Memory, VersionConflict
from botwire.stores import open_store
from botwire.testing import together


@pytest.fixture
def memory():
    with Memory("things", url="memory://") as memory:
        yield memory


# ------------------------------------------------------------------------------------- as of a dict


def test_a_memory_is_used_as_a_dict(memory):
    """Items are set, got, deleted, looked for, counted and iterated as of a dict, in the order of keys."""
    memory["b"] = {"theme": "dark"}
    memory["a"] = None
    assert memory["b"] == {"theme": "dark"}
    assert memory["a"] is None
    assert ("a" in memory, "c" in memory, 5 in memory) == (True, False, False)
    assert (len(memory), list(memory), dict(memory.items())) == (2, ["a", "b"], {"a": None, "b": {"theme": "dark"}})
    del memory["b"]
    assert list(memory) == ["a"]


def test_a_missing_key_is_a_key_error(memory):
    """Where a dict raises KeyError a memory does, with the key."""
    with pytest.raises(KeyError, match="missing"):
        memory["missing"]
    with pytest.raises(KeyError, match="missing"):
        del memory["missing"]


def test_an_empty_memory_is_still_true(memory):
    """`if memory:` asks whether there is one, not whether it is empty."""
    assert len(memory) == 0
    assert memory


def test_what_cannot_be_a_key_is_refused_in_item_access_too(memory):
    """A number is no key, as an item or otherwise."""
    with pytest.raises(InvalidName):
        memory[5] = "x"
    with pytest.raises(InvalidName):
        memory[""]


# -------------------------------------------------------------------------------- the older names


def test_the_older_names_do_the_same(memory, tmp_path):
    """base_url=, ttl_seconds=, keys() and list() are other names of url=, ttl= and list_keys()."""
    older = Memory("things", base_url=f"sqlite://{tmp_path}/m.db")
    older.set("user:1", "x", ttl_seconds=60)
    newer = Memory("things", url=f"sqlite://{tmp_path}/m.db")
    entry = newer.get_entry("user:1")
    assert (entry.expires_at - entry.updated_at).total_seconds() == 60
    assert older.store is newer.store
    memory.set_many({"user:1": 1, "user:2": 2, "other": 3})
    assert memory.list() == memory.keys() == memory.list_keys() == ["other", "user:1", "user:2"]
    assert memory.list("user:") == memory.keys("user:") == ["user:1", "user:2"]
    older.close()
    newer.close()


def test_two_names_of_one_thing_are_refused(memory):
    """Giving both is a mistake to be told of; the same URL by both names is none."""
    with pytest.raises(InvalidValue, match="base_url"):
        Memory("things", url="memory://", base_url="sqlite://")
    with pytest.raises(InvalidValue, match="ttl_seconds"):
        memory.set("k", 1, ttl=1, ttl_seconds=1)
    with pytest.raises(InvalidValue, match="not both"):
        Memory("things", url="memory://", store=memory.store)
    Memory("things", url="memory://", base_url="memory://")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("user:*", ["user:1", "user:10", "user:[2]"]),
        ("*", ["a.c", "abc", "user:1", "user:10", "user:[2]"]),
        ("*1", ["user:1"]),
        ("*1*", ["user:1", "user:10"]),
        ("u*:*0", ["user:10"]),
        ("user:[*", ["user:[2]"]),
        ("a.*", ["a.c"]),
        ("a*c", ["a.c", "abc"]),
        ("x*", []),
        ("user:1", ["user:1", "user:10"]),
    ],
)
def test_a_star_lists_by_pattern(memory, pattern, found):
    """A * stands for any text, everything else for itself; without one it is a prefix."""
    memory.set_many(dict.fromkeys(["user:1", "user:10", "user:[2]", "a.c", "abc"], 1))
    assert memory.list_keys(pattern) == memory.keys(pattern) == memory.list(pattern) == found


# ------------------------------------------------------------------------------------ making one


_NO_IO = """
import sys, json
from botwire import Memory
Memory("warm-up")
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event))
for url in (None, "sqlite:///nowhere/memory.db", "http://nowhere.invalid", "memory://"):
    memory = Memory("x", url=url)
    session = memory.session("s", agent="a", ttl=60)
    repr(memory), repr(session), memory.namespace
touched = [event for event in seen if event.startswith(("open", "socket", "os.", "sqlite", "import", "subprocess", "pathlib", "shutil"))]
print(json.dumps(touched))
"""


def test_making_a_memory_does_no_io(tmp_path):
    """Python itself reports no file opened, no folder made, no module imported, no connection: nothing."""
    done = subprocess.run(
        [sys.executable, "-c", _NO_IO],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert list(tmp_path.iterdir()) == []


def test_reading_makes_no_file(tmp_path):
    """The file comes with the first write; until then there is nothing, and reading says so."""
    with Memory("x", url=f"sqlite://{tmp_path}/folder/memory.db") as memory:
        assert memory.get("k") is None
        assert memory.list_keys() == []
        assert memory.session("s").messages() == []
        assert memory.search("word") == []
        assert memory.namespaces() == []
        assert list(tmp_path.iterdir()) == []
        memory.set("k", 1)
        assert (tmp_path / "folder" / "memory.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.alone
def test_a_memory_costs_under_50_microseconds():
    """Making one is that cheap, so that an agent may make one wherever it needs one."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(500):
            Memory("some-agent", url="sqlite:///nowhere/memory.db")
        times.append((time.perf_counter() - start) / 500)
    assert min(times) < 50e-6


def test_ten_thousand_memories_leave_no_warning(tmp_path):
    """Memories that are used and dropped without close leak nothing, and share one store."""
    url = f"sqlite://{tmp_path}/memory.db?durability=normal"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stores = set()
        for number in range(10_000):
            memory = Memory(f"n{number}", url=url)
            if number % 500 == 0:
                memory.set("k", number)
                memory.session("s").append(("user", "hi"))
            stores.add(id(memory.store))
        gc.collect()
    assert len(stores) == 1
    memory.close()


def test_the_last_of_a_url_closes_its_store(tmp_path):
    """Memories of one URL share a store; it stays open for the others, and is opened again after the last."""
    url = f"sqlite://{tmp_path}/memory.db"
    first, second = Memory("a", url=url), Memory("b", url=url)
    first.set("k", 1)
    second.set("k", 2)
    store = first.store
    assert second.store is store
    first.close()
    assert second.get("k") == 2
    second.close()
    with pytest.raises(Closed):
        store.get("a", "k")
    with Memory("a", url=url) as third:
        assert third.store is not store
        assert third.get("k") == 1


def test_many_threads_open_one_store(tmp_path):
    """Threads that make their first call at the same moment get the same store."""
    url = f"sqlite://{tmp_path}/memory.db"
    memories = [Memory("a", url=url) for _ in range(8)]
    stores = together(*[lambda memory=memory: memory.store for memory in memories])
    assert len({id(store) for store in stores}) == 1
    for memory in memories:
        memory.close()


def test_botwire_url_is_read_when_the_store_is_opened(tmp_path, monkeypatch):
    """Not at import, and not when the Memory is made."""
    memory = Memory("a")
    monkeypatch.setenv("BOTWIRE_URL", f"sqlite://{tmp_path}/chosen.db")
    memory.set("k", 1)
    assert (tmp_path / "chosen.db").exists()
    memory.close()


@pytest.mark.parametrize("timeout", [0, -1, "30", None, True, float("nan")])
def test_a_timeout_is_a_number_of_seconds(timeout):
    """What is none is refused when the Memory is made."""
    with pytest.raises(InvalidValue, match="timeout"):
        Memory("a", timeout=timeout)


def test_a_memory_says_what_it_is():
    """Its repr has the namespace, and whether it is closed; never a URL with a password."""
    memory = Memory("my-agent", url="http://user:hidden@host")
    assert repr(memory) == "<Memory 'my-agent'>"
    memory.close()
    assert repr(memory) == "<Memory 'my-agent' (closed)>"


# ------------------------------------------------------------------------- nothing written in vain


class Recording:
    """A store that notes which of its methods are called."""

    def __init__(self, store):
        self.store, self.calls = store, []

    def __getattr__(self, name):
        self.calls.append(name)
        return getattr(self.store, name)


@pytest.mark.parametrize(
    "call",
    [
        lambda memory: memory.set("", 1),
        lambda memory: memory.set("k", {1}),
        lambda memory: memory.set("k", 1, ttl=0),
        lambda memory: memory.set("k", 1, if_version="1"),
        lambda memory: memory.set("k", 1, request_id=""),
        lambda memory: memory.set_many({"k": 1, "l": object()}),
        lambda memory: memory.set_many([("k", 1)]),
        lambda memory: memory.get(None),
        lambda memory: memory.get_many("key"),
        lambda memory: memory.get_many(["k", []]),
        lambda memory: memory.delete_many("key"),
        lambda memory: memory.delete("k", if_version=-1),
        lambda memory: memory.increment("k", "1"),
        lambda memory: memory.append("k", b""),
        lambda memory: memory.append("k", 1, max_items=0),
        lambda memory: memory.merge("k", {"a": {1}}),
        lambda memory: memory.update("k", None),
        lambda memory: memory.list_keys(None),
        lambda memory: memory.list_keys("a\n*"),
        lambda memory: memory.count(7),
        lambda memory: memory.clear("\0"),
        lambda memory: memory.items(page_size=0),
        lambda memory: memory.search(""),
        lambda memory: memory.search("x", -1),
        lambda memory: memory.session("."),
        lambda memory: memory.delete_session(""),
        lambda memory: memory.session("s").append("text"),
        lambda memory: memory.session("s").append(("user", "hi"), {"role": "nobody"}),
        lambda memory: memory.session("s").messages(last=-1),
        lambda memory: memory.session("s").trim(-1),
        lambda memory: memory.session("s").set_metadata([]),
        lambda memory: memory.session("s").set_ttl(-1),
        lambda memory: memory.session("s").search(" "),
    ],
)
def test_bad_input_never_reaches_the_store(call):
    """It is refused before the store is asked anything."""
    store = Recording(None)
    with pytest.raises((InvalidName, InvalidValue)):
        call(Memory("things", store=store))
    assert store.calls == []


def test_update_gives_up_after_a_hundred_lost_races():
    """A store on which others are always faster is not asked for ever, and the conflict comes through."""
    store = open_store("memory://")

    class Losing(Recording):
        def get(self, namespace, key):
            row = self.store.get(namespace, key)
            Memory(namespace, store=self.store).increment(key)
            return row

    tries = []
    with pytest.raises(VersionConflict):
        Memory("things", store=Losing(store)).update("n", lambda value: tries.append(value) or 0)
    assert len(tries) == 100
    store.close()


def test_one_memory_serves_many_threads(tmp_path):
    """Threads that use the same Memory neither wait for ever nor mix up their answers."""
    with Memory("shared", url=f"sqlite://{tmp_path}/memory.db") as memory:

        def work(name):
            for number in range(20):
                memory.set(f"{name}:{number}", [name, number])
                assert memory.get(f"{name}:{number}") == [name, number]
            return threading.get_ident()

        assert len(set(together(*[lambda name=name: work(name) for name in range(8)]))) == 8
        assert memory.count() == 160


def test_a_relative_url_means_the_folder_of_the_first_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memories share a store by its place, not by the text of its URL."""
    memories = [Memory("app", url="sqlite://memory.db") for _ in range(2)]
    for memory, folder in zip(memories, ("one", "two"), strict=True):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        memory.set("here", folder)
    assert [memory.get("here") for memory in memories] == ["one", "two"]
    assert (tmp_path / "two" / "memory.db").exists()
    for memory in memories:
        memory.close()
