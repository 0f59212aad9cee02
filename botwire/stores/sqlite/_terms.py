"""The terms of a batch: charges on meters, and caps on what a namespace holds.

A charge is a row that is read before the batch's operations and written after them, in the same transaction. A cap
needs to know what a namespace holds without looking at all of it: triggers keep count of that in the table ``usage``, whoever
writes. They are made when the first cap is asked for, so a file of which nobody asks that pays nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import apsw

from botwire._errors import QuotaExceeded
from botwire.stores._protocol import Append, Cap, Charge, Delete, Operation, Set
from botwire.stores.sqlite._opening import Connection

_READ_METER = "SELECT amount, expires_at FROM meter WHERE namespace = ? AND name = ? AND expires_at > ?"
_RAISE_METER = "UPDATE meter SET amount = ? WHERE namespace = ? AND name = ?"
_WRITE_METER = "INSERT OR REPLACE INTO meter (namespace, name, amount, expires_at) VALUES (?, ?, ?, ?)"


class Held(NamedTuple):
    """What a namespace holds, as a Cap counts it."""

    bytes: int
    keys: int
    sessions: int


_NOTHING = Held(0, 0, 0)
_COUNTING = ""  # a row of this name, which no namespace has, says that the triggers are there

_TRIGGERS = """
CREATE TRIGGER usage_entry_added AFTER INSERT ON entry BEGIN
    INSERT INTO usage (namespace, bytes, keys, sessions) VALUES (NEW.namespace, octet_length(NEW.value), 1, 0)
    ON CONFLICT (namespace) DO UPDATE SET bytes = bytes + excluded.bytes, keys = keys + 1;
END;
CREATE TRIGGER usage_entry_removed AFTER DELETE ON entry BEGIN
    UPDATE usage SET bytes = bytes - octet_length(OLD.value), keys = keys - 1 WHERE namespace = OLD.namespace;
    DELETE FROM usage WHERE namespace = OLD.namespace AND keys = 0 AND sessions = 0;
END;
CREATE TRIGGER usage_entry_changed AFTER UPDATE OF value ON entry BEGIN
    UPDATE usage SET bytes = bytes - octet_length(OLD.value) + octet_length(NEW.value) WHERE namespace = NEW.namespace;
END;
CREATE TRIGGER usage_log_added AFTER INSERT ON log BEGIN
    INSERT INTO usage (namespace, bytes, keys, sessions) VALUES (NEW.namespace, 0, 0,
        NOT EXISTS (SELECT 1 FROM log WHERE namespace = NEW.namespace AND session = NEW.session AND id <> NEW.id))
    ON CONFLICT (namespace) DO UPDATE SET sessions = sessions + excluded.sessions;
END;
CREATE TRIGGER usage_log_removed AFTER DELETE ON log BEGIN
    UPDATE usage SET sessions = sessions -
        NOT EXISTS (SELECT 1 FROM log WHERE namespace = OLD.namespace AND session = OLD.session)
    WHERE namespace = OLD.namespace;
    DELETE FROM usage WHERE namespace = OLD.namespace AND keys = 0 AND sessions = 0;
END;
CREATE TRIGGER usage_message_added AFTER INSERT ON message BEGIN
    UPDATE usage SET bytes = bytes + octet_length(NEW.body) WHERE namespace = (SELECT namespace FROM log WHERE id = NEW.log);
END;
CREATE TRIGGER usage_message_removed AFTER DELETE ON message BEGIN
    UPDATE usage SET bytes = bytes - octet_length(OLD.body) WHERE namespace = (SELECT namespace FROM log WHERE id = OLD.log);
END;
CREATE TRIGGER usage_message_changed AFTER UPDATE OF body ON message BEGIN
    UPDATE usage SET bytes = bytes - octet_length(OLD.body) + octet_length(NEW.body)
    WHERE namespace = (SELECT namespace FROM log WHERE id = NEW.log);
END;
"""  # who removes a log removes its messages first

COUNTED = """
SELECT namespace, sum(bytes), sum(keys), sum(sessions) FROM (
    SELECT namespace, sum(octet_length(value)) AS bytes, count(*) AS keys, 0 AS sessions FROM entry GROUP BY namespace
    UNION ALL SELECT namespace, 0, 0, count(DISTINCT session) FROM log GROUP BY namespace
    UNION ALL SELECT log.namespace, sum(octet_length(body)), 0, 0 FROM message JOIN log ON log.id = message.log GROUP BY log.namespace
) GROUP BY namespace
"""
"""What ``usage`` is to hold, counted from all there is."""

_EXPIRED = """
SELECT
    (SELECT coalesce(sum(octet_length(value)), 0) FROM entry WHERE namespace = ?1 AND expires_at <= ?2)
    + (SELECT coalesce(sum(octet_length(body)), 0) FROM message
       WHERE log IN (SELECT id FROM log WHERE namespace = ?1 AND expires_at <= ?2)),
    (SELECT count(*) FROM entry WHERE namespace = ?1 AND expires_at <= ?2),
    (SELECT count(DISTINCT session) FROM log AS gone WHERE namespace = ?1 AND expires_at <= ?2
     AND NOT EXISTS (SELECT 1 FROM log WHERE namespace = ?1 AND session = gone.session AND (expires_at IS NULL OR expires_at > ?2)))
"""
"""What of that has expired and not been removed yet."""


def begin_to_count(connection: Connection) -> None:
    """Make the triggers, and count what is there, if this file has none yet. Not inside a transaction."""
    if connection.execute("SELECT 1 FROM usage WHERE namespace = ?", (_COUNTING,)).get is None:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT 1 FROM usage WHERE namespace = ?", (_COUNTING,)).get is None:
            connection.execute(_TRIGGERS)
            connection.execute(f"INSERT INTO usage (namespace, bytes, keys, sessions) {COUNTED}")
            connection.execute("INSERT INTO usage (namespace, bytes, keys, sessions) VALUES (?, 0, 0, 0)", (_COUNTING,))
        connection.execute("COMMIT")
    connection.metered = True


def _rows_of(connection: apsw.Connection, namespace: str) -> Held:
    row = connection.execute("SELECT bytes, keys, sessions FROM usage WHERE namespace = ?", (namespace,)).fetchone()
    return _NOTHING if row is None else Held._make(row)


def _expired(connection: apsw.Connection, namespace: str, now: int) -> Held:
    return Held._make(cast("Any", connection.execute(_EXPIRED, (namespace, now)).fetchone()))


def _minus(one: Held, other: Held) -> Held:
    return Held(one.bytes - other.bytes, one.keys - other.keys, one.sessions - other.sessions)


def _surplus(held: Held | _Bound, cap: Cap) -> str | None:
    """The name of a limit that is passed."""
    if cap.bytes is not None and held.bytes > cap.bytes:
        return "bytes"
    if cap.keys is not None and held.keys > cap.keys:
        return "keys"
    return "sessions" if cap.sessions is not None and held.sessions > cap.sessions else None


class _Meter:
    """A meter, in one transaction."""

    __slots__ = ("amount", "expires_at", "found", "found_expires_at")

    def __init__(self, found: int, found_expires_at: int | None) -> None:
        self.amount = self.found = found
        self.found_expires_at = found_expires_at  # None if it has no row
        self.expires_at = 0


class _Bound:
    """At most how much a namespace holds: far from its cap it is enough to know that, and nobody need look."""

    __slots__ = ("bytes", "keys", "sessions")

    def __init__(self, held: Held) -> None:
        self.bytes, self.keys, self.sessions = held

    def raise_by(self, operations: Sequence[Operation]) -> bool:
        """Count in what operations may add; whether that is known."""
        for operation in operations:
            if isinstance(operation, Set):
                self.bytes += 4 * len(operation.value)
                self.keys += 1
            elif isinstance(operation, Append):
                self.bytes += 4 * sum(map(len, operation.bodies))
                self.sessions += 1
            elif not isinstance(operation, Delete):
                return False
        return True


class Ledger:
    """What one transaction knows of meters and usage: read once for all its batches, and the meters written once, at its end.

    Args:
        connection: in whose transaction.
        now: microseconds since 1970.
    """

    def __init__(self, connection: apsw.Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._meters: dict[tuple[str, str], _Meter] = {}
        self._bounds: dict[str, _Bound] = {}

    # --------------------------------------------------------------------------------------- charges

    def charge(self, namespace: str, charges: Sequence[Charge]) -> None:
        """Make all charges of a batch, or none.

        Raises:
            QuotaExceeded: if one would bring its meter over its limit.
        """
        for index, (name, amount, limit, expires_at) in enumerate(charges):
            meter = self._meters.get((namespace, name)) or self._read_meter(namespace, name)
            if meter.amount + amount > limit:
                used = meter.amount
                self.take_back(namespace, charges[:index])
                raise QuotaExceeded(
                    f"{name} of namespace {namespace!r}: {used:,} of {limit:,} are used, this needs {amount:,}",
                    max(0, expires_at - self._now) / 1_000_000,
                    limit=name,
                    current=used,
                    allowed=limit,
                )
            meter.amount += amount
            meter.expires_at = expires_at

    def take_back(self, namespace: str, charges: Sequence[Charge]) -> None:
        """The charges of a batch that came to nothing: what is refused costs nothing."""
        for name, amount, _, _ in charges:
            self._meters[namespace, name].amount -= amount

    def _read_meter(self, namespace: str, name: str) -> _Meter:
        row = self._connection.execute(_READ_METER, (namespace, name, self._now)).fetchone()
        meter = self._meters[namespace, name] = _Meter(0, None) if row is None else _Meter(int(row[0]), int(row[1]))
        return meter

    def close(self) -> None:
        """Write the meters; before the transaction is committed."""
        for name, meter in self._meters.items():
            if meter.amount == meter.found:
                continue
            if meter.expires_at == meter.found_expires_at:  # the usual case: the index on times need not be touched
                self._connection.execute(_RAISE_METER, (meter.amount, *name))
            else:
                self._connection.execute(_WRITE_METER, (*name, meter.amount, meter.expires_at))

    # ------------------------------------------------------------------------------------------ caps

    def keeps_within(self, namespace: str, cap: Cap | None, operations: Sequence[Operation]) -> bool:
        """Whether a namespace is within its cap after a batch for sure; if not, it is to be looked at before and after."""
        if cap is None:
            self._bounds.pop(namespace, None)  # it is about to change, and nobody will look
            return True
        bound = self._bounds.get(namespace)
        if bound is None:
            bound = self._bounds[namespace] = _Bound(_rows_of(self._connection, namespace))
        if bound.raise_by(operations) and _surplus(bound, cap) is None:
            return True
        del self._bounds[namespace]
        return False

    def held(self, namespace: str, cap: Cap) -> Held:
        """What the namespace holds before a batch. Only where that is over the cap it is worth asking what of it has expired."""
        found = _rows_of(self._connection, namespace)
        return found if _surplus(found, cap) is None else _minus(found, _expired(self._connection, namespace, self._now))

    def expect_cap(self, namespace: str, cap: Cap, before: Held) -> None:
        """Look whether the namespace, after a batch, keeps within its cap, or holds no more than before.

        Raises:
            QuotaExceeded: if not.
        """
        after = _rows_of(self._connection, namespace)
        if _surplus(after, cap) is None:
            return
        after = _minus(after, _expired(self._connection, namespace, self._now))
        for name, allowed in cap._asdict().items():
            current, wanted = getattr(before, name), getattr(after, name)
            if allowed is not None and wanted > allowed and wanted > current:
                raise QuotaExceeded(
                    f"{name} of namespace {namespace!r}: {current:,} of {allowed:,} are used, this would make it {wanted:,}; "
                    "remove something",
                    limit=name,
                    current=current,
                    allowed=allowed,
                )


def miscounted(connection: apsw.Connection) -> list[str]:
    """What is wrong with the table of usage: nothing, or somebody changed the file by other means than SQL with its triggers."""
    if connection.execute("SELECT 1 FROM usage WHERE namespace = ?", (_COUNTING,)).get is None:
        return []
    wrong = connection.execute(
        f"SELECT count(*) FROM (SELECT * FROM ({COUNTED} EXCEPT SELECT * FROM usage)"
        f" UNION ALL SELECT * FROM (SELECT * FROM usage WHERE namespace <> ? EXCEPT {COUNTED}))",
        (_COUNTING,),
    ).get
    return [f"the usage of {wrong} namespaces is not what was counted"] if wrong else []
