"""What each operation on entries is in SQL, and what its rows mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from botwire._names import prefix_end
from botwire.stores._protocol import KEEP, Change, Changed, Clear, Delete, Restore, Set
from botwire.stores._rules import apply_change
from botwire.stores._states import expect_version
from botwire.stores.postgres._counting import noted
from botwire.stores.postgres._script import NOT_AS_WANTED, Again, Query, Rows, Script, Trip, now


class Work(NamedTuple):
    """The statements of one operation, and how to read its result from their rows.

    ``read`` may raise what keeps the operation from happening, or ``Again``. Then its statements have done nothing.
    """

    queries: list[Query]
    read: Callable[[list[Rows]], Any]


class Note(NamedTuple):
    """Whom to tell of a write, if anybody listens, and what."""

    channel: str
    payload: str


def notify(channel: int, payload: int) -> str:
    """SQL that tells whoever listens to the namespace $1 now; it looks into a table that is nearly always empty."""
    return f"(SELECT pg_notify(${channel}, ${payload}) FROM @.listener WHERE namespace = $1 AND expires_at > t.now LIMIT 1)"


ALIVE = "(e.expires_at IS NULL OR e.expires_at > t.now)"

_CLOCK = f"WITH t AS MATERIALIZED (SELECT {now(3)} AS now)"

# $1 namespace, $2 key, $3 the time, $4 channel, $5 payload, $6 value, $7 ttl, $8 whether to keep what ttl there is
_INSERT = """
    INSERT INTO @.entry AS e (namespace, key, version, created_at, updated_at, expires_at, value)
    SELECT $1, $2, 1, now, now, now + $7::int8, $6 FROM t"""
_ON_CONFLICT = """
    ON CONFLICT (namespace, key) DO UPDATE SET
        value = EXCLUDED.value, replaced = octet_length(e.value), updated_at = EXCLUDED.updated_at,
        version = CASE WHEN e.expires_at <= EXCLUDED.updated_at THEN 1 ELSE e.version + 1 END,
        created_at = CASE WHEN e.expires_at <= EXCLUDED.updated_at THEN EXCLUDED.created_at ELSE e.created_at END,
        expires_at = CASE WHEN NOT $8::bool THEN EXCLUDED.expires_at WHEN e.expires_at > EXCLUDED.updated_at THEN e.expires_at END"""
_PRESENT = (
    f"SELECT e.version, false, NULL FROM @.entry e, t WHERE e.namespace = $1 AND e.key = $2 AND {ALIVE} AND NOT EXISTS (SELECT FROM done)"
)


def _noted(value: str) -> str:
    """What follows ``done`` where an entry got a value."""
    return noted("done", size=f"octet_length({value}) - coalesce(replaced, 0)", keys="(replaced IS NULL)::int4")


_NOTED, _NOTED_DELETE = _noted("$6::text"), noted("done", size="-size", keys="-1")

_SET = f"""{_CLOCK}, done AS ({_INSERT} {_ON_CONFLICT} RETURNING version, replaced), {_NOTED}
SELECT version, {notify(4, 5)} FROM done, t"""

_IF_ABSENT = f"""{_CLOCK}, done AS (
    {_INSERT} {_ON_CONFLICT} WHERE e.expires_at <= EXCLUDED.updated_at RETURNING version, replaced), {_NOTED}"""
_IF_VERSION = f"""{_CLOCK}, done AS (
    UPDATE @.entry e SET value = $6, replaced = octet_length(e.value), version = e.version + 1, updated_at = t.now,
        expires_at = CASE WHEN $8::bool THEN e.expires_at ELSE t.now + $7::int8 END
    FROM t WHERE e.namespace = $1 AND e.key = $2 AND e.version = $9::int8 AND {ALIVE} RETURNING e.version, e.replaced),
{_NOTED}"""
_OR_SAY = f"SELECT version, true, {notify(4, 5)}::text FROM done, t UNION ALL {_PRESENT}"
# An error, so that what was sent behind it does not happen, the commit neither; its text is for the server's log.
_OR_FAIL = f"""SELECT version, (CASE WHEN n = 0 THEN '{NOT_AS_WANTED}' ELSE '1' END)::int8, {notify(4, 5)}
FROM (SELECT max(version) AS version, count(*) AS n FROM done) d, t"""
_SETS_IF = {
    (absent, sure): f"{_IF_ABSENT if absent else _IF_VERSION}\n{_OR_FAIL if sure else _OR_SAY}"
    for absent in (False, True)
    for sure in (False, True)
}

# A request id with it: $9 its name, $10 its lifetime, $11 its fingerprint. If it was used before, the primary key refuses it, and so the
# statement.
_SET_ONCE = f"""{_CLOCK}, done AS ({_INSERT} {_ON_CONFLICT} RETURNING version, replaced), {_NOTED},
kept AS (
    INSERT INTO @.request (namespace, name, expires_at, fingerprint, results)
    SELECT $1, $9, t.now + $10::int8, $11, '[' || version || ']' FROM done, t)
SELECT version, {notify(4, 5)} FROM done, t"""

_DELETE = f"""{_CLOCK}, done AS (DELETE FROM @.entry WHERE namespace = $1 AND key = $2 RETURNING expires_at, octet_length(value) AS size),
{_NOTED_DELETE}
SELECT {notify(4, 5)} FROM done e, t WHERE {ALIVE}"""

_DELETE_IF_VERSION = f"""{_CLOCK}, done AS (
    DELETE FROM @.entry e USING t WHERE e.namespace = $1 AND e.key = $2 AND e.version = $6::int8 AND {ALIVE}
    RETURNING e.version, octet_length(e.value) AS size), {_NOTED_DELETE}
SELECT version, true, {notify(4, 5)}::text FROM done, t UNION ALL {_PRESENT}"""

_RESTORE = f"""WITH done AS (
    INSERT INTO @.entry AS e (namespace, key, value, version, created_at, updated_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (namespace, key) DO UPDATE SET
        value = EXCLUDED.value, replaced = octet_length(e.value), version = EXCLUDED.version,
        created_at = EXCLUDED.created_at, updated_at = EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at
    RETURNING replaced), {_noted("$3::text")}
SELECT FROM done"""

_NOTED_CLEAR = noted("(SELECT sum(size) AS size, count(*) AS n FROM done) d", size="-coalesce(size, 0)", keys="-n")
# In the order of keys, as everybody locks; apart, since a join with what was locked may be planned as one of all with all.
_LOCK_RANGE = "SELECT count(*) FROM (SELECT key FROM @.entry WHERE {where} ORDER BY key FOR UPDATE) locked"
_CLEAR = """
WITH t AS MATERIALIZED (SELECT {now} AS now),
done AS (DELETE FROM @.entry WHERE {where} RETURNING expires_at, octet_length(value) AS size),
{noted}
SELECT count(*) FROM done e, t WHERE (e.expires_at IS NULL OR e.expires_at > t.now)"""

_LOCK = f"""{_CLOCK} SELECT e.value, {ALIVE} FROM @.entry e, t WHERE e.namespace = $1 AND e.key = $2 FOR UPDATE OF e"""

_PLACEHOLDER = f"""WITH done AS (
    INSERT INTO @.entry (namespace, key, version, created_at, updated_at, expires_at, value) VALUES ($1, $2, 0, 0, 0, 0, 'null')
    ON CONFLICT (namespace, key) DO NOTHING RETURNING replaced), {_noted("'null'")}
SELECT FROM done"""


def prefix_range(prefix: str, first: int, column: str = "key") -> tuple[str, tuple[str, ...]]:
    """The condition, with parameters from ``first`` on, that a key starts with ``prefix``: a range, so an index serves it."""
    if not prefix:
        return "namespace = $1", ()
    end = prefix_end(prefix)
    if end is None:
        return f"namespace = $1 AND {column} >= ${first}", (prefix,)
    return f"namespace = $1 AND {column} >= ${first} AND {column} < ${first + 1}", (prefix, end)


def set_work(namespace: str, operation: Set, moment: int | None, note: Note, *, sure: bool = False) -> Work:
    """A Set; where it is ``sure``, one that is not to happen is an error of the server's, which ``failure`` takes for Again."""
    key, value, if_version, ttl = operation
    shared = (namespace, key, moment, *note, value, None if ttl is KEEP else ttl, ttl is KEEP)
    if if_version is None:
        return Work([Query(_SET, shared)], _first)
    read = _first if sure else functools.partial(_read_conditional, namespace, key, if_version)
    return Work([Query(_SETS_IF[if_version == 0, sure], shared if if_version == 0 else (*shared, if_version))], read)


def set_once_work(namespace: str, operation: Set, moment: int | None, note: Note, request: tuple[bytes, int, bytes]) -> Work:
    """An unconditional Set with a request id, given by name, lifetime and fingerprint."""
    key, value, _, ttl = operation
    shared = (namespace, key, moment, *note, value, None if ttl is KEEP else ttl, ttl is KEEP)
    return Work([Query(_SET_ONCE, (*shared, *request))], _first)


def delete_work(namespace: str, operation: Delete, moment: int | None, note: Note) -> Work:
    """A Delete."""
    key, if_version = operation
    shared = (namespace, key, moment, *note)
    if if_version is None:
        return Work([Query(_DELETE, shared)], lambda answers: bool(answers[0]))
    read = functools.partial(_read_conditional_delete, namespace, key, if_version)
    return Work([Query(_DELETE_IF_VERSION, (*shared, if_version))], read)


def clear_work(namespace: str, operation: Clear, moment: int | None) -> Work:
    """A Clear. It tells nobody: whoever sends it does."""
    where, bounds = prefix_range(operation.prefix, 2)
    lock = Query(_LOCK_RANGE.format(where=where), (namespace, *bounds))
    where, bounds = prefix_range(operation.prefix, 3)
    return Work([lock, Query(_CLEAR.format(where=where, now=now(2), noted=_NOTED_CLEAR), (namespace, moment, *bounds))], _first)


def restore_work(namespace: str, operation: Restore) -> Work:
    """A Restore. It tells nobody: whoever sends it does."""
    return Work([Query(_RESTORE, (namespace, *operation.row))], lambda _: None)


def change(namespace: str, operation: Change, moment: int | None, note: Note) -> Script[Changed]:
    """A Change, in a transaction that was begun: the entry is locked, also one that is not there yet."""
    lock = Query(_LOCK, (namespace, operation.key, moment))
    rows = (yield Trip((lock,)))[0]
    if not rows:
        rows = (yield Trip((Query(_PLACEHOLDER, (namespace, operation.key)), lock)))[1]
    if not rows:
        raise Again  # somebody's was there a moment ago, and was deleted
    ((value, alive),) = rows
    text, answer = apply_change(operation, value if alive else None)
    work = set_work(namespace, Set(operation.key, text, None, operation.ttl), moment, note)
    return Changed(work.read((yield Trip(work.queries))), answer)


def _first(answers: list[Rows]) -> Any:
    return answers[-1][0][0]


def _read_conditional(namespace: str, key: str, wanted: int, answers: list[Rows]) -> int:
    rows = answers[-1]
    if rows and rows[0][1]:
        return int(rows[0][0])
    current = rows[0][0] if rows else 0
    if current == wanted:
        raise Again  # it was so when the statement began; meanwhile another writer came first
    expect_version(namespace, key, current, wanted)
    raise AssertionError


def _read_conditional_delete(namespace: str, key: str, wanted: int, answers: list[Rows]) -> bool:
    if not answers[-1] and wanted == 0:
        return False
    _read_conditional(namespace, key, wanted, answers)
    return True
