"""How much a namespace holds, by reading through it once.

Nothing is counted ahead: a counter for each namespace would be one more row that every write changes. SQLite tells a text's
size without reading the pages that it overflows to, so this takes a fraction of a second for a hundred thousand rows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import apsw

from botwire.stores._protocol import DayUsage, Usage
from botwire.stores.sqlite._queries import snapshot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000  # microseconds
_DAY_OF = f"(({{0}} - (({{0}} % {_DAY}) + {_DAY}) % {_DAY}) / {_DAY})"  # rounds down before 1970 too
_ENTRIES = f"""
SELECT {_DAY_OF.format("updated_at")} AS day, count(*), sum(octet_length(value)) FROM entry
WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2) GROUP BY day
"""
_MESSAGES = f"""
SELECT {_DAY_OF.format("message.created_at")} AS day, count(*), sum(octet_length(body)) FROM log JOIN message ON message.log = log.id
WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2) GROUP BY day
"""
_SESSIONS = "SELECT count(DISTINCT session) FROM log WHERE namespace = ?1 AND (expires_at IS NULL OR expires_at > ?2)"


def usage(connection: apsw.Connection, now: int, namespace: str) -> Usage:
    """What the namespace holds at one moment."""
    with snapshot(connection):
        entries, messages = _by_day(connection, _ENTRIES, namespace, now), _by_day(connection, _MESSAGES, namespace, now)
        sessions: int = connection.execute(_SESSIONS, (namespace, now)).get
    days = tuple(_day(day, entries.get(day, (0, 0)), messages.get(day, (0, 0))) for day in sorted({*entries, *messages}))
    return Usage(
        entries=sum(count for count, _ in entries.values()),
        entry_bytes=sum(size for _, size in entries.values()),
        sessions=sessions,
        messages=sum(count for count, _ in messages.values()),
        message_bytes=sum(size for _, size in messages.values()),
        days=days,
    )


def _by_day(connection: apsw.Connection, sql: str, namespace: str, now: int) -> dict[int, tuple[int, int]]:
    rows = cast("list[tuple[int, int, int]]", connection.execute(sql, (namespace, now)).fetchall())
    return {day: (count, size) for day, count, size in rows}


def _day(day: int, entries: tuple[int, int], messages: tuple[int, int]) -> DayUsage:
    return DayUsage((_EPOCH + timedelta(days=day)).date().isoformat(), entries[0], messages[0], entries[1] + messages[1])
