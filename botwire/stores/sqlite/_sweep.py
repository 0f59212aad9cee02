"""Removing what has expired, and giving space back. Done on the way by writers, a bounded amount at a time."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, cast

import apsw

from botwire._errors import BotWireError
from botwire.stores.sqlite._connections import Connections
from botwire.stores.sqlite._opening import Connection
from botwire.stores.sqlite._transaction import roll_back

logger = logging.getLogger("botwire")

EVERY = 30.0
"""Seconds between sweeps; the first is at the first write, as many processes live for less."""
SOON = 0.1
"""Seconds until the next one, if there was more to remove than one takes."""
MOST = 500
"""The most rows of each kind that one sweep removes."""
MUCH_FREE = 4_096
"""Unused pages (of 4 KiB) from which on half of the file may not lie idle."""
MOST_PAGES = 512
"""The most pages that one sweep gives back."""

_EXPIRED = " UNION ALL ".join(
    f"SELECT EXISTS (SELECT 1 FROM {table} WHERE expires_at <= ?1)" for table in ("entry", "log", "request", "meter")
)


class Sweeper:
    """Knows when to sweep. Used by one thread at a time, with the file lock held and no transaction open."""

    def __init__(self) -> None:
        self._due = 0.0
        self.runs = 0
        self.rows = 0
        """What it has done, for who watches the store: times that there was anything to do, and rows removed."""

    def sweep_if_due(self, connections: Connections, now: int) -> None:
        """Remove some of what has expired. What goes wrong is nobody's write, so it is logged, not raised."""
        if monotonic() < self._due:
            return
        self._due = monotonic() + EVERY
        try:
            connection = connections.writer()
            before = connection.total_changes()
            if sweep_file(connections, connection, now):
                self._due = monotonic() + SOON
            self._tell(connections.writer().total_changes() - before)
        except BotWireError as error:
            logger.warning("could not remove what has expired: %s", error)

    def _tell(self, rows: int) -> None:
        if rows > 0:  # less: the connection is another one now
            self.runs += 1
            self.rows += rows


def sweep_file(connections: Connections, connection: Connection, now: int) -> bool:
    """Remove some of what has expired and give back some unused space; whether there is more."""
    try:
        pages = _pages_to_free(connection)
        expired = cast("list[Any]", connection.execute(_EXPIRED, (now,)).fetchall())
        if not pages and (1,) not in expired:
            return False
        connection.execute("BEGIN IMMEDIATE")
        more = remove_expired(connection, now)
        if pages:
            connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
        connection.execute("COMMIT")
    except apsw.Error as error:
        roll_back(connections, connection, error)
        logger.warning("could not remove what has expired from %s: %s", connections.path, error)
        return False
    except BaseException as error:
        roll_back(connections, connection, error)
        raise
    return more or bool(pages)


def remove_expired(connection: apsw.Connection, now: int, most: int = MOST) -> bool:
    """Remove up to ``most`` rows of each kind that have expired; whether there may be more."""
    before = connection.total_changes()
    connection.execute(
        "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)", (now, most)
    )
    entries = connection.total_changes() - before
    connection.execute(
        "DELETE FROM request WHERE (namespace, scope, id) IN"
        " (SELECT namespace, scope, id FROM request WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        (now, most),
    )
    requests = connection.total_changes() - before - entries
    connection.execute(
        "DELETE FROM meter WHERE (namespace, name) IN"
        " (SELECT namespace, name FROM meter WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        (now, most),
    )
    meters = connection.total_changes() - before - entries - requests
    return _remove_logs(connection, now, most) or most in (entries, requests, meters)


def _remove_logs(connection: apsw.Connection, now: int, most: int) -> bool:
    """A log goes when its last message has gone, which may take several sweeps."""
    for _ in range(most):
        log = connection.execute("SELECT id FROM log WHERE expires_at <= ? ORDER BY expires_at LIMIT 1", (now,)).get
        if log is None:
            return False
        before = connection.total_changes()
        connection.execute("DELETE FROM message WHERE log = ?1 AND seq IN (SELECT seq FROM message WHERE log = ?1 LIMIT ?2)", (log, most))
        removed = connection.total_changes() - before
        if removed < most:
            connection.execute("DELETE FROM log WHERE id = ?", (log,))
        most -= removed
        if most <= 0:
            return True
    return True


def _pages_to_free(connection: apsw.Connection) -> int:
    """Free pages are used again by later writes, so they are given back only when they are many and the larger part."""
    free: int = connection.pragma("freelist_count")
    if free < MUCH_FREE or 2 * free < connection.pragma("page_count"):
        return 0
    return MOST_PAGES
