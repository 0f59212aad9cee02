"""Entries: set, get, delete, versions, compare-and-set, many at once."""

from __future__ import annotations

from datetime import UTC

import pytest

from botwire._errors import BotWireError, InvalidName, InvalidValue, VersionConflict
from botwire.stores._protocol import Batch, Delete, Set
from botwire.testing._base import ContractBase
from botwire.testing._samples import BAD_VERSIONS


class EntryContract(ContractBase):
    """What set, get, delete and compare-and-set promise."""

    def test_what_was_set_is_got(self) -> None:
        """A value that was set is there, for this memory and for another one of the same namespace."""
        memory = self.memory()
        memory.set("k", {"theme": "dark"})
        assert memory.get("k") == {"theme": "dark"}
        assert self.memory().get("k") == {"theme": "dark"}

    def test_nothing_is_none_or_the_default(self) -> None:
        """A key that is not there gives None, or the default, and no entry."""
        memory = self.memory()
        assert memory.get("k") is None
        assert memory.get("k", "fallback") == "fallback"
        assert memory.get_entry("k") is None
        assert not memory.exists("k")

    def test_a_stored_none_is_not_nothing(self) -> None:
        """A stored null is there: it is not the default."""
        memory = self.memory()
        memory.set("k", None)
        assert memory.get("k", "fallback") is None
        assert memory.exists("k")

    def test_versions_count_from_one(self) -> None:
        """Each set returns the entry's version, which begins at 1 and grows by 1, even if the value is the same."""
        memory = self.memory()
        assert [memory.set("k", value) for value in ("a", "a", "b")] == [1, 2, 3]
        assert memory.set("other", "x") == 1

    def test_an_entry_knows_its_times(self) -> None:
        """created_at stays, updated_at moves, both in UTC."""
        memory = self.memory()
        memory.set("k", 1)
        first = memory.get_entry("k")
        self.wait(0.01)
        memory.set("k", 2)
        second = memory.get_entry("k")
        assert first is not None
        assert second is not None
        assert (first.key, first.value, first.version, first.expires_at) == ("k", 1, 1, None)
        assert first.created_at == first.updated_at == second.created_at
        assert second.updated_at > first.updated_at
        assert second.updated_at.tzinfo is UTC

    def test_delete_tells_the_truth(self) -> None:
        """Delete says whether there was something, and then there is nothing."""
        memory = self.memory()
        assert memory.delete("k") is False
        memory.set("k", None)
        assert memory.delete("k") is True
        assert memory.delete("k") is False
        assert memory.get_entry("k") is None

    def test_an_entry_made_anew_starts_at_version_one(self) -> None:
        """After a delete the next set makes another entry."""
        memory = self.memory()
        memory.set("k", 1)
        memory.set("k", 2)
        memory.delete("k")
        assert memory.set("k", 3) == 1

    # ------------------------------------------------------------------------------ compare-and-set

    def test_set_with_the_right_version_writes(self) -> None:
        """if_version lets a write through if nothing came between."""
        memory = self.memory()
        version = memory.set("k", "a")
        assert memory.set("k", "b", if_version=version) == 2
        assert memory.get("k") == "b"

    def test_set_with_a_wrong_version_writes_nothing(self) -> None:
        """if_version keeps a write away that others were faster than, and the conflict carries the current version."""
        memory = self.memory()
        memory.set("k", "a")
        memory.set("k", "b")
        for wrong in (1, 3, 99, (1 << 63) - 1):
            with pytest.raises(VersionConflict) as caught:
                memory.set("k", "c", if_version=wrong)
            assert caught.value.current == 2
        assert memory.get("k") == "b"

    def test_version_zero_means_only_if_absent(self) -> None:
        """if_version=0 creates, and never replaces."""
        memory = self.memory()
        assert memory.set("k", "a", if_version=0) == 1
        with pytest.raises(VersionConflict) as caught:
            memory.set("k", "b", if_version=0)
        assert caught.value.current == 1
        assert memory.get("k") == "a"

    def test_a_version_of_nothing_conflicts(self) -> None:
        """if_version of an entry that is gone is a conflict, whose current version is 0."""
        memory = self.memory()
        with pytest.raises(VersionConflict) as caught:
            memory.set("k", "a", if_version=1)
        assert caught.value.current == 0
        assert memory.get_entry("k") is None

    def test_a_conflict_names_key_and_namespace(self) -> None:
        """The message of a conflict says where it happened."""
        memory = self.memory()
        memory.set("some key", 1)
        with pytest.raises(VersionConflict) as caught:
            memory.set("some key", 2, if_version=7)
        assert "some key" in str(caught.value)
        assert self.namespace in str(caught.value)

    def test_delete_compares_too(self) -> None:
        """A delete with if_version removes that version or nothing."""
        memory = self.memory()
        memory.set("k", 1)
        memory.set("k", 2)
        with pytest.raises(VersionConflict) as caught:
            memory.delete("k", if_version=1)
        assert caught.value.current == 2
        assert memory.get("k") == 2
        assert memory.delete("k", if_version=2) is True
        with pytest.raises(VersionConflict) as caught:
            memory.delete("k", if_version=2)
        assert caught.value.current == 0

    @pytest.mark.parametrize("version", BAD_VERSIONS.values(), ids=BAD_VERSIONS)
    def test_what_is_no_version_is_refused(self, version: object) -> None:
        """if_version takes an int of 0 or more, and nothing else gets near the store."""
        memory = self.memory()
        memory.set("k", 1)
        before = self.contents()
        with pytest.raises(InvalidValue, match="if_version"):
            memory.set("k", 2, if_version=version)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidValue, match="if_version"):
            memory.delete("k", if_version=version)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert self.contents() == before

    # --------------------------------------------------------------------------------- many at once

    def test_set_many_stores_all(self) -> None:
        """set_many stores every value and returns the versions by key."""
        memory = self.memory()
        memory.set("b", 0)
        assert memory.set_many({"a": 1, "b": 2, "c": None}) == {"a": 1, "b": 2, "c": 1}
        assert memory.get_many(["a", "b", "c"]) == {"a": 1, "b": 2, "c": None}

    def test_set_many_of_nothing_is_nothing(self) -> None:
        """Empty calls do nothing."""
        memory = self.memory()
        assert memory.set_many({}) == {}
        assert memory.get_many([]) == {}
        assert memory.delete_many([]) == 0

    def test_set_many_stores_all_or_nothing(self) -> None:
        """One value or key that cannot be stored keeps all others away."""
        memory = self.memory()
        memory.set("a", "before")
        before = self.contents()
        with pytest.raises(InvalidValue):
            memory.set_many({"a": 1, "b": float("nan")})
        with pytest.raises(InvalidName):
            memory.set_many({"a": 1, "": 2})
        assert self.contents() == before

    def test_get_many_leaves_out_what_is_not_there(self) -> None:
        """get_many gives what there is, in the order asked for, each once."""
        memory = self.memory()
        memory.set_many({"a": 1, "b": 2, "c": 3})
        assert list(memory.get_many(["c", "none", "a", "c"]).items()) == [("c", 3), ("a", 1)]

    def test_delete_many_counts_what_there_was(self) -> None:
        """delete_many removes all keys named, and counts each entry once."""
        memory = self.memory()
        memory.set_many({"a": 1, "b": 2, "c": 3})
        assert memory.delete_many(["a", "none", "b", "a"]) == 2
        assert memory.list_keys() == ["c"]

    # -------------------------------------------------------------------------------------- batches

    def test_a_batch_happens_whole_or_not_at_all(self) -> None:
        """An operation that fails undoes those before it in its batch."""
        self.apply(Set("a", "1"))
        before = self.contents()
        outcome = self.outcome(Set("b", "2"), Delete("a"), Set("a", "3", if_version=5))
        assert isinstance(outcome, VersionConflict)
        assert self.contents() == before

    def test_a_batch_sees_its_own_writes(self) -> None:
        """The operations of a batch happen in their order."""
        assert self.apply(Set("a", "1"), Set("a", "2", if_version=1), Delete("a"), Set("a", "3", if_version=0)) == [1, 2, True, 1]

    def test_batches_of_one_call_stand_alone(self) -> None:
        """A batch that fails harms no other batch of the same call, and outcomes come in order."""
        other = self.namespace + "-other"
        outcomes = self.subject.write(
            (
                Batch(self.namespace, (Set("a", "1"),)),
                Batch(self.namespace, (Set("b", "1"), Set("a", "2", if_version=0))),
                Batch(other, (Set("a", "2", if_version=0),)),
                Batch(self.namespace, (Delete("a", if_version=9),)),
                Batch(self.namespace, (Set("a", "3", if_version=1),)),
            )
        )
        kinds = [type(outcome) if isinstance(outcome, BotWireError) else outcome for outcome in outcomes]
        assert kinds == [[1], VersionConflict, [1], VersionConflict, [2]]
        assert [row.key for row in self.subject.scan(self.namespace, "", None, 10)] == ["a"]

    def test_a_call_without_batches_is_nothing(self) -> None:
        """Writing no batch gives no outcome."""
        assert self.subject.write(()) == []
