"""What an operator does to a file while it is in use: removing what is old, deleting a namespace, giving space back.

Each step is a short transaction in its turn among all writers, so nobody waits long; many steps make the whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import apsw

from botwire._errors import VersionConflict
from botwire.stores._keeping import DeleteLogStale, DeleteStale, TrimStale
from botwire.stores._protocol import LogInfo
from botwire.stores.sqlite._operations import _APPLY, _find_log, _present, _write_log, remove_log

_TABLES = """
SELECT name FROM sqlite_schema AS s WHERE type = 'table' AND EXISTS (SELECT 1 FROM pragma_table_info(s.name) WHERE name = 'namespace')
"""


class Wipe(NamedTuple):
    """Remove up to ``most`` rows of the namespace; with the last ones, all that is kept of it besides.

    Result: entries, sessions, messages, and whether that was all.
    """

    most: int


class FreePages(NamedTuple):
    """Give back up to ``most`` unused pages at the end of the file. Result: how many are left."""

    most: int


def _delete_stale(connection: apsw.Connection, namespace: str, step: DeleteStale, now: int) -> bool:
    present = _present(connection, namespace, step.key, now)
    sql = "DELETE FROM entry WHERE id = ? AND version = ? AND updated_at = ?"
    before = connection.total_changes()
    if present is not None:
        connection.execute(sql, (present[0], step.version, step.updated_at))
    if connection.total_changes() == before:
        raise VersionConflict("the entry was changed meanwhile", 0 if present is None else present[2])
    return True


def _as_seen(connection: apsw.Connection, namespace: str, step: TrimStale | DeleteLogStale, now: int) -> tuple[int, LogInfo]:
    found = _find_log(connection, namespace, step.session, step.agent, now)
    if found is None or (found[1].epoch, found[1].head, found[1].count) != step.place:
        raise VersionConflict("the session was changed meanwhile", 0 if found is None else found[1].head)
    return found


def _trim_stale(connection: apsw.Connection, namespace: str, step: TrimStale, now: int) -> int:
    log, info = _as_seen(connection, namespace, step, now)
    surplus = max(0, info.count - step.keep_last)
    oldest = "SELECT seq FROM message WHERE log = ?1 ORDER BY seq LIMIT ?2"
    connection.execute(f"DELETE FROM message WHERE log = ?1 AND seq IN ({oldest})", (log, surplus))
    _write_log(connection, namespace, log, info._replace(count=info.count - surplus))
    return surplus


def _delete_log_stale(connection: apsw.Connection, namespace: str, step: DeleteLogStale, now: int) -> int:
    log, info = _as_seen(connection, namespace, step, now)
    if info.updated_at != step.updated_at:
        raise VersionConflict("the session was changed meanwhile", info.head)
    remove_log(connection, log)
    return 1


def _wipe(connection: apsw.Connection, namespace: str, step: Wipe, _now: int) -> tuple[int, int, int, bool]:
    before = connection.total_changes()
    connection.execute("DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE namespace = ? LIMIT ?)", (namespace, step.most))
    entries = connection.total_changes() - before
    sessions, messages, more = _wipe_logs(connection, namespace, step.most - entries)
    if more or entries == step.most:
        return entries, sessions, messages, False
    tables = cast("list[Any]", connection.execute(_TABLES).fetchall())  # requests and meters, and whatever else is of the namespace
    for (table,) in tables:
        connection.execute(f'DELETE FROM "{table}" WHERE namespace = ?', (namespace,))
    return entries, sessions, messages, True


def _wipe_logs(connection: apsw.Connection, namespace: str, most: int) -> tuple[int, int, bool]:
    """Sessions and messages that went, and whether there are more. The last transcript of a session counts as its end."""
    sessions = messages = 0
    while messages < most:
        row = connection.execute("SELECT id, session FROM log WHERE namespace = ? ORDER BY session, agent LIMIT 1", (namespace,)).fetchone()
        if row is None:
            return sessions, messages, False
        log, session = row
        before = connection.total_changes()
        connection.execute(
            "DELETE FROM message WHERE log = ?1 AND seq IN (SELECT seq FROM message WHERE log = ?1 LIMIT ?2)", (log, most - messages)
        )
        messages += connection.total_changes() - before
        if connection.execute("SELECT 1 FROM message WHERE log = ? LIMIT 1", (log,)).get is None:
            remove_log(connection, log)
            other = connection.execute("SELECT 1 FROM log WHERE namespace = ? AND session = ? LIMIT 1", (namespace, session)).get
            sessions += other is None
    return sessions, messages, True


def _free_pages(connection: apsw.Connection, _namespace: str, step: FreePages, _now: int) -> int:
    connection.execute(f"PRAGMA incremental_vacuum({int(step.most)})").fetchall()
    return connection.pragma("freelist_count")  # type: ignore[no-any-return]


_APPLY[DeleteStale] = _delete_stale
_APPLY[TrimStale] = _trim_stale
_APPLY[DeleteLogStale] = _delete_log_stale
_APPLY[Wipe] = _wipe
_APPLY[FreePages] = _free_pages
