"""How much a namespace holds, kept without looking at all of it; only of namespaces for which somebody has set a cap.

A namespace that is counted has a row in ``usage``. Each statement that changes what a namespace holds looks for that row, and where it
is there adds a row to ``usage_change``, in its own transaction: bytes and keys more or less; and of which session how many logs, since
whether a session came or went can only be said of all changes together. Nobody waits for anybody there, so writes without a cap
stay as concurrent as they were, and where nothing is counted they cost a look into an empty table. A batch under a cap locks the row of
``usage``, so that such batches come one after the other, and adds up the changes.

To begin, a namespace is given its row. Then it must be certain that every writer knows of it: each holds a lock on
``usage_change`` from before it looked until it is done, so ``LOCK TABLE`` waits for those that may have looked too early. Last,
all there is is counted, and in the same statement the changes are dropped that it includes.
"""

from __future__ import annotations

from typing import NamedTuple

from botwire.stores._protocol import Cap
from botwire.stores.postgres._script import BEGIN, COMMIT, ROW_BY_ROW, Query, Rows, Script, Trip


class Held(NamedTuple):
    """What a namespace holds, as a Cap counts it."""

    bytes: int
    keys: int
    sessions: int


class NotCounted(Exception):
    """Nobody has begun to count what the namespace holds."""


def noted(source: str, *, size: str = "0", keys: str = "0", session: str = "NULL", logs: str = "0", namespace: str = "$1") -> str:
    """A part of ``WITH`` that notes, for each row of ``source``, how what a namespace holds has changed: expressions over that row.

    Whether it is counted is looked up, not joined: a join may be planned as one that goes through all counted namespaces.
    """
    return f"""noted AS (
    INSERT INTO @.usage_change (namespace, id, bytes, keys, session, logs)
    SELECT {namespace}, nextval('@.usage_change_id'), {size}, {keys}, {session}, {logs} FROM {source}
    WHERE (SELECT true FROM @.usage u WHERE u.namespace = {namespace}))"""


# -------------------------------------------------------------------------------- looking and adding up

_LOCK = "SELECT counted FROM @.usage WHERE namespace = $1 FOR UPDATE"

_SUMS = """sums AS (SELECT coalesce(sum(bytes), 0)::int8 AS bytes, coalesce(sum(keys), 0)::int8 AS keys FROM changes),
named AS (
    SELECT c.session, sum(c.logs) AS net, (SELECT count(*) FROM @.log l WHERE l.namespace = $1 AND l.session = c.session) AS there
    FROM changes c WHERE c.session IS NOT NULL GROUP BY c.session),
came AS (SELECT count(*) FILTER (WHERE there > 0) - count(*) FILTER (WHERE there > net) AS sessions FROM named)"""
_KNOWN = f"""WITH changes AS (SELECT bytes, keys, session, logs FROM @.usage_change WHERE namespace = $1), {_SUMS},
held AS (
    SELECT u.bytes + sums.bytes AS bytes, u.keys + sums.keys AS keys, u.sessions + came.sessions AS sessions
    FROM @.usage u, sums, came WHERE u.namespace = $1)"""
_ADDED_UP = f"""WITH changes AS (DELETE FROM @.usage_change WHERE namespace = $1 RETURNING bytes, keys, session, logs), {_SUMS},
held AS (
    UPDATE @.usage u SET bytes = u.bytes + sums.bytes, keys = u.keys + sums.keys, sessions = u.sessions + came.sessions
    FROM sums, came WHERE u.namespace = $1 AND u.counted RETURNING u.bytes, u.keys, u.sessions)"""

# What has expired is counted until it is removed; only where that makes it too much is it looked for. $2 the time, $3 to $5 the cap
_GONE = "expires_at <= coalesce($2::int8, (date_part('epoch', statement_timestamp()) * 1000000)::int8)"
_GONE_VALUES = f"(SELECT coalesce(sum(octet_length(value)), 0) FROM @.entry WHERE namespace = $1 AND {_GONE})"
_GONE_BODIES = f"""(SELECT coalesce(sum(octet_length(m.body)), 0) FROM @.log l JOIN @.message m ON m.namespace = $1 AND m.log = l.id
    WHERE l.namespace = $1 AND l.{_GONE})"""
_GONE_KEYS = f"(SELECT count(*) FROM @.entry WHERE namespace = $1 AND {_GONE})"
_GONE_SESSIONS = f"""(SELECT count(DISTINCT l.session) FROM @.log l WHERE l.namespace = $1 AND l.{_GONE} AND NOT EXISTS (
    SELECT FROM @.log o WHERE o.namespace = $1 AND o.session = l.session AND (o.{_GONE}) IS NOT TRUE))"""
_OVER = "bytes > $3::int8 OR keys > $4::int8 OR sessions > $5::int8"
_LIVE = f"""SELECT bytes - CASE WHEN {_OVER} THEN {_GONE_VALUES} + {_GONE_BODIES} ELSE 0 END,
    keys - CASE WHEN {_OVER} THEN {_GONE_KEYS} ELSE 0 END, sessions - CASE WHEN {_OVER} THEN {_GONE_SESSIONS} ELSE 0 END FROM held"""

_LOOK, _SETTLE = f"{_KNOWN} {_LIVE}", f"{_ADDED_UP} {_LIVE}"


def look(namespace: str, cap: Cap, moment: int | None) -> list[Query]:
    """Statements that lock the count of a namespace, and say what it holds. ``found`` reads their answers."""
    return [Query(_LOCK, (namespace,)), Query(_LOOK, (namespace, moment, *cap))]


def settle(namespace: str, cap: Cap, moment: int | None) -> list[Query]:
    """What adds up the changes, in a transaction that has locked the count, and says what the namespace holds."""
    return [Query(_SETTLE, (namespace, moment, *cap))]


def found(answers: list[Rows]) -> Held:
    """What ``look`` or ``settle`` found; if that is over the cap, without what has expired.

    Raises:
        NotCounted: if nobody has counted it yet.
    """
    locked, held = answers[:-1], answers[-1]
    if locked and locked[0] != [(True,)]:
        raise NotCounted
    return Held(*map(int, held[0]))


# ------------------------------------------------------------------------------------------ beginning

_ENTER = "INSERT INTO @.usage (namespace, counted, bytes, keys, sessions) VALUES ($1, false, 0, 0, 0) ON CONFLICT DO NOTHING"
_WAIT = "LOCK TABLE @.usage_change IN SHARE MODE"
_SIZES = """SELECT (SELECT coalesce(sum(octet_length(value)), 0) FROM @.entry e WHERE e.namespace = {namespace})
        + (SELECT coalesce(sum(octet_length(body)), 0) FROM @.message m WHERE m.namespace = {namespace}) AS bytes,
    (SELECT count(*) FROM @.entry e WHERE e.namespace = {namespace}) AS keys,
    (SELECT count(DISTINCT session) FROM @.log l WHERE l.namespace = {namespace}) AS sessions"""
_COUNT = f"""WITH counts AS (SELECT u.namespace FROM @.usage u WHERE u.namespace = $1 AND NOT u.counted),
included AS (DELETE FROM @.usage_change c USING counts WHERE c.namespace = counts.namespace)
UPDATE @.usage u SET counted = true, bytes = all_there_is.bytes, keys = all_there_is.keys, sessions = all_there_is.sessions
FROM counts, LATERAL ({_SIZES.format(namespace="counts.namespace")}) all_there_is WHERE u.namespace = counts.namespace"""


def begin(namespace: str) -> Script[None]:
    """Count what a namespace holds, and have every writer say from now on what it changes. Not in a transaction."""
    enter, wait = (BEGIN, Query(_ENTER, (namespace,)), COMMIT), (BEGIN, Query(_WAIT), COMMIT)
    yield Trip((*enter, *wait, BEGIN, Query(_LOCK, (namespace,)), Query(_COUNT, (namespace,)), COMMIT))


# -------------------------------------------------------------------------------------- housekeeping

MOST = 500
"""How many changes are looked at to find namespaces where they are to be added up."""
_CHANGED = f"SELECT DISTINCT namespace FROM (SELECT namespace FROM @.usage_change LIMIT {MOST}) c ORDER BY namespace"
_LOCK_FREE = "SELECT namespace FROM @.usage WHERE namespace = ANY($1::text[]) ORDER BY namespace FOR UPDATE SKIP LOCKED"
# Of a namespace that is no longer counted. If it is counted again, then from all there is, with what these were about.
_DROP = """DELETE FROM @.usage_change c WHERE c.namespace = ANY($1::text[])
    AND NOT EXISTS (SELECT FROM @.usage u WHERE u.namespace = c.namespace)"""


def tidy() -> Script[bool]:
    """Add up the changes in namespaces where nobody writes under a cap, who would do it; whether there may be more."""
    names = [name for (name,) in (yield Trip((Query(_CHANGED),)))[0]]
    if not names:
        return False
    *_, free = yield Trip((BEGIN, ROW_BY_ROW, Query(_DROP, (names,)), Query(_LOCK_FREE, (names,))))
    answers = yield Trip((*(Query(f"{_ADDED_UP} SELECT count(*) FROM changes", (name,)) for (name,) in free), COMMIT))
    return any(rows[0][0] >= MOST for rows in answers[:-1])


# ------------------------------------------------------------------------------------------- checking

_WRONG = f"""WITH sums AS (SELECT namespace, sum(bytes) AS bytes, sum(keys) AS keys FROM @.usage_change GROUP BY namespace),
named AS (
    SELECT c.namespace, sum(c.logs) AS net,
        (SELECT count(*) FROM @.log l WHERE l.namespace = c.namespace AND l.session = c.session) AS there
    FROM @.usage_change c WHERE c.session IS NOT NULL GROUP BY c.namespace, c.session),
came AS (
    SELECT namespace, count(*) FILTER (WHERE there > 0) - count(*) FILTER (WHERE there > net) AS sessions FROM named GROUP BY namespace)
SELECT u.namespace FROM @.usage u LEFT JOIN sums USING (namespace) LEFT JOIN came USING (namespace),
    LATERAL ({_SIZES.format(namespace="u.namespace")}) all_there_is
WHERE u.counted AND (u.bytes + coalesce(sums.bytes, 0), u.keys + coalesce(sums.keys, 0), u.sessions + coalesce(came.sessions, 0))
    <> (all_there_is.bytes, all_there_is.keys, all_there_is.sessions)
ORDER BY u.namespace LIMIT 20"""
WRONG = Query(_WRONG)
"""Names of namespaces whose count is not what they hold."""
