"""Quotas: what a namespace may hold, and how many writes it has a day. The operator's, off unless set.

Writes are counted by the store, in the transaction of the write itself, so the count is exact over all server processes
of one store and survives restarts. What counts as a write: each operation, and each message appended or restored; a
request that is refused, or repeated under its Idempotency-Key, costs nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botwire._errors import InvalidValue, QuotaExceeded, Unsupported, ValueTooLarge, shown
from botwire._jsontext import encode_utf8
from botwire._names import RESERVED_NAMESPACE
from botwire._tokens import check_patterns
from botwire.server._limits import DAY_SECONDS, WRITES
from botwire.stores._protocol import Append, Batch, Cap, Change, Charge, Delete, Operation, Restore, RestoreLog, Set, SetLog, Store, Terms

_REMEMBERED = 10_000
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MANY = (Append, RestoreLog)
"""Operations that may count as more than one write."""

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([a-z]{0,3})", re.IGNORECASE).fullmatch


class Quota(NamedTuple):
    """The limits of one namespace; None for none."""

    writes_per_day: int | None = None  # a day of UTC
    bytes: int | None = None  # of values and message bodies, as UTF-8
    value_bytes: int | None = None  # of one value, message or metadata
    keys: int | None = None
    sessions: int | None = None


PUBLIC_TERMS: Mapping[str, int | None] = {"writes_per_day": 1_000, "bytes": 50_000_000}
"""The terms of the public service: 1,000 writes a day and 50 MB for each namespace, reads without limit."""


def limits_from(settings: Mapping[str, Any], where: str) -> dict[str, int | None]:
    """The limits that a table of settings holds: numbers, sizes such as ``"50 MB"``, or ``"none"``.

    Raises:
        InvalidValue: if one is not known, or none of these.
    """
    found: dict[str, int | None] = {}
    for name, value in settings.items():
        if name not in Quota._fields:
            raise InvalidValue(f"{where}: there is no limit {name!r:.60}; there are {', '.join(Quota._fields)}")
        found[name] = _number(value, f"{name} in {where}")
    if not found:
        raise InvalidValue(f"{where}: sets no limit; there are {', '.join(Quota._fields)}")
    return found


def _number(value: object, what: str) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62:
        return value
    if isinstance(value, str):
        if value.strip().lower() == "none":
            return None
        sized = _SIZE(value.strip())
        if sized is not None and sized[2].lower() in _UNITS:
            return round(float(sized[1]) * _UNITS[sized[2].lower()])
    raise InvalidValue(f"{what} must be a whole number, a size such as '50 MB' or '64 KiB', or 'none', not {shown(value)}")


def rule_from_text(text: str) -> tuple[str, dict[str, int | None]]:
    """A rule as it is given on the command line: ``team-*:writes_per_day=1000,bytes=50MB``.

    Raises:
        InvalidValue, InvalidName: if it is none.
    """
    pattern, colon, rest = text.rpartition(":")  # a name may hold colons, a setting does not
    pairs = [part.partition("=") for part in rest.split(",")]
    if not colon or not all(equals for _, equals, _ in pairs):
        raise InvalidValue(f"a quota is written PATTERN:LIMIT=N,LIMIT=N, as 'team-*:writes_per_day=1000,bytes=50MB', not {shown(text)}")
    values = {name.strip(): int(value) if value.strip().isdigit() else value for name, _, value in pairs}
    return check_patterns([pattern])[0], limits_from(values, f"the quota {text!r:.80}")


class _Found:
    """What holds for one namespace, and the terms of a single write today, since most are that."""

    __slots__ = ("_cap", "_day_ends", "_meter", "_single", "quota", "value_bytes")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.value_bytes = quota.value_bytes
        has_cap = quota.bytes is not None or quota.keys is not None or quota.sessions is not None
        self._cap = Cap(quota.bytes, quota.keys, quota.sessions) if has_cap else None
        self._single = None if self._cap is None else Terms((), self._cap)
        self._day_ends, self._meter = 0, ""

    def terms(self, operations: tuple[Operation, ...], now: float) -> Terms | None:
        """The terms of a batch; None for none."""
        if self.quota.writes_per_day is None:
            return self._single
        if not 0 < self._day_ends - now <= DAY_SECONDS:
            day = int(now // DAY_SECONDS)
            # The day is part of the meter's name: two servers whose clocks differ never count on each other's day.
            self._day_ends, self._meter = (day + 1) * DAY_SECONDS, f"{WRITES}:{day}"
            self._single = self._charging(1, self.quota.writes_per_day)
        if len(operations) == 1 and type(operations[0]) not in _MANY:
            return self._single
        return self._charging(writes_in(operations), self.quota.writes_per_day)

    def _charging(self, writes: int, limit: int) -> Terms:
        return Terms((Charge(self._meter, writes, limit, self._day_ends * 1_000_000),), self._cap)


class Quotas:
    """Rules for namespaces, each a pattern with limits. Each limit is taken from the most specific rule that has it.

    Args:
        rules: patterns with their limits; a name is more specific than a prefix, a longer prefix than a shorter one.
        now: seconds since 1970.
    """

    def __init__(self, rules: Sequence[tuple[str, Mapping[str, int | None]]], now: Callable[[], float] = time.time) -> None:
        for pattern, limits in rules:
            check_patterns([pattern])
            limits_from({name: "none" if limit is None else limit for name, limit in limits.items()}, f"the quota of {pattern!r}")
        self.rules = sorted(((pattern, dict(limits)) for pattern, limits in rules), key=lambda rule: _weight_of(rule[0]))
        self._now = now
        self._found: dict[str, _Found] = {}

    def of(self, namespace: str) -> Quota:
        """The limits of a namespace."""
        return (self._found.get(namespace) or self._find(namespace)).quota

    def _find(self, namespace: str) -> _Found:
        limits: dict[str, int | None] = {}
        for pattern, more in self.rules:  # the most specific last
            if pattern == namespace or (pattern.endswith("*") and namespace.startswith(pattern[:-1])):
                limits |= more
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        found = self._found[namespace] = _Found(Quota(**limits))
        return found

    def batch(self, namespace: str, operations: tuple[Operation, ...], request_id: str | None) -> Batch:
        """The batch that does these operations under the terms of the namespace.

        Raises:
            ValueTooLarge: if one holds a text over the namespace's limit.
        """
        found = self._found.get(namespace) or self._find(namespace)
        if found.value_bytes is not None:
            operations = _limited(namespace, operations, found.value_bytes)
        return Batch(namespace, operations, request_id, found.terms(operations, self._now()))

    def explained(self, error: QuotaExceeded) -> QuotaExceeded:
        """A store's refusal in the words of the operator's settings."""
        name, _, day = (error.limit or "").partition(":")
        if name != WRITES:
            return error
        date = f"{datetime.fromtimestamp(int(day) * DAY_SECONDS, UTC):%Y-%m-%d}"
        message = f"{error.current:,} of {error.allowed:,} writes of this namespace on {date} (UTC) are used; they begin anew at midnight"
        return QuotaExceeded(message, error.retry_after, limit=WRITES, current=error.current, allowed=error.allowed)

    def probe(self, store: Store) -> None:
        """Look whether a store can keep these rules, before the first client's write.

        Raises:
            Unsupported: if it cannot.
        """
        limits = {name for _, more in self.rules for name, limit in more.items() if limit is not None}
        charges = (Charge("probe", 0, 0, 1),) if WRITES in limits else ()
        cap = Cap(bytes=2**62) if limits & {"bytes", "keys", "sessions"} else None
        if charges or cap:
            outcome = store.write((Batch(RESERVED_NAMESPACE, (Delete("probe"),), None, Terms(charges, cap)),))[0]
            if isinstance(outcome, Unsupported):
                raise Unsupported(f"{store.url} cannot keep these quotas: {outcome}; serve another store, or set other ones") from outcome
            if isinstance(outcome, Exception):
                raise outcome


def _weight_of(pattern: str) -> tuple[bool, int]:
    return not pattern.endswith("*"), len(pattern)


def writes_in(operations: Sequence[Operation]) -> int:
    """How many writes a batch counts as."""
    return sum(_writes_of(operation) for operation in operations)


def _writes_of(operation: Operation) -> int:
    if isinstance(operation, Append):
        return max(1, len(operation.bodies))
    return max(1, len(operation.rows)) if isinstance(operation, RestoreLog) else 1


def _limited(namespace: str, operations: tuple[Operation, ...], limit: int) -> tuple[Operation, ...]:
    """The operations, of which none leaves a larger text behind."""
    if len(operations) == 1 and type(operations[0]) is Set and len(operations[0].value) * 4 <= limit:
        return operations
    for operation in operations:
        for text in _texts_of(operation):
            if len(text) * 4 > limit and len(encode_utf8(text)) > limit:
                raise ValueTooLarge(
                    f"a value or message in namespace {namespace!r} may have {limit:,} bytes of JSON; split it over several"
                )
    return tuple([_with_limit(one, limit) if isinstance(one, Change) else one for one in operations])


def _with_limit(change: Change, limit: int) -> Change:
    return change._replace(max_bytes=limit if change.max_bytes is None else min(change.max_bytes, limit))


def _texts_of(operation: Operation) -> Sequence[str]:
    match operation:
        case Set(_, value, _, _):
            return (value,)
        case Change(_, _, argument, _, _, _):
            return (argument,)
        case Restore(row):
            return (row.value,)
        case Append(_, _, bodies, _):
            return bodies
        case SetLog(_, _, _, metadata, _):
            return (metadata,) if isinstance(metadata, str) else ()
        case RestoreLog(info, rows):
            return (info.metadata, *(row.body for row in rows))
        case _:
            return ()
