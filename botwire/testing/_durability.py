"""What stays: reopening, restoring, rows that cannot be read, and closing."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from botwire._errors import Closed, StoreCorrupt
from botwire.stores._protocol import Append, EntryRow, LogInfo, LogRow, Restore, RestoreLog, Set
from botwire.testing._base import ContractBase, exactly
from botwire.testing._samples import VALUES

NOT_JSON = ["{", "", "nothing", '{"a":NaN}', "[1,]", "{} {}", "\x00"]

YEAR = 365 * 86_400 * 1_000_000
PAST = 1_700_000_000_123_457
"""Microseconds since 1970 that no float of seconds holds exactly."""


class DurabilityContract(ContractBase):
    """What the store keeps, and how it behaves when it cannot."""

    def test_reopening_keeps_everything(self) -> None:
        """Entries with versions and times, sessions with epochs, numbers and metadata: all is there again, to the microsecond."""
        self.needs("reopen")
        memory = self.memory()
        memory.set_many(VALUES)
        memory.set("timed", 1, ttl=10_000)
        memory.set("timed", 2, ttl=10_000)
        memory.set("gone", 1)
        memory.delete("gone")
        session = memory.session("s", ttl=10_000)
        session.append(("user", "1"), ("assistant", "\ud800"), ("user", "3"))
        session.pop()
        session.set_metadata({"a": [1.0, None]})
        memory.session("s", agent="a").append(("user", "agent's"))
        before = self.contents()
        self.subject = self.reopen()
        assert self.contents() == before
        memory = self.memory()
        assert [name for name, value in VALUES.items() if not exactly(memory.get(name), value)] == []
        assert memory.set("timed", 3) == 3
        assert memory.session("s").append(("user", "4")) == [4]

    # -------------------------------------------------------------------------------------- restore

    @pytest.mark.parametrize("expires_at", [None, PAST + 200 * YEAR], ids=["lasting", "expiring"])
    def test_an_entry_is_restored_as_it_was(self, expires_at: int | None) -> None:
        """Restore puts an entry back with its text, version and times, over what is there, and life goes on from it."""
        row = EntryRow("k", '{"a": 1.50}', 41, PAST, PAST + 1, expires_at)
        assert self.apply(Restore(row)) == [None]
        assert self.subject.get(self.namespace, "k") == row
        other = row._replace(value='"\\ud800"', version=7, updated_at=PAST + 3)
        self.apply(Restore(other), Restore(other._replace(key="l")))
        assert self.subject.get(self.namespace, "k") == other
        assert self.memory().get("k") == "\ud800"
        assert self.memory().set("k", 1, if_version=7) == 8

    def test_what_is_restored_expired_is_not_there(self) -> None:
        """An entry or session restored after its time is nowhere visible."""
        self.apply(Restore(EntryRow("k", "1", 3, PAST, PAST, PAST + 5)))
        info = LogInfo("s", "", "epoch", 1, 1, PAST, PAST, 5, PAST + 5, "{}")
        self.apply(RestoreLog(info, (LogRow(1, "{}", PAST),)))
        memory = self.memory()
        assert memory.count() == 0
        assert memory.sessions() == []
        assert memory.set("k", 2) == 1
        assert memory.session("s").append(("user", "hi")) == [1]

    def test_a_session_is_restored_as_it_was(self) -> None:
        """RestoreLog puts messages back under their numbers, gaps and all, with the session's state, in one part or several."""
        rows = tuple(LogRow(seq, json.dumps({"role": "user", "content": f"\U0001f600{seq}"}), PAST + seq) for seq in (3, 4, 7, 8, 9))
        info = LogInfo("s", "agent", "an epoch", 12, 5, PAST, PAST + 20, 3 * YEAR + 1, PAST + 200 * YEAR, '{"a": [1.50]}')
        self.apply(RestoreLog(info, rows[:2]))
        assert self.subject.read_log(self.namespace, "s", "agent") == (info._replace(count=2), list(rows[:2]))
        self.apply(RestoreLog(info, rows[2:]))
        assert self.subject.read_log(self.namespace, "s", "agent") == (info, list(rows))
        self.apply(RestoreLog(info, rows[1:3]))
        assert self.subject.read_log(self.namespace, "s", "agent") == (info, list(rows))
        session = self.memory().session("s", agent="agent")
        assert [message.seq for message in session.messages()] == [3, 4, 7, 8, 9]
        assert session.append(("user", "new")) == [13]

    def test_restoring_another_epoch_replaces_the_session(self) -> None:
        """Messages of one epoch never mix with those of another."""
        self.session().append(("user", "old"), ("user", "old"), ("user", "old"))
        info = LogInfo("s", "", "another epoch", 1, 1, PAST, PAST, None, None, "{}")
        row = LogRow(1, '{"role": "user", "content": "new"}', PAST)
        self.apply(RestoreLog(info, (row,)))
        assert self.subject.read_log(self.namespace, "s", "") == (info, [row])

    def test_a_session_without_messages_is_restored(self) -> None:
        """A session that holds metadata alone is a session too."""
        info = LogInfo("s", "", "an epoch", 0, 0, PAST, PAST, None, None, '{"a":1}')
        self.apply(RestoreLog(info, ()))
        assert self.subject.scan_logs(self.namespace, None, 10) == [info]

    # ------------------------------------------------------------------------------ unreadable rows

    @pytest.mark.parametrize("text", NOT_JSON, ids=repr)
    def test_an_unreadable_entry_says_so(self, text: str) -> None:
        """An entry whose text is damaged raises StoreCorrupt, naming key and namespace; it is not taken for absent."""
        self.needs("corrupt")
        memory = self.memory()
        memory.set_many({"some key": "word", "fine": "word"})
        self.corrupt_entry(self.namespace, "some key", text)
        for call in (
            lambda: memory.get("some key"),
            lambda: memory.get_entry("some key"),
            lambda: memory.get_many(["fine", "some key"]),
            lambda: dict(memory.items()),
            lambda: memory.update("some key", lambda value: value),
        ):
            with pytest.raises(StoreCorrupt) as caught:
                call()
            assert "some key" in str(caught.value)
            assert self.namespace in str(caught.value)
        for change in (lambda: memory.increment("some key"), lambda: memory.append("some key", 1), lambda: memory.merge("some key", {})):
            with pytest.raises(StoreCorrupt, match="some key"):
                change()

    def test_an_unreadable_entry_spoils_nothing_else(self) -> None:
        """Its neighbours are read, listed, found and written, and it can be replaced or deleted."""
        self.needs("corrupt")
        memory = self.memory()
        memory.set_many({"bad": 1, "worse": 2, "fine": "word"})
        self.corrupt_entry(self.namespace, "bad", "{")
        self.corrupt_entry(self.namespace, "worse", "word")
        assert memory.get("fine") == "word"
        assert memory.list_keys() == ["bad", "fine", "worse"]
        assert memory.count() == 3
        assert [hit.key for hit in memory.search("word")] == ["fine"]
        assert memory.set("bad", "mended") == 2
        assert memory.get("bad") == "mended"
        assert memory.delete("worse") is True
        assert dict(memory.items()) == {"bad": "mended", "fine": "word"}

    @pytest.mark.parametrize(
        "text", [*NOT_JSON, "5", "null", "[]", "{}", '{"role":"user"}', '{"role":"user","content":"x","created_at":"soon"}'], ids=repr
    )
    def test_an_unreadable_message_is_passed_over(self, text: str, caplog: pytest.LogCaptureFixture) -> None:
        """One damaged message spoils only itself: the others are read, with one warning that names it."""
        self.needs("corrupt")
        session = self.session("some session")
        session.append(("user", "one word"), ("user", "two words"), ("user", "three words"))
        self.corrupt_message(self.namespace, "some session", 2, text)
        with caplog.at_level(logging.WARNING, logger="botwire"):
            messages = session.messages()
        assert [message.content for message in messages] == ["one word", "three words"]
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING and record.name == "botwire"]
        assert "message 2" in warning
        assert "some session" in warning
        assert session.append(("user", "four words")) == [4]
        assert [message.seq for message in session.messages(last=3)] == [3, 4]
        assert sorted(hit.message.seq or 0 for hit in session.search("word")) == [1, 3, 4]
        assert session.trim(2) == 2
        assert [message.seq for message in session.messages()] == [3, 4]

    # -------------------------------------------------------------------------------------- closing

    def test_closing_twice_is_closing_once(self) -> None:
        """close() may be called again, also by several threads."""
        self.memory().set("k", 1)
        self.subject.close()
        self.subject.close()

    def test_a_closed_store_says_so(self) -> None:
        """Every call on a closed store raises Closed."""
        self.memory().set("k", 1)
        self.subject.close()
        store, name = self.subject, self.namespace
        calls: list[Any] = [
            lambda: store.get(name, "k"),
            lambda: store.get_many(name, ["k"]),
            lambda: store.scan(name, "", None, 1),
            lambda: store.scan_keys(name, "", None, 1),
            lambda: store.count(name),
            lambda: store.namespaces(None, 1),
            lambda: store.read_log(name, "s", ""),
            lambda: store.scan_logs(name, None, 1),
            lambda: store.search(name, ["word"], 1),
            lambda: store.search_log(name, ["word"], 1),
            store.check,
            lambda: self.apply(Set("k", "2")),
            lambda: self.apply(Append("s", "", ("{}",))),
        ]
        for call in calls:
            with pytest.raises(Closed):
                call()

    def test_a_closed_memory_says_so_and_leaves_its_store_open(self) -> None:
        """Closing a memory that was handed its store closes the memory alone."""
        memory = self.memory()
        memory.set("k", 1)
        memory.close()
        memory.close()
        with pytest.raises(Closed):
            memory.get("k")
        with pytest.raises(Closed):
            memory.session("s").append(("user", "hi"))
        assert self.memory().get("k") == 1

    def test_the_check_finds_a_sound_store_sound(self) -> None:
        """check() says that all is well, and what the store is."""
        self.memory().set("k", 1)
        found = self.subject.check()
        assert found["ok"] is True
        assert found["problems"] == []
        assert isinstance(self.subject.url, str)
