"""Values: whatever JSON holds comes back exactly; whatever it cannot hold is refused, with the path inside."""

from __future__ import annotations

from typing import Any

import pytest

from botwire._errors import InvalidValue
from botwire.testing._base import ContractBase, exactly
from botwire.testing._samples import BAD_VALUES, VALUES

_values = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
_bad_values = pytest.mark.parametrize(("value", "path"), BAD_VALUES.values(), ids=BAD_VALUES)


class ValueContract(ContractBase):
    """A value comes back equal and of the same type."""

    @_values
    def test_a_value_comes_back_as_it_went_in(self, value: Any) -> None:
        """By every way of reading, a value is equal to the one stored and of the same types."""
        memory = self.memory()
        memory.set("k", value)
        entry = memory.get_entry("k")
        assert entry is not None
        assert exactly(memory.get("k"), value)
        assert exactly(entry.value, value)
        assert exactly(memory.get_many(["k"]), {"k": value})
        assert exactly(dict(memory.items()), {"k": value})

    def test_values_set_together_come_back_as_they_went_in(self) -> None:
        """set_many keeps every kind of value as set does."""
        memory = self.memory()
        memory.set_many(VALUES)
        found = memory.get_many(VALUES)
        assert [name for name, value in VALUES.items() if not exactly(found[name], value)] == []

    @_values
    def test_a_message_keeps_any_value(self, value: Any) -> None:
        """A message's metadata holds whatever an entry can, short of some nesting."""
        if value == VALUES["nesting of 200"]:
            value = value[0][0][0][0]  # the message's own record is around it
        if isinstance(value, str):
            value = value[:1_000_000]  # and so is the size limit of a server
        session = self.session()
        session.append({"role": "user", "content": "hi", "x": value})
        (message,) = session.messages()
        assert exactly(message.extra["x"], value)

    @_bad_values
    def test_what_json_cannot_hold_is_refused(self, value: Any, path: str) -> None:
        """The refusal names the path inside the value, and nothing is written."""
        memory = self.memory()
        memory.set("k", [1])
        before = self.contents()
        with pytest.raises(InvalidValue) as caught:
            memory.set("k", value)
        assert f"'k'{path}" in str(caught.value)
        for call in (
            lambda: memory.set_many({"a": 1, "b": value}),
            lambda: memory.append("k", value),
            lambda: memory.merge("k", {"m": value}),
            lambda: memory.update("k", lambda _: value),
            lambda: memory.session("s").append("fine", {"role": "user", "content": "hi", "x": value}, role="user"),
            lambda: memory.session("s").set_metadata({"x": value}),
            lambda: memory.session("s").merge_metadata({"x": value}),
        ):
            with pytest.raises(InvalidValue):
                call()
        assert self.contents() == before

    @pytest.mark.parametrize("by", [float("nan"), float("inf"), "1", None, True, [1]])
    def test_an_increment_takes_a_number(self, by: Any) -> None:
        """What is no finite number is refused, and the entry stays."""
        memory = self.memory()
        memory.set("n", 1)
        with pytest.raises(InvalidValue):
            memory.increment("n", by)
        entry = memory.get_entry("n")
        assert entry is not None
        assert (entry.value, entry.version) == (1, 1)
