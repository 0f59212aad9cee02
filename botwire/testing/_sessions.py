"""Sessions: ordered, append-only, gapless; epochs, metadata, and messages that come back as they went in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from botwire._errors import InvalidValue, VersionConflict
from botwire._message import Message, ToolCall
from botwire._session import Session
from botwire.stores._protocol import Append, Appended, ClearLog, LogPlace, Set, Trim
from botwire.testing._base import ContractBase, exactly

MANY = 10_001

BAD_MESSAGES: dict[str, Any] = {
    "no role": {"content": "hi"},
    "an unknown role": {"role": "wizard", "content": "hi"},
    "a role that is no text": {"role": ["user"], "content": "hi"},
    "content that is a number": {"role": "user", "content": 5},
    "a part without a type": {"role": "user", "content": [{"text": "hi"}]},
    "a part that is text": {"role": "user", "content": ["hi"]},
    "a name that is no text": {"role": "user", "content": "hi", "name": 5},
    "an id that is no text": {"role": "user", "content": "hi", "id": 5},
    "tool calls that are no list": {"role": "assistant", "content": None, "tool_calls": {"id": "1"}},
    "a tool call without a name": {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {}}]},
    "a tool call that is None": {"role": "assistant", "content": None, "tool_calls": [None]},
    "arguments that are a list": {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": []}}],
    },
    "bytes in a member": {"role": "user", "content": "hi", "image": b"x"},
    "a member name that is no text": {"role": "user", "content": "hi", 5: "x"},
    "metadata that is no object": Message("user", "hi", metadata=["x"]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "metadata that JSON cannot hold": Message("user", "hi", metadata={"when": datetime(2026, 1, 1, tzinfo=UTC)}),
    "tool calls that are None": Message("user", "hi", tool_calls=None),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "tool calls that are dicts": Message("assistant", None, tool_calls=[{"name": "f"}]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    "a time without a zone": Message("user", "hi", created_at=datetime(2026, 1, 1)),  # noqa: DTZ001
    "a time that is text": Message("user", "hi", created_at="2026-01-01"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "text without a role": "hi",
    "a tuple of three": ("user", "hi", "there"),
    "None": None,
    "a list": [{"role": "user", "content": "hi"}],
    "bytes": b"hi",
}
"""What is no message."""

_CHANGES: dict[str, Callable[[Session], Any]] = {
    "append": lambda session: session.append(("user", "3")),
    "pop": lambda session: session.pop(),
    "trim": lambda session: session.trim(1),
    "clear": lambda session: session.clear(),
    "refill": lambda session: session.replace(("user", "1"), ("user", "3")),
    "delete": lambda session: session.delete(),
}


class SessionContract(ContractBase):
    """What sessions promise, apart from races, retries and expiry."""

    def test_messages_come_back_in_order(self) -> None:
        """append() returns contiguous numbers from 1 on, and messages come oldest first, with their numbers and times."""
        session = self.session()
        assert session.append(("user", "one")) == [1]
        assert session.append(("assistant", "two"), {"role": "user", "content": "three"}) == [2, 3]
        assert session.append("four", role="user") == [4]
        assert session.append() == []
        messages = session.messages()
        assert [(message.seq, message.role, message.content) for message in messages] == [
            (1, "user", "one"),
            (2, "assistant", "two"),
            (3, "user", "three"),
            (4, "user", "four"),
        ]
        times = [message.created_at for message in messages]
        assert all(time is not None and time.tzinfo is not None for time in times)
        assert session.count() == 4

    def test_a_session_that_was_never_written_is_empty(self) -> None:
        """Reading makes no session."""
        memory = self.memory()
        session = memory.session("s")
        assert session.messages() == []
        assert session.messages(last=5) == []
        assert session.snapshot() == (None, [])
        assert session.count() == 0
        assert session.info() is None
        assert session.metadata == {}
        assert session.pop() is None
        assert session.trim(0) == 0
        assert session.clear() == 0
        assert session.delete() is False
        assert memory.delete_session("s") is False
        assert memory.sessions() == []

    def test_messages_can_be_asked_for_by_place(self) -> None:
        """last, before and after choose by sequence number, alone and together, and never change the order."""
        session = self.session()
        session.append(*[("user", str(number)) for number in range(1, 11)])
        assert _seqs(session.messages(last=3)) == [8, 9, 10]
        assert _seqs(session.messages(last=99)) == list(range(1, 11))
        assert session.messages(last=0) == []
        assert _seqs(session.messages(before=4)) == [1, 2, 3]
        assert _seqs(session.messages(after=7)) == [8, 9, 10]
        assert _seqs(session.messages(after=3, before=6)) == [4, 5]
        assert _seqs(session.messages(last=2, before=6)) == [4, 5]
        assert _seqs(session.messages(last=2, after=8)) == [9, 10]
        assert _seqs(session.messages(last=5, after=4, before=7)) == [5, 6]
        assert session.messages(before=1) == []
        assert session.messages(before=0) == []
        assert session.messages(after=10) == []
        assert session.messages(after=5, before=5) == []

    @pytest.mark.parametrize("bound", [-1, 1.0, "1", True, [1]], ids=repr)
    def test_a_place_is_a_number(self, bound: Any) -> None:
        """A bound that is none is refused."""
        session = self.session()
        session.append(("user", "hi"))
        for name in ("last", "before", "after"):
            with pytest.raises(InvalidValue, match=name):
                session.messages(**{name: bound})
        with pytest.raises(InvalidValue, match="keep_last"):
            session.trim(bound)
        assert session.count() == 1

    def test_ten_thousand_and_one_messages_are_read(self) -> None:
        """No silent cap: all messages are read, from the front, from the back, and in between."""
        session = self.session()
        for start in range(0, MANY, 1_000):
            session.append(*[("user", str(number)) for number in range(start, min(start + 1_000, MANY))])
        everything = list(range(1, MANY + 1))
        assert session.count() == MANY
        assert _seqs(session.messages()) == everything
        assert _seqs(session.messages(last=MANY + 5)) == everything
        assert _seqs(session.messages(last=MANY - 1)) == everything[1:]
        assert _seqs(session.messages(after=2)) == everything[2:]
        assert _seqs(session.messages(before=MANY)) == everything[:-1]
        assert session.messages(last=1)[0].content == str(MANY - 1)
        assert session.trim(3) == MANY - 3
        assert _seqs(session.messages()) == everything[-3:]

    # ------------------------------------------------------------------------------------- messages

    def test_a_message_comes_back_equal(self) -> None:
        """Every field of a message comes back as it was, its own time to the microsecond."""
        moment = datetime(2025, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
        message = Message(
            "assistant",
            [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}}],
            name="painter",
            tool_calls=[ToolCall("call_1", "draw", '{"what": "a  cat"}'), ToolCall(None, "stop", {"n": [1.0, None]}, {"index": 3})],
            tool_call_id="call_0",
            id="message-1",
            metadata={"cost": 0.25, "tags": ["a"]},
            native={"langchain": {"response_metadata": {"finish_reason": "stop"}}},
            extra={"refusal": None},
            created_at=moment,
        )
        session = self.session()
        session.append(message)
        (found,) = session.messages()
        assert found == message
        assert exactly(found.to_dict(), message.to_dict())
        assert found.created_at == moment
        assert found.tool_calls[0].parsed() == {"what": "a  cat"}

    def test_a_chat_dict_comes_back_in_its_shape(self) -> None:
        """A conversation with tools, given as chat dicts, is the same dicts when read."""
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
        chat: list[dict[str, Any]] = [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be very brief."},
            {"role": "user", "content": "Weather?", "name": "anna"},
            {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
            {"role": "tool", "content": "12 °C", "tool_call_id": "call_1"},
            {"role": "assistant", "content": "", "annotations": [{"x": 1}], "audio": None},
            {"role": "user", "content": [{"type": "text", "text": "thanks"}]},
        ]
        session = self.session()
        session.append(*chat)
        assert [message.to_dict() for message in session.messages()] == chat

    @pytest.mark.parametrize("message", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
    def test_what_is_no_message_is_refused_with_all_of_its_call(self, message: Any) -> None:
        """One message that cannot be stored keeps the whole call away, and makes no session."""
        session = self.session()
        with pytest.raises(InvalidValue):
            session.append(("user", "fine"), message)
        assert session.info() is None
        session.append(("user", "one"))
        with pytest.raises(InvalidValue):
            session.append(("user", "fine"), message, ("user", "fine too"))
        assert _seqs(session.messages()) == [1]

    # ------------------------------------------------------------------------------ removing, epochs

    def test_pop_removes_the_last_message(self) -> None:
        """pop() returns the last message, and its number is not given out again."""
        session = self.session()
        session.append(("user", "1"), ("user", "2"), ("user", "3"))
        popped = session.pop()
        assert popped is not None
        assert (popped.seq, popped.content) == (3, "3")
        assert session.append(("user", "4")) == [4]
        assert _seqs(session.messages()) == [1, 2, 4]
        assert [message.seq for message in (session.pop(), session.pop(), session.pop()) if message] == [4, 2, 1]
        assert session.pop() is None
        assert session.append(("user", "5")) == [5]

    def test_trim_keeps_the_last(self) -> None:
        """trim() removes the oldest, counts them, and numbers go on."""
        session = self.session()
        session.append(*[("user", str(number)) for number in range(5)])
        assert session.trim(9) == 0
        assert session.trim(5) == 0
        assert session.trim(2) == 3
        assert _seqs(session.messages()) == [4, 5]
        session.pop()
        session.append(("user", "6"))
        assert session.trim(1) == 1
        assert _seqs(session.messages()) == [6]
        assert session.trim(0) == 1
        assert session.messages() == []
        assert session.append(("user", "7")) == [7]

    def test_clear_begins_a_new_epoch(self) -> None:
        """clear() removes the messages, keeps metadata and ttl, and is told from the old by its epoch."""
        session = self.session(ttl=1_000)
        session.append(("user", "1"), ("user", "2"))
        session.set_metadata({"kept": True})
        before = session.info()
        assert session.clear() == 2
        after = session.info()
        assert before is not None
        assert after is not None
        assert before.epoch != after.epoch
        assert (after.count, after.head, after.metadata, after.ttl) == (0, 0, {"kept": True}, 1_000)
        assert session.messages() == []
        assert session.append(("user", "new")) == [1]
        assert [message.content for message in session.messages()] == ["new"]

    def test_writing_keeps_the_epoch(self) -> None:
        """append, pop, trim and metadata leave the epoch as it is, for whoever caches messages."""
        session = self.session()
        session.append(*[("user", "hi")] * 4)
        epochs = {_info(session).epoch}
        for write in (lambda: session.append(("user", "x")), session.pop, lambda: session.trim(1), lambda: session.set_metadata({"a": 1})):
            write()
            epochs.add(_info(session).epoch)
        assert len(epochs) == 1

    def test_a_session_is_replaced_only_where_it_was_read(self) -> None:
        """ClearLog with a place clears what is there, and a repetition of its batch is not applied again."""
        session = self.session()
        session.append(("user", "old"), ("user", "older"))
        info = _info(session)
        batch = ClearLog("s", "", LogPlace(info.epoch, info.head, info.count)), Append("s", "", ('{"role":"user","content":"new"}',))
        first = self.apply(*batch, request_id="r")
        assert first[0] == 2
        assert self.apply(*batch, request_id="r") == first
        assert [message.content for message in session.messages()] == ["new"]

    @pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
    def test_a_session_that_others_changed_is_not_replaced(self, change: Callable[[Session], Any]) -> None:
        """Otherwise ClearLog with a place is a VersionConflict, and nothing of its batch happens."""
        session = self.session()
        session.append(("user", "1"), ("user", "2"))
        info = _info(session)
        change(session)
        before = self.contents()
        outcome = self.outcome(Set("k", "1"), ClearLog("s", "", LogPlace(info.epoch, info.head, info.count)), Append("s", "", ("{}",)))
        assert isinstance(outcome, VersionConflict)
        info = session.info()
        assert outcome.current == (0 if info is None else info.head)
        assert self.contents() == before

    @pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
    def test_a_session_is_trimmed_only_where_it_was_read(self, change: Callable[[Session], Any]) -> None:
        """Trim with a place removes nothing that its sender has not read, and then nothing of its batch happens."""
        session = self.session()
        session.append(("user", "1"), ("user", "2"), ("user", "3"))
        info = _info(session)
        change(session)
        before = self.contents()
        outcome = self.outcome(Trim("s", "", 1, LogPlace(info.epoch, info.head, info.count)), Append("s", "", ("{}",)))
        assert isinstance(outcome, VersionConflict)
        assert self.contents() == before

        session.replace(("user", "1"), ("user", "2"), ("user", "3"))
        info = _info(session)
        body = '{"role":"user","content":"4"}'
        assert self.apply(Trim("s", "", 1, LogPlace(info.epoch, info.head, info.count)), Append("s", "", (body,)))[0] == 2
        assert [(message.seq, message.content) for message in session.messages()] == [(3, "3"), (4, "4")]

    def test_another_handle_notices_a_clear(self) -> None:
        """A snapshot gives messages and epoch of one moment, so that other live instances can tell."""
        session, other = self.session(), self.session()
        session.append(("user", "old"))
        info, messages = other.snapshot()
        assert info is not None
        assert (info.count, info.head, len(messages)) == (1, 1, 1)
        session.clear()
        session.append(("user", "new"))
        later, messages = other.snapshot(after=0)
        assert later is not None
        assert later.epoch != info.epoch
        assert [message.content for message in messages] == ["new"]

    def test_delete_removes_the_session(self) -> None:
        """delete() takes messages, metadata and listing, of this transcript only; then everything begins anew."""
        memory = self.memory()
        session, agent = memory.session("s"), memory.session("s", agent="a")
        session.append(("user", "1"))
        session.set_metadata({"a": 1})
        agent.append(("user", "2"))
        epoch = _info(session).epoch
        assert session.delete() is True
        assert session.info() is None
        assert session.metadata == {}
        assert agent.count() == 1
        assert session.delete() is False
        assert session.append(("user", "anew")) == [1]
        assert _info(session).epoch != epoch
        assert memory.delete_session("s") is True
        assert (session.count(), agent.count()) == (0, 0)
        assert memory.delete_session("s") is False

    # ---------------------------------------------------------------------------------- about itself

    def test_sessions_are_listed_with_what_they_hold(self) -> None:
        """sessions() names every transcript of the namespace once, in order, with its counts and times."""
        memory = self.memory()
        memory.session("b").append(("user", "1"), ("user", "2"))
        memory.session("b", agent="z").append(("user", "1"))
        memory.session("b", agent="a").append(("user", "1"))
        memory.session("a").set_metadata({"only": "metadata"})
        memory.session("b").pop()
        self.memory(self.namespace + "2").session("c").append(("user", "other namespace"))
        infos = memory.sessions()
        assert [(info.session_id, info.agent, info.count, info.head) for info in infos] == [
            ("a", None, 0, 0),
            ("b", None, 1, 2),
            ("b", "a", 1, 1),
            ("b", "z", 1, 1),
        ]
        assert infos[0].metadata == {"only": "metadata"}
        assert all(info.created_at <= info.updated_at and info.created_at.tzinfo is UTC for info in infos)
        assert infos[1] == memory.session("b").info()

    def test_all_sessions_are_listed(self) -> None:
        """No silent cap on sessions either."""
        names = [f"s{number:04}" for number in range(1_203)]
        self.apply(*[Append(name, "", ("{}",)) for name in names])
        assert [info.session_id for info in self.memory().sessions()] == names

    def test_metadata_is_an_object_of_the_session(self) -> None:
        """set_metadata replaces, merge_metadata merges by RFC 7396, and both return what there is."""
        session = self.session()
        assert session.metadata == {}
        assert session.set_metadata({"a": 1, "b": {"c": 2, "d": 3}}) == {"a": 1, "b": {"c": 2, "d": 3}}
        assert session.merge_metadata({"a": None, "b": {"c": 5}, "e": "\ud800"}) == {"b": {"c": 5, "d": 3}, "e": "\ud800"}
        assert session.metadata == {"b": {"c": 5, "d": 3}, "e": "\ud800"}
        assert session.set_metadata({}) == {}
        assert session.count() == 0

    @pytest.mark.parametrize("metadata", [None, [], "text", 1], ids=repr)
    def test_metadata_is_nothing_but_an_object(self, metadata: Any) -> None:
        """Anything else is refused, and makes no session."""
        session = self.session()
        for call in (session.set_metadata, session.merge_metadata):
            with pytest.raises(InvalidValue, match="metadata"):
                call(metadata)
        assert session.info() is None

    def test_the_store_answers_with_the_epoch(self) -> None:
        """An Append says where it put its messages, and in which epoch."""
        (first,) = self.apply(Append("s", "", ("{}", "{}")))
        (second,) = self.apply(Append("s", "", ("{}",)))
        page = self.subject.read_log(self.namespace, "s", "")
        assert page.info is not None
        assert first == Appended(page.info.epoch, 1, 2)
        assert second == Appended(page.info.epoch, 3, 3)
        assert [row.seq for row in self.subject.read_log(self.namespace, "s", "", limit=2).rows] == [1, 2]
        assert [row.seq for row in self.subject.read_log(self.namespace, "s", "", after=1, limit=1).rows] == [2]
        assert self.subject.read_log(self.namespace, "s", "", limit=0).rows == []


def _seqs(messages: list[Message]) -> list[int | None]:
    return [message.seq for message in messages]


def _info(session: Session) -> Any:
    info = session.info()
    assert info is not None
    return info
