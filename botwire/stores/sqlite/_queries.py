"""What each read asks the file. All pages are range scans: their cost does not grow with what lies before them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import apsw

from botwire._names import prefix_end
from botwire.stores._protocol import EntryHit, EntryRow, EntryStamp, LogHit, LogInfo, LogPage, LogRow
from botwire.stores._search import match_entry, match_message
from botwire.stores.sqlite._operations import LOG_COLUMNS, prefix_range
from botwire.stores.sqlite._terms import miscounted

T = TypeVar("T")

_ENTRY = "key, value, version, created_at, updated_at, expires_at"
_ALIVE = "(expires_at IS NULL OR expires_at > ?)"
_SEARCH_PAGE = 2_000


@contextmanager
def snapshot(connection: apsw.Connection) -> Generator[None]:
    """Several statements that see one state; ends the transaction whatever happens."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT" if connection.in_transaction else "SELECT 1")


# ------------------------------------------------------------------------------------------ entries


def get(connection: apsw.Connection, now: int, namespace: str, key: str) -> EntryRow | None:
    row = connection.execute(f"SELECT {_ENTRY} FROM entry WHERE namespace = ? AND key = ?", (namespace, key)).fetchone()
    if row is None or (row[5] is not None and row[5] <= now):
        return None
    return EntryRow._make(row)


def get_many(connection: apsw.Connection, now: int, namespace: str, keys: Sequence[str]) -> dict[str, EntryRow]:
    with snapshot(connection):
        rows = (get(connection, now, namespace, key) for key in keys)
        return {row.key: row for row in rows if row is not None}


def _range(namespace: str, prefix: str, after: str | None) -> tuple[str, tuple[str, ...]]:
    if after is None or after < prefix:
        return prefix_range(namespace, prefix)
    end = prefix_end(prefix) if prefix else None
    if end is None:
        return "namespace = ? AND key > ?", (namespace, after)
    return "namespace = ? AND key > ? AND key < ?", (namespace, after, end)


def scan(connection: apsw.Connection, now: int, namespace: str, prefix: str, after: str | None, limit: int) -> list[EntryRow]:
    where, bounds = _range(namespace, prefix, after)
    sql = f"SELECT {_ENTRY} FROM entry WHERE {where} AND {_ALIVE} ORDER BY key LIMIT ?"
    return [EntryRow._make(row) for row in connection.execute(sql, (*bounds, now, limit))]


def scan_keys(connection: apsw.Connection, now: int, namespace: str, prefix: str, after: str | None, limit: int) -> list[str]:
    where, bounds = _range(namespace, prefix, after)
    sql = f"SELECT key FROM entry WHERE {where} AND {_ALIVE} ORDER BY key LIMIT ?"
    return [key for (key,) in connection.execute(sql, (*bounds, now, limit))]


def scan_stamps(connection: apsw.Connection, now: int, namespace: str, prefix: str, after: str | None, limit: int) -> list[EntryStamp]:
    where, bounds = _range(namespace, prefix, after)
    sql = f"SELECT key, version, updated_at, expires_at FROM entry WHERE {where} AND {_ALIVE} ORDER BY key LIMIT ?"
    return [EntryStamp._make(row) for row in connection.execute(sql, (*bounds, now, limit))]


def count(connection: apsw.Connection, now: int, namespace: str, prefix: str) -> int:
    where, bounds = prefix_range(namespace, prefix)
    # The plus keeps the second search from the key index, where it would look up every row to find the few that have expired.
    expired = f"SELECT count(*) FROM entry WHERE +{where} AND expires_at <= ?"
    sql = f"SELECT (SELECT count(*) FROM entry WHERE {where}) - ({expired})"
    return connection.execute(sql, (*bounds, *bounds, now)).get  # type: ignore[no-any-return]


def namespaces(connection: apsw.Connection, now: int, after: str | None, limit: int) -> list[str]:
    """Jumps from one namespace to the next by the index, instead of reading through each."""
    found: list[str] = []
    name = after
    with snapshot(connection):
        while len(found) < limit:
            bound = "" if name is None else " WHERE namespace > ?1"
            sql = f"SELECT min(n) FROM (SELECT min(namespace) AS n FROM entry{bound} UNION ALL SELECT min(namespace) FROM log{bound})"
            name = connection.execute(sql, () if name is None else (name,)).get
            if name is None:
                break
            if _holds_anything(connection, now, name):
                found.append(name)
    return found


def _holds_anything(connection: apsw.Connection, now: int, namespace: str) -> bool:
    here = f"WHERE namespace = ?1 AND {_ALIVE}".replace("> ?)", "> ?2)")
    sql = f"SELECT EXISTS (SELECT 1 FROM entry {here}) OR EXISTS (SELECT 1 FROM log {here})"
    return bool(connection.execute(sql, (namespace, now)).get)


# --------------------------------------------------------------------------------------------- logs


def _find_log(connection: apsw.Connection, now: int, namespace: str, session: str, agent: str) -> tuple[int, LogInfo] | None:
    sql = f"SELECT id, {LOG_COLUMNS} FROM log WHERE namespace = ? AND session = ? AND agent = ?"
    row = connection.execute(sql, (namespace, session, agent)).fetchone()
    if row is None:
        return None
    info = LogInfo._make(row[1:])
    return None if info.expires_at is not None and info.expires_at <= now else (row[0], info)


def read_log(  # noqa: PLR0913, PLR0917 - the protocol's arguments
    connection: apsw.Connection,
    now: int,
    namespace: str,
    session: str,
    agent: str,
    after: int | None,
    before: int | None,
    last: int | None,
    limit: int | None,
) -> LogPage:
    with snapshot(connection):
        found = _find_log(connection, now, namespace, session, agent)
        if found is None:
            return LogPage(None, [])
        log, info = found
        where, bounds = "log = ?", [log]
        for bound, comparison in ((after, ">"), (before, "<")):
            if bound is not None:
                where += f" AND seq {comparison} ?"
                bounds.append(bound)
        most = -1 if last is None and limit is None else limit if last is None else last
        sql = f"SELECT seq, body, created_at FROM message WHERE {where} ORDER BY seq {'ASC' if last is None else 'DESC'} LIMIT ?"
        rows = [LogRow._make(row) for row in connection.execute(sql, (*bounds, most))] if most != 0 else []
    if last is not None:
        rows.reverse()
    return LogPage(info, rows)


def scan_logs(connection: apsw.Connection, now: int, namespace: str, after: tuple[str, str] | None, limit: int) -> list[LogInfo]:
    beyond = "" if after is None else " AND session >= ? AND (session, agent) > (?, ?)"
    bounds = () if after is None else (after[0], *after)
    sql = f"SELECT {LOG_COLUMNS} FROM log WHERE namespace = ?{beyond} AND {_ALIVE} ORDER BY session, agent LIMIT ?"
    return [LogInfo._make(row) for row in connection.execute(sql, (namespace, *bounds, now, limit))]


# ------------------------------------------------------------------------------------------- search


def search(connection: apsw.Connection, now: int, namespace: str, words: Sequence[str], limit: int) -> list[EntryHit]:
    wanted, likes = _prefilter(words, ("key", "value"))
    sql = f"SELECT {_ENTRY} FROM entry WHERE namespace = ? AND {_ALIVE}{wanted} ORDER BY key"
    rows = connection.execute(sql, (namespace, now, *likes))
    hits = [EntryHit(EntryRow._make(row), *match) for row in rows if (match := match_entry(words, row[0], row[1])) is not None]
    return _best(hits, limit, lambda hit: hit.row.updated_at)


def search_log(
    connection: apsw.Connection, now: int, namespace: str, words: Sequence[str], limit: int, session: str | None, agent: str | None
) -> list[LogHit]:
    names = [(column, name) for column, name in (("session", session), ("agent", agent)) if name is not None]
    which = "".join(f" AND {column} = ?" for column, _ in names)
    wanted, likes = _prefilter(words, ("body",))
    sql = (
        "SELECT session, agent, seq, body, message.created_at FROM log JOIN message ON message.log = log.id"
        f" WHERE namespace = ?{which} AND {_ALIVE}{wanted}"
    )
    rows = connection.execute(sql, (namespace, *(name for _, name in names), now, *likes))
    hits = [LogHit(row[0], row[1], LogRow._make(row[2:]), *match) for row in rows if (match := match_message(words, row[3])) is not None]
    return _best(hits, limit, lambda hit: hit.row.created_at)


def _prefilter(words: Sequence[str], columns: Sequence[str]) -> tuple[str, list[str]]:
    """Conditions that spare Python the rows that cannot match; LIKE knows the case of ASCII letters only.

    A text with other letters in it, or with escapes, may match all the same: "Straße" has the word "strasse".
    """
    sure = [word for word in words if word.isascii()]
    maybe = "{0} LIKE ? ESCAPE '!' OR octet_length({0}) <> length({0}) OR instr({0}, '\\u')"
    condition = " OR ".join(maybe.format(column) for column in columns)
    likes = ["%" + word.replace("!", "!!").replace("_", "!_") + "%" for word in sure]
    return "".join(f" AND ({condition})" for _ in sure), [like for like in likes for _ in columns]


def _best(hits: Iterable[T], limit: int, time_of: Callable[[T], int]) -> list[T]:
    return heapq.nlargest(limit, hits, key=lambda hit: (hit.score, time_of(hit)))  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------- check


def check(connection: apsw.Connection, now: int) -> dict[str, Any]:
    problems = [row[0] for row in connection.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
    figures = {
        "schema": connection.pragma("user_version"),
        "journal_mode": connection.pragma("journal_mode"),
        "bytes": connection.pragma("page_count") * connection.pragma("page_size"),
        "free_bytes": connection.pragma("freelist_count") * connection.pragma("page_size"),
    }
    for table in ("entry", "log", "message", "request"):
        figures[f"{table}_rows"] = connection.execute(f"SELECT count(*) FROM {table}").get
    if figures["schema"] > 1:  # an older file that nobody may write is read as it is
        problems += miscounted(connection)
    for table in ("entry", "log"):
        figures[f"{table}_expired"] = connection.execute(f"SELECT count(*) FROM {table} WHERE expires_at <= ?", (now,)).get
    return {"ok": not problems, "problems": problems, **figures}
