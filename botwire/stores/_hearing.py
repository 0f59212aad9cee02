"""What a listener has heard and not yet told: gathered by whoever hears, taken by whoever waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from botwire._errors import BotWireError
from botwire.stores._protocol import Batch, Change, Clear, Delete, Heard, Outcome, Restore, RestoreLog, Set

MOST_NAMES = 1_000
"""Names of each kind that are kept apart; of more it is only known that there were many."""

ANYTHING = Heard(None, None)
"""Anything may have changed."""


def merge(one: Heard | None, other: Heard) -> Heard:
    """What both tell of together."""
    return other if one is None else Heard(_union(one.keys, other.keys), _union(one.sessions, other.sessions))


def _union(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else _bounded(one | other)


def _bounded(names: Iterable[str]) -> frozenset[str] | None:
    found = frozenset(names)
    return found if len(found) <= MOST_NAMES else None


def touched(batch: Batch, outcome: Outcome | None) -> Heard | None:
    """What a batch may have changed; ``outcome`` is None where it is not known. None if nothing."""
    if outcome is None:
        return ANYTHING
    if isinstance(outcome, BotWireError):
        return None
    keys, sessions, cleared = set[str](), set[str](), False
    for operation in batch.operations:
        match operation:
            case Set() | Delete() | Change():
                keys.add(operation.key)
            case Restore(row):
                keys.add(row.key)
            case Clear():
                cleared = True
            case RestoreLog(info):
                sessions.add(info.session)
            case _:
                sessions.add(operation.session)
    return Heard(None if cleared else _bounded(keys), _bounded(sessions))


class Hearing:
    """A listener whose ``hear`` somebody calls, on any thread. It keeps little, however long nobody waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: Heard | None = None
        self._error: BotWireError | None = None
        self._closed = False
        self._call: Callable[[], object] | None = None

    def when_heard(self, call: Callable[[], object]) -> None:
        """Call this, on whatever thread, whenever a ``wait`` would return at once: for who must not block a thread in it."""
        with self._changed:
            self._call = call
            ready = self._is_ready()
        if ready:
            call()

    def _is_ready(self) -> bool:
        return self._pending is not None or self._error is not None or self._closed

    def hear(self, heard: Heard) -> None:
        """Something may have changed."""
        self._update(heard, None)

    def fail(self, error: BotWireError) -> None:
        """Nothing more will be heard; each ``wait`` raises this."""
        self._update(None, error)

    def _update(self, heard: Heard | None, error: BotWireError | None) -> None:
        with self._changed:
            before = self._is_ready()
            if heard is not None:
                self._pending = merge(self._pending, heard)
            self._error = self._error or error
            self._changed.notify_all()
            call = None if before else self._call
        if call is not None:
            call()

    def wait(self, timeout: float) -> Heard | None:
        """See ``Listener.wait``.

        Raises:
            BotWireError: if nothing can be heard any more.
        """
        with self._changed:
            self._changed.wait_for(self._is_ready, min(max(timeout, 0.0), threading.TIMEOUT_MAX))
            heard, self._pending = self._pending, None
            if heard is None and self._error is not None and not self._closed:
                raise self._error
            return heard

    def close(self) -> None:
        """See ``Listener.close``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            call = self._call
        if call is not None:
            call()

    def begin_anew(self) -> None:
        """In the child of a fork, where a thread of the parent may hold the lock for ever."""
        self._changed = threading.Condition()
        self._pending = ANYTHING
