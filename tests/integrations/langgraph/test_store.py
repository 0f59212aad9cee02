"""BotWireStore: what LangGraph's stores promise, and one behaviour where the official ones differ."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory, StoreCorrupt
from botwire.integrations.langgraph import BotWireStore
from botwire.stores.sqlite import SQLiteStore

NS = ("users", "42")


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000_000

    def __call__(self) -> int:
        self.now += 1  # no two writes at the same microsecond
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time) // timedelta(microseconds=1)

    def ns(self) -> int:
        return self.now * 1_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("botwire.integrations.langgraph._store.time.time_ns", clock.ns)
    return clock


@pytest.fixture
def store(tmp_path: Any, clock: Clock) -> Iterator[BotWireStore]:
    sqlite = SQLiteStore(f"sqlite://{tmp_path}/memory.db?durability=normal", clock=clock)
    yield BotWireStore(memory=Memory("langgraph", store=sqlite))
    sqlite.close()


def keys(found: Any) -> list[str]:
    return [item.key for item in found]


# ---------------------------------------------------------------------------------------- items


def test_it_is_a_store(store: BotWireStore):
    assert isinstance(store, BaseStore)
    assert store.supports_ttl


def test_an_item_is_put_got_changed_and_deleted(store: BotWireStore):
    store.put(NS, "prefs", {"theme": "dark"})
    first = store.get(NS, "prefs")
    assert first is not None
    assert (first.namespace, first.key, first.value) == (NS, "prefs", {"theme": "dark"})

    store.put(NS, "prefs", {"theme": "light"})
    second = store.get(NS, "prefs")
    assert second is not None
    assert second.value == {"theme": "light"}
    assert second.created_at == first.created_at < second.updated_at

    store.delete(NS, "prefs")
    store.delete(NS, "never there")
    assert store.get(NS, "prefs") is None


def test_times_are_aware_and_exact(store: BotWireStore, clock: Clock):
    now = clock.now
    store.put(NS, "a", {})
    item = store.get(NS, "a")
    assert item is not None
    assert item.created_at == item.updated_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now + 1)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"nul": "a\x00b", "lone": "\ud800", "emoji": "🙂"},
        {"big": 2**70, "float": 1.0, "int": 1, "bool": True, "none": None},
        {"nan": [float("nan")], "inf": {"x": float("-inf")}},
        {"$float": "nan"},
        {"$dict": {"$float": 1}},
        {"nested": {"list": [[], {}, [1, [2]]]}},
    ],
    ids=str,
)
def test_a_value_comes_back_equal(store: BotWireStore, value: dict[str, Any]):
    store.put(NS, "k", value)
    item = store.get(NS, "k")
    assert item is not None
    assert repr(item.value) == repr(value)


@pytest.mark.parametrize("value", [{"when": datetime.now(UTC)}, {"pair": (1, 2)}, {"a": {1: 2}}, {"b": b"x"}])
def test_a_value_that_would_not_is_refused_and_nothing_of_the_batch_is_written(store: BotWireStore, value: dict[str, Any]):
    with pytest.raises(InvalidValue, match="value"):
        store.batch([PutOp(NS, "before", {}), PutOp(NS, "k", value)])
    assert store.search(()) == []


def test_of_the_text_of_a_message_it_is_said_how_to_store_it(store: BotWireStore):
    with pytest.raises(InvalidValue, match=r"value\['says'\]: a TextAccessor would not come back as it is; use str\(\)"):
        store.put(NS, "k", {"says": HumanMessage("no nuts").text})
    store.put(NS, "k", {"says": str(HumanMessage("no nuts").text)})


def test_what_was_put_is_a_copy(store: BotWireStore):
    value = {"list": [1]}
    store.put(NS, "k", value)
    value["list"].append(2)
    assert store.get(NS, "k").value == {"list": [1]}  # type: ignore[union-attr]


@pytest.mark.parametrize("key", ["a/b", "!", "%0021", "", ".", "x\ny", "🙂", "a b", "*", "'; DROP TABLE entry; --"])
@pytest.mark.parametrize("label", ["a/b", "!x", "%002f", " ", "x\n", "🙂", "*", "%"])
def test_any_names_are_kept_apart_and_told_again(store: BotWireStore, key: str, label: str):
    store.put((label,), key, {"mine": True})
    store.put((label, "below"), key, {})
    store.put((label + "x",), key, {})

    assert [(item.namespace, item.key) for item in store.search((label,), filter={"mine": True})] == [((label,), key)]
    assert len(store.search((label,))) == 2
    assert store.list_namespaces() == sorted([(label,), (label, "below"), (label + "x",)])


@pytest.mark.parametrize("namespace", [(), ("langgraph",), ("",), ("a.b",), ("a\x00",), (7,)])
def test_what_is_no_namespace_is_refused(store: BotWireStore, namespace: Any):
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {})


def test_labels_are_checked_in_a_batch_too(store: BotWireStore):
    for operation in (PutOp(("a.b",), "k", {}), GetOp(("a.b",), "k"), SearchOp(("a.b",))):
        with pytest.raises(InvalidNamespaceError):
            store.batch([operation])


def test_names_that_are_too_long_are_refused_by_name(store: BotWireStore):
    with pytest.raises(InvalidName, match="over the limit of 512"):
        store.put(("x" * 300,), "y" * 300, {})


# -------------------------------------------------------------------------------------- batches


def test_results_are_in_order_and_reads_see_what_was_before(store: BotWireStore):
    store.put(NS, "a", {"n": 1})

    results = store.batch(
        [
            PutOp(NS, "a", {"n": 2}),
            GetOp(NS, "a"),
            PutOp(NS, "b", {"n": 3}),
            SearchOp(NS),
            GetOp(NS, "b"),
            ListNamespacesOp(),
            PutOp(NS, "a", None),
            GetOp(NS, "a"),
        ]
    )

    assert results[1].value == results[7].value == {"n": 1}  # type: ignore[union-attr]
    assert keys(results[3]) == ["a"]
    assert results[4] is None
    assert results[5] == [NS]
    assert [results[0], results[2], results[6]] == [None, None, None]
    assert keys(store.search(NS)) == ["b"]


def test_an_empty_batch_does_nothing(store: BotWireStore):
    assert store.batch([]) == []


def test_keys_are_made_text(store: BotWireStore):
    store.put(NS, 7, {"n": 1})  # type: ignore[arg-type]
    assert store.get(NS, "7") is not None


# --------------------------------------------------------------------------------------- search


@pytest.fixture
def filled(store: BotWireStore) -> BotWireStore:
    for key, value in {
        "a": {"n": 5, "tags": ["x"], "d": {"k": 1, "l": 2}},
        "b": {"n": 10, "s": "text"},
        "c": {"n": None, "s": "other", "flag": True},
        "d": {"s": "5", "d": {"k": 2}, "d.k": 1},
    }.items():
        store.put(NS, key, value)
    store.put(("users", "420"), "z", {"n": 7})
    return store


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"n": 5}, "a"),
        ({"n": {"$gt": 4}}, "ab"),
        ({"n": {"$gt": 5, "$lte": 10}}, "b"),
        ({"n": {"$gte": 5.0, "$lt": 10.5}}, "ab"),
        ({"n": {"$eq": 10}}, "b"),
        ({"n": {"$ne": 5}}, "bcd"),
        ({"n": None}, "cd"),
        ({"s": {"$gt": "p"}}, "b"),
        ({"s": {"$lt": 6}}, ""),
        ({"tags": ["x"]}, "a"),
        ({"tags": ["x", "y"]}, ""),
        ({"d": {"k": 1}}, "a"),
        ({"d": {"k": {"$gte": 1}}}, "ad"),
        ({"d.k": 1}, "d"),
        ({"flag": True}, "c"),
        ({"n": 5, "s": "text"}, ""),
        ({}, "abcd"),
    ],
    ids=str,
)
def test_filters(filled: BotWireStore, wanted: dict[str, Any], expected: str):
    assert sorted(keys(filled.search(NS, filter=wanted))) == list(expected)


def test_an_unknown_operator_is_refused(filled: BotWireStore):
    with pytest.raises(ValueError, match=r"\$regex"):
        filled.search(NS, filter={"n": {"$regex": "x"}})


def test_the_newest_come_first_and_pages_follow_each_other(filled: BotWireStore):
    filled.put(NS, "a", {"n": 6})

    assert keys(filled.search(NS)) == ["a", "d", "c", "b"]
    assert keys(filled.search(NS, limit=2)) == ["a", "d"]
    assert keys(filled.search(NS, limit=2, offset=2)) == ["c", "b"]
    assert keys(filled.search(NS, offset=1, filter={"n": {"$gt": 0}})) == ["b"]
    assert keys(filled.search(NS, offset=9)) == []


def test_a_prefix_is_of_whole_labels(filled: BotWireStore):
    assert "z" not in keys(filled.search(("users", "42")))
    assert keys(filled.search(("users", "420"))) == ["z"]
    assert keys(filled.search(("use",))) == []
    assert len(filled.search(())) == 5


def test_a_query_without_vectors_ranks_nothing(filled: BotWireStore):
    found = filled.search(NS, query="anything at all")
    assert keys(found) == ["d", "c", "b", "a"]
    assert [item.score for item in found] == [None] * 4


def test_more_items_than_one_page(store: BotWireStore):
    store.batch([PutOp(("many",), f"{n:05}", {"n": n}) for n in range(2_500)])

    assert len(store.search(("many",), limit=9_999)) == 2_500
    assert len(store.search(("many",), limit=9_999, filter={"n": {"$gte": 2_000}})) == 500


# ----------------------------------------------------------------------------------- namespaces

ALL = [("a",), ("a", "b"), ("a", "b", "c"), ("a", "b", "d", "i"), ("a", "c"), ("b", "a", "c"), ("ab",)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, sorted(ALL)),
        ({"prefix": ("a", "b")}, [("a", "b"), ("a", "b", "c"), ("a", "b", "d", "i")]),
        ({"suffix": ("c",)}, [("a", "b", "c"), ("a", "c"), ("b", "a", "c")]),
        ({"prefix": ("a",), "suffix": ("c",)}, [("a", "b", "c"), ("a", "c")]),
        ({"prefix": ("a", "*", "c")}, [("a", "b", "c")]),
        ({"prefix": ("*", "a")}, [("b", "a", "c")]),
        ({"suffix": ("*", "i")}, [("a", "b", "d", "i")]),
        ({"max_depth": 1}, [("a",), ("ab",), ("b",)]),
        ({"max_depth": 2, "prefix": ("a",)}, [("a",), ("a", "b"), ("a", "c")]),
        ({"limit": 2, "offset": 1}, sorted(ALL)[1:3]),
        ({"prefix": ("A",)}, []),
        ({"prefix": ("a", "b", "c", "d")}, []),
    ],
    ids=str,
)
def test_namespaces_are_listed(store: BotWireStore, wanted: dict[str, Any], expected: list[tuple[str, ...]]):
    for namespace in ALL:
        store.put(namespace, "k", {})
    assert store.list_namespaces(**wanted) == expected


def test_conditions_of_a_batch_all_count(store: BotWireStore):
    for namespace in ALL:
        store.put(namespace, "k", {})
    conditions = (MatchCondition("suffix", ("c",)), MatchCondition("prefix", ("b",)))
    assert store.batch([ListNamespacesOp(conditions)]) == [[("b", "a", "c")]]


def test_a_namespace_without_items_is_gone(store: BotWireStore):
    store.put(NS, "a", {})
    store.delete(NS, "a")
    assert store.list_namespaces() == []


def test_namespaces_of_many_items_are_all_found(store: BotWireStore):
    puts = [PutOp(("n", str(n)), f"{k:04}", {}) for n in range(30) for k in range(120 if n % 10 == 0 else 1)]
    store.batch([*puts, PutOp(("n",), "own", {}), PutOp(("n", "0", "below"), "k", {})])

    assert store.list_namespaces(limit=999) == sorted({("n",), ("n", "0", "below"), *((("n", str(n))) for n in range(30))})


# --------------------------------------------------------------------------------- time to live


def test_an_item_is_gone_when_its_minutes_are_over(store: BotWireStore, clock: Clock):
    store.put(NS, "a", {}, ttl=10)
    store.put(NS, "b", {})
    clock.forward(minutes=9.99)
    assert store.get(NS, "a", refresh_ttl=False) is not None
    clock.forward(minutes=0.02)

    assert store.get(NS, "a") is None
    assert keys(store.search(NS)) == ["b"]
    assert store.list_namespaces() == [NS]


@pytest.mark.parametrize("read", [lambda store: store.get(NS, "a"), lambda store: store.search(NS)], ids=["get", "search"])
def test_reading_begins_the_time_anew_without_changing_the_item(store: BotWireStore, clock: Clock, read: Callable[[Any], Any]):
    store.put(NS, "a", {"n": 1}, ttl=10)
    before = store.get(NS, "a", refresh_ttl=False)
    for _ in range(3):
        clock.forward(minutes=9)
        read(store)
    assert store.get(NS, "a", refresh_ttl=False) == before
    clock.forward(minutes=11)
    assert store.get(NS, "a") is None


def test_reading_does_not_if_it_is_told_so(store: BotWireStore, clock: Clock):
    store.put(NS, "a", {}, ttl=10)
    clock.forward(minutes=9)
    store.get(NS, "a", refresh_ttl=False)
    store.search(NS, refresh_ttl=False)
    clock.forward(minutes=2)
    assert store.get(NS, "a") is None


def test_the_configuration_gives_the_defaults(store: BotWireStore, clock: Clock):
    store.ttl_config = {"default_ttl": 10, "refresh_on_read": False}
    store.put(NS, "a", {})
    store.put(NS, "b", {}, ttl=None)
    clock.forward(minutes=9)
    store.get(NS, "a")
    clock.forward(minutes=2)
    assert keys(store.search(NS)) == ["b"]


def test_putting_again_sets_the_time_anew(store: BotWireStore, clock: Clock):
    store.put(NS, "a", {}, ttl=10)
    store.put(NS, "a", {}, ttl=None)
    clock.forward(days=1)
    assert store.get(NS, "a") is not None


@pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan])
def test_a_time_that_is_none_is_refused(store: BotWireStore, ttl: float):
    with pytest.raises(InvalidValue, match="minutes"):
        store.put(NS, "a", {}, ttl=ttl)


def test_the_calls_that_other_stores_need_for_sweeping_are_there(store: BotWireStore):
    assert store.sweep_ttl() == 0
    assert store.start_ttl_sweeper().done()
    assert store.stop_ttl_sweeper(timeout=1)


def test_an_item_written_while_it_is_read_keeps_what_was_written(store: BotWireStore, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    store.put(NS, "a", {"n": 1}, ttl=10)
    clock.forward(minutes=5)
    sqlite = store._memory.store
    real = sqlite.get_many

    def meanwhile(*arguments: Any) -> Any:
        found = real(*arguments)
        monkeypatch.setattr(sqlite, "get_many", real)
        store.put(NS, "a", {"n": 2}, ttl=10)
        return found

    monkeypatch.setattr(sqlite, "get_many", meanwhile)
    assert store.get(NS, "a").value == {"n": 1}  # type: ignore[union-attr]
    assert store.get(NS, "a").value == {"n": 2}  # type: ignore[union-attr]


# -------------------------------------------------------------------------------- many, and bad


@pytest.mark.anyio
async def test_both_halves_of_one_object_see_the_same(store: BotWireStore):
    await store.aput(NS, "a", {"n": 1})
    assert store.get(NS, "a") == await store.aget(NS, "a")
    assert keys(await store.asearch(NS, filter={"n": 1})) == ["a"]
    assert await store.alist_namespaces() == [NS]
    await store.adelete(NS, "a")
    assert store.get(NS, "a") is None


def test_many_threads_put_at_once(store: BotWireStore):
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for n in range(10):
            store.put(("threads", str(number)), str(n), {"n": n})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(store.search(("threads",), limit=999)) == 80


def test_items_survive_the_process(in_process: Callable[..., str], url: str):
    in_process("from botwire.integrations.langgraph import BotWireStore\nBotWireStore(url=sys.argv[1]).put(('users', '42'), 'a', {'n': 1})")
    assert BotWireStore(url=url).get(NS, "a").value == {"n": 1}  # type: ignore[union-attr]


def test_memory_can_be_given(url: str):
    BotWireStore(memory=AsyncMemory("team", url=url)).put(NS, "a", {"n": 1})
    assert BotWireStore(namespace="team", url=url).get(NS, "a") is not None
    with pytest.raises(InvalidValue):
        BotWireStore(memory=Memory(), url=url)


def test_an_entry_that_is_no_item_is_said_to_be_none(store: BotWireStore):
    store.put(NS, "a", {})
    memory = store._memory
    assert isinstance(memory, Memory)
    (key,) = memory.list_keys("store/")
    memory.set(key, "no item")
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        store.get(NS, "a")


def test_an_agents_tools_and_nodes_reach_the_store_over_restarts(in_process: Callable[..., str], url: str):
    code = """
from agents import *
from botwire.integrations.langgraph import BotWireSaver, BotWireStore
from langchain.agents import create_agent
from langchain.tools import ToolRuntime

@tool
def remember(fact: str, runtime: ToolRuntime) -> str:
    'Keeps a fact.'
    found = runtime.store.search(('facts',))
    runtime.store.put(('facts',), fact, {'fact': fact})
    return f'{len(found)} known before'

model = ScriptedModel(responses=[calling({'name': 'remember', 'args': {'fact': sys.argv[2]}}), AIMessage('ok')])
agent = create_agent(model, [remember], checkpointer=BotWireSaver(url=sys.argv[1]), store=BotWireStore(url=sys.argv[1]))
state = agent.invoke(said('remember'), {'configurable': {'thread_id': sys.argv[2]}})
print(state['messages'][2].content)
"""
    assert in_process(code, "likes tea") == "0 known before\n"
    assert in_process(code, "likes rain") == "1 known before\n"
    assert sorted(keys(BotWireStore(url=url).search(("facts",)))) == ["likes rain", "likes tea"]


def test_the_same_over_http(server: str):
    store = BotWireStore(url=server)
    store.batch([PutOp(NS, "a", {"n": 5, "x": "\ud800\x00"}), PutOp(NS, "b/c", {"n": 10}, None, 10)])
    before = store.get(NS, "b/c", refresh_ttl=False)
    store.put(NS, "a", {"n": 6})

    assert keys(store.search(NS, filter={"n": {"$gt": 5}})) == ["a", "b/c"]
    assert store.get(NS, "b/c") == before
    assert store.list_namespaces() == [NS]
    store.delete(NS, "a")
    assert store.get(NS, "a") is None
