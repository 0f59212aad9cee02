"""How long a request is tried, when it is sent again, and what it comes to if no good answer arrives."""

from __future__ import annotations

import random
import time

from botwire._errors import BotWireError, OutcomeUnknown, StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable
from botwire._wire import error_of, number_or_none
from botwire.stores._http_calls import Answer, Request, document_of

FIRST_DELAY = 0.1
"""Seconds that the first wait takes at most; each further one up to twice as long (full jitter)."""

_TRY_LATER = (429, 502, 503, 504)
_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError", "ProxyError"}


class Effort:
    """The attempts at one request, all within one deadline.

    Args:
        request: what is sent.
        where: the service, for messages.
        timeout: seconds for all attempts and the waits between them.
        retries: attempts after the first.
    """

    def __init__(self, request: Request, where: str, timeout: float, retries: int) -> None:
        self._began = time.monotonic()
        self._attempts = 0
        self.deadline = self._began + timeout
        self._request = request
        self._where = where
        self._timeout = timeout
        self._retries_left = retries
        self._next_delay = FIRST_DELAY
        self._may_have_happened = False
        self._sending = False

    def sending(self) -> float:
        """Seconds left for an attempt that begins now."""
        left = self.remaining()
        self._sending = True
        self._attempts += 1
        return left

    def remaining(self) -> float:
        """Seconds left.

        Raises:
            TimeoutError: if there are none.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def answered(self, answer: Answer) -> float | None:
        """None if that is the answer, or how many seconds to wait before the next attempt.

        Raises:
            OutcomeUnknown: if it is no answer to a write that an earlier attempt may have done.
        """
        if answer.status not in _TRY_LATER:
            return None
        if self._request.writes and answer.status in (502, 504):  # of a gateway, which may have passed it on
            self._may_have_happened = True
        delay = self._delay(number_or_none(answer.headers.get("retry-after"))) if self._worth_repeating(answer) else None
        if delay is None and self._may_have_happened:
            raise self._unknown()
        return delay

    def _worth_repeating(self, answer: Answer) -> bool:
        if answer.status == 429:
            return "retry-after" in answer.headers
        return not isinstance(error_of(document_of(answer)), (StoreFull, StoreReadOnly))

    def failed(self, error: Exception) -> float:
        """How many seconds to wait before the next attempt, after one without an answer.

        Raises:
            StoreBusy, StoreUnavailable, OutcomeUnknown: if there is no next one. Errors of another kind as they are.
        """
        kinds = {kind.__name__ for kind in type(error).__mro__}  # by name: a client of httpx2 has classes of its own
        timed_out = isinstance(error, TimeoutError) and not isinstance(error, BotWireError)
        if not timed_out and "RequestError" not in kinds:
            raise error
        if self._request.writes and self._sending and not kinds & _NEVER_SENT:
            self._may_have_happened = True
        self._sending = False
        delay = self._delay(None)
        if delay is not None:
            return delay
        if self._may_have_happened:
            raise self._unknown() from error
        if timed_out or "TimeoutException" in kinds:
            raise StoreBusy(f"{self._where} did not answer within {self._timeout:g} s; it may be overloaded or out of reach") from error
        raise StoreUnavailable(f"cannot reach {self._where}: {_reason(error)}; is the server running, and the URL right?") from error

    def _delay(self, asked: float | None) -> float | None:
        """The next wait, if there is to be another attempt: as long as the server asked for, else random and growing."""
        if self._retries_left <= 0 or not self._request.repeatable:
            return None
        delay = random.uniform(0, self._next_delay) if asked is None else asked
        if time.monotonic() + delay >= self.deadline:
            return None
        self._retries_left -= 1
        self._next_delay *= 2
        return delay

    def _unknown(self) -> OutcomeUnknown:
        asked = f"{self._attempts} attempt{'s' if self._attempts != 1 else ''} within {time.monotonic() - self._began:.1f} s"
        return OutcomeUnknown(
            f"{self._where} did not say what became of a write, in {asked}: it may or may not have happened; "
            "read before writing again, or repeat the call with a request_id of your own, under which it is applied once"
        )


def _reason(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
