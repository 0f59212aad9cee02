"""Request ids: a call that is repeated is applied once, and answers the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from botwire._errors import RequestConflict, VersionConflict
from botwire._memory import Memory
from botwire.stores._protocol import (
    Append,
    Batch,
    Change,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    Operation,
    Pop,
    Set,
    SetLog,
    Trim,
)
from botwire.testing._base import ContractBase, together

_CALLS: dict[str, Callable[[Memory], Any]] = {
    "set": lambda memory: memory.set("k", 1, request_id="r"),
    "set with a version": lambda memory: memory.set("k", 1, if_version=1, request_id="r"),
    "set with a ttl": lambda memory: memory.set("k", 1, ttl=1_000, request_id="r"),
    "set_many": lambda memory: memory.set_many({"k": 1, "l": 2}, request_id="r"),
    "increment": lambda memory: memory.increment("k", 5, request_id="r"),
    "append": lambda memory: memory.append("list", 1, "two", request_id="r"),
    "merge": lambda memory: memory.merge("k", {"a": {"b": 1}}, request_id="r"),
    "session.append": lambda memory: memory.session("s").append(("user", "hi"), ("user", "\ud800"), request_id="r"),
    "session.append of an agent": lambda memory: memory.session("s", agent="a").append(("user", "hi"), request_id="r"),
}

_OPERATIONS: dict[str, tuple[Operation, ...]] = {
    "Set if absent": (Set("new", "1", if_version=0),),
    "Delete": (Delete("k"),),
    "Delete of a version": (Delete("k", if_version=1),),
    "Change": (Change("k", "increment", "3"),),
    "Clear": (Clear(),),
    "Append": (Append("s", "", ('{"a":1}', "{}")),),
    "Pop": (Pop("s", ""),),
    "Pop of nothing": (Pop("none", ""),),
    "Trim": (Trim("s", "", 1),),
    "ClearLog": (ClearLog("s", ""),),
    "SetLog": (SetLog("s", "", 10**9, '{"b":2}', merge=True),),
    "DeleteLog": (DeleteLog("s", None),),
    "several": (Pop("s", ""), Change("k", "increment", "1"), Append("s", "", ("{}",)), Delete("other"), Set("new", "1")),
}


_OTHER_WRITES: list[Callable[[Memory], Any]] = [
    lambda memory: memory.set("k", 2, request_id="r"),
    lambda memory: memory.set("l", 1, request_id="r"),
    lambda memory: memory.set("k", 1, ttl=60, request_id="r"),
    lambda memory: memory.set("k", 1, if_version=1, request_id="r"),
    lambda memory: memory.set("k", "1", request_id="r"),
    lambda memory: memory.set("k", 1.0, request_id="r"),
    lambda memory: memory.increment("k", 1, request_id="r"),
    lambda memory: memory.set_many({"k": 1, "l": 1}, request_id="r"),
]


class RequestContract(ContractBase):
    """What request ids promise: what a retry after a lost answer needs."""

    @pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
    def test_a_repeated_call_is_applied_once(self, call: Callable[[Memory], Any]) -> None:
        """The same call under the same id answers the same, from any memory, and nothing changes."""
        self.memory().set("k", 1)
        first = call(self.memory())
        before = self.contents()
        assert call(self.memory()) == first
        assert call(self.memory()) == first
        assert self.contents() == before

    @pytest.mark.parametrize("operations", _OPERATIONS.values(), ids=_OPERATIONS)
    def test_a_repeated_batch_is_applied_once(self, operations: tuple[Operation, ...]) -> None:
        """Every operation answers a repetition as it did the first time, rows and all, even when others wrote meanwhile."""
        self.apply(Set("k", "1"), Set("other", "2"), Append("s", "", ("1", '"2"', '{"three":"\\ud800"}')))
        first = self.apply(*operations, request_id="r")
        self.apply(Set("later", "1"), Set("new", "5"), Append("s", "", ("{}",)))
        before = self.contents()
        again = self.apply(*operations, request_id="r")
        assert again == first
        assert [type(result) for result in again] == [type(result) for result in first]
        assert self.contents() == before

    def test_a_repetition_in_the_same_call_is_one_too(self) -> None:
        """Two equal batches of one write are one."""
        batch = Batch(self.namespace, (Change("n", "increment", "1"),), "r")
        outcomes = self.subject.write((batch, batch))
        assert outcomes[0] == outcomes[1]
        assert self.memory().get("n") == 1

    def test_repetitions_at_the_same_moment_are_one(self) -> None:
        """However many threads send the same request at once, it is applied once, and all get the same answer."""
        answers = together(*[lambda: self.memory().increment("n", request_id="r")] * 8)
        assert answers == [1] * 8
        answers = together(*[lambda: self.session().append(("user", "hi"), request_id="r")] * 8)
        assert answers == [[1]] * 8
        assert self.session().count() == 1

    def test_calls_of_other_ids_or_none_are_calls_of_their_own(self) -> None:
        """Without an id, or with another one, the same call is applied again."""
        memory = self.memory()
        assert [memory.increment("n", request_id=name) for name in (None, "a", None, "b")] == [1, 2, 3, 4]
        session = memory.session("s")
        assert [session.append(("user", "hi"), request_id=name) for name in (None, "a", "b", None)] == [[1], [2], [3], [4]]

    @pytest.mark.parametrize("other", _OTHER_WRITES)
    def test_one_id_for_two_writes_is_a_conflict(self, other: Callable[[Memory], Any]) -> None:
        """The same id for a different write is refused, and changes nothing."""
        memory = self.memory()
        memory.set("k", 1, request_id="r")
        before = self.contents()
        with pytest.raises(RequestConflict):
            other(memory)
        assert self.contents() == before
        assert memory.set("k", 1, request_id="r") == 1

    def test_one_id_for_two_appends_is_a_conflict(self) -> None:
        """The same id for other messages is refused, and appends nothing."""
        session = self.session()
        session.append(("user", "one"), request_id="r")
        for messages in ([("user", "two")], [("user", "one"), ("user", "two")], [("assistant", "one")]):
            with pytest.raises(RequestConflict):
                session.append(*messages, request_id="r")
        assert session.count() == 1

    def test_ids_are_apart_for_each_session_and_namespace(self) -> None:
        """The same id names another request in another session, agent or namespace, and beside all sessions."""
        memory, other = self.memory(), self.memory(self.namespace + "2")
        assert memory.increment("n", request_id="r") == 1
        assert other.increment("n", request_id="r") == 1
        for session in (memory.session("s"), memory.session("t"), memory.session("s", agent="a"), other.session("s")):
            assert session.append(("user", "hi"), request_id="r") == [1]
            assert session.append(("user", "hi"), request_id="r") == [1]
            assert session.count() == 1

    def test_what_failed_is_not_remembered(self) -> None:
        """A request that was refused may be repeated once the reason is gone."""
        memory = self.memory()
        with pytest.raises(VersionConflict):
            memory.set("k", "mine", if_version=1, request_id="r")
        memory.set("k", "other's")
        assert memory.set("k", "mine", if_version=1, request_id="r") == 2
        assert memory.set("k", "mine", if_version=1, request_id="r") == 2
        assert memory.get("k") == "mine"

    def test_a_repeated_set_does_not_undo_what_came_after(self) -> None:
        """A late repetition leaves newer values alone."""
        memory = self.memory()
        memory.set("k", "first", request_id="r")
        memory.set("k", "second")
        assert memory.set("k", "first", request_id="r") == 1
        assert memory.get("k") == "second"
        memory.delete("k")
        assert memory.set("k", "first", request_id="r") == 1
        assert memory.get("k") is None

    def test_ids_are_remembered_for_a_day(self) -> None:
        """A repetition almost a day later is one still."""
        self.needs("advance")
        memory = self.memory()
        memory.increment("n", request_id="r")
        self.advance(86_400 - 1)
        assert memory.increment("n", request_id="r") == 1
        assert memory.get("n") == 1

    def test_ids_are_remembered_over_a_restart(self) -> None:
        """A repetition after the store was closed and opened again is one still."""
        self.needs("reopen")
        memory: Memory = self.memory()
        memory.increment("n", request_id="r")
        self.subject = self.reopen()
        assert self.memory().increment("n", request_id="r") == 1
        assert self.memory().get("n") == 1

    @pytest.mark.parametrize("name", ["a/b", "\U0001f600", "%2F", "a b", "x" * 512, "::", '"', "é"])
    def test_an_id_is_any_name(self, name: str) -> None:
        """An id may be any text that could be a key."""
        memory = self.memory()
        assert [memory.increment("n", request_id=name) for _ in range(2)] == [1, 1]
        assert [memory.session("s").append(("user", "hi"), request_id=name) for _ in range(2)] == [[1], [1]]
