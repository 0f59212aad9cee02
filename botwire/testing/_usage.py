"""What a namespace holds, in figures."""

from __future__ import annotations

from datetime import UTC, datetime

from botwire._codec import encode
from botwire.stores._protocol import Append, Delete, EntryRow, LogInfo, LogRow, Restore, RestoreLog, Set, Trim, Usage
from botwire.testing._base import ContractBase

NOON = int(datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp()) * 1_000_000
DAY = 86_400_000_000


class UsageContract(ContractBase):
    def usage(self) -> Usage:
        return self.subject.usage(self.namespace)

    def put(self, key: str, at: int, value: str = '"x"') -> None:
        self.apply(Restore(EntryRow(key, value, 1, at, at, None)))

    def put_log(self, session: str, agent: str, *times: int) -> None:
        info = LogInfo(session, agent, "epoch", len(times), len(times), times[0], times[-1], None, None, "{}")
        self.apply(RestoreLog(info, tuple(LogRow(seq, '{"m":1}', at) for seq, at in enumerate(times, 1))))

    def test_an_empty_namespace_holds_nothing(self):
        assert self.usage() == Usage(0, 0, 0, 0, 0, ())

    def test_entries_and_messages_are_counted_with_their_bytes_as_utf8(self):
        values = [encode(value) for value in ("plain", "Grüße", "😀", {"a": [1, 2.5, None]}, "x" * 100_000)]
        bodies = ('{"role":"user","content":"hé"}', '{"role":"user","content":"' + "y" * 50_000 + '"}')
        self.apply(*(Set(f"k{number}", value) for number, value in enumerate(values)))
        self.apply(Append("s", "", bodies))

        found = self.usage()

        assert (found.entries, found.entry_bytes) == (5, sum(len(value.encode()) for value in values))
        assert (found.sessions, found.messages, found.message_bytes) == (1, 2, sum(len(body.encode()) for body in bodies))

    def test_a_session_with_transcripts_of_agents_is_one_session(self):
        self.apply(Append("s", "", ("{}",)), Append("s", "writer", ("{}", "{}")), Append("s", "critic", ("{}",)), Append("t", "", ("{}",)))
        found = self.usage()
        assert (found.sessions, found.messages, found.message_bytes) == (2, 5, 10)

    def test_days_are_those_of_the_last_write_in_utc(self):
        self.put("a", NOON, "11")
        self.put("b", NOON + DAY // 2 - 1, "222")  # the last microsecond of that day
        self.put("c", NOON + DAY // 2, "3")
        self.put_log("s", "", NOON - DAY, NOON)

        days = self.usage().days

        assert [tuple(day) for day in days] == [("2024-02-28", 0, 1, 7), ("2024-02-29", 2, 1, 12), ("2024-03-01", 1, 0, 1)]

    def test_what_is_written_again_counts_for_the_later_day(self):
        self.put("a", NOON)
        self.apply(Set("a", "1"))
        days = self.usage().days
        assert [(day.entries, day.bytes) for day in days] == [(1, 1)]
        assert days[0].day > "2026"  # by the store's clock, which tests may have moved

    def test_what_was_deleted_or_trimmed_no_longer_counts(self):
        self.apply(Set("a", "1"), Set("b", "22"), Append("s", "", ("{}", "{}", "{}")))
        self.apply(Delete("b"), Trim("s", "", 1))
        found = self.usage()
        assert (found.entries, found.entry_bytes, found.messages, found.message_bytes) == (1, 1, 1, 2)

    def test_other_namespaces_do_not_count(self):
        self.apply(Set("a", "1"))
        for neighbour in (self.namespace + "2", self.namespace[:-1]):
            self.apply(Set("a", "1"), Append("s", "", ("{}",)), namespace=neighbour)
        assert self.usage()[:5] == (1, 1, 0, 0, 0)

    def test_what_has_expired_does_not_count(self):
        self.needs("advance")
        lifetime = int(self.lifetime * 1_000_000)
        self.apply(Set("a", "1", ttl=lifetime), Set("b", "22"), Append("s", "", ("{}",), ttl=lifetime), Append("t", "", ("{}",)))
        assert self.usage()[:5] == (2, 3, 2, 2, 4)
        self.advance(self.lifetime + 0.001)
        assert self.usage()[:5] == (1, 2, 1, 1, 2)
