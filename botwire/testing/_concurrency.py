"""Many writers at once, all starting at the same moment: nothing lost, nothing doubled, nothing out of order."""

from __future__ import annotations

from collections import Counter

from botwire._errors import VersionConflict
from botwire._message import Message
from botwire.stores._protocol import Batch, Set
from botwire.testing._base import ContractBase, together

WRITERS = 16
WRITES = 50


class ConcurrencyContract(ContractBase):
    """What the store promises to any number of threads."""

    def test_appends_of_many_writers_are_gapless_and_in_order(self) -> None:
        """Every message is there once, numbers have no gap, and each writer's messages keep their order."""

        def writer(name: int) -> list[int]:
            session = self.session()
            return [seq for number in range(WRITES) for seq in session.append(("user", f"{name}:{number}"))]

        numbers = together(*[lambda name=name: writer(name) for name in range(WRITERS)])
        messages = self.session().messages()
        assert [message.seq for message in messages] == list(range(1, WRITERS * WRITES + 1))
        assert sorted(seq for mine in numbers for seq in mine) == list(range(1, WRITERS * WRITES + 1))
        for name, mine in enumerate(numbers):
            assert _texts_of(messages, f"{name}:") == [f"{name}:{number}" for number in range(WRITES)]
            assert [messages[seq - 1].content for seq in mine] == [f"{name}:{number}" for number in range(WRITES)]

    def test_a_batch_of_messages_stays_together(self) -> None:
        """Messages of one append are neighbours, whoever else appends."""

        def writer(name: int) -> None:
            for _ in range(10):
                numbers = self.session().append(*[("user", str(name))] * 3)
                assert numbers == list(range(numbers[0], numbers[0] + 3))

        together(*[lambda name=name: writer(name) for name in range(8)])
        texts = [message.content for message in self.session().messages()]
        assert len(texts) == 240
        assert all(len(set(texts[start : start + 3])) == 1 for start in range(0, 240, 3))

    def test_appends_and_pops_neither_lose_nor_double(self) -> None:
        """Each message is either popped once or still there."""
        session = self.session()
        session.append(*[("user", f"old {number}") for number in range(40)])
        popping = [lambda: [message.content for message in (self.session().pop() for _ in range(20)) if message]] * 4
        appending = [
            lambda name=name: [self.session().append(("user", f"{name}:{number}")) and None for number in range(20)] for name in range(4)
        ]
        popped = [text for found in together(*popping, *appending) for text in found if text is not None]
        left = [message.content for message in session.messages()]
        expected = [f"old {number}" for number in range(40)] + [f"{name}:{number}" for name in range(4) for number in range(20)]
        assert sorted(str(text) for text in popped + left) == sorted(expected)
        info = session.info()
        assert info is not None
        assert (info.head, info.count) == (120, len(left))

    def test_increments_of_many_writers_add_up(self) -> None:
        """Every increment counts once, and no two get the same answer."""
        answers = together(*[lambda: [self.memory().increment("n") for _ in range(25)]] * 8)
        assert sorted(answer for mine in answers for answer in mine) == list(range(1, 201))
        entry = self.memory().get_entry("n")
        assert entry is not None
        assert (entry.value, entry.version) == (200, 200)

    def test_list_appends_of_many_writers_are_all_there(self) -> None:
        """The list has every item once, and each writer's in order."""
        together(*[lambda name=name: [self.memory().append("l", [name, number]) for number in range(20)] for name in range(8)])
        items = self.memory().get("l")
        assert len(items) == 160
        for name in range(8):
            assert [item for item in items if item[0] == name] == [[name, number] for number in range(20)]

    def test_merges_of_many_writers_are_all_there(self) -> None:
        """Members merged at the same time do not overwrite each other."""
        together(*[lambda name=name: [self.memory().merge("o", {f"{name}:{number}": 1}) for number in range(15)] for name in range(8)])
        assert len(self.memory().get("o")) == 120

    def test_updates_under_contention_lose_nothing(self) -> None:
        """Read-modify-write of many writers counts every one of them, without any giving up."""
        together(*[lambda: [self.memory().update("n", lambda value: value + 1, default=0) for _ in range(10)]] * 6)
        entry = self.memory().get_entry("n")
        assert entry is not None
        assert (entry.value, entry.version) == (60, 60)

    def test_of_many_that_create_one_wins(self) -> None:
        """if_version=0 lets exactly one through, and what is there is what that one wrote."""
        for attempt in range(5):
            outcomes = together(*[lambda name=name, key=f"k{attempt}": self._create(key, name) for name in range(8)])
            assert Counter(outcomes) == {True: 1, False: 7}
            assert self.memory().get(f"k{attempt}") == outcomes.index(True)

    def _create(self, key: str, name: int) -> bool:
        try:
            return self.memory().set(key, name, if_version=0) == 1
        except VersionConflict as conflict:
            assert conflict.current == 1
            return False

    def test_compare_and_set_races_count_exactly(self) -> None:
        """Of all compare-and-sets that were told of success, each made one version, and no other did."""
        memory = self.memory()
        memory.set("k", 0)

        def racer() -> int:
            won = 0
            for _ in range(20):
                entry = self.memory().get_entry("k")
                assert entry is not None
                try:
                    self.memory().set("k", entry.value + 1, if_version=entry.version)
                    won += 1
                except VersionConflict as conflict:
                    assert conflict.current > entry.version
            return won

        wins = sum(together(*[racer] * 6))
        entry = memory.get_entry("k")
        assert entry is not None
        assert (entry.value, entry.version) == (wins, wins + 1)

    def test_deletes_of_one_entry_succeed_once(self) -> None:
        """Of many that delete the same entry one is told that it was there."""
        for _ in range(5):
            self.memory().set("k", 1)
            assert Counter(together(*[lambda: self.memory().delete("k")] * 6)) == {True: 1, False: 5}

    def test_a_reader_sees_batches_whole(self) -> None:
        """Entries that are always written together are never read apart."""
        keys = [f"k{number}" for number in range(5)]
        self.apply(*[Set(key, "0") for key in keys])

        def write() -> None:
            for number in range(1, 40):
                self.subject.write((Batch(self.namespace, tuple(Set(key, str(number)) for key in keys)),))

        def read() -> None:
            last = 0
            while last < 39:
                values = set(self.memory().get_many(keys).values())
                assert len(values) == 1
                (number,) = values
                assert number >= last
                last = number

        together(write, read, read)

    def test_a_failure_of_one_writer_is_its_own(self) -> None:
        """While some writers' calls fail, the others' writes all arrive."""

        def failing() -> int:
            failed = 0
            for number in range(20):
                try:
                    self.memory().set("n", number, if_version=10**6)
                except VersionConflict:
                    failed += 1
            return failed

        def counting() -> int:
            return [self.memory().increment("n") for _ in range(20)][-1]

        answers = together(*[failing] * 4, *[counting] * 4)
        assert answers[:4] == [20] * 4
        assert self.memory().get("n") == max(answers[4:]) == 80


def _texts_of(messages: list[Message], prefix: str) -> list[object]:
    return [message.content for message in messages if isinstance(message.content, str) and message.content.startswith(prefix)]
