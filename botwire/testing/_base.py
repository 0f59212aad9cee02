"""What the parts of the contract share: the store under test, its hooks, and how to compare and to race."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar, cast

import pytest

from botwire._memory import Memory
from botwire._session import Session
from botwire.stores._protocol import Batch, EntryRow, LogInfo, LogRow, Operation, Outcome, Store

T = TypeVar("T")


class ContractBase:
    """One store under test. A subclass has a fixture ``store``; the hooks below it overrides, or names in ``cannot``."""

    cannot: ClassVar[frozenset[str]] = frozenset()
    """Which of ``reopen``, ``advance``, ``corrupt``, ``charge`` and ``cap`` this store has no way to do."""

    lifetime: ClassVar[float] = 1.0
    """Seconds that the entries of the tests on expiry live. Where the clock cannot be moved they are really waited for."""

    subject: Store
    """The store under test, or what ``reopen`` made of it."""

    namespace: str
    """A namespace that no other test has."""

    @pytest.fixture
    def store(self) -> Store:
        """The store to test, fresh or used; the subclass makes it, and closes it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named 'store'")

    @pytest.fixture(autouse=True)
    def _under_test(self, store: Store) -> Iterator[None]:
        self.subject = store
        self.namespace = f"contract-{secrets.token_hex(4)}"
        yield
        if self.subject is not store:
            self.subject.close()

    # ---------------------------------------------------------------------------------------- hooks

    def memory(self, namespace: str | None = None, store: Store | None = None) -> Memory:
        """A memory over the store under test: what most tests speak through. Override it to test another front."""
        return Memory(namespace or self.namespace, store=store or self.subject)

    def reopen(self) -> Store:
        """Close ``self.subject`` and open what it kept again, as another process would."""
        raise NotImplementedError(f"override reopen(), or say that {type(self).__name__} cannot")

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass for the store, exact to the microsecond."""
        raise NotImplementedError(f"override advance(), or say that {type(self).__name__} cannot")

    def corrupt_entry(self, namespace: str, key: str, text: str) -> None:
        """Put ``text`` where an entry's JSON text lies, behind the store's back."""
        raise NotImplementedError(f"override corrupt_entry(), or say that {type(self).__name__} cannot 'corrupt'")

    def corrupt_message(self, namespace: str, session: str, seq: int, text: str) -> None:
        """Put ``text`` where a message's JSON text lies, behind the store's back."""
        raise NotImplementedError(f"override corrupt_message(), or say that {type(self).__name__} cannot 'corrupt'")

    # -------------------------------------------------------------------------------------- helpers

    def session(self, session_id: str = "s", **options: Any) -> Session:
        """A session of the test's own namespace."""
        return self.memory().session(session_id, **options)

    def needs(self, hook: str) -> None:
        """Skip the test if the class declares that its store cannot do this; otherwise the hook must be there."""
        if hook in self.cannot:
            pytest.skip(f"not applicable: {type(self).__name__} declares that its store cannot {hook}")

    def wait(self, seconds: float) -> None:
        """Let time pass: by moving the store's clock, or where that cannot be, by waiting."""
        if "advance" in self.cannot:
            time.sleep(seconds)
        else:
            self.advance(seconds)

    def outcome(self, *operations: Operation, namespace: str | None = None, request_id: str | None = None) -> Outcome:
        """What becomes of one batch."""
        return self.subject.write((Batch(namespace or self.namespace, operations, request_id),))[0]

    def apply(self, *operations: Operation, namespace: str | None = None, request_id: str | None = None) -> list[Any]:
        """The results of one batch, which must be applied."""
        outcome = self.outcome(*operations, namespace=namespace, request_id=request_id)
        assert isinstance(outcome, list), outcome
        return cast("list[Any]", outcome)

    def contents(self, namespace: str | None = None) -> tuple[list[EntryRow], list[tuple[LogInfo, list[LogRow]]]]:
        """All that the store holds in a namespace, to tell whether anything changed."""
        name = namespace or self.namespace
        logs = [(info, self.subject.read_log(name, info.session, info.agent).rows) for info in self.subject.scan_logs(name, None, 1_000)]
        return self.subject.scan(name, "", None, 1_000), logs


def exactly(found: Any, expected: Any) -> bool:
    """Whether two JSON values are equal and of the same types all the way down, members in the same order."""
    if type(found) is not type(expected):
        return False
    if isinstance(expected, dict):
        ours, theirs = cast("dict[str, Any]", expected), cast("dict[str, Any]", found)
        return list(ours) == list(theirs) and all(exactly(theirs[name], ours[name]) for name in ours)
    if isinstance(expected, list):
        pairs = cast("list[Any]", found), cast("list[Any]", expected)
        return len(pairs[0]) == len(pairs[1]) and all(exactly(one, other) for one, other in zip(*pairs, strict=True))
    if isinstance(expected, float):
        return repr(found) == repr(expected)  # tells -0.0 from 0.0
    return bool(found == expected)


def together(*calls: Callable[[], T]) -> list[T]:
    """Run calls at the same moment, each in a thread of its own; their results in order.

    Raises the first error that any of them raised.
    """
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)
    errors: list[BaseException] = []

    def run(index: int, call: Callable[[], T]) -> None:
        try:
            barrier.wait(60)
            results[index] = call()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive(), "a call did not come back within five minutes"
    if errors:
        raise errors[0]
    return results
