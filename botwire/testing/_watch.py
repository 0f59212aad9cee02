"""Hearing of changes: nothing that is written after ``listen`` is missed, and a watch tells of every state that lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import pytest

from botwire._errors import InvalidName, InvalidValue
from botwire._names import MAX_NAME_BYTES
from botwire.stores._protocol import Append, ClearLog, Delete, EntryStamp, Heard, Listener, Set
from botwire.testing._base import ContractBase, together

PATIENCE = 30.0
"""Seconds within which what must be heard is heard."""
MANY = 10_000


class WatchContract(ContractBase):
    """``scan_stamps`` and ``listen``, and ``watch`` on top of them."""

    # --------------------------------------------------------------------------------------- stamps

    def test_stamps_are_entries_without_values(self) -> None:
        """Key, version and times are those of the entries, in the same order."""
        memory = self.memory()
        memory.set("b", 1)
        memory.set("b", 2)
        memory.set("a", "x" * 100_000, ttl=1_000)
        memory.set("\U0001f600", 1)
        memory.set("\uff5e", 1)
        rows = self.subject.scan(self.namespace, "", None, 10)
        assert self.subject.scan_stamps(self.namespace, "", None, 10) == [
            EntryStamp(row.key, row.version, row.updated_at, row.expires_at) for row in rows
        ]

    def test_stamps_come_by_prefix_and_page(self) -> None:
        """As ``scan`` does: after a key, by prefix, a bounded number, nothing of neighbours."""
        self.memory().set_many({f"a{number}": 0 for number in range(7)} | {"b": 0})
        self.memory(f"{self.namespace}2").set("a1", 0)

        def keys(prefix: str, after: str | None, limit: int) -> list[str]:
            return [stamp.key for stamp in self.subject.scan_stamps(self.namespace, prefix, after, limit)]

        assert keys("a", None, 3) == ["a0", "a1", "a2"]
        assert keys("a", "a2", 3) == ["a3", "a4", "a5"]
        assert keys("a", "a5", 3) == ["a6"]
        assert keys("a", "a6", 3) == []
        assert keys("", "a6", 3) == ["b"]

    def test_a_written_entry_has_another_stamp(self) -> None:
        """Every write changes version or time, also one that comes after a deletion."""
        memory = self.memory()
        seen: list[EntryStamp] = []
        for write in (
            lambda: memory.set("k", 1),
            lambda: memory.set("k", 1),
            lambda: memory.increment("k"),
            lambda: memory.set("k", 1, ttl=1_000),
        ):
            write()
            seen += self.subject.scan_stamps(self.namespace, "", None, 2)
        self.wait(0.001)
        memory.delete("k")
        assert self.subject.scan_stamps(self.namespace, "", None, 2) == []
        memory.set("k", 1)
        seen += self.subject.scan_stamps(self.namespace, "", None, 2)
        assert len(seen) == len(set(seen)) == 5

    def test_the_expired_has_no_stamp(self) -> None:
        """What has expired is nowhere visible."""
        self.memory().set("k", 1, ttl=self.lifetime)
        self.wait(self.lifetime)
        assert self.subject.scan_stamps(self.namespace, "", None, 2) == []

    # ------------------------------------------------------------------------------------ listening

    @pytest.mark.parametrize("agent", ["", "writer"])
    def test_each_kind_of_write_is_heard(self, agent: str) -> None:
        """Of entries by the one who listens to the namespace, of a session by the one who listens to it."""
        entries, session = self.subject.listen(self.namespace), self.subject.listen(self.namespace, "s")
        try:
            for operation in (Set("k", "1"), Delete("k")):
                self.apply(operation)
                assert _hears(entries, lambda heard: heard.keys is None or "k" in heard.keys)
            for change in (Append("s", agent, ("{}",)), ClearLog("s", agent)):
                self.apply(change)
                assert _hears(session, lambda heard: heard.sessions is None or "s" in heard.sessions)
        finally:
            entries.close()
            session.close()

    def test_what_is_written_between_listening_and_waiting_is_heard(self) -> None:
        """Once ``listen`` has returned, whoever reads and then waits misses nothing."""
        for number in range(5):
            listener = self.subject.listen(self.namespace)
            self.memory().set(f"k{number}", 1)
            assert _hears(listener, lambda heard, number=number: heard.keys is None or f"k{number}" in heard.keys)
            listener.close()

    def test_many_hear_of_one_write(self) -> None:
        """Each listener hears of it, while all wait."""
        listeners = [self.subject.listen(self.namespace) for _ in range(20)]
        begun = threading.Barrier(21)

        def hear(listener: Listener) -> bool:
            begun.wait(PATIENCE)
            return _hears(listener, lambda heard: heard.keys is None or "k" in heard.keys)

        def write() -> bool:
            begun.wait(PATIENCE)
            self.memory().set("k", 1)
            return True

        try:
            assert all(together(write, *[lambda listener=listener: hear(listener) for listener in listeners]))
        finally:
            for listener in listeners:
                listener.close()

    def test_a_wait_ends_with_its_timeout(self) -> None:
        """Where nothing happens, or only elsewhere, a wait comes to its end; what it says meanwhile is a hint, not a promise."""
        with _closing(self.subject.listen(self.namespace)) as listener:
            self.memory(f"{self.namespace}2").set("k", 1)
            while listener.wait(0.3) is not None:
                pass

    def test_closing_ends_a_wait_in_another_thread(self) -> None:
        """A ``wait`` under way returns when its listener is closed."""
        listener = self.subject.listen(self.namespace)
        waiting = threading.Event()

        def wait() -> None:
            waiting.set()
            listener.wait(600)

        def close() -> None:
            assert waiting.wait(PATIENCE)
            listener.close()
            listener.close()

        together(wait, close)

    # --------------------------------------------------------------------------------------- watch

    def test_a_watch_tells_of_what_is_written_after_the_call(self) -> None:
        """Not of what was there; of each change of a key with the prefix, with the entry as it is now."""
        memory = self.memory()
        memory.set("a/old", 1)
        with memory.watch("a/", timeout=PATIENCE) as changes:
            memory.set("b", 1)
            memory.set("a/new", {"x": [1]}, ttl=1_000)
            change = next(changes)
            assert (change.key, change.entry, change.deleted) == ("a/new", memory.get_entry("a/new"), False)
            memory.delete("a/old")
            change = next(changes)
            assert (change.key, change.entry, change.deleted) == ("a/old", None, True)
            memory.increment("a/count")
            assert next(changes).entry == memory.get_entry("a/count")

    def test_a_watch_may_tell_first_of_what_is_there(self) -> None:
        """With ``initial``; a pattern is one as in ``list_keys``."""
        memory = self.memory()
        memory.set_many({"a1": 1, "a2": 2, "ab": 3, "b1": 4})
        with memory.watch("a*", initial=True, timeout=PATIENCE) as changes:
            assert {change.key: change.entry.value for change in _first(3, changes)} == {"a1": 1, "a2": 2, "ab": 3}
        with memory.watch("*1", initial=True, timeout=PATIENCE) as changes:
            assert {change.key for change in _first(2, changes)} == {"a1", "b1"}
            memory.set_many({"b2": 1, "c1": 1})
            assert next(changes).key == "c1"

    def test_a_watch_ends_when_nothing_happens_in_time_and_can_go_on(self) -> None:
        """The timeout ends the iteration, not the watch; closing ends it for good."""
        memory = self.memory()
        with memory.watch(timeout=0.3) as changes:
            assert list(changes) == []
            memory.set("k", 1)
            changes._timeout = PATIENCE
            assert next(changes).key == "k"
        assert list(changes) == []

    def test_bursts_come_as_one_and_the_last_state_comes_always(self) -> None:
        """However many changes there were while nobody looked: what is told of last is what is there."""
        memory = self.memory()
        with memory.watch(timeout=PATIENCE) as changes:
            for number in range(50):
                memory.set("k", number)
            values = [change.entry.value for change in _until(changes, lambda change: change.entry.value == 49)]
        assert values == sorted(set(values))

    def test_a_key_that_is_removed_and_set_again_is_told_of(self) -> None:
        """A version that comes a second time is not taken for the first."""
        memory = self.memory()
        memory.set("k", "old")
        with memory.watch(timeout=PATIENCE) as changes:
            self.wait(0.001)
            memory.delete("k")
            memory.set("k", "new")
            last = _until(changes, lambda change: change.entry is not None)[-1]
            assert last.entry.value == "new"

    def test_clearing_is_told_of_key_by_key(self) -> None:
        """Each entry that went."""
        memory = self.memory()
        memory.set_many({f"a{number}": number for number in range(120)} | {"b": 1})
        with memory.watch(timeout=PATIENCE) as changes:
            memory.clear("a")
            gone = _first(120, changes)
            assert {change.key for change in gone} == {f"a{number}" for number in range(120)}
            assert all(change.deleted for change in gone)

    def test_an_expiry_is_told_of(self) -> None:
        """When its time is up, an entry is told of as gone, and only then."""
        memory = self.memory()
        memory.set("before", 1, ttl=self.lifetime)
        with memory.watch(timeout=PATIENCE) as changes:
            memory.set("kept", 1, ttl=self.lifetime)
            memory.set("kept", 2)
            _until(changes, lambda change: change.entry is not None and change.entry.value == 2)
            memory.set("k", 1, ttl=self.lifetime)
            assert next(changes).key == "k"
            self.wait(self.lifetime)
            if "advance" not in self.cannot:
                memory.set("other", 1)  # the clock of whoever watches did not move: it learns from a write what time it is
            told = {change.key: change.deleted for change in _first(2 + ("advance" not in self.cannot), changes)}
            told.pop("other", None)
            assert told == {"before": True, "k": True}

    def test_watchers_beside_many_writers_come_to_the_state_that_is_there(self) -> None:
        """Eight writers set and delete the same keys, four watchers each come to know what is there in the end."""
        expected: dict[str, Any] = {}
        over = threading.Event()

        def watcher() -> bool:
            state: dict[str, Any] = {}
            deadline = time.monotonic() + PATIENCE
            with self.memory().watch(timeout=0.1) as changes:
                ready.wait(PATIENCE)
                while time.monotonic() < deadline and not (over.is_set() and state == expected):
                    for change in changes:
                        state.pop(change.key, None)
                        if change.entry is not None:
                            state[change.key] = change.entry.value
            return state == expected

        def writer(name: int) -> bool:
            memory = self.memory()
            ready.wait(PATIENCE)
            for number in range(30):
                memory.set(f"{(name + number) % 11}", [name, number])
                if number % 5 == 0:
                    memory.set(f"own {name} {number}", 0)
                    memory.delete(f"own {name} {number - 5}")
            finished.wait(PATIENCE)
            return True

        def judge() -> bool:
            finished.wait(2 * PATIENCE)
            expected.update(self.memory().items())
            over.set()
            return True

        ready, finished = threading.Barrier(12), threading.Barrier(9)
        assert all(together(judge, *[watcher] * 4, *[lambda name=name: writer(name) for name in range(8)]))

    def test_who_slept_through_many_writes_catches_up(self) -> None:
        """Ten thousand changes while nobody waited: what is there now is told of, and little was kept meanwhile."""
        memory = self.memory()
        with memory.watch(timeout=PATIENCE) as changes:
            for start in range(0, MANY, 500):
                memory.set_many({f"k{number % 700:04}": number for number in range(start, start + 500)})
            told = {change.key: change.entry.value for change in _first(700, changes)}
        assert told == dict(memory.items())

    def test_what_is_no_watch_is_refused_at_once(self) -> None:
        """Bad arguments raise in the call."""
        memory = self.memory()
        with pytest.raises(InvalidName):
            memory.watch("x" * (MAX_NAME_BYTES + 1))
        for timeout in (-1, "1", True, float("nan")):
            with pytest.raises(InvalidValue, match="timeout"):
                memory.watch(timeout=timeout)  # type: ignore[arg-type]
        for after in (-1, 1.5, "1", True):
            with pytest.raises(InvalidValue):
                self.session().watch(after)  # type: ignore[arg-type]
        with pytest.raises(InvalidValue, match="epoch"):
            self.session().watch(epoch="x")

    # ------------------------------------------------------------------------------------- sessions

    def test_a_session_is_watched_from_the_call_on(self) -> None:
        """Each message once, in order, of that session and agent alone."""
        session = self.session()
        session.append(("user", "old"))
        with session.watch(timeout=PATIENCE) as messages:
            self.session("other").append(("user", "no"))
            self.session(agent="a").append(("user", "no"))
            session.append(("user", "1"), ("assistant", "2"))
            session.append(("user", "3"))
            told = _first(3, messages)
            assert [(message.seq, message.content) for message in told] == [(2, "1"), (3, "2"), (4, "3")]
            info = session.info()
            assert info is not None
            assert (messages.seq, messages.epoch) == (4, info.epoch)

    def test_a_session_is_watched_after_a_message(self) -> None:
        """From the first with 0; from where another process left off by its number and epoch."""
        session = self.session()
        session.append(*[("user", str(number)) for number in range(1, 451)])
        with session.watch(after=0, timeout=PATIENCE) as messages:
            assert [message.seq for message in _first(300, messages)] == list(range(1, 301))
            place = messages.seq, messages.epoch
        with session.watch(after=place[0], epoch=place[1], timeout=PATIENCE) as messages:
            session.append(("user", "more"))
            assert [message.seq for message in _first(151, messages)] == list(range(301, 452))

    def test_a_session_that_does_not_exist_yet_is_watched(self) -> None:
        """From its first message on."""
        with self.session().watch(timeout=PATIENCE) as messages:
            assert messages.epoch is None
            self.session().append(("user", "1"))
            assert next(messages).seq == 1

    def test_a_watch_goes_on_with_the_new_epoch(self) -> None:
        """After clear, replace and delete: numbers begin at 1, and the epoch is another one."""
        session = self.session()
        session.append(("user", "1"), ("user", "2"))
        with session.watch(timeout=PATIENCE) as messages:
            epochs = [messages.epoch]
            for begin_anew in (session.clear, session.replace, session.delete):
                begin_anew()
                session.append(("user", "a"), ("user", "b"), ("user", "c"))
                assert [message.content for message in _first(3, messages)] == ["a", "b", "c"]
                epochs.append(messages.epoch)
            assert len(set(epochs)) == 4
            session.clear()
            session.append(*[("user", "x")] * 5)
        with session.watch(after=3, epoch=epochs[-1], timeout=PATIENCE) as messages:
            assert [message.seq for message in _first(5, messages)] == [1, 2, 3, 4, 5]
        with session.watch(after=9, timeout=PATIENCE) as messages:  # a number that the session does not have any more
            assert [message.seq for message in _first(5, messages)] == [1, 2, 3, 4, 5]

    def test_messages_of_many_writers_are_told_of_once_and_in_order(self) -> None:
        """Gapless, while eight writers append, to watchers from the beginning and from the middle."""

        def writer(name: int) -> list[int]:
            ready.wait(PATIENCE)
            for number in range(25):
                self.session().append(("user", f"{name}:{number}"))
            return []

        def watcher() -> list[int]:
            with self.session().watch(after=0, timeout=PATIENCE) as messages:
                ready.wait(PATIENCE)
                return [message.seq or 0 for message in _first(200, messages)]

        ready = threading.Barrier(11)
        told = together(*[watcher] * 3, *[lambda name=name: writer(name) for name in range(8)])[:3]
        assert told == [list(range(1, 201))] * 3

    def test_closing_ends_an_iteration_in_another_thread(self) -> None:
        """``close`` from elsewhere ends a ``for`` loop that waits."""
        changes = self.memory().watch()
        waiting = threading.Event()

        def iterate() -> list[Any]:
            waiting.set()
            return list(changes)

        def close() -> list[Any]:
            assert waiting.wait(PATIENCE)
            changes.close()
            return []

        assert together(iterate, close) == [[], []]


class _closing:  # noqa: N801 - as in contextlib, which wants more than a listener has
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __enter__(self) -> Listener:
        return self._listener

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def _hears(listener: Listener, wanted: Callable[[Heard], bool]) -> bool:
    """Whether it hears that within the patience of a test; other hints may come before."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        heard = listener.wait(deadline - time.monotonic())
        if heard is not None and wanted(heard):
            return True
    return False


def _first(count: int, changes: Iterable[Any]) -> list[Any]:
    return list(islice(changes, count))


def _until(changes: Iterable[Any], is_last: Callable[[Any], bool]) -> list[Any]:
    told: list[Any] = []
    for change in changes:
        told.append(change)
        if is_last(change):
            break
    return told
