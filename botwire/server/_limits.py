"""How often one caller may call: a token bucket for each, in this process; and how a limit is told in headers.

The headers are those of draft-ietf-httpapi-ratelimit-headers-11: ``RateLimit-Policy: "name";q=quota;w=window`` and
``RateLimit: "name";r=remaining;t=seconds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from time import monotonic

from botwire._errors import InvalidValue, QuotaExceeded

REQUESTS = "requests_per_second"
WRITES = "writes_per_day"
DAY_SECONDS = 86_400
MOST_CALLERS = 50_000
MOST_TOLD = 1_000

Headers = Sequence[tuple[bytes, bytes]]
_NOTHING: Headers = ()


class RateLimit:
    """Token buckets by caller: ``burst`` requests at once, refilled by ``per_second``.

    Each server process has buckets of its own: with several of them a caller may get up to as many times the rate.

    Raises:
        InvalidValue: if the numbers are none to limit by.
    """

    def __init__(self, per_second: float, burst: int | None = None) -> None:
        if not 0 < per_second < 1e6:
            raise InvalidValue(f"{REQUESTS} must be a number over zero, not {per_second!r}")
        if burst is not None and burst < 1:
            raise InvalidValue(f"burst must be at least 1 request, not {burst!r}")
        self.per_second = per_second
        self.burst = max(1, ceil(2 * per_second)) if burst is None else burst
        self._full = float(self.burst)
        self._half = self.burst / 2
        self._buckets: dict[str, list[float]] = {}  # requests left, and when that was so
        self._told: dict[int, Headers] = {}
        self._policy = (b"ratelimit-policy", f'"{REQUESTS}";q={self.burst};w={max(1, ceil(self.burst / per_second))}'.encode())

    def __reduce__(self) -> tuple[object, ...]:
        return RateLimit, (self.per_second, self.burst)

    def take(self, caller: str, now: float) -> float:
        """Take one request out of a caller's bucket; returns how many are left.

        Raises:
            QuotaExceeded: if there was none.
        """
        bucket = self._buckets.get(caller)
        if bucket is None:
            if len(self._buckets) >= MOST_CALLERS:
                self._forget_idle(now)
            bucket = self._buckets[caller] = [self._full, now]
        left = min(self._full, bucket[0] + (now - bucket[1]) * self.per_second)
        bucket[1] = now
        if left < 1:
            bucket[0] = left
            raise QuotaExceeded(
                f"more than {self.per_second:g} requests a second: slow down",
                (1 - left) / self.per_second,
                limit=REQUESTS,
                current=self.burst,
                allowed=self.burst,
            )
        bucket[0] = left = left - 1
        return left

    def _forget_idle(self, now: float) -> None:
        """A bucket that is full by now is as good as none; if none is, the oldest half goes, which favours no one for long."""
        full = self.burst / self.per_second
        self._buckets = {caller: bucket for caller, bucket in self._buckets.items() if now - bucket[1] < full}
        if len(self._buckets) >= MOST_CALLERS:
            by_age = sorted(self._buckets.items(), key=lambda item: item[1][1])
            self._buckets = dict(by_age[len(by_age) // 2 :])

    def admit(self, caller: str) -> Headers:
        """Let a request of the caller go on; returns the headers by which its answer tells what is left, once that is half or less.

        Who is far from the limit need not hear of it, and to send two headers takes as long as to check a token.

        Raises:
            QuotaExceeded: if it has called too often.
        """
        left = int(self.take(caller, monotonic()))
        if left > self._half:
            return _NOTHING
        return self._told.get(left) or self._tell(left)

    def _tell(self, left: int) -> Headers:
        """The headers for so many requests left; kept, since to make them takes longer than all else here."""
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        seconds = ceil((self.burst - left) / self.per_second)
        self._told[left] = told = (self._policy, (b"ratelimit", f'"{REQUESTS}";r={left};t={seconds}'.encode()))
        return told


def tells_limit(headers: Headers) -> bool:
    """Whether an answer tells of a limit."""
    return any(name == b"ratelimit" for name, _ in headers)


def limit_headers(error: QuotaExceeded) -> list[tuple[bytes, bytes]]:
    """What a refusal tells of the limit that it is for."""
    if error.limit is None or error.allowed is None or error.retry_after is None:
        return []
    left = max(0, error.allowed - (error.current or 0))
    window = DAY_SECONDS if error.limit == WRITES else None
    policy = f'"{error.limit}";q={error.allowed}' + ("" if window is None else f";w={window}")
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", f'"{error.limit}";r={left};t={ceil(error.retry_after)}'.encode())]
