"""The storage keeps CrewAI's protocol, on a file and over HTTP, also where the built-in one does not."""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from crewai.memory.storage.backend import StorageBackend
from crewai.memory.types import MemoryRecord

from botwire import InvalidName, InvalidValue, Memory
from botwire.integrations.crewai import BotWireStorage, DimensionMismatch
from botwire.stores import open_store

X, Y, Z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def record(content: str = "a fact", scope: str = "/", embedding: list[float] | None = X, **more) -> MemoryRecord:
    return MemoryRecord(content=content, scope=scope, embedding=embedding, **more)


@pytest.fixture
def storage(any_url: str) -> BotWireStorage:
    return BotWireStorage("ns", url=any_url)


@pytest.fixture
def other(any_url: str):
    """A storage of the same records that shares nothing with the other one, as in another process."""
    store = open_store(any_url)
    yield BotWireStorage(memory=Memory("ns", store=store))
    store.close()


def contents(storage: BotWireStorage, scope: str | None = None) -> set[str]:
    return {found.content for found in storage.list_records(scope)}


# -------------------------------------------------------------------------------------- the protocol


def test_it_is_a_storage_backend(storage: BotWireStorage):
    assert isinstance(storage, StorageBackend)


def test_a_record_comes_back_equal(storage: BotWireStorage, other: BotWireStorage):
    aware = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    given = record(
        "été \x00 \U0001f600 'quoted'",
        "/user/1",
        [0.5, -0.25, 1e-3],
        categories=["a", "b/c"],
        metadata={"n": 1, "f": 1.5, "deep": {"list": [None, True, "x"]}},
        importance=0.75,
        created_at=aware,
        last_accessed=datetime(2026, 1, 2),  # noqa: DTZ001 - CrewAI's times are naive
        source="user-1",
        private=True,
    )
    storage.save([given])

    found = other.get_record(given.id)
    assert found == given.model_copy(update={"embedding": found.embedding})
    assert found.embedding == pytest.approx(given.embedding, rel=1e-6)
    assert other.list_records() == [found]
    assert other.search(given.embedding) == [(found, 1.0)]


def test_the_nearest_come_first_on_the_frameworks_scale(storage: BotWireStorage):
    storage.save(
        [record("same"), record("near", embedding=[0.8, 0.6, 0]), record("orthogonal", embedding=Y), record("none", embedding=None)]
    )

    found = storage.search(X)
    assert [known.content for known, _ in found] == ["same", "near", "orthogonal"]
    assert [score for _, score in found] == pytest.approx([1.0, 1 / 1.4, 1 / 3])
    assert [known.content for known, _ in storage.search(X, min_score=0.5)] == ["same", "near"]
    assert [known.content for known, _ in storage.search(X, limit=1)] == ["same"]
    assert storage.search(X, limit=0) == []
    assert storage.search(X, limit=-1) == []
    assert storage.search([]) == []


def test_records_that_are_equally_near_are_all_found_up_to_the_limit(storage: BotWireStorage):
    storage.save([record(f"{number}") for number in range(30)])

    assert len(storage.search(X, limit=12)) == 12
    assert len({known.id for known, _ in storage.search(X, limit=30)}) == 30


def test_ranking_is_that_of_a_computation_by_hand(storage: BotWireStorage):
    chance = random.Random(7)
    vectors = {f"{number}": [chance.gauss(0, 1) for _ in range(8)] for number in range(700)}  # several blocks of vectors
    storage.save([record(name, f"/{int(name) % 3}", vector) for name, vector in vectors.items()])
    storage.delete(record_ids=[known.id for known in storage.list_records(limit=1_000) if int(known.content) % 7 == 0])
    query = [chance.gauss(0, 1) for _ in range(8)]
    distances = {name: sum((a - b) ** 2 for a, b in zip(vector, query, strict=True)) for name, vector in vectors.items() if int(name) % 7}

    for scope, chosen in {None: distances, "/1": {name: d for name, d in distances.items() if int(name) % 3 == 1}}.items():
        expected = sorted(chosen, key=chosen.get)[:20]
        found = storage.search(query, scope, limit=20)
        assert [known.content for known, _ in found] == expected
        assert [score for _, score in found] == pytest.approx([1 / (1 + chosen[name]) for name in expected], rel=1e-5)


def test_saving_an_id_again_replaces_its_record(storage: BotWireStorage, other: BotWireStorage):
    first = record("old")
    storage.save([first])
    storage.save([first.model_copy(update={"content": "new", "embedding": Y})])

    assert contents(other) == {"new"}
    assert other.count() == 1
    assert other.search(Y)[0][1] == 1.0


def test_an_update_replaces_and_one_of_an_unknown_id_stores(storage: BotWireStorage):
    given = record("old", source="me", private=True)
    storage.update(given)
    storage.update(MemoryRecord(id=given.id, content="new", scope="/x", created_at=given.created_at))  # as consolidation makes it

    found = storage.get_record(given.id)
    assert (found.content, found.scope, found.source, found.private, found.embedding) == ("new", "/x", "me", True, X)
    storage.update(found.model_copy(update={"source": None, "private": False}))
    assert (storage.get_record(given.id).source, storage.get_record(given.id).private) == (None, False)


def test_what_is_listed_is_newest_first_and_by_pages(storage: BotWireStorage):
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - as CrewAI's
    storage.save([record(f"{day}", created_at=start + timedelta(days=day)) for day in (2, 0, 4, 1, 3)])

    assert [known.content for known in storage.list_records()] == ["4", "3", "2", "1", "0"]
    assert [known.content for known in storage.list_records(limit=2, offset=1)] == ["3", "2"]
    assert storage.list_records(limit=0) == []
    assert storage.list_records(offset=9) == []


def test_scopes_and_categories_are_told(storage: BotWireStorage):
    early, late = datetime(2026, 1, 1), datetime(2026, 2, 1)  # noqa: DTZ001 - as CrewAI's
    storage.save(
        [
            record(scope="/a/b/c", categories=["x", "y"], created_at=early),
            record(scope="a/d/", categories=["x"], created_at=late),
            record(scope="/", categories=["z"]),
        ]
    )

    assert storage.list_scopes() == ["/a"]
    assert storage.list_scopes("/a") == storage.list_scopes("a//") == ["/a/b", "/a/d"]
    assert storage.list_scopes("/a/d") == []
    assert storage.list_categories() == {"x": 2, "y": 1, "z": 1}
    assert storage.list_categories("/a/b") == {"x": 1, "y": 1}
    info = storage.get_scope_info("/a")
    assert (info.path, info.record_count, info.categories) == ("/a", 2, ["x", "y"])
    assert (info.oldest_record, info.newest_record, info.child_scopes) == (early, late, ["/a/b", "/a/d"])
    assert storage.get_scope_info("/none").record_count == 0


def test_touched_records_say_when_they_were_read(storage: BotWireStorage, other: BotWireStorage):
    past = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    given = record(last_accessed=past)
    storage.save([given])
    storage.search(X)
    storage.touch_records([given.id, "unknown"])

    found = other.get_record(given.id)
    assert found.last_accessed > past + timedelta(minutes=59)
    storage.search(X)
    storage.touch_records([given.id])
    assert other.get_record(given.id) == found  # within a minute, it is not written again


def test_the_awaitable_methods_do_the_same(storage: BotWireStorage):
    async def all_of_them() -> tuple[int, int]:
        await storage.asave([record("a"), record("b", embedding=Y)])
        found = await storage.asearch(X, limit=1)
        return len(found), await storage.adelete(record_ids=[found[0][0].id])

    assert asyncio.run(all_of_them()) == (1, 1)
    assert contents(storage) == {"b"}


# -------------------------------------------------------------------- what the built-in storage does not do


@pytest.fixture
def neighbours(storage: BotWireStorage) -> BotWireStorage:
    scopes = ["/", "/user", "/user/1", "/user/1/deep", "/user/10", "/user/1-b", "/user/1_", "/USER/1", "/user/%"]
    storage.save([record(scope, scope, metadata={"n": number}, categories=[f"c{number % 2}"]) for number, scope in enumerate(scopes)])
    return storage


@pytest.mark.parametrize("scope", ["/user/1", "user/1", "/user/1/", "//user//1"])
def test_a_scope_is_itself_and_what_lies_below_it(neighbours: BotWireStorage, scope: str):
    expected = {"/user/1", "/user/1/deep"}
    assert contents(neighbours, scope) == expected
    assert {known.content for known, _ in neighbours.search(X, scope)} == expected
    assert neighbours.count(scope) == neighbours.get_scope_info(scope).record_count == 2
    assert neighbours.delete(scope_prefix=scope) == 2
    assert neighbours.count() == 7


def test_a_scope_is_no_pattern(neighbours: BotWireStorage):
    assert contents(neighbours, "/user/%") == {"/user/%"}
    assert contents(neighbours, "/user/1_") == {"/user/1_"}


def test_reset_of_a_scope_leaves_its_neighbours(neighbours: BotWireStorage):
    neighbours.reset("/user/1")

    assert contents(neighbours) == {"/", "/user", "/user/10", "/user/1-b", "/user/1_", "/USER/1", "/user/%"}


def test_forgetting_a_scope_leaves_those_above_it(neighbours: BotWireStorage):
    assert neighbours.delete(scope_prefix="/user/10") == 1
    assert "/" in contents(neighbours)


def test_all_that_is_given_must_fit(neighbours: BotWireStorage):
    ids = {known.content: known.id for known in neighbours.list_records()}
    future = datetime.now(UTC) + timedelta(days=1)

    assert neighbours.delete(scope_prefix="/user/1", record_ids=[ids["/user/10"]]) == 0
    assert neighbours.delete(scope_prefix="/user", categories=["c0"], metadata_filter={"n": 3}) == 0
    assert neighbours.delete(record_ids=[ids["/"]], older_than=datetime(2000, 1, 1)) == 0  # noqa: DTZ001 - as CrewAI's
    assert neighbours.delete(record_ids=[]) == neighbours.delete(categories=[]) == 0
    assert neighbours.count() == 9
    assert neighbours.delete(scope_prefix="/user", categories=["c1", "none"], metadata_filter={"n": 3}, older_than=future) == 1
    assert "/user/1/deep" not in contents(neighbours)
    assert neighbours.delete() == 8


def test_search_filters_before_it_counts(storage: BotWireStorage):
    storage.save([record(f"near {number}") for number in range(50)])
    storage.save([record("far", embedding=Y, categories=["rare"], metadata={"k": True})])

    assert [known.content for known, _ in storage.search(X, categories=["rare"], limit=1)] == ["far"]
    assert [known.content for known, _ in storage.search(X, metadata_filter={"k": True}, limit=1)] == ["far"]
    assert storage.search(X, metadata_filter={"k": 1}) == []  # True is not 1


def test_metadata_that_is_no_json_is_refused_and_nothing_is_stored(storage: BotWireStorage):
    with pytest.raises(InvalidValue, match="metadata"):
        storage.save([record("good"), record("bad", metadata={"when": datetime.now(UTC)})])
    assert storage.count() == 0


@pytest.mark.parametrize("bad", [[math.nan, 1.0], [math.inf, 1.0], [1e39, 1.0]])
def test_an_embedding_that_float32_cannot_hold_is_refused(storage: BotWireStorage, bad: list[float]):
    with pytest.raises(InvalidValue, match="finite"):
        storage.save([record(embedding=bad)])
    assert storage.count() == 0


def test_another_dimension_is_refused_and_the_error_names_both_and_the_cure(storage: BotWireStorage, other: BotWireStorage):
    storage.save([record()])
    for attempt in (lambda: other.save([record(embedding=[1.0] * 5)]), lambda: other.search([1.0] * 5)):
        with pytest.raises(DimensionMismatch, match=r"3 numbers.* has 5.*another namespace.*reset\(\)") as caught:
            attempt()
        assert (caught.value.stored, caught.value.given) == (3, 5)
        assert isinstance(caught.value, ValueError)
        assert not isinstance(caught.value, RuntimeError)
    with pytest.raises(DimensionMismatch):
        storage.save([record(embedding=[1.0] * 3), record(embedding=[1.0] * 4)])
    assert other.count() == 1

    storage.reset()
    other.save([record(embedding=[1.0] * 5)])
    assert len(storage.search([1.0] * 5)) == 1


def test_the_namespace_is_a_wall(any_url: str):
    memory = Memory("ns", url=any_url)
    memory.set("key", 1)
    memory.session("talk").append(("user", "hi"))
    mine, theirs = BotWireStorage("ns", url=any_url), BotWireStorage("ns2", url=any_url)
    mine.save([record("mine")])
    theirs.save([record("theirs")])

    assert memory.list_keys() == ["key"]
    mine.reset()
    assert (contents(mine), contents(theirs)) == (set(), {"theirs"})
    assert (memory.list_keys(), len(memory.session("talk"))) == (["key"], 1)
    theirs.delete()
    assert theirs.count() == 0


def test_a_reset_is_noticed_by_others_and_they_go_on(storage: BotWireStorage, other: BotWireStorage):
    storage.save([record("old")])
    assert contents(other) == {"old"}
    storage.reset()
    storage.save([record("a"), record("b"), record("c")])

    assert contents(other) == {"a", "b", "c"}
    other.reset()
    assert storage.search(X) == []


# ------------------------------------------------------------------------------------- how it is written


def test_what_is_deleted_does_not_make_the_log_grow_for_ever(storage: BotWireStorage, other: BotWireStorage):
    """Others, who know some of it, see no difference."""
    stay = [record(f"stay {number}", "/stay", [number, 1.0, 0.0]) for number in range(600)]
    storage.save(stay)
    assert other.count() == 600
    log = Memory("ns", store=storage._memory.store).session("crewai/records")
    for round_ in range(12):
        storage.save([record(f"go {round_} {number}", "/go") for number in range(300)])
        assert storage.delete(scope_prefix="/go") == 300

    assert len(log) < 4_000
    for reader in (storage, other, BotWireStorage(memory=Memory("ns", store=open_store(storage._memory.store.url)))):
        assert reader.count() == 600
        assert [known.content for known, score in reader.search([5.0, 1.0, 0.0], limit=1)] == ["stay 5"]
        assert reader.get_record(stay[599].id).content == "stay 599"


def test_who_has_read_all_reads_nothing_anew_when_the_log_becomes_shorter(
    storage: BotWireStorage, other: BotWireStorage, monkeypatch: pytest.MonkeyPatch
):
    records = [record(f"{number}", embedding=[number, 1.0, 0.0]) for number in range(100)]
    for _ in range(6):
        storage.save(records)
    assert storage.count() == other.count() == 100
    generation = other._kept.fold.generation
    monkeypatch.setattr("botwire.integrations.crewai._fold.SPARE_ROWS", 10)
    storage._kept.shorten()

    assert len(Memory("ns", store=storage._memory.store).session("crewai/records")) == 101
    assert [known.content for known, _ in other.search([5.0, 1.0, 0.0], limit=1)] == ["5"]
    assert other._kept.fold.generation == generation
    storage.save([record("more")])
    assert other.count() == 101
    assert other._kept.fold.generation == generation


def test_what_others_do_to_the_session_is_noticed(storage: BotWireStorage, other: BotWireStorage):
    log = Memory("ns", store=storage._memory.store).session("crewai/records")
    storage.save([record("a"), record("b"), record("c")])
    assert other.count() == 3
    log.append(("user", "a stranger"))
    assert other.count() == 3
    log.pop()
    log.pop()
    assert contents(other) == {"a", "b"}
    storage.save([record("d")])
    log.trim(2)
    assert contents(other) == {"b", "d"}


def test_a_message_that_cannot_be_read_is_passed_over(storage: BotWireStorage, caplog: pytest.LogCaptureFixture):
    log = Memory("ns", store=storage._memory.store).session("crewai/records")
    storage.save([record("a")])
    log.append({"role": "system", "content": "x", "native": {}}, {"role": "system", "content": "y", "native": {"crewai": {"record": {}}}})
    log.append({"role": "system", "content": "y"})
    storage.save([record("b")])

    assert contents(storage) == {"a", "b"}


def test_a_log_that_cannot_be_read_in_places_loses_only_those(any_url: str, caplog: pytest.LogCaptureFixture):
    from botwire.stores import Append, Batch

    memory = Memory("ns", url=any_url)
    storage = BotWireStorage(memory=memory)
    storage.save([record("a")])
    bodies = [{"role": "system", "content": "y", "native": {"crewai": event}} for event in ({"record": {}}, {"delete": {"what": 1}}, 5, [])]
    memory.store.write([Batch("ns", (Append("crewai/records", "", tuple(map(json.dumps, bodies))),))])

    assert contents(storage) == {"a"}
    assert len([entry for entry in caplog.records if "cannot be read" in entry.message]) >= 3


def test_a_search_costs_one_round_trip_once_the_records_are_known(server: str):
    requests = []
    storage = BotWireStorage("ns", url=server)
    storage.save([record(f"{number}") for number in range(50)])
    storage.search(X)
    store = storage._memory.store
    original = store._exchange
    store._exchange = lambda request: (requests.append(request.target), original(request))[1]

    storage.search(X, "/", limit=10)
    assert len(requests) == 1
    requests.clear()
    storage.save([record("one more")])
    assert len(requests) == 2
    requests.clear()
    assert len(storage.search(X, limit=100)) == 51
    assert len(requests) == 1


def test_constructor_arguments_that_contradict_each_other_are_refused(memory: Memory):
    with pytest.raises(InvalidValue, match="not both"):
        BotWireStorage("other", memory=memory)
    with pytest.raises(InvalidName):
        BotWireStorage("")
    assert BotWireStorage(memory=memory).namespace == "default"


# ------------------------------------------------------------------------------------------ at once


def test_of_many_who_delete_a_record_one_is_told_that_they_did(storage: BotWireStorage, any_url: str):
    stores = [open_store(any_url) for _ in range(4)]
    handles = [BotWireStorage(memory=Memory("ns", store=store)) for store in stores]
    records = [record(f"{number}") for number in range(20)]
    storage.save(records)
    barrier = threading.Barrier(8)

    def delete(number: int) -> int:
        barrier.wait()
        return sum(handles[number % 4].delete(record_ids=[known.id]) for known in records)

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(delete, range(8)))
    assert sum(counts) == 20
    assert storage.count() == 0
    for store in stores:
        store.close()


def test_many_who_write_search_and_shorten_at_once_lose_nothing(storage: BotWireStorage, any_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("botwire.integrations.crewai._fold.SPARE_ROWS", 20)
    monkeypatch.setattr("botwire.integrations.crewai._fold.MOVED_AT_ONCE", 16)
    stores = [open_store(any_url) for _ in range(3)]
    handles = [storage, *(BotWireStorage(memory=Memory("ns", store=store)) for store in stores)]
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        mine = handles[number % 4]
        barrier.wait()
        for round_ in range(12):
            mine.save([record(f"stay {number} {round_}", f"/stay/{number}"), record("go", f"/go/{number}")])
            assert mine.delete(scope_prefix=f"/go/{number}") == 1
            assert len(mine.search(X, f"/stay/{number}", limit=100)) == round_ + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    expected = {f"stay {number} {round_}" for number in range(8) for round_ in range(12)}
    for handle in (*handles, BotWireStorage(memory=Memory("ns", store=open_store(any_url)))):
        assert contents(handle) == expected
    assert len(Memory("ns", url=any_url).session("crewai/records")) < 8 * 12 * 3 - 20  # it was shortened in the middle of it
    for store in stores:
        store.close()
