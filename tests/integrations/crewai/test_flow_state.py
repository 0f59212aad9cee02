"""A Flow's state comes back exactly as it was saved, or is refused by the path of what would not; it never grows by itself."""

from __future__ import annotations

import copy
import enum
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from crewai.flow.flow import Flow, listen, start
from crewai.flow.persistence import persist
from crewai.flow.persistence.base import _persistence_registry
from flows import MEMORY
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from botwire import InvalidName, InvalidValue, Memory, StoreUnavailable
from botwire.integrations.crewai import BotWireFlowPersistence

JSON: dict[str, Any] = {
    "id": "f1",
    "none": None,
    "bools": [True, False],
    "numbers": [0, -0.0, 1.5, 10**40, 1, 1.0],
    "text": "ü \ud800 \x00 'quoted' \"42\"",
    "looks like JSON": "[1]",
    "deep": {"a": [{"b": {}}, []]},
    "": "an empty name",
    "messages": "no list",
}


class Colour(enum.Enum):
    RED = "red"


class Typed(BaseModel):
    id: str = "f1"
    when: datetime = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    day: date = date(2026, 1, 2)
    span: timedelta = timedelta(seconds=1.5)
    money: Decimal = Decimal("1.10")
    key: UUID = Field(default_factory=uuid4)
    colours: set[Colour] = {Colour.RED}
    pair: tuple[int, str] = (1, "a")
    path: Path = Path("folder/file")
    counts: dict[int, list[Colour]] = {1: [Colour.RED]}
    inner: list[Colour | None] = [None, Colour.RED]
    hidden: str = Field(default="not stored", exclude=True)


def exactly(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other) and one == other


def test_a_dict_of_json_comes_back_exactly(any_url: str):
    BotWireFlowPersistence(url=any_url).save_state(flow_uuid="f1", method_name="step", state_data=JSON)

    assert exactly(BotWireFlowPersistence(url=any_url).load_state("f1"), JSON)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), r"state\['deep'\]\[0\]\['x'\]"),
        (datetime(2026, 1, 1, tzinfo=UTC), r"state\['deep'\]\[0\]\['x'\]"),
        ((1, 2), r"state\['deep'\]\[0\]\['x'\]"),
        ({1: 2}, r"state\['deep'\]\[0\]\['x'\]"),
        (b"x", r"state\['deep'\]\[0\]\['x'\]"),
        (Typed(), r"state\['deep'\]\[0\]\['x'\]"),
    ],
    ids=["nan", "datetime", "tuple", "number as a name", "bytes", "model"],
)
def test_what_json_cannot_hold_in_a_dict_is_refused_by_its_path_and_nothing_is_stored(url: str, value: Any, path: str):
    persistence = BotWireFlowPersistence(url=url)
    persistence.save_state("f1", "before", {"id": "f1", "kept": 1})

    with pytest.raises(InvalidValue, match=path):
        persistence.save_state("f1", "step", {"id": "f1", "deep": [{"x": value}]})

    assert persistence.load_state("f1") == {"id": "f1", "kept": 1}


def test_a_model_comes_back_equal_with_dates_enums_and_sets(url: str):
    state = Typed()
    BotWireFlowPersistence(url=url).save_state("f1", "step", state)

    assert Typed.model_validate(BotWireFlowPersistence(url=url).load_state("f1")) == state


class Loose(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    id: str = "f1"
    anything: Any = None


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"when": [datetime(2026, 1, 1, tzinfo=UTC)]}, r"state\['anything'\]\['when'\]\[0\]: a datetime"),
        ((1,), r"state\['anything'\]: a tuple"),
        ([{1}], r"state\['anything'\]\[0\]: a set"),
        ([object()], r"state\['anything'\]\[0\]: a object"),
        ({"key": SecretStr("hush")}, r"state\['anything'\]\['key'\]: a SecretStr"),
        (float("inf"), r"anything"),
        (b"\xff", r"state\['anything'\]: a bytes"),
    ],
    ids=["datetime", "tuple", "set", "object", "secret", "infinity", "bytes"],
)
def test_what_a_model_would_not_read_back_equal_is_refused_by_its_path(url: str, value: Any, path: str):
    persistence = BotWireFlowPersistence(url=url)

    with pytest.raises(InvalidValue, match=path) as caught:
        persistence.save_state("f1", "step", Loose(anything=value))

    assert "hush" not in str(caught.value)
    assert persistence.load_state("f1") is None


def test_a_state_that_could_not_be_restored_is_refused_when_it_is_saved(url: str):
    state = Typed()
    state.day = "someday"  # type: ignore[assignment]

    with pytest.raises(InvalidValue, match="could not be restored"):
        BotWireFlowPersistence(url=url).save_state("f1", "step", state)


def test_there_is_nothing_of_a_flow_that_was_never_saved(any_url: str):
    persistence = BotWireFlowPersistence(url=any_url)

    assert persistence.load_state("nobody") is None
    assert persistence.load_pending_feedback("nobody") is None
    assert persistence.earlier_states("nobody") == []


def test_a_flow_that_ran_a_hundred_times_takes_one_entry(url: str):
    persistence = BotWireFlowPersistence(url=url)
    for count in range(100):
        persistence.save_state("f1", "step", {"id": "f1", "count": count})

    with Memory(url=url) as memory:
        assert memory.list_keys() == ["crewai:flow:f1"]
    assert persistence.load_state("f1") == {"id": "f1", "count": 99}


def test_earlier_states_are_kept_as_many_as_asked_for(any_url: str):
    persistence = BotWireFlowPersistence(url=any_url, history=2)
    for count in range(5):
        persistence.save_state("f1", f"step {count}", {"id": "f1", "count": count, "messages": [{"role": "user", "content": "hi"}] * count})

    earlier = persistence.earlier_states("f1")
    assert [(state["method"], state["state"]) for state in earlier] == [
        ("step 3", {"id": "f1", "count": 3}),
        ("step 4", {"id": "f1", "count": 4}),
    ]
    assert datetime.fromisoformat(earlier[0]["saved_at"]).tzinfo is not None


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "hi"}],
        [{"role": "user", "content": "hi", "name": None}, {"role": "assistant", "content": None}],
        [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}],
        [{"role": "assistant", "content": "", "tool_calls": [{"odd": 1}], "files": {"a": {"b": 1}}, "mine": [1.0]}],
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "untyped"}, "bare"]}],
        [{"role": "user", "content": 5, "name": 5, "metadata": "m"}],
        [{"role": "tool", "content": "x", "tool_call_id": "1", "metadata": {"a": 1}}],
        ["no message"],
        [{"role": "wizard", "content": "hi"}],
        {"role": "user", "content": "hi"},
        None,
    ],
    ids=lambda messages: json.dumps(messages)[:40],
)
def test_whatever_a_dict_has_under_messages_comes_back_exactly(url: str, messages: Any):
    state = {"id": "f1", "messages": messages, "after": 1}
    persistence = BotWireFlowPersistence(url=url)

    persistence.save_state("f1", "step", copy.deepcopy(state))
    assert persistence.load_state("f1") == state
    persistence.save_state("f1", "again", copy.deepcopy(state))
    assert persistence.load_state("f1") == state


def test_the_messages_may_lie_under_another_name_or_in_the_state(url: str):
    said = [{"role": "user", "content": "hi"}]
    BotWireFlowPersistence(url=url, messages_in="talk").save_state("f1", "step", {"id": "f1", "talk": said})
    BotWireFlowPersistence(url=url, messages_in=None).save_state("f2", "step", {"id": "f2", "messages": said})

    with Memory(url=url) as memory:
        assert [info.session_id for info in memory.sessions()] == ["f1"]
    assert BotWireFlowPersistence(url=url, messages_in="talk").load_state("f1") == {"id": "f1", "talk": said}
    assert BotWireFlowPersistence(url=url, messages_in=None).load_state("f2") == {"id": "f2", "messages": said}


# ------------------------------------------------------------------------------- in the framework


def test_methods_that_run_side_by_side_all_end_in_the_state(any_url: str):
    @persist(BotWireFlowPersistence(url=any_url))
    class Both(Flow[dict]):
        @start()
        def one(self):
            self.state["one"] = 1

        @start()
        def two(self):
            self.state["two"] = 2

        @listen(one)
        def three(self):
            self.state["three"] = 3

    flow = Both(suppress_flow_events=True, memory=MEMORY)
    flow.kickoff()
    flow.kickoff()

    loaded = BotWireFlowPersistence(url=any_url).load_state(flow.state["id"])
    assert loaded == {"id": flow.state["id"], "one": 1, "two": 2, "three": 3}


def test_a_flow_goes_on_from_its_state_under_its_id(any_url: str):
    class Count(BaseModel):
        id: str = ""
        count: int = 0

    def counter() -> Flow[Any]:
        @persist(BotWireFlowPersistence(url=any_url))
        class Counter(Flow[Count]):
            @start()
            def step(self):
                self.state.count += 1
                return self.state.count

        return Counter(suppress_flow_events=True, memory=MEMORY)

    assert [counter().kickoff(inputs={"id": "c1"}) for _ in range(3)] == [1, 2, 3]


def test_a_flow_asks_and_what_it_had_is_saved_before_the_answer(url: str):
    persistence = BotWireFlowPersistence(url=url)
    seen: list[Any] = []

    class Answers:
        def request_input(self, message: str, flow: Any, metadata: Any = None) -> str:
            seen.append(BotWireFlowPersistence(url=url).load_state("a1"))
            return "blue"

    class Asking(Flow[Typed]):
        @start()
        def ask_for_it(self):
            self.state.inner.append(Colour.RED)
            return self.ask("Which colour?")

    flow = persist(persistence)(Asking)(suppress_flow_events=True, memory=MEMORY, input_provider=Answers())
    assert flow.kickoff(inputs={"id": "a1"}) == "blue"

    assert Typed.model_validate(seen[0]).inner == [None, Colour.RED, Colour.RED]


def test_a_flow_whose_state_cannot_be_stored_fails_and_says_where(url: str):
    @persist(BotWireFlowPersistence(url=url))
    class Bad(Flow[dict]):
        @start()
        def step(self):
            self.state["when"] = datetime(2026, 1, 1, tzinfo=UTC)

    with pytest.raises((RuntimeError, ValueError), match=r"state\['when'\]"):
        Bad(suppress_flow_events=True, memory=MEMORY).kickoff()


def test_a_store_that_is_down_fails_the_flow_and_the_next_run_works(tmp_path: Path):
    folder = tmp_path / "later"
    persistence = BotWireFlowPersistence(url=f"sqlite://{folder}/memory.db")
    folder.write_text("in the way")

    @persist(persistence)
    class Step(Flow[dict]):
        @start()
        def step(self):
            self.state["done"] = True

    with pytest.raises((StoreUnavailable, RuntimeError)):
        Step(suppress_flow_events=True, memory=MEMORY).kickoff(inputs={"id": "f1"})
    folder.unlink()
    Step(suppress_flow_events=True, memory=MEMORY).kickoff(inputs={"id": "f1"})
    assert persistence.load_state("f1") == {"id": "f1", "done": True}


# --------------------------------------------------------------------------------- as a JSON field


def test_a_flows_json_names_the_store_without_a_secret_and_restores_it(url: str):
    given = BotWireFlowPersistence("chats", url=url, ttl=timedelta(hours=1), history=2, messages_in="talk")
    text = json.dumps(given.model_dump(mode="json"))
    restored = BotWireFlowPersistence.model_validate(json.loads(text))

    given.save_state("f1", "step", {"id": "f1"})
    assert restored.load_state("f1") == {"id": "f1"}
    assert (restored.ttl, restored.history, restored.messages_in) == (3600, 2, "talk")
    assert _persistence_registry["BotWireFlowPersistence"] is BotWireFlowPersistence
    assert json.loads(text)["persistence_type"] == "BotWireFlowPersistence"
    with Memory("chats", url=url) as memory:
        assert BotWireFlowPersistence(memory=memory).model_dump(mode="json")["url"] == memory.store.url
    assert BotWireFlowPersistence().model_dump(mode="json")["url"] is None
    password = BotWireFlowPersistence(url="http://user:hush@127.0.0.1:9").model_dump(mode="json")
    assert "hush" not in json.dumps(password)


def test_a_copy_stands_for_the_same_store(url: str):
    persistence = BotWireFlowPersistence(url=url)
    copy.deepcopy(persistence).save_state("f1", "step", {"id": "f1"})

    assert persistence.model_copy().load_state("f1") == {"id": "f1"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"namespace": ""}, InvalidName),
        ({"ttl": 0}, InvalidValue),
        ({"history": -1}, InvalidValue),
        ({"history": True}, InvalidValue),
        ({"url": "memory://", "memory": Memory(url="memory://")}, InvalidValue),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_used_are_refused_at_once(arguments: dict[str, Any], error: type[Exception]):
    with pytest.raises(error):
        BotWireFlowPersistence(**arguments)


def test_an_id_that_is_no_name_is_refused(url: str):
    persistence = BotWireFlowPersistence(url=url)
    with pytest.raises(InvalidName):
        persistence.load_state("a\nb")
    with pytest.raises(InvalidName):
        persistence.save_state("x" * 600, "step", {"id": "x"})
