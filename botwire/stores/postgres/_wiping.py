"""Deleting all that is kept of a namespace, in short transactions, so that nobody waits long for what they have locked."""

from __future__ import annotations

from typing import NamedTuple

from botwire.stores.postgres._counting import noted
from botwire.stores.postgres._notes import channel_of
from botwire.stores.postgres._script import BEGIN, COMMIT, ROW_BY_ROW, Query, Script, Trip

ROWS = 2_000
"""Rows that one step removes."""
LOGS = 200
"""Of how many logs one step removes messages."""
_ALL = "[null,null]"


class Wiped(NamedTuple):
    """What one step removed, and whether the namespace was empty after it."""

    entries: int
    sessions: int
    messages: int
    done: bool


_NOTED_ENTRIES = noted("(SELECT sum(size) AS size, count(*) AS n FROM gone) g", size="-coalesce(size, 0)", keys="-n")
_ENTRIES = f"""WITH chosen AS (SELECT key FROM @.entry WHERE namespace = $1 ORDER BY key LIMIT {ROWS} FOR UPDATE),
gone AS (
    DELETE FROM @.entry e WHERE e.namespace = $1 AND e.key <= (SELECT max(key) FROM chosen) RETURNING octet_length(e.value) AS size),
{_NOTED_ENTRIES} SELECT count(*) FROM gone"""

_LOGS = f"SELECT id FROM @.log WHERE namespace = $1 ORDER BY session, agent LIMIT {LOGS} FOR UPDATE"
# The count of a log that keeps some goes down with them: it stays a log that can be read.
_MESSAGES = f"""WITH chosen AS (
    SELECT log, seq FROM @.message WHERE namespace = $1 AND log = ANY($2::int8[]) ORDER BY log, seq LIMIT {ROWS}),
gone AS (
    DELETE FROM @.message m WHERE m.namespace = $1 AND m.log = ANY($2::int8[])
    AND (m.log, m.seq) <= (SELECT log, seq FROM chosen ORDER BY log DESC, seq DESC LIMIT 1) RETURNING m.log, octet_length(m.body) AS size),
left_over AS (
    UPDATE @.log l SET count = l.count - g.n FROM (SELECT log, count(*) AS n FROM gone GROUP BY log) g
    WHERE l.namespace = $1 AND l.id = g.log),
{noted("(SELECT sum(size) AS size FROM gone) g", size="-coalesce(size, 0)")} SELECT count(*) FROM gone"""
_EMPTY_LOGS = f"""WITH gone AS (
    DELETE FROM @.log l WHERE l.namespace = $1 AND l.id = ANY($2::int8[])
    AND NOT EXISTS (SELECT FROM @.message m WHERE m.namespace = $1 AND m.log = l.id) RETURNING l.id, l.session),
{noted("gone", session="session", logs="-1")}
SELECT count(DISTINCT session) FROM gone g WHERE NOT EXISTS (
    SELECT FROM @.log l WHERE l.namespace = $1 AND l.session = g.session AND l.id NOT IN (SELECT id FROM gone))"""

# In one statement, so that a request goes only with what it wrote. The row in usage comes last, as everybody locks.
_REST = """WITH empty AS MATERIALIZED (
    SELECT WHERE NOT EXISTS (SELECT FROM @.entry WHERE namespace = $1) AND NOT EXISTS (SELECT FROM @.log WHERE namespace = $1)),
requests AS (DELETE FROM @.request WHERE namespace = $1 AND EXISTS (SELECT FROM empty)),
meters AS (DELETE FROM @.meter WHERE namespace = $1 AND EXISTS (SELECT FROM empty))
SELECT count(*) FROM empty"""
_UNCOUNT = "DELETE FROM @.usage WHERE namespace = $1"
_FORGET_CHANGES = "DELETE FROM @.usage_change WHERE namespace = $1"
_TELL = "SELECT pg_notify($2, $3) FROM @.listener WHERE namespace = $1 LIMIT 1"


def wipe(schema: str, namespace: str) -> Script[Wiped]:
    """Remove some of a namespace; once there is nothing more, what is remembered of requests, meters and counts."""
    *_, entries, logs = yield Trip((BEGIN, ROW_BY_ROW, Query(_ENTRIES, (namespace,)), Query(_LOGS, (namespace,))))
    if not entries[0][0] and not logs:
        return (yield from _forget(namespace))
    found = (namespace, [row[0] for row in logs])
    tell = Query(_TELL, (namespace, channel_of(schema, namespace), _ALL))
    messages, sessions, *_ = yield Trip((Query(_MESSAGES, found), Query(_EMPTY_LOGS, found), tell, COMMIT), commits=True)
    return Wiped(entries[0][0], sessions[0][0], messages[0][0], done=False)


def _forget(namespace: str) -> Script[Wiped]:
    """In a transaction that has locked nothing yet: writers lock these rows first, and then what they write."""
    empty = (yield Trip((Query(_REST, (namespace,)),)))[0]
    done = bool(empty[0][0])
    yield Trip((*(Query(text, (namespace,)) for text in (_UNCOUNT, _FORGET_CHANGES) if done), COMMIT), commits=True)
    return Wiped(0, 0, 0, done)
