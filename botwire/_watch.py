"""Watch and SessionWatch: changes as they happen, for ``for`` loops. What they look at, and when, is in ``botwire._looking``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Generic, Self, TypeVar

from botwire._errors import BotWireError, InvalidValue, shown
from botwire._looking import Looking, SessionLooking
from botwire._message import Message
from botwire._plan import run
from botwire._records import EntryChange
from botwire._source import Source

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds for which a listener is asked at a time."""


def check_timeout(timeout: object) -> float | None:
    """Return ``timeout`` if it can be one: None, or seconds.

    Raises:
        InvalidValue: otherwise.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise InvalidValue(f"timeout must be a number of seconds, or None for no end, not {shown(timeout)}")
    return timeout


class _Watching(Generic[T]):
    """An iterator over what happens; made by ``watch``, and listening from then on until it is closed."""

    def __init__(self, source: Source, looking: Looking[T], timeout: float | None) -> None:
        self._closed = False
        self._looking = looking
        self._timeout = check_timeout(timeout)
        self._store = source.open()
        self._listener = self._store.listen(looking.namespace, looking.session_id)
        try:
            run(looking.begin(), self._store)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._closed:
            if self._looking.found:
                return self._looking.give()
            left = LONGEST_WAIT if deadline is None else deadline - monotonic()
            try:
                if (due := self._looking.due_in()) <= 0:
                    run(self._looking.look(), self._store)
                    self._looking.looked()
                elif left > 0 and (heard := self._listener.wait(min(due, left, LONGEST_WAIT))) is not None:
                    self._looking.hear(heard)
            except BotWireError as error:
                if not self._closed:
                    self._looking.failed(error)
            if left <= 0 and not self._looking.found:
                self._end()
        raise StopIteration

    def _end(self) -> None:
        """Nothing happened in time.

        Raises:
            StopIteration, or what kept the store from being read.
        """
        if self._looking.trouble is not None:
            raise self._looking.trouble
        raise StopIteration

    def close(self) -> None:
        """End the iteration, also one that waits in another thread. Calling again does nothing."""
        self._closed = True
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # it may not have come to listen
            self.close()


class Watch(_Watching[EntryChange]):
    """What happens to entries, as ``EntryChange``s: an iterator, made by ``Memory.watch``."""


class SessionWatch(_Watching[Message]):
    """What is appended to a session, as ``Message``s: an iterator, made by ``Session.watch``."""

    _looking: SessionLooking  # pyright: ignore[reportIncompatibleVariableOverride] - the one that it is made with

    @property
    def seq(self) -> int:
        """The sequence number of the message given out last, or the one after which the watch began."""
        return self._looking.seq

    @property
    def epoch(self) -> str | None:
        """The epoch of that message: another one from the first message on that follows a ``clear``. None if there is no session."""
        return self._looking.epoch
