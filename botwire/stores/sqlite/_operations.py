"""What each operation does to the file. Runs inside the writer's transaction, which the caller began."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import apsw

from botwire._codec import decode, encode
from botwire._errors import BotWireError
from botwire._names import prefix_end
from botwire.stores._protocol import (
    KEEP,
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
)
from botwire.stores._records import results_to_json
from botwire.stores._requests import fingerprint, lifetime_us, recall, scope_of
from botwire.stores._rules import apply_change, merge_patch
from botwire.stores._states import changed_log, expect_place, expect_version, new_epoch, new_log
from botwire.stores.sqlite._terms import Ledger

LOG_COLUMNS = "session, agent, epoch, head, count, created_at, updated_at, ttl, expires_at, metadata"
_NEVER = -1  # a row id that no row has


def apply_batch(connection: apsw.Connection, batch: Batch, now: int, ledger: Ledger | None, *, alone: bool) -> Outcome:
    """Do all of a batch, or none of it; what keeps it from happening is returned, not raised.

    Of a batch that is ``alone`` in its transaction something may have happened then: the caller rolls back. There is a
    ``ledger`` if any batch of the transaction has terms.

    Raises:
        apsw.Error: if SQLite fails; the caller rolls back.
    """
    outcome: Outcome = []
    within = True
    if ledger is not None:
        within = ledger.keeps_within(batch.namespace, None if batch.terms is None else batch.terms.cap, batch.operations)
    try:
        if alone or (batch.request_id is None and len(batch.operations) == 1 and within):
            outcome = _apply_request(connection, batch, now, ledger, within)
        else:
            with connection:  # a savepoint
                outcome = _apply_request(connection, batch, now, ledger, within)
    except BotWireError as error:
        outcome = error
    return outcome


def _apply_request(connection: apsw.Connection, batch: Batch, now: int, ledger: Ledger | None, within: bool) -> list[Result]:
    if batch.request_id is None:
        return _apply_within_terms(connection, batch, now, ledger, within)
    name = (batch.namespace, scope_of(batch.operations), batch.request_id)
    print_of_this = fingerprint(batch.operations)
    seen = connection.execute(
        "SELECT fingerprint, results FROM request WHERE namespace = ? AND scope = ? AND id = ? AND expires_at > ?", (*name, now)
    ).fetchone()
    if seen is not None:
        return recall(batch, print_of_this, *seen)
    results = _apply_within_terms(connection, batch, now, ledger, within)
    row = (*name, print_of_this, results_to_json(batch.operations, results), now + lifetime_us(batch.request_id))
    connection.execute("INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?, ?, ?)", row)
    return results


def _apply_within_terms(connection: apsw.Connection, batch: Batch, now: int, ledger: Ledger | None, within: bool) -> list[Result]:
    """Charged first, since that may refuse it, and uncharged if anything else does; ``within`` if its cap is kept for sure."""
    namespace, operations, _, terms = batch
    if terms is None or ledger is None:
        return [_apply(connection, namespace, operation, now) for operation in operations]
    ledger.charge(namespace, terms.charges)
    try:
        if within or terms.cap is None:
            return [_apply(connection, namespace, operation, now) for operation in operations]
        held = ledger.held(namespace, terms.cap)
        results = [_apply(connection, namespace, operation, now) for operation in operations]
        ledger.expect_cap(namespace, terms.cap, held)
    except BotWireError:
        ledger.take_back(namespace, terms.charges)
        raise
    return results


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


_RESTORE = """
INSERT INTO entry (namespace, key, value, version, created_at, updated_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (namespace, key) DO UPDATE SET value = ?3, version = ?4, created_at = ?5, updated_at = ?6, expires_at = ?7
"""  # not INSERT OR REPLACE, here and below: that removes a row without its triggers, which keep count of usage

_RESTORE_MESSAGE = """
INSERT INTO message (log, seq, body, created_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (log, seq) DO UPDATE SET body = ?3, created_at = ?4
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
            expect_version(namespace, key, 0 if present is None else present[2], if_version)
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


def _delete(connection: apsw.Connection, namespace: str, operation: Delete, now: int) -> bool:
    present = _present(connection, namespace, operation.key, now)
    if operation.if_version is not None:
        expect_version(namespace, operation.key, 0 if present is None else present[2], operation.if_version)
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
    connection.execute(_RESTORE, (namespace, *operation.row))


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


def _append(connection: apsw.Connection, namespace: str, operation: Append, now: int) -> Appended:
    session, agent, bodies, ttl = operation
    log, info = _find_log(connection, namespace, session, agent, now) or (None, new_log(session, agent, now))
    first, last = info.head + 1, info.head + len(bodies)
    log = _write_log(connection, namespace, log, changed_log(info, now, ttl, head=last, count=info.count + len(bodies)))
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
    _write_log(connection, namespace, log, changed_log(info, now, count=info.count - 1))
    return LogRow(*row)


def _trim(connection: apsw.Connection, namespace: str, operation: Trim, now: int) -> int:
    found = _find_log(connection, namespace, operation.session, operation.agent, now)
    if operation.if_at is not None:
        expect_place(namespace, operation, None if found is None else found[1])
    surplus = 0 if found is None else found[1].count - operation.keep_last
    if found is None or surplus <= 0:
        return 0
    log, info = found
    if operation.keep_last == 0:
        connection.execute("DELETE FROM message WHERE log = ?", (log,))
    else:
        oldest_kept = "SELECT seq FROM message WHERE log = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
        connection.execute(f"DELETE FROM message WHERE log = ? AND seq < ({oldest_kept})", (log, log, operation.keep_last - 1))
    _write_log(connection, namespace, log, changed_log(info, now, count=operation.keep_last))
    return surplus


def _clear_log(connection: apsw.Connection, namespace: str, operation: ClearLog, now: int) -> int:
    found = _find_log(connection, namespace, operation.session, operation.agent, now)
    if operation.if_at is not None:
        expect_place(namespace, operation, None if found is None else found[1])
    if found is None:
        return 0
    log, info = found
    connection.execute("DELETE FROM message WHERE log = ?", (log,))
    _write_log(connection, namespace, log, changed_log(info, now, epoch=new_epoch(), head=0, count=0))
    return info.count


def _set_log(connection: apsw.Connection, namespace: str, operation: SetLog, now: int) -> LogInfo:
    session, agent, ttl, metadata, merge = operation
    log, info = _find_log(connection, namespace, session, agent, now) or (None, new_log(session, agent, now))
    if metadata is not KEEP:
        if merge:
            what = f"the metadata of session {session!r}"
            metadata = encode(merge_patch(decode(info.metadata, what), decode(metadata, what)), what)
        info = info._replace(metadata=metadata)
    info = changed_log(info, now, ttl)
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
        connection.execute(_RESTORE_MESSAGE, (log, *row))
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
