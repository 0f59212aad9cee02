"""Changes: increment, append, merge, update."""

from __future__ import annotations

from typing import Any

import pytest

from botwire._errors import InvalidValue
from botwire.stores._protocol import Change, Changed, Set
from botwire.testing._base import ContractBase, exactly
from botwire.testing._samples import MERGE_CASES


class ChangeContract(ContractBase):
    """What the calls promise that compute a value from the present one."""

    @pytest.mark.parametrize(
        ("numbers", "total"),
        [
            ([1, 1, 1], 3),
            ([5, -7], -2),
            ([0], 0),
            ([1.5, 1], 2.5),
            ([1, 0.0], 1.0),
            ([2**64, 1], 2**64 + 1),
            ([10**3_000, 1], 10**3_000 + 1),
            ([0.1, 0.2], 0.1 + 0.2),
        ],
    )
    def test_increments_add_up(self, numbers: list[float], total: float) -> None:
        """increment() adds to the number there, 0 if there is none, and returns the sum: ints exactly, floats as Python does."""
        memory = self.memory()
        answers = [memory.increment("n", number) for number in numbers]
        assert exactly(answers[-1], total)
        assert exactly(memory.get("n"), total)

    def test_increment_by_one_is_the_default(self) -> None:
        """increment(key) counts, each time a version."""
        memory = self.memory()
        assert [memory.increment("n") for _ in range(3)] == [1, 2, 3]
        entry = memory.get_entry("n")
        assert entry is not None
        assert entry.version == 3

    def test_a_change_tells_the_version_it_made(self) -> None:
        """change() does what increment, append and merge do, and returns the version with the result."""
        memory = self.memory()
        assert [memory.change("n", "increment", 2), memory.change("n", "increment", 0.5)] == [(1, 2), (2, 2.5)]
        assert memory.change("l", "append", [1, 2], max_items=1) == (1, 1)
        assert (
            memory.change("m", "merge", {"a": 1}, request_id="r") == memory.change("m", "merge", {"a": 1}, request_id="r") == (1, {"a": 1})
        )
        assert memory.get("l") == [2]

    @pytest.mark.parametrize(
        ("rule", "argument", "max_items"), [("double", 2, None), ("increment", "1", None), ("append", "abc", None), ("merge", {}, 1)]
    )
    def test_a_change_that_makes_no_sense_is_refused(self, rule: Any, argument: Any, max_items: int | None) -> None:
        """A rule that there is none, or an argument that it does not take, is refused before anything is written."""
        with pytest.raises(InvalidValue):
            self.memory().change("k", rule, argument, max_items=max_items)
        assert self.memory().count() == 0

    @pytest.mark.parametrize("value", ["1", None, True, [1], {"a": 1}], ids=repr)
    def test_only_numbers_are_incremented(self, value: Any) -> None:
        """An increment of what is no number is refused, naming the key, and the value stays."""
        memory = self.memory()
        memory.set("some key", value)
        before = self.contents()
        with pytest.raises(InvalidValue, match="some key"):
            memory.increment("some key")
        assert self.contents() == before

    @pytest.mark.parametrize(
        ("value", "by"), [(1.7e308, 1.7e308), (10**400, 1.5), (1.5, 10**400)], ids=["inf", "int to float", "float by int"]
    )
    def test_a_sum_that_is_no_number_is_refused(self, value: float, by: float) -> None:
        """A sum out of range is refused, and neither the value nor any other call suffers."""
        memory = self.memory()
        memory.set("n", value)
        with pytest.raises(InvalidValue):
            memory.increment("n", by)
        assert memory.get("n") == value
        assert memory.increment("other") == 1

    def test_append_makes_a_list_and_adds_to_it(self) -> None:
        """append() returns the new length, and takes any values in their order."""
        memory = self.memory()
        assert memory.append("l", "a") == 1
        assert memory.append("l", 1, None, ["x"]) == 4
        assert memory.append("l") == 4
        assert exactly(memory.get("l"), ["a", 1, None, ["x"]])

    def test_append_keeps_the_last_items(self) -> None:
        """With max_items the oldest go."""
        memory = self.memory()
        assert memory.append("l", 1, 2, 3, max_items=2) == 2
        assert memory.get("l") == [2, 3]
        assert memory.append("l", 4, max_items=2) == 2
        assert memory.get("l") == [3, 4]
        assert memory.append("l", 5) == 3
        assert memory.append("l", max_items=1) == 1
        assert memory.get("l") == [5]

    @pytest.mark.parametrize("value", ["text", None, 1, {"0": 1}], ids=repr)
    def test_only_lists_are_appended_to(self, value: Any) -> None:
        """An append to what is no list is refused, and the value stays."""
        memory = self.memory()
        memory.set("k", value)
        before = self.contents()
        with pytest.raises(InvalidValue, match="'k'"):
            memory.append("k", 1)
        assert self.contents() == before

    @pytest.mark.parametrize("most", [0, -1, True, 1.0, "1"], ids=repr)
    def test_max_items_is_at_least_one(self, most: Any) -> None:
        """A limit that is none is refused before anything is written."""
        memory = self.memory()
        with pytest.raises(InvalidValue, match="max_items"):
            memory.append("l", 1, max_items=most)
        assert memory.get("l") is None

    @pytest.mark.parametrize(("original", "patch", "result"), MERGE_CASES, ids=map(repr, MERGE_CASES))
    def test_merge_is_json_merge_patch(self, original: Any, patch: Any, result: Any) -> None:
        """merge() gives what RFC 7396, appendix A, says."""
        memory = self.memory()
        memory.set("k", original)
        assert exactly(memory.merge("k", patch), result)
        assert exactly(memory.get("k"), result)

    def test_merge_into_nothing_makes_an_object(self) -> None:
        """Nothing counts as an empty object; None members are not stored."""
        memory = self.memory()
        assert memory.merge("k", {"a": 1, "b": None, "c": {"d": None}}) == {"a": 1, "c": {}}
        assert memory.get("k") == {"a": 1, "c": {}}

    def test_update_replaces_by_what_the_function_returns(self) -> None:
        """update() gives the present value, or the default, and stores and returns the result."""
        memory = self.memory()
        assert memory.update("k", lambda value: [value, 1], default="none") == ["none", 1]
        assert memory.update("k", lambda value: [*value, 2]) == ["none", 1, 2]
        entry = memory.get_entry("k")
        assert entry is not None
        assert (entry.value, entry.version) == (["none", 1, 2], 2)

    def test_update_sees_a_write_that_came_between(self) -> None:
        """The function is called again, with the new value, when another writer was faster."""
        memory = self.memory()
        memory.set("k", 1)
        seen: list[int] = []

        def function(value: int) -> int:
            seen.append(value)
            if len(seen) == 1:
                self.apply(Set("k", "10"))
            return value + 1

        assert memory.update("k", function) == 11
        assert seen == [1, 10]

    def test_a_function_that_raises_changes_nothing(self) -> None:
        """The error comes through, and the entry stays."""
        memory = self.memory()
        memory.set("k", 1)
        before = self.contents()
        with pytest.raises(ZeroDivisionError):
            memory.update("k", lambda value: value / 0)
        with pytest.raises(InvalidValue):
            memory.update("k", "no function")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert self.contents() == before

    def test_the_store_answers_with_version_and_result(self) -> None:
        """A Change answers the version and what the rule answers, as JSON text."""
        assert self.apply(Change("n", "increment", "2"), Change("n", "increment", "3")) == [Changed(1, "2"), Changed(2, "5")]
        assert self.apply(Change("l", "append", '["a","b","c"]', 2)) == [Changed(1, "2")]
        (merged,) = self.apply(Change("o", "merge", '{"a":{"b":1}}'))
        assert merged == Changed(1, '{"a":{"b":1}}')
        (timed,) = self.apply(Change("t", "increment", "1", ttl=int(self.lifetime * 1_000_000)))
        assert timed.version == 1
        self.wait(self.lifetime)
        assert self.subject.get(self.namespace, "t") is None

    def test_a_change_respects_the_size_it_was_given(self) -> None:
        """A Change whose result is over max_bytes is refused, and the value stays."""
        self.apply(Change("l", "append", '["aaaa"]', max_bytes=12))
        before = self.contents()
        assert isinstance(self.outcome(Change("l", "append", '["aaaa"]', max_bytes=12)), InvalidValue)
        assert self.contents() == before
