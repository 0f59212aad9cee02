"""BotWireSaver by itself: what the conformance suite does not ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from checkpoints import latest, put, thread, values
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import ERROR, INTERRUPT, BaseCheckpointSaver
from langgraph.checkpoint.base.id import uuid6

from botwire import AsyncMemory, Closed, InvalidName, InvalidValue, Memory, OutcomeUnknown, StoreCorrupt, StoreUnavailable
from botwire.integrations.langgraph import BotWireSaver
from botwire.stores import open_store

LONG = "x" * 20_000
Fresh = Callable[[], BotWireSaver]


def history(saver: BotWireSaver, config: Any, **options: Any) -> list[Any]:
    return [found.checkpoint["channel_values"] for found in saver.list(config, **options)]


# ------------------------------------------------------------------------------- what is stored


def test_it_is_a_checkpointer(saver: BotWireSaver):
    assert isinstance(saver, BaseCheckpointSaver)


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        True,
        "",
        "text",
        b"",
        b"\x00\xff" * 5_000,
        LONG,
        [],
        [1] * 40_000,
        {"a": list(range(5_000))},
        {1, 2},
        2**60,
        "nul \x00 and 🙂" * 1_000,
        [HumanMessage("hi", id="1"), AIMessage("hello " * 3_000, id="2")],
    ],
    ids=lambda value: f"{type(value).__name__}-{len(repr(value))}",
)
def test_a_value_comes_back_equal_here_and_in_another_process(saver: BotWireSaver, fresh: Fresh, value: Any):
    put(saver, thread(), channel=value, other="x")

    for reader in (saver, fresh()):
        found = values(reader, thread())["channel"]
        assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("thread_id", ["t", "a/b", "a%2Fb", "/", "=", "🙂", "x" * 400, " ", "..", "nul\x00", 7])
@pytest.mark.parametrize("ns", ["", "child:1", "a/b|c:2", "=", "n" * 400])
def test_any_names_are_kept_apart_and_told_again(saver: BotWireSaver, fresh: Fresh, thread_id: Any, ns: str):
    put(saver, thread("neighbour", ns), channel="no")
    put(saver, thread(thread_id, ns + "x"), channel="no")
    put(saver, thread(thread_id, ns), channel="yes")

    (found,) = fresh().list(thread(thread_id, ns))
    settings = found.config["configurable"]
    assert (settings["thread_id"], settings["checkpoint_ns"]) == (str(thread_id), ns)
    assert found.checkpoint["channel_values"] == {"channel": "yes"}
    assert {(t.config["configurable"]["thread_id"], t.config["configurable"]["checkpoint_ns"]) for t in saver.list(None)} == {
        ("neighbour", ns),
        (str(thread_id), ns + "x"),
        (str(thread_id), ns),
    }

    saver.delete_thread(thread_id)
    assert [t.config["configurable"]["thread_id"] for t in saver.list(None)] == ["neighbour"]


def test_what_grows_is_stored_once(saver: BotWireSaver, url: str):
    config = thread()
    text: list[str] = []
    for turn in range(200):
        text.append(f"turn {turn} " + "x" * 500)
        config = put(saver, config, messages=list(text))

    stored = sum(len(repr(value)) for _, value in Memory("langgraph", url=url).items())
    assert stored < 4 * len("".join(text))
    assert [len(found["messages"]) for found in history(saver, thread())] == list(range(200, 0, -1))


def test_a_saver_that_knows_nothing_adds_to_what_is_there(fresh: Fresh, url: str):
    config = thread()
    text: list[str] = []
    for turn in range(100):
        text.append(f"turn {turn} " + "x" * 500)
        config = put(fresh(), config, messages=list(text))

    assert sum(len(repr(value)) for _, value in Memory("langgraph", url=url).items()) < 5 * len("".join(text))
    assert history(fresh(), thread())[0] == {"messages": text}


def test_what_changes_in_the_middle_is_stored_alone(saver: BotWireSaver, fresh: Fresh, url: str):
    config = put(saver, thread(), channel=[LONG, "a" * 300, LONG])
    for change in "bcd":
        config = put(saver, config, channel=[LONG, change * 300, LONG])

    assert [found["channel"][1][0] for found in history(fresh(), thread())] == ["d", "c", "b", "a"]
    assert sum(len(value) for key, value in Memory("langgraph", url=url).items() if "/d/" in key) < 45_000


def test_a_value_changed_in_place_is_stored_as_it_is_then(saver: BotWireSaver, fresh: Fresh):
    messages = [HumanMessage("a" * 200, id="1"), HumanMessage("b" * 200, id="2")]
    config = put(saver, thread(), messages=messages)
    messages[0].content = "c" * 200
    put(saver, config, messages=messages)

    new, old = history(fresh(), thread())
    assert (old["messages"][0].content[0], new["messages"][0].content[0]) == ("a", "c")


def test_an_unchanged_channel_keeps_its_value_though_it_was_not_written_again(saver: BotWireSaver, fresh: Fresh):
    config = put(saver, thread(), big=LONG, small=1)
    config = put(fresh(), config, changed={"small"}, big=LONG, small=2)
    put(saver, config, changed={"big"}, big=LONG + "y", small=2)

    assert history(fresh(), thread()) == [{"big": LONG + "y", "small": 2}, {"big": LONG, "small": 2}, {"big": LONG, "small": 1}]


def test_what_stays_is_not_stored_with_each_checkpoint_however_short(saver: BotWireSaver, fresh: Fresh, url: str):
    config = put(saver, thread(), medium="m" * 5_000, small=0)
    for step in range(1, 40):
        config = put(saver, config, changed={"small"}, medium="m" * 5_000, small=step)

    assert sum(len(repr(value)) for _, value in Memory("langgraph", url=url).items()) < 12 * 5_000
    assert [found["medium"] for found in history(fresh(), thread())] == ["m" * 5_000] * 40


def test_two_that_need_logs_at_the_same_moment_lose_nothing(fresh: Fresh):
    first, second = fresh(), fresh()
    start = put(first, thread(), channel="short")
    second.get_tuple(thread())
    ours = put(first, start, channel=LONG + "1" * 9_000)
    theirs = put(second, start, channel=LONG + "2" * 9_000)
    put(first, ours, channel=LONG + "1" * 9_001)
    put(second, theirs, channel=LONG + "2" * 9_001)

    assert [found["channel"][-9_000:][0] for found in history(fresh(), thread())] == ["2", "1", "2", "1", "s"]
    fresh().prune(["t"])
    assert len(history(fresh(), thread())) == 1


def test_a_channel_that_is_gone_does_not_come_back(saver: BotWireSaver):
    config = put(saver, thread(), a=LONG, b=1)
    put(saver, config, b=1)

    assert values(saver, thread()) == {"b": 1}


def test_branches_of_one_checkpoint_have_their_own_values(saver: BotWireSaver, fresh: Fresh):
    root = put(saver, thread(), channel=[LONG])
    left = put(saver, root, channel=[LONG, "left " * 100])
    right = put(fresh(), root, channel=[LONG, "right " * 100])
    put(saver, left, channel=[LONG, "left " * 100, "more"])

    reader = fresh()
    assert values(reader, left)["channel"][1][:4] == "left"
    assert values(reader, right)["channel"][1][:5] == "right"
    assert values(reader, latest(root))["channel"][2] == "more"
    assert values(reader, root)["channel"] == [LONG]


def test_versions_grow_as_text_and_differ_between_branches(saver: BotWireSaver):
    version, versions = None, []
    for _ in range(12):
        version = saver.get_next_version(version, None)
        versions.append(version)

    assert versions == sorted(versions)
    assert saver.get_next_version(versions[0], None) != saver.get_next_version(versions[0], None)
    assert saver.get_next_version(3, None) > saver.get_next_version(2, None)


def test_metadata_holds_what_the_config_says_and_filters_compare_all_of_it(saver: BotWireSaver):
    one = thread(user="bob")
    put(saver, one, {"source": "input", "step": 1, "score": None, "tags": ["a"]}, x=1)
    put(saver, thread(user="ann"), {"source": "loop", "step": 1}, x=2)

    def found(**wanted: Any) -> list[Any]:
        return [values["x"] for values in history(saver, None, filter=wanted)]

    assert found(user="bob") == [1]
    assert found(step=1) == [2, 1]
    assert found(step=1, source="loop") == [2]
    assert found(tags=["a"]) == [1]
    assert found(step="1") == []
    assert found(nothing=1) == []


def test_metadata_that_is_no_json_comes_back_all_the_same(saver: BotWireSaver, fresh: Fresh):
    put(saver, thread(), {"step": (1, 2), "writes": {"n": HumanMessage("hi", id="1")}}, x=1)

    found = fresh().get_tuple(thread())
    assert found is not None
    assert found.metadata["writes"] == {"n": HumanMessage("hi", id="1")}  # type: ignore[typeddict-item]


def test_listing_is_newest_first_across_threads_and_bounded(saver: BotWireSaver):
    a = put(saver, thread("a"), x=1)
    b = put(saver, thread("b"), x=2)
    put(saver, a, x=3)
    put(saver, thread("a", "sub"), x=4)

    assert [found["x"] for found in history(saver, None)] == [4, 3, 2, 1]
    assert [found["x"] for found in history(saver, {"configurable": {"thread_id": "a"}})] == [4, 3, 1]
    assert [found["x"] for found in history(saver, thread("a"))] == [3, 1]
    assert [found["x"] for found in history(saver, None, limit=2)] == [4, 3]
    assert [found["x"] for found in history(saver, None, before=b)] == [1]
    assert [found["x"] for found in history(saver, b)] == [2]
    assert history(saver, thread("a"), limit=0) == []
    assert history(saver, thread("c")) == []


def test_more_checkpoints_than_one_page_are_all_listed(saver: BotWireSaver):
    config = thread()
    for n in range(230):
        config = put(saver, config, x=n)
        saver.put_writes(config, [("x", n)], "task")

    assert [found["x"] for found in history(saver, thread())] == list(range(229, -1, -1))
    assert [found.pending_writes for found in saver.list(thread())] == [[("task", "x", n)] for n in range(229, -1, -1)]


# --------------------------------------------------------------------------------------- writes


def test_pending_writes_come_in_the_order_in_which_langgraph_applies_them(saver: BotWireSaver, fresh: Fresh):
    config = put(saver, thread(), x=1)
    saver.put_writes(config, [("a", 1), ("b", 2)], "task-1", "~__pregel_pull, z")
    saver.put_writes(config, [("a", 3)], "task-3", "~__pregel_pull, a")
    saver.put_writes(config, [("a", 4)], "task-2", "~__pregel_pull, a")

    found = fresh().get_tuple(thread())
    assert found is not None
    assert found.pending_writes == [("task-2", "a", 4), ("task-3", "a", 3), ("task-1", "a", 1), ("task-1", "b", 2)]


def test_a_task_that_writes_again_changes_only_what_is_special(saver: BotWireSaver):
    config = put(saver, thread(), x=1)
    saver.put_writes(config, [("a", "first"), (INTERRUPT, "one")], "task")
    saver.put_writes(config, [("a", "second"), ("b", "new")], "task")
    saver.put_writes(config, [(INTERRUPT, "two")], "task")
    saver.put_writes(config, [(ERROR, "oh")], "task")

    found = saver.get_tuple(thread())
    assert found is not None
    assert found.pending_writes is not None
    assert {(channel, value) for _, channel, value in found.pending_writes} == {
        ("a", "first"),
        ("b", "new"),
        (INTERRUPT, "two"),
        (ERROR, "oh"),
    }


def test_writes_to_no_checkpoint_harm_nothing(saver: BotWireSaver):
    put(saver, thread(), x=1)
    saver.put_writes(thread(checkpoint_id="ffffffff"), [("x", 2)], "task")

    assert history(saver, thread()) == [{"x": 1}]


def test_a_delta_channels_history_is_what_was_written_on_the_way(saver: BotWireSaver):
    config = root = put(saver, thread(), log=["seed"], other=1)
    for n in range(3):
        saver.put_writes(config, [("log", n), ("other", -n)], f"task-{n}")
        config = put(saver, config, other=n)
    put(saver, root, other="a branch that does not count")

    found = saver.get_delta_channel_history(config=config, channels=["log", "unknown"])

    assert found["log"]["seed"] == ["seed"]
    assert [value for _, _, value in found["log"]["writes"]] == [0, 1, 2]
    assert found["unknown"] == {"writes": []}
    if hasattr(BaseCheckpointSaver, "get_delta_channel_history"):  # what LangGraph makes of tuples, one by one
        assert found == super(BotWireSaver, saver).get_delta_channel_history(config=config, channels=["log", "unknown"])
    assert saver.get_delta_channel_history(config=config, channels=[]) == {}


# ------------------------------------------------------------------------ removing and copying


def pages(url: str) -> int:
    return len(Memory("langgraph", url=url).list_keys("checkpoint/*/d/*"))


def test_pruning_keeps_the_newest_and_lets_go_of_what_only_others_needed(saver: BotWireSaver, fresh: Fresh, url: str):
    config = put(saver, thread(), channel="a" * 50_000)
    config = put(saver, config, channel="b" * 50_000)
    config = put(saver, config, channel="c" * 20_000)
    saver.put_writes(config, [("channel", "w")], "task")
    before = pages(url)
    saver.prune(["t"])

    assert pages(url) < before / 4
    (found,) = fresh().list(thread())
    assert found.checkpoint["channel_values"] == {"channel": "c" * 20_000}
    assert found.pending_writes == [("task", "channel", "w")]

    for writer in (saver, fresh()):
        config = put(writer, config, channel="c" * 20_000 + "d" * 200)
    assert values(fresh(), thread()) == {"channel": "c" * 20_000 + "d" * 200}


def test_pruning_keeps_what_a_delta_channel_is_built_on(saver: BotWireSaver):
    config = put(saver, thread(), x=0)
    config = put(saver, config, log=["seed"], x=1)
    for n in (2, 3):
        saver.put_writes(config, [("log", n)], f"task-{n}")
        config = put(saver, config, {"counters_since_delta_snapshot": {"log": [n - 1, n - 1]}}, x=n)
    before = saver.get_delta_channel_history(config=config, channels=["log"])
    saver.prune(["t"])

    assert [found["x"] for found in history(saver, thread())] == [3, 2, 1]
    assert saver.get_delta_channel_history(config=config, channels=["log"]) == before
    assert [value for _, _, value in before["log"]["writes"]] == [2, 3]


def test_an_unknown_strategy_is_refused(saver: BotWireSaver):
    with pytest.raises(InvalidValue, match="keep_latest"):
        saver.prune(["t"], strategy="keep_newest")


def test_deleting_runs_leaves_the_values_of_others(saver: BotWireSaver, fresh: Fresh):
    config = put(saver, thread(), {"run_id": "1"}, channel=[LONG])
    config = put(saver, config, {"run_id": "2"}, channel=[LONG, "b" * 200])
    put(saver, config, {"run_id": "3"}, channel=[LONG, "b" * 200, "c" * 200])
    put(saver, thread("other"), {"run_id": "2"}, x=1)
    saver.delete_for_runs(["2"])

    assert [len(found["channel"]) for found in history(fresh(), thread())] == [3, 1]
    assert history(saver, thread("other")) == []
    saver.delete_for_runs(["1", "3"])
    assert list(saver.list(None)) == []


def test_a_copy_is_whole_and_stands_alone(saver: BotWireSaver, fresh: Fresh):
    config = put(saver, thread("a"), {"step": 1}, channel=[LONG])
    config = put(saver, config, channel=[LONG, "b" * 300])
    saver.put_writes(config, [("channel", "w")], "task", "path")
    put(saver, thread("a", "sub"), y=1)
    put(saver, thread("b"), channel=["of b " * 3_000])
    saver.copy_thread("a", "b")
    saver.copy_thread("a", "a")
    saver.delete_thread("a")

    reader = fresh()
    assert [len(found["channel"]) for found in history(reader, thread("b"))] == [1, 2, 1]
    assert history(reader, thread("b"))[0]["channel"] == ["of b " * 3_000]
    assert reader.get_tuple(thread("b", checkpoint_id=config["configurable"]["checkpoint_id"])).pending_writes == [("task", "channel", "w")]  # type: ignore[union-attr]
    assert history(reader, thread("b", "sub")) == [{"y": 1}]

    put(saver, thread("b", checkpoint_id=config["configurable"]["checkpoint_id"]), channel=[LONG, "b" * 300, "c" * 300])
    assert len(values(fresh(), thread("b"))["channel"]) == 3


def test_a_thread_deleted_elsewhere_and_begun_anew_is_not_mixed_with_the_old(saver: BotWireSaver, fresh: Fresh):
    config = put(saver, thread(), channel=[LONG])
    other = fresh()
    other.delete_thread("t")
    assert saver.get_tuple(thread()) is None

    new = put(other, thread(), channel=["new " * 2_000])
    put(saver, config, channel=[LONG, "after the deletion"])
    assert values(fresh(), latest(config))["channel"][1] == "after the deletion"
    assert values(fresh(), new)["channel"] == ["new " * 2_000]


def test_two_who_begin_a_thread_at_once_do_not_read_each_others_pages(saver: BotWireSaver, fresh: Fresh, monkeypatch: pytest.MonkeyPatch):
    mine = put(saver, thread(), channel=[LONG], other=1)
    rival = fresh()
    monkeypatch.setattr(rival._lines, "head", lambda prefix: None)  # as if it had asked just before
    put(rival, thread(), channel=["y" * 20_000])
    monkeypatch.undo()
    known = saver.get_tuple(mine)
    assert known is not None
    version = saver.get_next_version(known.checkpoint["channel_versions"]["other"], None)
    versions = {**known.checkpoint["channel_versions"], "other": version}
    after: Any = {**known.checkpoint, "id": str(uuid6()), "channel_values": {"channel": [LONG], "other": 2}, "channel_versions": versions}
    mine = rival.put(mine, after, {}, {"other": version})

    assert values(fresh(), mine) == {"channel": [LONG], "other": 2}
    assert [found["channel"][0][0] for found in history(fresh(), thread())] == ["x", "y", "x"]


# ----------------------------------------------------------------------------------- many at once


def test_savers_that_know_nothing_of_each_other_write_one_thread(fresh: Fresh):
    savers = [fresh() for _ in range(6)]
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        config = thread()
        barrier.wait()
        for turn in range(6):
            config = put(savers[number], config, channel=[f"{number} {turn} " * 800 for turn in range(turn + 1)])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))

    found = [values["channel"] for values in history(fresh(), thread())]
    assert sorted(map(tuple, found)) == sorted(
        tuple(f"{number} {turn} " * 800 for turn in range(length)) for number in range(6) for length in range(1, 7)
    )


@pytest.mark.anyio
async def test_the_awaitable_half_sees_what_the_other_wrote(saver: BotWireSaver):
    config = put(saver, thread(), x=1)
    found = await saver.aget_tuple(thread())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"x": 1}
    await saver.aput_writes(config, [("x", 2)], "task")
    assert [t.pending_writes async for t in saver.alist(thread())] == [[("task", "x", 2)]]
    history = await saver.aget_delta_channel_history(config=config, channels=["x"])
    assert history == {"x": {"writes": []}}
    await saver.adelete_thread("t")
    assert saver.get_tuple(thread()) is None


# ------------------------------------------------------------------------------------- bad input


def test_arguments_that_contradict_each_other_are_refused(url: str):
    with pytest.raises(InvalidValue):
        BotWireSaver(memory=Memory(), url=url)
    with pytest.raises(InvalidName):
        BotWireSaver(namespace="")


def test_an_async_memory_serves_both_halves(url: str):
    saver = BotWireSaver(memory=AsyncMemory("team", url=url))
    put(saver, thread(), x=1)
    assert values(BotWireSaver(namespace="team", url=url), thread()) == {"x": 1}


def test_making_one_opens_nothing(tmp_path: Any):
    BotWireSaver(url=f"sqlite://{tmp_path}/new/memory.db")
    assert list(tmp_path.iterdir()) == []


def test_a_closed_memory_says_so(url: str):
    memory = Memory("langgraph", url=url)
    saver = BotWireSaver(memory=memory)
    memory.close()
    with pytest.raises(Closed):
        saver.get_tuple(thread())


def test_a_value_that_cannot_be_serialised_leaves_nothing_behind(saver: BotWireSaver):
    with pytest.raises(TypeError):
        put(saver, thread(), channel=threading.Lock())
    assert list(saver.list(None)) == []


def test_a_corrupt_checkpoint_is_said_to_be_one(saver: BotWireSaver, fresh: Fresh, url: str):
    put(saver, thread(), x=1)
    memory = Memory("langgraph", url=url)
    (key,) = memory.list_keys("checkpoint/t/=/c/")
    memory.set(key, {"epoch": 1})
    with pytest.raises(StoreCorrupt, match="checkpoint/t/"):
        fresh().get_tuple(thread())


def test_a_checkpoint_whose_pages_are_gone_is_said_to_be_incomplete(saver: BotWireSaver, fresh: Fresh, url: str):
    put(saver, thread(), x=LONG)
    Memory("langgraph", url=url).clear("checkpoint/t/=/d/")
    with pytest.raises(StoreCorrupt, match="missing"):
        fresh().get_tuple(thread())


class Unsure:
    """A store that does what it is asked, and then says once that it does not know."""

    def __init__(self, store: Any, errors: list[BaseException]) -> None:
        self._store, self.url, self.errors = store, store.url, errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, batches: Any) -> Any:
        outcomes = self._store.write(batches)
        if self.errors:
            raise self.errors.pop()
        return outcomes


def test_a_write_of_unknown_outcome_is_done_again_and_there_once(url: str):
    store = open_store(url)
    saver = BotWireSaver(memory=Memory("langgraph", store=Unsure(store, [OutcomeUnknown("?")])))
    config = put(saver, thread(), channel=[LONG])
    put(saver, config, channel=[LONG, "b"])

    assert [len(found["channel"]) for found in history(saver, thread())] == [2, 1]
    store.close()


def test_a_store_that_cannot_be_written_says_so_and_the_next_call_works(url: str):
    store = open_store(url)
    unsure = Unsure(store, [StoreUnavailable("gone")])
    saver = BotWireSaver(memory=Memory("langgraph", store=unsure))
    with pytest.raises(StoreUnavailable):
        put(saver, thread(), channel=[LONG])
    put(saver, thread(), channel=[LONG, "b"])

    assert values(saver, thread())["channel"] == [LONG, "b"]
    store.close()
