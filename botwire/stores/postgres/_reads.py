"""What each read asks. Each is one statement, so one state; all pages are range scans."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from botwire._names import prefix_end
from botwire.stores._protocol import DayUsage, EntryHit, EntryRow, EntryStamp, LogHit, LogInfo, LogPage, LogRow, Usage
from botwire.stores._search import match_entry, match_message
from botwire.stores.postgres._counting import WRONG
from botwire.stores.postgres._entries import prefix_range
from botwire.stores.postgres._logs import COLUMNS, DEAD
from botwire.stores.postgres._script import Query, Rows, Script, one

T = TypeVar("T")

_ENTRY = "key, value, version, created_at, updated_at, expires_at"
_STAMP = "key, version, updated_at, expires_at"
_DAY_US = 86_400_000_000
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_SEARCH_PAGE = 2_000
_LOG_PAGE = 500


def _alive(place: int, table: str = "") -> str:
    """SQL for "has not expired"; the time of a read is that of its statement, or the parameter at ``place``."""
    clock = f"coalesce(${place}::int8, (date_part('epoch', statement_timestamp()) * 1000000)::int8)"
    return f"({table}expires_at IS NULL OR {table}expires_at > {clock})"


# ------------------------------------------------------------------------------------------ entries


def get(moment: int | None, namespace: str, key: str) -> Script[EntryRow | None]:
    rows = yield from one(Query(_GET, (namespace, key, moment)))
    return EntryRow._make(rows[0]) if rows else None


_GET = f"SELECT {_ENTRY} FROM @.entry WHERE namespace = $1 AND key = $2 AND {_alive(3)}"


def get_many(moment: int | None, namespace: str, keys: Sequence[str]) -> Script[dict[str, EntryRow]]:
    sql = f"SELECT {_ENTRY} FROM @.entry WHERE namespace = $1 AND key = ANY($2::text[]) AND {_alive(3)}"
    rows = yield from one(Query(sql, (namespace, list(keys), moment)))
    found = {row[0]: EntryRow._make(row) for row in rows}
    return {key: found[key] for key in keys if key in found}


def _page(what: str, moment: int | None, namespace: str, prefix: str, after: str | None, limit: int) -> Script[Rows]:
    where, bounds = _range(prefix, after)
    # The limit stands in the text, for the planner to know it: one that it must guess can make it read and sort all of a prefix.
    sql = f"SELECT {what} FROM @.entry WHERE {where} AND {_alive(2)} ORDER BY key LIMIT {limit:d}"
    return (yield from one(Query(sql, (namespace, moment, *bounds))))


def _range(prefix: str, after: str | None) -> tuple[str, tuple[str, ...]]:
    if after is None or after < prefix:
        return prefix_range(prefix, 3)
    end = prefix_end(prefix) if prefix else None
    if end is None:
        return "namespace = $1 AND key > $3", (after,)
    return "namespace = $1 AND key > $3 AND key < $4", (after, end)


def scan(moment: int | None, namespace: str, prefix: str, after: str | None, limit: int) -> Script[list[EntryRow]]:
    rows = yield from _page(_ENTRY, moment, namespace, prefix, after, limit)
    return [EntryRow._make(row) for row in rows]


def scan_keys(moment: int | None, namespace: str, prefix: str, after: str | None, limit: int) -> Script[list[str]]:
    rows = yield from _page("key", moment, namespace, prefix, after, limit)
    return [key for (key,) in rows]


def scan_stamps(moment: int | None, namespace: str, prefix: str, after: str | None, limit: int) -> Script[list[EntryStamp]]:
    rows = yield from _page(_STAMP, moment, namespace, prefix, after, limit)
    return [EntryStamp._make(row) for row in rows]


def count(moment: int | None, namespace: str, prefix: str) -> Script[int]:
    where, bounds = prefix_range(prefix, 3)
    # All of them by the index alone, without those that have expired, by the index of what expires.
    here = f"SELECT count(*) FROM @.entry WHERE {where}"
    sql = f"SELECT ({here}) - ({here} AND NOT {_alive(2)} AND expires_at IS NOT NULL)"
    return int((yield from one(Query(sql, (namespace, moment, *bounds))))[0][0])


def namespaces(moment: int | None, after: str | None, limit: int) -> Script[list[str]]:
    """Jumps from one namespace to the next by the index, instead of reading through each."""
    return [name for (name,) in (yield from one(Query(_NAMESPACES, (after or "", moment, limit))))]


def _next(table: str, after: str) -> str:
    return f"(SELECT namespace FROM @.{table} WHERE namespace > {after} ORDER BY namespace LIMIT 1)"


_NAMESPACES = f"""WITH RECURSIVE n (name) AS (
    SELECT least({_next("entry", '$1::text COLLATE "C"')}, {_next("log", '$1::text COLLATE "C"')})
    UNION ALL SELECT least({_next("entry", "n.name")}, {_next("log", "n.name")}) FROM n WHERE n.name IS NOT NULL)
SELECT name FROM n WHERE name IS NOT NULL AND (
    (SELECT true FROM @.entry e WHERE e.namespace = n.name AND {_alive(2, "e.")} LIMIT 1)
    OR (SELECT true FROM @.log l WHERE l.namespace = n.name AND {_alive(2, "l.")} LIMIT 1))
LIMIT $3"""
# With EXISTS, the server may read a whole table to make a hash of the names that are in it.


def usage(moment: int | None, namespace: str) -> Script[Usage]:
    """Looks at every row of the namespace, but not at values that lie outside of their row: their size is in it."""
    days: dict[int, list[int]] = {}
    rows = yield from one(Query(_USAGE, (namespace, moment)))
    for kind, day, number, size in rows:
        if kind < 2:
            total = days.setdefault(day, [0, 0, 0])
            total[kind] += number
            total[2] += size
    sums = [[sum(row[column] for row in rows if row[0] == kind) for column in (2, 3)] for kind in range(3)]
    found = tuple(DayUsage(_day(day), *(int(each) for each in days[day])) for day in sorted(days))
    return Usage(int(sums[0][0]), int(sums[0][1]), int(sums[2][0]), int(sums[1][0]), int(sums[1][1]), found)


_USAGE = f"""
SELECT 0, updated_at / {_DAY_US}, count(*), sum(octet_length(value))::int8 FROM @.entry
WHERE namespace = $1 AND {_alive(2)} GROUP BY 2
UNION ALL
SELECT 1, m.created_at / {_DAY_US}, count(*), sum(octet_length(m.body))::int8
FROM @.log l JOIN @.message m ON m.namespace = $1 AND m.log = l.id WHERE l.namespace = $1 AND {_alive(2, "l.")} GROUP BY 2
UNION ALL
SELECT 2, 0, count(DISTINCT session), 0 FROM @.log WHERE namespace = $1 AND {_alive(2)}"""


def _day(number: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).date().isoformat()


# --------------------------------------------------------------------------------------------- logs

_HERE = "namespace = $1 AND session = $2 AND agent = $3"
_STATE = "epoch, head, count, updated_at, ttl, expires_at"
# The log's state is the row that has an epoch; the others are messages. A statement of its own for it would see another state.
_READ_LOG = f"""WITH found AS MATERIALIZED (SELECT id, metadata, created_at, {_STATE} FROM @.log WHERE {_HERE} AND {_alive(4)})
SELECT 0::int8 AS seq, metadata AS body, created_at, {_STATE} FROM found
UNION ALL (
    SELECT m.seq, m.body, m.created_at, NULL, NULL, NULL, NULL, NULL, NULL FROM @.message m
    WHERE m.namespace = $1 AND m.log = (SELECT id FROM found) AND m.seq > $5 AND m.seq < $6
    ORDER BY m.seq {{direction}} LIMIT $7)"""
_FORWARD, _BACKWARD = _READ_LOG.format(direction="ASC"), _READ_LOG.format(direction="DESC")


def read_log(
    moment: int | None,
    namespace: str,
    session: str,
    agent: str,
    *,
    after: int | None,
    before: int | None,
    last: int | None,
    limit: int | None,
) -> Script[LogPage]:
    sql, most = (_FORWARD, limit) if last is None else (_BACKWARD, last)
    bounds = (_LEAST if after is None else after, _MOST if before is None else before, most)
    rows = yield from one(Query(sql, (namespace, session, agent, moment, *bounds)))
    info: LogInfo | None = None
    messages: list[LogRow] = []
    for seq, body, created_at, epoch, head, number, updated_at, ttl, expires_at in rows:
        if epoch is None:
            messages.append(LogRow(seq, body, created_at))
        else:
            info = LogInfo(session, agent, epoch, head, number, created_at, updated_at, ttl, expires_at, body)
    messages.sort()  # sorted or reversed as they come, which costs next to nothing
    return LogPage(info, messages)


def scan_logs(moment: int | None, namespace: str, after: tuple[str, str] | None, limit: int) -> Script[list[LogInfo]]:
    beyond = "" if after is None else " AND (session, agent) > ($4, $5)"
    sql = f"SELECT {COLUMNS} FROM @.log WHERE namespace = $1 AND {_alive(2)}{beyond} ORDER BY session, agent LIMIT $3"
    return [LogInfo._make(row) for row in (yield from one(Query(sql, (namespace, moment, limit, *(after or ())))))]


# ------------------------------------------------------------------------------------------- search


def search(moment: int | None, namespace: str, words: Sequence[str], limit: int) -> Script[list[EntryHit]]:
    """Page by page, so that a large namespace is never in memory."""
    wanted, likes = _prefilter(words, ("key", "value"), 5)
    sql = f"SELECT {_ENTRY} FROM @.entry WHERE namespace = $1 AND key > $4 AND {_alive(2)}{wanted} ORDER BY key LIMIT $3"
    best: list[EntryHit] = []
    after = ""
    while True:
        rows = yield from one(Query(sql, (namespace, moment, _SEARCH_PAGE, after, *likes)))
        hits = [EntryHit(EntryRow._make(row), *match) for row in rows if (match := match_entry(words, row[0], row[1])) is not None]
        best = _best([*best, *hits], limit, lambda hit: hit.row.updated_at)
        if len(rows) < _SEARCH_PAGE:
            return best
        after = rows[-1][0]


def search_log(
    moment: int | None, namespace: str, words: Sequence[str], limit: int, session: str | None, agent: str | None
) -> Script[list[LogHit]]:
    """Logs by the hundred, of these the messages page by page."""
    logs_sql = f"""SELECT session, agent, id FROM @.log WHERE namespace = $1 AND {_alive(2)} AND (session, agent) > ($4, $5)
        AND ($6::text IS NULL OR session = $6) AND ($7::text IS NULL OR agent = $7) ORDER BY session, agent LIMIT $3"""
    wanted, likes = _prefilter(words, ("body",), 6)
    sql = f"""SELECT log, seq, body, created_at FROM @.message WHERE namespace = $1 AND log = ANY($2::int8[])
        AND (log, seq) > ($4, $5){wanted} ORDER BY log, seq LIMIT $3"""
    best: list[LogHit] = []
    last = ("", "")
    while True:
        logs = yield from one(Query(logs_sql, (namespace, moment, _LOG_PAGE, *last, session, agent)))
        names = {row[2]: (row[0], row[1]) for row in logs}
        after = (_LEAST, _LEAST)
        while names:
            rows = yield from one(Query(sql, (namespace, list(names), _SEARCH_PAGE, *after, *likes)))
            hits = [
                LogHit(*names[row[0]], LogRow._make(row[1:]), *found) for row in rows if (found := match_message(words, row[2])) is not None
            ]
            best = _best([*best, *hits], limit, lambda hit: hit.row.created_at)
            if len(rows) < _SEARCH_PAGE:
                break
            after = rows[-1][:2]
        if len(logs) < _LOG_PAGE:
            return best
        last = logs[-1][:2]


def _prefilter(words: Sequence[str], columns: Sequence[str], first: int) -> tuple[str, list[str]]:
    """Conditions that spare Python the rows that cannot match; under COLLATE "C", ILIKE knows the case of ASCII letters only.

    A text with other letters in it, or with escapes, may match all the same: "Straße" has the word "strasse".
    """
    sure = ["%" + word.replace("!", "!!").replace("_", "!_").replace("%", "!%") + "%" for word in words if word.isascii()]
    maybe = "{0} ILIKE ${1} ESCAPE '!' OR octet_length({0}) <> length({0}) OR position('\\u' IN {0}) > 0"
    conditions = (" OR ".join(maybe.format(column, place) for column in columns) for place in range(first, first + len(sure)))
    return "".join(f" AND ({condition})" for condition in conditions), sure


def _best(hits: Iterable[T], limit: int, time_of: Callable[[T], int]) -> list[T]:
    return heapq.nlargest(limit, hits, key=lambda hit: (hit.score, time_of(hit)))  # type: ignore[attr-defined] - both kinds of hits have one


# -------------------------------------------------------------------------------------------- check

_TABLES = ("entry", "log", "message", "request")
_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "server_version", "transaction_read_only")
_CHECK = f"""SELECT (SELECT version FROM @.schema_version),
    (SELECT json_object_agg(name, current_setting(name, true)) FROM unnest($1::text[]) AS name),
    {", ".join(f"(SELECT count(*) FROM @.{table})" for table in _TABLES)},
    (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $2 AND c.relkind = 'r'),
    pg_is_in_recovery()"""
# A log that counts other messages than it has, or has given out a number twice, was damaged; one that is being removed has fewer.
_COUNTS = f"""SELECT l.namespace, l.session, l.agent, l.count, l.head, m.n, m.top FROM @.log l
LEFT JOIN LATERAL (SELECT count(*) AS n, max(seq) AS top FROM @.message m WHERE m.namespace = l.namespace AND m.log = l.id) m ON true
WHERE (l.count <> m.n OR m.top > l.head) AND l.expires_at IS DISTINCT FROM {DEAD} LIMIT 20"""
_LEFT_BEHIND = """SELECT m.namespace, count(*) FROM @.message m
WHERE NOT EXISTS (SELECT FROM @.log l WHERE l.namespace = m.namespace AND l.id = m.log) GROUP BY 1 ORDER BY 1 LIMIT 20"""


def check(schema: str) -> Script[dict[str, Any]]:
    row = (yield from one(Query(_CHECK, (list(_SETTINGS), schema))))[0]
    problems = [
        f"session {session!r} of {namespace!r}, agent {agent!r}: says {number} messages up to {head}, has {there} up to {top}"
        for namespace, session, agent, number, head, there, top in (yield from one(Query(_COUNTS)))
    ]
    left_behind = yield from one(Query(_LEFT_BEHIND))
    problems += [f"{number} messages of {namespace!r} belong to no session" for namespace, number in left_behind]
    problems += [f"the usage of {namespace!r} is not what was counted" for (namespace,) in (yield from one(WRONG))]
    rows = {f"{table}_rows": number for table, number in zip(_TABLES, row[2:6], strict=True)}
    settings = {"settings": row[1], "standby": row[7], "schema": row[0], "bytes": row[6]}
    return {"ok": not problems, "problems": problems, **settings, **rows}
