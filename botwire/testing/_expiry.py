"""Times to live: invisible the moment it expires, everywhere, and then as if it had never been."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from botwire._errors import InvalidValue, VersionConflict
from botwire.testing._base import ContractBase
from botwire.testing._samples import BAD_TTLS

MICROSECOND = 0.000_001

_bad_ttls = pytest.mark.parametrize("ttl", BAD_TTLS.values(), ids=BAD_TTLS)


class ExpiryContract(ContractBase):
    """What ttl promises, for entries and for sessions."""

    def test_an_entry_is_there_until_it_expires(self) -> None:
        """An entry with a ttl is there, says when it will go, and then is gone for every way of reading."""
        memory = self.memory()
        memory.set("k", "text", ttl=self.lifetime)
        memory.set("lasting", "text")
        entry = memory.get_entry("k")
        assert entry is not None
        assert entry.expires_at == entry.updated_at + timedelta(seconds=self.lifetime)
        assert memory.list_keys() == ["k", "lasting"]
        self.wait(self.lifetime)
        assert memory.get("k", "gone") == "gone"
        assert memory.get_entry("k") is None
        assert memory.exists("k") is False
        assert memory.get_many(["k", "lasting"]) == {"lasting": "text"}
        assert memory.list_keys() == ["lasting"]
        assert list(memory.iter_keys("k")) == []
        assert dict(memory.items()) == {"lasting": "text"}
        assert memory.count() == 1
        assert memory.count("k") == 0
        assert [hit.key for hit in memory.search("text")] == ["lasting"]

    def test_it_expires_at_the_microsecond(self) -> None:
        """One microsecond before its time the entry is there, at its time it is not."""
        self.needs("advance")
        memory = self.memory()
        memory.set("k", 1, ttl=self.lifetime)
        session = memory.session("s", ttl=self.lifetime)
        session.append(("user", "hi"))
        first, second = memory.get_entry("k"), session.info()
        assert first is not None
        assert second is not None
        self.advance(self.lifetime - MICROSECOND)
        assert memory.get("k") == 1
        assert memory.count() == 1
        assert session.count() == 1
        self.advance(MICROSECOND)
        assert memory.get("k") is None
        assert memory.count() == 0
        assert session.info() is None

    @pytest.mark.parametrize(
        "ttl", [1e-9, 0.000_001, 1, 1.5, 0.1 + 0.2, 3, timedelta(days=1), timedelta(microseconds=1), 100 * 365 * 86_400]
    )
    def test_a_ttl_is_seconds_or_a_timedelta(self, ttl: Any) -> None:
        """Any number over zero counts as seconds, to the microsecond, a timedelta with its days too."""
        self.needs("advance")
        memory = self.memory()
        memory.set("k", 1, ttl=ttl)
        entry = memory.get_entry("k")
        assert entry is not None
        assert entry.expires_at is not None
        wanted = ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl)
        assert timedelta(0) <= entry.expires_at - entry.updated_at - wanted <= timedelta(microseconds=1)
        assert entry.expires_at > entry.updated_at

    def test_what_comes_after_expiry_is_new(self) -> None:
        """After expiry a set makes a new entry: version 1, a new created_at; if_version=0 finds nothing there."""
        memory = self.memory()
        memory.set("k", "old", ttl=self.lifetime)
        memory.set("k", "old", ttl=self.lifetime)
        old = memory.get_entry("k")
        self.wait(self.lifetime)
        assert memory.set("k", "new") == 1
        new = memory.get_entry("k")
        assert old is not None
        assert new is not None
        assert new.created_at == new.updated_at > old.created_at
        assert new.expires_at is None

    def test_compare_and_set_does_not_see_the_expired(self) -> None:
        """To if_version an expired entry is absent."""
        memory = self.memory()
        memory.set("k", "old", ttl=self.lifetime)
        memory.set("c", "old", ttl=self.lifetime)
        self.wait(self.lifetime)
        with pytest.raises(VersionConflict) as caught:
            memory.set("k", "new", if_version=1)
        assert caught.value.current == 0
        assert memory.set("k", "new", if_version=0) == 1
        with pytest.raises(VersionConflict):
            memory.delete("c", if_version=1)

    def test_what_has_expired_cannot_be_deleted(self) -> None:
        """Delete, delete_many and clear do not count what was no longer there."""
        memory = self.memory()
        memory.set_many({"a": 1, "b": 1, "c": 1}, ttl=self.lifetime)
        memory.set("d", 1)
        self.wait(self.lifetime)
        assert memory.delete("a") is False
        assert memory.delete_many(["b", "d"]) == 1
        assert memory.clear() == 0

    def test_changes_begin_anew_after_expiry(self) -> None:
        """increment, append, merge and update do not see an expired value."""
        memory = self.memory()
        memory.set_many({"n": 5, "u": 5}, ttl=self.lifetime)
        memory.set("l", [1], ttl=self.lifetime)
        memory.set("o", {"a": 1}, ttl=self.lifetime)
        self.wait(self.lifetime)
        assert memory.increment("n") == 1
        assert memory.append("l", 2) == 1
        assert memory.merge("o", {"b": 2}) == {"b": 2}
        assert memory.update("u", lambda value: [value], default="nothing") == ["nothing"]
        self.wait(self.lifetime)
        assert memory.count() == 4

    def test_set_without_a_ttl_lets_the_entry_stay(self) -> None:
        """A set without ttl makes the entry last, also if it was to expire before."""
        memory = self.memory()
        memory.set("k", 1, ttl=self.lifetime)
        memory.set("k", 2)
        self.wait(self.lifetime)
        assert memory.get("k") == 2

    def test_set_with_a_ttl_counts_from_now(self) -> None:
        """A set with ttl counts anew, and a lasting entry may be given one."""
        memory = self.memory()
        memory.set("k", 1)
        memory.set("k", 2, ttl=self.lifetime)
        self.wait(self.lifetime * 0.6)
        memory.set("k", 3, ttl=self.lifetime)
        self.wait(self.lifetime * 0.6)
        assert memory.get("k") == 3
        self.wait(self.lifetime)
        assert memory.get("k") is None

    def test_a_change_keeps_the_ttl(self) -> None:
        """increment, append, merge and update leave the time of expiry as it is."""
        memory = self.memory()
        memory.set("n", 1, ttl=self.lifetime)
        memory.set("l", [], ttl=self.lifetime)
        memory.set("o", {}, ttl=self.lifetime)
        memory.set("u", 1, ttl=self.lifetime)
        before = {key: _expiry(memory.get_entry(key)) for key in "nlou"}
        memory.increment("n")
        memory.append("l", 1)
        memory.merge("o", {"a": 1})
        memory.update("u", lambda value: value + 1)
        assert {key: _expiry(memory.get_entry(key)) for key in "nlou"} == before
        self.wait(self.lifetime)
        assert memory.list_keys() == []

    def test_set_many_gives_all_the_same_ttl(self) -> None:
        """The ttl of set_many is each entry's."""
        memory = self.memory()
        memory.set_many({"a": 1, "b": 2}, ttl=timedelta(seconds=self.lifetime))
        assert memory.count() == 2
        self.wait(self.lifetime)
        assert memory.count() == 0

    @_bad_ttls
    def test_what_is_no_ttl_is_refused(self, ttl: Any) -> None:
        """A ttl that is none is refused wherever one can be given, and nothing is written."""
        memory = self.memory()
        memory.set("k", 1)
        before = self.contents()
        for call in (
            lambda: memory.set("k", 2, ttl=ttl),
            lambda: memory.set("k", 2, ttl_seconds=ttl),
            lambda: memory.set_many({"k": 2}, ttl=ttl),
            lambda: memory.session("s", ttl=ttl),
            lambda: memory.session("s").set_ttl(ttl),
        ):
            with pytest.raises(InvalidValue, match="ttl"):
                call()
        assert self.contents() == before

    # ------------------------------------------------------------------------------------- sessions

    def test_a_session_expires_whole(self) -> None:
        """When a session's time is up, its messages, metadata and listing are gone, and its namespace with them."""
        memory = self.memory()
        session = memory.session("s", ttl=self.lifetime)
        session.append(("user", "some words"), ("assistant", "more words"))
        session.set_metadata({"a": 1})
        assert session.ttl == self.lifetime
        assert self.namespace in memory.namespaces()
        self.wait(self.lifetime)
        assert session.messages() == []
        assert session.count() == 0
        assert session.info() is None
        assert session.metadata == {}
        assert session.ttl is None
        assert session.search("words") == []
        assert session.pop() is None
        assert session.trim(0) == 0
        assert memory.sessions() == []
        assert self.namespace not in memory.namespaces()
        assert session.delete() is False

    def test_a_session_lives_on_with_each_write(self) -> None:
        """The ttl of a session slides: it counts from the last write, whatever that was."""
        session = self.session(ttl=self.lifetime)
        session.append(("user", "1"), ("user", "2"), ("user", "3"), ("user", "4"))
        for write in (
            lambda: session.append(("user", "5")),
            session.pop,
            lambda: session.trim(2),
            lambda: session.merge_metadata({"a": 1}),
        ):
            self.wait(self.lifetime * 0.6)
            write()
        assert session.count() == 2
        self.wait(self.lifetime)
        assert session.count() == 0

    def test_reading_does_not_keep_a_session_alive(self) -> None:
        """Only writes slide the time to live."""
        session = self.session(ttl=self.lifetime)
        session.append(("user", "1"))
        self.wait(self.lifetime * 0.6)
        session.messages()
        session.info()
        self.wait(self.lifetime * 0.6)
        assert session.messages() == []

    def test_a_session_after_expiry_is_a_new_one(self) -> None:
        """What is appended after expiry begins at 1, in another epoch, without the old metadata and ttl."""
        session = self.session(ttl=self.lifetime)
        session.append(("user", "old"))
        session.set_metadata({"old": True})
        old = session.info()
        self.wait(self.lifetime)
        assert self.session().append(("user", "new")) == [1]
        new = session.info()
        assert old is not None
        assert new is not None
        assert new.epoch != old.epoch
        assert (new.count, new.ttl, new.expires_at, new.metadata) == (1, None, None, {})
        assert [message.content for message in session.messages()] == ["new"]

    def test_a_sessions_ttl_can_be_changed(self) -> None:
        """set_ttl counts from now on, None makes the session last, and a handle without ttl leaves what is set."""
        session = self.session()
        session.append(("user", "1"))
        assert session.ttl is None
        session.set_ttl(timedelta(seconds=self.lifetime))
        self.session().append(("user", "2"))
        assert session.ttl == self.lifetime
        session.set_ttl(None)
        self.wait(self.lifetime)
        assert session.count() == 2
        assert session.ttl is None

    def test_an_agents_transcript_expires_on_its_own(self) -> None:
        """Each agent's transcript has the ttl that it was given."""
        self.session("s").append(("user", "lasting"))
        self.session("s", agent="a", ttl=self.lifetime).append(("user", "fleeting"))
        self.wait(self.lifetime)
        assert self.session("s").count() == 1
        assert self.session("s", agent="a").count() == 0


def _expiry(entry: Any) -> Any:
    assert entry is not None
    assert entry.expires_at is not None
    return entry.expires_at
