"""Writers of one namespace in one process share a round trip: while one waits for its answer, the next ones gather."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from botwire._errors import OutcomeUnknown, StoreBusy
from botwire.stores._protocol import Batch, Outcome

MOST_TOGETHER = 64
"""Calls that share a round trip."""

Write = Callable[[Sequence[Batch], float], list[Outcome]]


class _Waiting:
    """One call of ``write``; with a ``turn`` if it stands in a queue."""

    __slots__ = ("batches", "deadline", "error", "outcomes", "turn")

    def __init__(self, batches: Sequence[Batch], deadline: float) -> None:
        self.batches = batches
        self.deadline = deadline
        self.outcomes: list[Outcome] | None = None
        self.error: BaseException | None = None
        self.turn: threading.Event | None = None


class Combiner:
    """The queues of one store, by namespace.

    Args:
        write: writes batches before a deadline (of the monotonic clock).
        timeout: seconds that a call may take.
        where: the store, for messages.
    """

    def __init__(self, write: Write, timeout: float, where: str) -> None:
        self._write = write
        self._timeout = timeout
        self._where = where
        self._queues: dict[str, list[_Waiting]] = {}
        """Who waits for the call under way in a namespace; no queue means that there is none."""
        self._lock = threading.Lock()

    def write(self, namespace: str, batches: Sequence[Batch]) -> list[Outcome]:
        """Write the batches, which are all of this namespace, perhaps together with other threads'."""
        mine = _Waiting(batches, time.monotonic() + self._timeout)
        with self._lock:
            queue = self._queues.get(namespace)
            if queue is None:
                self._queues[namespace] = []
            else:
                mine.turn = threading.Event()
                queue.append(mine)
        if queue is None:
            self._lead(namespace, mine, [])
        elif not self._is_written(namespace, mine, mine.turn):
            self._lead(namespace, mine, self._others(namespace))
        return self._result(mine)

    def _is_written(self, namespace: str, mine: _Waiting, turn: Any) -> bool:
        """Wait until somebody has written this too; False if it is this one's turn to write."""
        if not turn.wait(self._timeout):
            with self._lock:
                if mine in self._queues.get(namespace, ()):
                    self._queues[namespace].remove(mine)
                    raise StoreBusy(f"{self._where} did not answer other writers within {self._timeout:g} s; nothing was written")
            turn.wait()  # it was sent already: whoever did so is about to hear, or to give up
        return mine.outcomes is not None or mine.error is not None

    def _others(self, namespace: str) -> list[_Waiting]:
        """Those that wait now, as many as go together with the one that leads them."""
        with self._lock:
            queue = self._queues[namespace]
            others, self._queues[namespace] = queue[: MOST_TOGETHER - 1], queue[MOST_TOGETHER - 1 :]
        return others

    def _lead(self, namespace: str, mine: _Waiting, others: list[_Waiting]) -> None:
        """Write this, and the others; then let the first of those that came meanwhile do so."""
        together = [mine, *others]
        try:
            batches = [batch for each in together for batch in each.batches] if others else mine.batches
            outcomes = self._write(batches, min(each.deadline for each in together) if others else mine.deadline)
            start = 0
            for each in together:
                each.outcomes = outcomes[start : start + len(each.batches)]
                start += len(each.batches)
        except BaseException as error:  # noqa: BLE001 - every waiting thread must hear of it, and raises it
            for each in together:
                each.error = error if each is mine or isinstance(error, Exception) else self._interrupted()
        finally:
            for each in others:  # first, so that what they write next can go with the next round trip
                _wake(each)
            self._pass_on(namespace)

    def _interrupted(self) -> OutcomeUnknown:
        return OutcomeUnknown(f"the thread that wrote to {self._where} for this one too was interrupted: read before writing again")

    def _pass_on(self, namespace: str) -> None:
        with self._lock:
            if self._queues[namespace]:
                _wake(self._queues[namespace].pop(0))
            else:
                del self._queues[namespace]

    @staticmethod
    def _result(mine: _Waiting) -> list[Any]:
        if mine.error is not None:
            raise mine.error
        assert mine.outcomes is not None  # noqa: S101 - either is set by whoever led
        return mine.outcomes


def _wake(waiting: _Waiting) -> None:
    assert waiting.turn is not None  # noqa: S101 - whoever stands in a queue has one
    waiting.turn.set()
