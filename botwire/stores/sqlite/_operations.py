"""What each operation does to the file. Runs inside the writer's transaction, which the caller began."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any, cast

import apsw

from botwire._codec import decode, encode
from botwire._errors import BotWireError, RequestConflict, StoreCorrupt, VersionConflict
from botwire._names import prefix_end
from botwire.stores._protocol import (
    KEEP,
    RETRY_PREFIX,
    Append,
    Appended,
    Batch,
    Change,
    Changed,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    LogInfo,
    LogRow,
    Operation,
    Outcome,
    Pop,
    Restore,
    RestoreLog,
    Result,
    Set,
    SetLog,
    Trim,
    Ttl,
)
from botwire.stores._records import operations_to_json, results_from_json, results_to_json
from botwire.stores._rules import apply_change, merge_patch

REQUEST_LIFETIME_US = 2 * 86_400 * 1_000_000
"""How long a request id is remembered, in microseconds: twice the day that is promised."""

RETRY_LIFETIME_US = 2 * 3_600 * 1_000_000
"""How long one is that a client made for its own retries: twice the hour. Every write over HTTP leaves one."""

LOG_COLUMNS = "session, agent, epoch, head, count, created_at, updated_at, ttl, expires_at, metadata"
_NEVER = -1  # a row id that no row has


def apply_batch(connection: apsw.Connection, batch: Batch, now: int, *, alone: bool) -> Outcome:
    """Do all of a batch, or none of it; what keeps it from happening is returned, not raised.

    Of a batch that is ``alone`` in its transaction something may have happened then: the caller rolls back.

    Raises:
        apsw.Error: if SQLite fails; the caller rolls back.
    """
    outcome: Outcome = []
    try:
        if alone or (batch.request_id is None and len(batch.operations) == 1):
            outcome = _apply_request(connection, batch, now)
        else:
            with connection:  # a savepoint
                outcome = _apply_request(connection, batch, now)
    except BotWireError as error:
        outcome = error
    return outcome


def _apply_request(connection: apsw.Connection, batch: Batch, now: int) -> list[Result]:
    if batch.request_id is None:
        return [_apply(connection, batch.namespace, operation, now) for operation in batch.operations]
    name = (batch.namespace, _scope(batch.operations), batch.request_id)
    fingerprint = hashlib.sha256(operations_to_json(batch.operations).encode()).hexdigest()
    seen = connection.execute(
        "SELECT fingerprint, results FROM request WHERE namespace = ? AND scope = ? AND id = ? AND expires_at > ?", (*name, now)
    ).fetchone()
    if seen is not None:
        if seen[0] != fingerprint:
            raise RequestConflict(f"the request id {batch.request_id!r} was used before, for another write; give each write its own")
        try:
            return results_from_json(batch.operations, seen[1])
        except (ValueError, TypeError) as error:
            raise StoreCorrupt(f"what is kept of the request {batch.request_id!r} cannot be read: {error}") from error
    results = [_apply(connection, batch.namespace, operation, now) for operation in batch.operations]
    lifetime = RETRY_LIFETIME_US if batch.request_id.startswith(RETRY_PREFIX) else REQUEST_LIFETIME_US
    row = (*name, fingerprint, results_to_json(batch.operations, results), now + lifetime)
    connection.execute("INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?, ?, ?)", row)
    return results


def _scope(operations: Sequence[Operation]) -> str:
    first = operations[0] if operations else None
    if isinstance(first, Append | Pop | Trim | ClearLog | SetLog | DeleteLog):
        return json.dumps([first.session, first.agent])
    return ""


def _apply(connection: apsw.Connection, namespace: str, operation: Operation, now: int) -> Result:
    return _APPLY[type(operation)](connection, namespace, operation, now)


# ------------------------------------------------------------------------------------------ entries

_SET = """
INSERT INTO entry (namespace, key, value, version, created_at, updated_at, expires_at) VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5)
ON CONFLICT (namespace, key) DO UPDATE SET
    value = ?3, updated_at = ?4, expires_at = ?5,
    version = iif(expires_at <= ?4, 1, version + 1),
    created_at = iif(expires_at <= ?4, ?4, created_at)
RETURNING version
"""

_REPLACE = """
UPDATE entry SET value = ?3, updated_at = ?4, expires_at = ?5, version = version + 1
WHERE namespace = ?1 AND key = ?2 AND version = ?6 AND (expires_at IS NULL OR expires_at > ?4)
RETURNING version
"""


def _set(connection: apsw.Connection, namespace: str, operation: Set, now: int) -> int:
    key, value, if_version, ttl = operation
    expires_at = None if ttl is None else _KEPT if ttl is KEEP else now + ttl
    if if_version and expires_at is not _KEPT:
        replaced = connection.execute(_REPLACE, (namespace, key, value, now, expires_at, if_version)).get
        if replaced is not None:
            return replaced  # type: ignore[no-any-return]
    if if_version is not None or expires_at is _KEPT:
        present = _present(connection, namespace, key, now)
        if if_version is not None:
            _expect_version(namespace, key, present, if_version)
        if expires_at is _KEPT:
            expires_at = None if present is None else present[3]
    return connection.execute(_SET, (namespace, key, value, now, expires_at)).get  # type: ignore[no-any-return]


_KEPT = object()


def _present(connection: apsw.Connection, namespace: str, key: str, now: int) -> tuple[int, str, int, int | None] | None:
    """(id, value, version, expires_at) of an entry that has not expired."""
    return connection.execute(
        "SELECT id, value, version, expires_at FROM entry WHERE namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)",
        (namespace, key, now),
    ).fetchone()


def _expect_version(namespace: str, key: str, present: tuple[int, str, int, Any] | None, wanted: int) -> None:
    current = 0 if present is None else present[2]
    if current != wanted:
        asked = "to be absent" if wanted == 0 else f"at version {wanted}"
        found = "is absent" if current == 0 else f"is at version {current}"
        raise VersionConflict(f"{key!r} in namespace {namespace!r} was expected {asked} but {found}; read it again", current)


def _delete(connection: apsw.Connection, namespace: str, operation: Delete, now: int) -> bool:
    present = _present(connection, namespace, operation.key, now)
    if operation.if_version is not None:
        _expect_version(namespace, operation.key, present, operation.if_version)
    if present is None:
        return False
    connection.execute("DELETE FROM entry WHERE id = ?", (present[0],))
    return True


def _change(connection: apsw.Connection, namespace: str, operation: Change, now: int) -> Changed:
    present = _present(connection, namespace, operation.key, now)
    text, answer = apply_change(operation, None if present is None else present[1])
    version = _set(connection, namespace, Set(operation.key, text, None, operation.ttl), now)
    return Changed(version, answer)


def _clear(connection: apsw.Connection, namespace: str, operation: Clear, now: int) -> int:
    where, bounds = prefix_range(namespace, operation.prefix)
    expired = connection.execute(f"SELECT count(*) FROM entry WHERE {where} AND expires_at <= ?", (*bounds, now)).get
    before = connection.total_changes()
    connection.execute(f"DELETE FROM entry WHERE {where}", bounds)
    return connection.total_changes() - before - int(expired)


def _restore(connection: apsw.Connection, namespace: str, operation: Restore, _now: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO entry (namespace, key, value, version, created_at, updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (namespace, *operation.row),
    )


def prefix_range(namespace: str, prefix: str) -> tuple[str, tuple[str, ...]]:
    """The condition, and its bindings, under which a key starts with ``prefix``: a range, so that the index serves it."""
    if not prefix:
        return "namespace = ?", (namespace,)
    end = prefix_end(prefix)
    if end is None:
        return "namespace = ? AND key >= ?", (namespace, prefix)
    return "namespace = ? AND key >= ? AND key < ?", (namespace, prefix, end)


# --------------------------------------------------------------------------------------------- logs


def _find_log(connection: apsw.Connection, namespace: str, session: str, agent: str, now: int) -> tuple[int, LogInfo] | None:
    """(id, state) of a log; an expired one is removed on the way, since it is about to be written."""
    row = connection.execute(
        f"SELECT id, {LOG_COLUMNS} FROM log WHERE namespace = ? AND session = ? AND agent = ?", (namespace, session, agent)
    ).fetchone()
    if row is None:
        return None
    info = LogInfo(*row[1:])
    if info.expires_at is not None and info.expires_at <= now:
        remove_log(connection, row[0])
        return None
    return row[0], info


def remove_log(connection: apsw.Connection, log: int) -> None:
    """Remove a log's messages and its own row."""
    connection.execute("DELETE FROM message WHERE log = ?", (log,))
    connection.execute("DELETE FROM log WHERE id = ?", (log,))


def new_epoch() -> str:
    """Random text that no other log's epoch equals."""
    return secrets.token_hex(8)


def _write_log(connection: apsw.Connection, namespace: str, log: int | None, info: LogInfo) -> int:
    """Insert a log's state, or replace it; returns its id."""
    if log is None:
        connection.execute(f"INSERT INTO log (namespace, {LOG_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (namespace, *info))
        return connection.last_insert_rowid()
    connection.execute(
        "UPDATE log SET epoch = ?, head = ?, count = ?, created_at = ?, updated_at = ?, ttl = ?, expires_at = ?, metadata = ? WHERE id = ?",
        (*info[2:], log),
    )
    return log


def _changed_log(info: LogInfo, now: int, ttl: Ttl = KEEP, **changes: Any) -> LogInfo:
    lifetime = info.ttl if ttl is KEEP else ttl
    return info._replace(updated_at=now, ttl=lifetime, expires_at=None if lifetime is None else now + lifetime, **changes)


def _new_log(session: str, agent: str, now: int) -> LogInfo:
    return LogInfo(session, agent, new_epoch(), 0, 0, now, now, None, None, "{}")


def _append(connection: apsw.Connection, namespace: str, operation: Append, now: int) -> Appended:
    session, agent, bodies, ttl = operation
    log, info = _find_log(connection, namespace, session, agent, now) or (None, _new_log(session, agent, now))
    first, last = info.head + 1, info.head + len(bodies)
    log = _write_log(connection, namespace, log, _changed_log(info, now, ttl, head=last, count=info.count + len(bodies)))
    rows = [(log, seq, body, now) for seq, body in enumerate(bodies, first)]
    connection.executemany("INSERT INTO message (log, seq, body, created_at) VALUES (?, ?, ?, ?)", rows)
    return Appended(info.epoch, first, last)


def _pop(connection: apsw.Connection, namespace: str, operation: Pop, now: int) -> LogRow | None:
    found = _find_log(connection, namespace, operation.session, operation.agent, now)
    if found is None:
        return None
    log, info = found
    row = connection.execute("SELECT seq, body, created_at FROM message WHERE log = ? ORDER BY seq DESC LIMIT 1", (log,)).fetchone()
    if row is None:
        return None
    connection.execute("DELETE FROM message WHERE log = ? AND seq = ?", (log, row[0]))
    _write_log(connection, namespace, log, _changed_log(info, now, count=info.count - 1))
    return LogRow(*row)


def _trim(connection: apsw.Connection, namespace: str, operation: Trim, now: int) -> int:
    found = _find_log(connection, namespace, operation.session, operation.agent, now)
    if operation.if_at is not None:
        _expect_place(namespace, operation, None if found is None else found[1])
    surplus = 0 if found is None else found[1].count - operation.keep_last
    if found is None or surplus <= 0:
        return 0
    log, info = found
    if operation.keep_last == 0:
        connection.execute("DELETE FROM message WHERE log = ?", (log,))
    else:
        oldest_kept = "SELECT seq FROM message WHERE log = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
        connection.execute(f"DELETE FROM message WHERE log = ? AND seq < ({oldest_kept})", (log, log, operation.keep_last - 1))
    _write_log(connection, namespace, log, _changed_log(info, now, count=operation.keep_last))
    return surplus


def _clear_log(connection: apsw.Connection, namespace: str, operation: ClearLog, now: int) -> int:
    found = _find_log(connection, namespace, operation.session, operation.agent, now)
    if operation.if_at is not None:
        _expect_place(namespace, operation, None if found is None else found[1])
    if found is None:
        return 0
    log, info = found
    connection.execute("DELETE FROM message WHERE log = ?", (log,))
    _write_log(connection, namespace, log, _changed_log(info, now, epoch=new_epoch(), head=0, count=0))
    return info.count


def _expect_place(namespace: str, operation: Trim | ClearLog, info: LogInfo | None) -> None:
    if info is None or (info.epoch, info.head, info.count) != operation.if_at:
        text = f"session {operation.session!r} in namespace {namespace!r} was changed by another writer; read it again"
        raise VersionConflict(text, 0 if info is None else info.head)


def _set_log(connection: apsw.Connection, namespace: str, operation: SetLog, now: int) -> LogInfo:
    session, agent, ttl, metadata, merge = operation
    log, info = _find_log(connection, namespace, session, agent, now) or (None, _new_log(session, agent, now))
    if metadata is not KEEP:
        if merge:
            what = f"the metadata of session {session!r}"
            metadata = encode(merge_patch(decode(info.metadata, what), decode(metadata, what)), what)
        info = info._replace(metadata=metadata)
    info = _changed_log(info, now, ttl)
    _write_log(connection, namespace, log, info)
    return info


def _delete_log(connection: apsw.Connection, namespace: str, operation: DeleteLog, now: int) -> int:
    which = "namespace = ? AND session = ?" + ("" if operation.agent is None else " AND agent = ?")
    names = (namespace, operation.session) if operation.agent is None else (namespace, operation.session, operation.agent)
    rows = cast("list[Any]", connection.execute(f"SELECT id, expires_at FROM log WHERE {which}", names).fetchall())
    for log, _ in rows:
        remove_log(connection, log)
    return sum(1 for _, expires_at in rows if expires_at is None or expires_at > now)


def _restore_log(connection: apsw.Connection, namespace: str, operation: RestoreLog, now: int) -> None:
    info, rows = operation
    found = _find_log(connection, namespace, info.session, info.agent, now)
    if found is not None and found[1].epoch != info.epoch:
        remove_log(connection, found[0])
        found = None
    log, head, count = (None, 0, 0) if found is None else (found[0], found[1].head, found[1].count)
    head = max(head, info.head, *(row.seq for row in rows))  # never behind a message that is there: its number would be given out again
    log = _write_log(connection, namespace, log, info._replace(head=head, count=count))
    added = 0
    for row in rows:
        there = connection.execute("SELECT 1 FROM message WHERE log = ? AND seq = ?", (log, row.seq)).get
        added += there is None
        connection.execute("INSERT OR REPLACE INTO message (log, seq, body, created_at) VALUES (?, ?, ?, ?)", (log, *row))
    if added:
        connection.execute("UPDATE log SET count = count + ? WHERE id = ?", (added, log))


_APPLY: dict[type, Callable[[apsw.Connection, str, Any, int], Any]] = {
    Set: _set,
    Delete: _delete,
    Change: _change,
    Clear: _clear,
    Restore: _restore,
    Append: _append,
    Pop: _pop,
    Trim: _trim,
    ClearLog: _clear_log,
    SetLog: _set_log,
    DeleteLog: _delete_log,
    RestoreLog: _restore_log,
}
