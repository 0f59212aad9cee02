"""Terms: what a batch is charged for, and what its namespace may hold after it. Exact under any number of writers."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from botwire._errors import BotWireError, QuotaExceeded, Unsupported, VersionConflict
from botwire.stores._protocol import (
    KEEP,
    Append,
    Batch,
    Cap,
    Change,
    Charge,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    EntryRow,
    LogInfo,
    LogRow,
    Operation,
    Outcome,
    Pop,
    Restore,
    RestoreLog,
    Set,
    SetLog,
    Terms,
    Trim,
)
from botwire.testing._base import ContractBase, together

_DAY = 86_400 * 1_000_000
_LATER = 2**60  # microseconds: after all tests


def _one(limit: int, amount: int = 1, meter: str = "writes", expires_at: int = _LATER) -> Terms:
    return Terms((Charge(meter, amount, limit, expires_at),))


_MANY = "x" * 100
_GROWING: dict[str, tuple[Operation, ...]] = {
    "Set": (Set("new", f'"{_MANY}"'),),
    "Set of more": (Set("k", f'"{_MANY}"'),),
    "Change": (Change("list", "append", f'["{_MANY}"]'),),
    "Append": (Append("s", "", (f'"{_MANY}"',)),),
    "Append of an agent": (Append("s", "a", (f'"{_MANY}"',)),),
    "Restore": (Restore(EntryRow("k", f'"{_MANY}"', 5, 1, 1, None)),),
    "RestoreLog": (RestoreLog(LogInfo("t", "", "e", 1, 1, 1, 1, None, None, "{}"), (LogRow(1, f'"{_MANY}"', 1),)),),
    "several": (Delete("k"), Set("one", f'"{_MANY}"'), Set("two", "1")),
}
_SHRINKING: dict[str, tuple[Operation, ...]] = {
    "Delete": (Delete("k"),),
    "Set of less": (Set("k", "0"),),
    "Clear": (Clear(),),
    "Pop": (Pop("s", ""),),
    "Trim": (Trim("s", "", 1),),
    "ClearLog": (ClearLog("s", ""),),
    "DeleteLog": (DeleteLog("s", None),),
    "SetLog": (SetLog("s", "", KEEP, '{"a":1}'),),
    "one for another": (Delete("k"), Set("l", '"' + "x" * 30 + '"')),
}


class TermsContract(ContractBase):
    """What terms promise. A store that cannot keep some says so: ``cannot`` holds ``charge`` or ``cap``, and it answers ``Unsupported``."""

    def within(self, terms: Terms, *operations: Operation, request_id: str | None = None, namespace: str | None = None) -> Outcome:
        """What becomes of a batch under these terms."""
        return self.subject.write((Batch(namespace or self.namespace, operations, request_id, terms),))[0]

    def refused(self, outcome: Outcome) -> QuotaExceeded:
        """The refusal that an outcome must be."""
        assert isinstance(outcome, QuotaExceeded), outcome
        return outcome

    def test_terms_that_a_store_cannot_keep_are_refused(self) -> None:
        """Where a store declares that it cannot charge or cap, a batch that asks for it is Unsupported, and nothing of it happens."""
        for hook, terms in (("charge", _one(1)), ("cap", Terms(cap=Cap(keys=2)))):
            outcome = self.within(terms, Set(hook, "1"))
            if hook in self.cannot:
                assert isinstance(outcome, Unsupported), outcome
                assert self.subject.get(self.namespace, hook) is None
            else:
                assert outcome == [1]

    # ----------------------------------------------------------------------------------------- charges

    def test_a_meter_fills_up_to_its_limit_and_no_further(self) -> None:
        """What fits is applied; what does not is refused whole, leaves the meter as it is, and tells the figures."""
        self.needs("charge")
        assert self.within(_one(5, 3), Set("a", "1")) == [1]
        over = self.refused(self.within(_one(5, 3), Set("b", "1")))
        assert self.subject.get(self.namespace, "b") is None
        assert over.retry_after is not None
        assert over.retry_after > 1e6
        assert (over.limit, over.current, over.allowed) == ("writes", 3, 5)
        assert self.within(_one(5, 2), Set("b", "1")) == [1]
        self.refused(self.within(_one(5, 1), Set("b", "2")))

    def test_meters_are_apart_by_name_and_by_namespace(self) -> None:
        """A full meter is full for its own name in its own namespace alone; a charge on several is made on all or on none."""
        self.needs("charge")
        other = f"{self.namespace}2"
        assert self.within(_one(1), Set("a", "1")) == [1]
        assert self.within(_one(1), Set("a", "1"), namespace=other) == [1]
        assert self.within(_one(1, meter="other"), Set("a", "2")) == [2]
        both = Terms((Charge("third", 1, 1, _LATER), Charge("writes", 1, 1, _LATER)))
        self.refused(self.within(both, Set("a", "3")))
        assert self.within(_one(1, meter="third"), Set("a", "3")) == [3]

    def test_a_batch_that_is_not_applied_is_not_charged(self) -> None:
        """A lost compare-and-set costs nothing, wherever in the batch it stands."""
        self.needs("charge")
        for operations in ((Set("a", "1", if_version=7),), (Set("b", "1"), Set("a", "1", if_version=7))):
            for request_id in (None, "r"):
                assert isinstance(self.within(_one(2, len(operations)), *operations, request_id=request_id), VersionConflict)
        assert self.within(_one(2, 2), Set("a", "1")) == [1]

    def test_a_repeated_request_is_charged_once(self) -> None:
        """A repetition answers as the first time did, even where the meter is full by now."""
        self.needs("charge")
        assert self.within(_one(1), Change("n", "increment", "1"), request_id="r") == self.within(
            _one(1), Change("n", "increment", "1"), request_id="r"
        )
        self.refused(self.within(_one(1), Change("n", "increment", "1"), request_id="another"))
        assert self.memory().get("n") == 1

    def test_a_refused_request_can_be_sent_again(self) -> None:
        """A refusal is not remembered as the request's outcome."""
        self.needs("charge")
        self.refused(self.within(_one(0), Set("a", "1"), request_id="r"))
        assert self.within(_one(1), Set("a", "1"), request_id="r") == [1]

    def test_a_meter_is_empty_again_when_its_time_has_come(self) -> None:
        """Until then the refusal says how long; from then on it begins at nothing."""
        self.needs("charge")
        self.apply(Set("clock", "0"))
        clock = self.subject.get(self.namespace, "clock")
        assert clock is not None
        soon = clock.updated_at + round(self.lifetime * 1_000_000)
        assert self.within(_one(1, expires_at=soon), Set("a", "1")) == [1]
        over = self.refused(self.within(_one(1, expires_at=soon), Set("a", "2")))
        assert over.retry_after is not None
        assert 0 < over.retry_after <= self.lifetime
        self.wait(self.lifetime)
        assert self.within(_one(1, expires_at=soon + _DAY), Set("a", "2")) == [2]
        self.refused(self.within(_one(1, expires_at=soon + _DAY), Set("a", "3")))

    def test_a_meter_is_kept_by_a_store_that_is_opened_again(self) -> None:
        """A restart does not empty it."""
        self.needs("charge")
        self.needs("reopen")
        assert self.within(_one(1), Set("a", "1")) == [1]
        self.subject = self.reopen()
        self.refused(self.within(_one(1), Set("a", "2")))

    def test_many_writers_at_once_never_get_over_the_limit_nor_short_of_it(self) -> None:
        """Of more attempts than a meter takes, from many threads, exactly as many are applied as it takes."""
        self.needs("charge")
        limit, writers, each = 60, 8, 12

        def write(writer: int) -> int:
            outcomes = [self.within(_one(limit), Set(f"{writer}-{number}", "1")) for number in range(each)]
            assert all(isinstance(outcome, list | QuotaExceeded) for outcome in outcomes)
            return sum(isinstance(outcome, list) for outcome in outcomes)

        applied = together(*[lambda writer=writer: write(writer) for writer in range(writers)])
        assert sum(applied) == limit
        assert self.memory().count() == limit

    def test_batches_of_one_write_are_charged_one_by_one(self) -> None:
        """In one call to the store too, those that fit are applied and the rest refused."""
        self.needs("charge")
        batches = [Batch(self.namespace, (Set(f"k{number}", "1"),), None, _one(3)) for number in range(5)]
        outcomes = self.subject.write(batches)
        assert [isinstance(outcome, list) for outcome in outcomes] == [True, True, True, False, False]
        assert self.memory().count() == 3

    def test_a_batch_that_is_not_applied_is_not_charged_beside_others_that_are(self) -> None:
        self.needs("charge")
        lost = [Batch(self.namespace, (Set("k", "1", if_version=7),), None, _one(3)) for _ in range(4)]
        fitting = [Batch(self.namespace, (Set(f"k{number}", "1"),), None, _one(3)) for number in range(3)]
        outcomes = self.subject.write([*lost, *fitting])
        assert [type(outcome) for outcome in outcomes] == [VersionConflict] * 4 + [list] * 3
        assert isinstance(self.within(_one(3), Set("one more", "1")), QuotaExceeded)

    # -------------------------------------------------------------------------------------------- caps

    def _fill(self) -> None:
        self.apply(Set("k", '"' + "x" * 30 + '"'), Set("list", "[]"), Append("s", "", ('"' + "x" * 30 + '"', "{}")))

    def _held(self) -> tuple[int, int, int]:
        """Bytes, keys and sessions, looked up."""
        entries, logs = self.contents()
        size = sum(len(row.value.encode()) for row in entries) + sum(len(row.body.encode()) for _, rows in logs for row in rows)
        return size, len(entries), len({info.session for info, _ in logs})

    @pytest.mark.parametrize("operations", _GROWING.values(), ids=_GROWING)
    def test_what_would_go_over_the_cap_is_refused_whole(self, operations: tuple[Operation, ...]) -> None:
        """Each way of writing more than the bytes that are allowed changes nothing; with a byte more of allowance it is done."""
        self.needs("cap")
        self._fill()
        before = self.contents()
        over = self.refused(self.within(Terms(cap=Cap(bytes=120)), *operations))
        assert (over.limit, over.current, over.allowed, over.retry_after) == ("bytes", self._held()[0], 120, None)
        assert self.contents() == before
        assert isinstance(self.within(Terms(cap=Cap(bytes=10_000)), *operations), list)
        assert isinstance(self.within(Terms(cap=Cap(bytes=self._held()[0])), Set("list", "0")), list)

    @pytest.mark.parametrize("operations", _SHRINKING.values(), ids=_SHRINKING)
    def test_what_only_takes_away_is_never_over_the_cap(self, operations: tuple[Operation, ...]) -> None:
        """A namespace that holds more than it may can still be made smaller, and kept in use."""
        self.needs("cap")
        self._fill()
        assert isinstance(self.within(Terms(cap=Cap(0, 0, 0)), *operations), list)

    def test_the_cap_is_exact_to_the_byte_of_utf8(self) -> None:
        """Values and messages count by their bytes as UTF-8: at the limit they fit, one byte over it they do not."""
        self.needs("cap")
        texts = ['"ä€😀"', '"\\ud800"', "1"]
        size = sum(len(text.encode()) for text in texts)
        operations = (Set("a", texts[0]), Append("s", "", (texts[1], texts[2])))
        self.refused(self.within(Terms(cap=Cap(bytes=size - 1)), *operations))
        assert isinstance(self.within(Terms(cap=Cap(bytes=size)), *operations), list)
        self.refused(self.within(Terms(cap=Cap(bytes=size)), Append("s", "", ("1",))))

    def test_keys_and_sessions_are_counted_as_their_users_see_them(self) -> None:
        """A key counts once however often it is written; a session counts once, with the transcripts of its agents."""
        self.needs("cap")
        terms = Terms(cap=Cap(keys=2, sessions=2))
        for key in ("a", "b", "a"):
            assert isinstance(self.within(terms, Set(key, "1")), list)
        assert self.refused(self.within(terms, Set("c", "1"))).limit == "keys"
        for session, agent in (("s", ""), ("s", "a"), ("s", "b"), ("t", "a"), ("s", "")):
            assert isinstance(self.within(terms, Append(session, agent, ("1",))), list)
        assert self.refused(self.within(terms, Append("u", "", ("1",)))).limit == "sessions"
        self.apply(DeleteLog("s", "a"), DeleteLog("s", "b"))
        self.refused(self.within(terms, SetLog("u", "")))
        self.apply(DeleteLog("s", ""), Delete("a"))
        assert isinstance(self.within(terms, SetLog("u", ""), Set("c", "1")), list)

    def test_what_others_write_without_a_cap_counts_too(self) -> None:
        """A cap knows of writes that asked for none, before and after the first that did; a restart does not forget them."""
        self.needs("cap")
        self._fill()
        self.within(Terms(cap=Cap(keys=2)), Set("k", "1"))
        self.apply(Set("more", "1"), Append("t", "", ("1",)), Clear("li"))
        self.refused(self.within(Terms(cap=Cap(keys=2)), Set("new", "1")))
        if "reopen" not in self.cannot:
            self.subject = self.reopen()
        self.refused(self.within(Terms(cap=Cap(keys=2)), Set("new", "1")))
        self.refused(self.within(Terms(cap=Cap(sessions=2)), Append("u", "", ("1",))))
        size, keys, sessions = self._held()
        assert isinstance(self.within(Terms(cap=Cap(size + 1, keys + 1, sessions)), Set("new", "1")), list)

    def test_what_has_expired_does_not_count(self) -> None:
        """Room that expired entries and sessions took is free at once, swept or not."""
        self.needs("cap")
        ttl = round(self.lifetime * 1_000_000)
        self.apply(Set("a", '"xxx"', ttl=ttl), Append("s", "", ('"xxx"',), ttl=ttl))
        terms = Terms(cap=Cap(bytes=10, keys=1, sessions=1))
        self.refused(self.within(terms, Set("b", '"yyy"')))
        self.wait(self.lifetime)
        assert isinstance(self.within(terms, Set("b", '"yyy"'), Append("t", "", ('"yyy"',))), list)
        self.refused(self.within(terms, Set("c", "1")))

    def test_namespaces_are_capped_apart(self) -> None:
        """A full namespace leaves its neighbours alone."""
        self.needs("cap")
        terms = Terms(cap=Cap(keys=1))
        assert self.within(terms, Set("a", "1")) == [1]
        assert self.within(terms, Set("b", "1"), namespace=f"{self.namespace}2") == [1]
        self.refused(self.within(terms, Set("b", "1")))

    def test_many_writers_at_once_never_get_over_the_cap_nor_short_of_it(self) -> None:
        """Of more new keys than a namespace may have, from many threads, exactly as many are made as it may have."""
        self.needs("cap")
        terms, writers, each = Terms(cap=Cap(keys=40)), 8, 10

        def write(writer: int) -> int:
            outcomes = [self.within(terms, Set(f"{writer}-{number}", "1")) for number in range(each)]
            return sum(isinstance(outcome, list) for outcome in outcomes)

        applied = together(*[lambda writer=writer: write(writer) for writer in range(writers)])
        assert sum(applied) == 40
        assert self.memory().count() == 40

    def test_a_batch_over_the_cap_is_not_charged(self) -> None:
        """Charges and cap of one batch hold together."""
        self.needs("charge")
        self.needs("cap")
        both = Terms((Charge("writes", 1, 1, _LATER),), Cap(keys=0))
        assert self.refused(self.within(both, Set("a", "1"))).limit == "keys"
        assert self.within(_one(1), Set("a", "1")) == [1]

    def test_a_refusal_is_an_error_like_the_others(self) -> None:
        """It can be raised, told from others, and sent between processes with its figures."""
        error = QuotaExceeded("so", 2.5, limit="writes_per_day", current=3, allowed=4)
        again: Any = pickle.loads(pickle.dumps(error))
        assert isinstance(again, BotWireError)
        assert (str(again), vars(again)) == (str(error), vars(error))
