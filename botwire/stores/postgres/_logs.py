"""What each operation on logs is in SQL, and what its rows mean.

An operation that looks at what is there first locks the log, in a statement of its own: a statement sees the state of when
it began, and would, after waiting for another writer, go by what that one has changed.

That locks no log which is not there yet. One that is made a moment later, the next statement may see, without the messages which
others go on to add; so what takes messages away does it only to a log that is still as the statement sees it (``_seen``).
"""

from __future__ import annotations

from typing import Any

from botwire._codec import decode, encode
from botwire.stores._protocol import (
    KEEP,
    Append,
    Appended,
    ClearLog,
    DeleteLog,
    LogInfo,
    LogRow,
    Pop,
    RestoreLog,
    SetLog,
    Trim,
)
from botwire.stores._rules import merge_patch
from botwire.stores._states import expect_place, new_epoch
from botwire.stores.postgres._counting import noted
from botwire.stores.postgres._entries import Note, Work, notify
from botwire.stores.postgres._script import Again, Query, Rows, Script, Trip, now

COLUMNS = "session, agent, epoch, head, count, created_at, updated_at, ttl, expires_at, metadata"

# $1 namespace, $2 session, $3 agent, $4 the time, $5 channel, $6 payload
_CLOCK = f"WITH t AS MATERIALIZED (SELECT {now(4)} AS now)"
_CLOCK_AND_ID = f"WITH t AS MATERIALIZED (SELECT {now(4)} AS now, nextval('@.log_id') AS fresh)"
_HERE = "l.namespace = $1 AND l.session = $2 AND l.agent = $3"
_ALIVE = "(l.expires_at IS NULL OR l.expires_at > t.now)"
_TOUCHED = "updated_at = t.now, expires_at = t.now + l.ttl"
DEAD = 0
"""``expires_at`` of a log whose messages are being removed, which may take several sweeps: no writer may take it for alive, not one either
that began before it expired."""


def _seen(which: str, clock: str = ", t") -> str:
    """A part of ``WITH``: the logs as the statement sees them. Every write to their messages changes head or count."""
    return f"seen AS MATERIALIZED (SELECT l.agent, l.id, l.head, l.count, l.expires_at FROM @.log l{clock} WHERE {which})"


_AS_SEEN = (
    "l.namespace = $1 AND l.session = $2 AND l.agent = seen.agent"
    " AND (l.id, l.head, l.count) = (seen.id, seen.head, seen.count) AND l.expires_at IS NOT DISTINCT FROM seen.expires_at"
)


def _found(condition: str = "true") -> str:
    """A part of ``WITH``: the log, locked, if it is alive and still as the statement sees it."""
    locked = f"SELECT l.id, l.count FROM @.log l, seen WHERE {_AS_SEEN} FOR UPDATE OF l"
    return f"{_seen(f'{_HERE} AND {_ALIVE} AND {condition}')}, found AS MATERIALIZED ({locked})"


def _removed(seen: str, returned: str = "l.id") -> str:
    """A part of ``WITH``: logs that were ``seen``, removed if they still are so."""
    return f"{seen}, done AS (DELETE FROM @.log l USING seen WHERE {_AS_SEEN} RETURNING {returned})"


# $7 ttl, $8 whether to keep what ttl there is, $9 epoch of a new log, $10 how many, $11 the bodies
_UPSERT = """
    INSERT INTO @.log AS l (namespace, session, agent, id, head, count, created_at, updated_at, ttl, expires_at, epoch, metadata)
    SELECT $1, $2, $3, fresh, $10::int8, $10::int8, now, now, $7::int8, now + $7::int8, $9, {metadata} FROM t
    ON CONFLICT (namespace, session, agent) DO UPDATE SET
        head = l.head + EXCLUDED.head, count = l.count + EXCLUDED.count, updated_at = EXCLUDED.updated_at,
        ttl = CASE WHEN $8::bool THEN l.ttl ELSE EXCLUDED.ttl END,
        expires_at = EXCLUDED.updated_at + CASE WHEN $8::bool THEN l.ttl ELSE EXCLUDED.ttl END {more}
    WHERE l.expires_at IS NULL OR l.expires_at > EXCLUDED.updated_at
    RETURNING {returned}"""

_HEAD = _UPSERT.format(metadata="'{{}}'", more="", returned="id, epoch, head, updated_at")
_ONE_BODY = "SELECT $1, id, head, updated_at, $11 FROM head"
_BODIES = """
    SELECT $1, id, head - $10::int8 + place, updated_at, body FROM head, unnest($11::text[]) WITH ORDINALITY AS b (body, place)"""
_NEW = {"session": "CASE WHEN id = fresh THEN $2::text END", "logs": "(id = fresh)::int4"}
_APPEND = f"""{_CLOCK_AND_ID}, head AS ({_HEAD}),
put AS (INSERT INTO @.message (namespace, log, seq, created_at, body) {{bodies}}), {{noted}}{{kept}}
SELECT epoch, head, {notify(5, 6)} FROM head, t"""
# $12 the request's name, $13 its lifetime, $14 its fingerprint. If it was used before, the primary key refuses it, and so the statement.
_KEPT = """,
kept AS (
    INSERT INTO @.request (namespace, name, expires_at, fingerprint, results)
    SELECT $1, $12, t.now + $13::int8, $14, '[[' || to_json(epoch) || ',' || head - $10::int8 + 1 || ',' || head || ']]' FROM head, t)"""


def _append_text(many: bool, once: bool) -> str:
    bodies, kept = _BODIES if many else _ONE_BODY, _KEPT if once else ""
    size = "(SELECT coalesce(sum(octet_length(body)), 0) FROM unnest($11::text[]) AS b (body))" if many else "octet_length($11::text)"
    return _APPEND.format(bodies=bodies, kept=kept, noted=noted("head, t", size=size, **_NEW))


_APPENDS = {(many, once): _append_text(many, once) for many in (False, True) for once in (False, True)}

_LOCK = f"{_CLOCK} SELECT epoch, head, count FROM @.log l, t WHERE {_HERE} AND {_ALIVE} FOR UPDATE OF l"
_MESSAGES = "m.namespace = $1 AND m.log = (SELECT id FROM found)"

_POP = f"""{_CLOCK}, {_found()},
done AS (DELETE FROM @.message m WHERE {_MESSAGES} AND m.seq = (SELECT max(m.seq) FROM @.message m WHERE {_MESSAGES})
    RETURNING seq, body, created_at), {noted("done", size="-octet_length(body)")},
log AS (UPDATE @.log l SET count = count - 1, {_TOUCHED} FROM t WHERE {_HERE} AND EXISTS (SELECT FROM done))
SELECT seq, body, created_at, {notify(5, 6)} FROM done, t"""

# $7 how many to keep, $8 to $10 the place where the log must be, if any
_AT = "($8::text IS NULL OR (l.epoch = $8 AND l.head = $9::int8 AND l.count = $10::int8))"
_LAST = f"(SELECT m.seq FROM @.message m WHERE {_MESSAGES} ORDER BY m.seq DESC LIMIT 1 OFFSET greatest($7::int8 - 1, 0))"
_NOTED_CUT = noted("(SELECT sum(size) AS size FROM done) d", size="-coalesce(size, 0)")
_TRIM = f"""{_CLOCK}, {_found(f"{_AT} AND l.count > $7::int8")},
done AS (DELETE FROM @.message m WHERE {_MESSAGES} AND ($7::int8 = 0 OR m.seq < {_LAST}) RETURNING octet_length(m.body) AS size),
{_NOTED_CUT},
log AS (UPDATE @.log l SET count = $7::int8, {_TOUCHED} FROM t WHERE {_HERE} AND EXISTS (SELECT FROM found))
SELECT count - $7::int8, {notify(5, 6)} FROM found, t"""

# $7 the new epoch
_CLEAR = f"""{_CLOCK}, {_found(_AT)},
done AS (DELETE FROM @.message m WHERE {_MESSAGES} RETURNING octet_length(m.body) AS size), {_NOTED_CUT},
log AS (UPDATE @.log l SET epoch = $7, head = 0, count = 0, {_TOUCHED} FROM t WHERE {_HERE} AND EXISTS (SELECT FROM found))
SELECT count, {notify(5, 6)} FROM found, t"""

# By an array: a join with what was removed may be planned as one with all messages of the namespace.
_WITH_MESSAGES = """messages AS (
    DELETE FROM @.message m WHERE m.namespace = $1 AND m.log = ANY (ARRAY(SELECT id FROM done)) RETURNING octet_length(m.body) AS size)"""
_SIZE = "(SELECT coalesce(sum(size), 0) FROM messages)"
_ALL = "l.namespace = $1 AND l.session = $2 AND ($3::text IS NULL OR l.agent = $3)"
_LOCK_ALL = f"SELECT 1 FROM @.log l WHERE {_ALL} ORDER BY l.agent FOR UPDATE"
_DELETE = f"""{_CLOCK}, {_removed(_seen(_ALL), "l.id, l.expires_at")},
{_WITH_MESSAGES},
{noted("(SELECT count(*) AS n FROM done) d", size=f"-{_SIZE}", session="$2::text", logs="-n")}
SELECT count(*) FILTER (WHERE {_ALIVE}), {notify(5, 6)} FROM done l, t GROUP BY t.now"""

_KEEP_METADATA = ", metadata = CASE WHEN $12::bool THEN l.metadata ELSE EXCLUDED.metadata END"
_STATE = _UPSERT.format(metadata="coalesce($11, '{}')", more=_KEEP_METADATA, returned=f"id, {COLUMNS}")
_SET = f"{_CLOCK_AND_ID}, done AS ({_STATE}), {noted('done, t', **_NEW)} SELECT {COLUMNS}, {notify(5, 6)} FROM done, t"
_SET_METADATA = "UPDATE @.log l SET metadata = $4 WHERE l.namespace = $1 AND l.session = $2 AND l.agent = $3"

_NOTED_DROP = noted("done", size=f"-{_SIZE}", session="$2::text", logs="-1")
# So that nothing is found by the index of what expires: a plan may read it from end to end, where it was short when the plan was made.
_EXPIRED = f"coalesce(l.expires_at, {2**63 - 1}) <= t.now"
DROP_EXPIRED = f"""{_CLOCK}, {_removed(_seen(f"{_HERE} AND {_EXPIRED}"))},
{_WITH_MESSAGES}, {_NOTED_DROP} SELECT FROM done"""
_DROP_OTHER = f"""WITH {_removed(_seen(f"{_HERE} AND l.epoch <> $4", clock=""))},
{_WITH_MESSAGES}, {_NOTED_DROP} SELECT FROM done"""
_RESTORE = f"""WITH t AS MATERIALIZED (SELECT nextval('@.log_id') AS fresh), done AS (
INSERT INTO @.log AS l (namespace, session, agent, id, epoch, head, count, created_at, updated_at, ttl, expires_at, metadata)
SELECT $1, $2, $3, fresh, $4, $5, 0, $6, $7, $8, $9, $10 FROM t
ON CONFLICT (namespace, session, agent) DO UPDATE SET
    head = greatest(l.head, EXCLUDED.head), created_at = EXCLUDED.created_at, updated_at = EXCLUDED.updated_at,
    ttl = EXCLUDED.ttl, expires_at = EXCLUDED.expires_at, metadata = EXCLUDED.metadata
WHERE l.epoch = EXCLUDED.epoch AND l.expires_at IS DISTINCT FROM {DEAD}
RETURNING id), {noted("done, t", **_NEW)} SELECT id FROM done"""
_RESTORE_ROWS = f"""WITH found AS (SELECT id FROM @.log l WHERE {_HERE}),
old AS (SELECT count(*) AS n, coalesce(sum(octet_length(m.body)), 0) AS size FROM @.message m
    WHERE m.namespace = $1 AND m.log = (SELECT id FROM found) AND m.seq = ANY($4::int8[])),
{noted("old", size="(SELECT coalesce(sum(octet_length(body)), 0) FROM unnest($5::text[]) AS b (body)) - old.size")},
put AS (
    INSERT INTO @.message (namespace, log, seq, body, created_at)
    SELECT $1, found.id, r.* FROM found, unnest($4::int8[], $5::text[], $6::int8[]) AS r
    ON CONFLICT (namespace, log, seq) DO UPDATE SET body = EXCLUDED.body, created_at = EXCLUDED.created_at)
UPDATE @.log l SET count = l.count + cardinality($4::int8[]) - old.n FROM old
WHERE {_HERE}"""


def append_work(namespace: str, operation: Append, moment: int | None, note: Note, request: tuple[bytes, int, bytes] | None = None) -> Work:
    """An Append, perhaps with a request id, given by name, lifetime and fingerprint."""
    session, agent, bodies, ttl = operation
    many, size = len(bodies) != 1, len(bodies)
    put = list(bodies) if many else bodies[0]
    shared = (namespace, session, agent, moment, *note, None if ttl is KEEP else ttl, ttl is KEEP, new_epoch(), size, put)
    text = _APPENDS[many, request is not None]

    def read(answers: list[Rows]) -> Appended:
        if not answers[-1]:
            raise Again
        epoch, last, _ = answers[-1][0]
        return Appended(epoch, last - size + 1, last)

    return Work([Query(text, (*shared, *(request or ())))], read)


def _lock(namespace: str, operation: Pop | Trim | ClearLog, moment: int | None) -> Query:
    return Query(_LOCK, (namespace, operation.session, operation.agent, moment))


def pop_work(namespace: str, operation: Pop, moment: int | None, note: Note) -> Work:
    """A Pop."""
    query = Query(_POP, (namespace, operation.session, operation.agent, moment, *note))
    return Work([_lock(namespace, operation, moment), query], lambda answers: LogRow(*answers[-1][0][:3]) if answers[-1] else None)


def cut_work(namespace: str, operation: Trim | ClearLog, moment: int | None, note: Note) -> Work:
    """A Trim or a ClearLog."""
    text, how = (_TRIM, operation.keep_last) if isinstance(operation, Trim) else (_CLEAR, new_epoch())
    at = operation.if_at or (None, None, None)
    query = Query(text, (namespace, operation.session, operation.agent, moment, *note, how, *at))

    def read(answers: list[Rows]) -> int:
        locked, cut = answers
        if operation.if_at is not None:
            expect_place(namespace, operation, locked[0] if locked else None)
        return cut[0][0] if cut else 0

    return Work([_lock(namespace, operation, moment), query], read)


def delete_log_work(namespace: str, operation: DeleteLog, moment: int | None, note: Note) -> Work:
    """A DeleteLog."""
    names = (namespace, operation.session, operation.agent)
    queries = [Query(_LOCK_ALL, names), Query(_DELETE, (*names, moment, *note))]
    return Work(queries, lambda answers: answers[-1][0][0] if answers[-1] else 0)


def set_log_work(namespace: str, operation: SetLog, moment: int | None, note: Note) -> Work:
    """A SetLog that does not merge; of one that does, the part that makes or locks the log and answers what it has."""
    session, agent, ttl, metadata, merge = operation
    kept = metadata is KEEP or merge
    lifetime = (None if ttl is KEEP else ttl, ttl is KEEP)
    given = (namespace, session, agent, moment, *note, *lifetime, new_epoch(), 0, None if kept else metadata, kept)

    def read(answers: list[Rows]) -> LogInfo:
        if not answers[-1]:
            raise Again
        return LogInfo(*answers[-1][0][:-1])

    return Work([Query(_SET, given)], read)


def merge_log(namespace: str, operation: SetLog, moment: int | None, note: Note) -> Script[LogInfo]:
    """A SetLog that merges, in a transaction that was begun."""
    work = set_log_work(namespace, operation, moment, note)
    info: LogInfo = work.read((yield Trip(work.queries)))
    what = f"the metadata of session {operation.session!r}"
    merged = encode(merge_patch(decode(info.metadata, what), decode(str(operation.metadata), what)), what)
    yield Trip((Query(_SET_METADATA, (namespace, operation.session, operation.agent, merged)),))
    return info._replace(metadata=merged)


def restore_log_work(namespace: str, operation: RestoreLog, moment: int | None) -> Work:
    """A RestoreLog. It tells nobody: whoever sends it does."""
    info = operation.info
    rows = {row.seq: row for row in operation.rows}
    names = (namespace, info.session, info.agent)
    head = max(info.head, *rows, 0)  # never behind a message that is there: its number would be given out again
    state = (info.epoch, head, info.created_at, info.updated_at, info.ttl, info.expires_at, info.metadata)
    columns = (list(rows), [row.body for row in rows.values()], [row.created_at for row in rows.values()])
    queries = [
        Query(_LOCK_ALL, names),
        Query(DROP_EXPIRED, (*names, moment)),
        Query(_DROP_OTHER, (*names, info.epoch)),
        Query(_RESTORE, (*names, *state)),
        Query(_RESTORE_ROWS, (*names, *columns)),
    ]

    def read(answers: list[Rows]) -> None:
        if not answers[-2]:
            raise Again  # meanwhile somebody made another log of that name

    return Work(queries, read)


def drop_expired(namespace: str, operation: Any, moment: int | None) -> list[Query]:
    """What makes room for a log of the same name, where the operation may make one."""
    if isinstance(operation, Append | SetLog):
        return [Query(DROP_EXPIRED, (namespace, operation.session, operation.agent, moment))]
    return []
