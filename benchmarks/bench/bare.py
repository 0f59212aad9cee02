"""The floor: Python's own `sqlite3`, doing the same durable statements with nothing around them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

CREATE = """
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, version INTEGER NOT NULL,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, expires_at INTEGER
) STRICT;
CREATE UNIQUE INDEX entry_key ON entry (namespace, key);
CREATE TABLE plain (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE message (
    session TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
"""
UPSERT = """
INSERT INTO entry (namespace, key, value, version, created_at, updated_at) VALUES (?1, ?2, ?3, 1, ?4, ?4)
ON CONFLICT (namespace, key) DO UPDATE SET value = ?3, updated_at = ?4, version = version + 1
RETURNING version
"""
_APPEND = """
INSERT INTO message (session, seq, body, created_at)
SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3 FROM message WHERE session = ?1
RETURNING seq
"""
_GET = "SELECT key, value, version, created_at, updated_at, expires_at FROM entry WHERE namespace = ? AND key = ?"


class Bare:
    """A connection to a file of its own, used by one thread."""

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=timeout)
        self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
        self.connection.execute("PRAGMA synchronous = FULL")
        if not self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            self.connection.executescript(CREATE)

    def set(self, key: str, value: str) -> int:
        """The statement that botwire's ``set`` comes down to, as a transaction of its own."""
        return self.connection.execute(UPSERT, ("bench", key, value, time.time_ns() // 1_000)).fetchall()[0][0]

    def set_plain(self, key: str, value: str) -> None:
        """The cheapest durable statement that stores a value under a key."""
        self.connection.execute("INSERT OR REPLACE INTO plain (key, value) VALUES (?, ?)", (key, value))

    def get(self, key: str) -> tuple[str, str, int, int, int, int | None]:
        """The row of a key."""
        return self.connection.execute(_GET, ("bench", key)).fetchone()

    def append(self, session: str, body: str) -> int:
        """One message, under the next number, as a transaction of its own."""
        return self.connection.execute(_APPEND, (session, body, time.time_ns() // 1_000)).fetchall()[0][0]

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Many statements, one commit."""
        self.connection.execute("BEGIN IMMEDIATE")
        yield
        self.connection.execute("COMMIT")

    def last(self, session: str, count: int) -> list[tuple[int, str, int]]:
        """The last messages, oldest first."""
        sql = "SELECT seq, body, created_at FROM message WHERE session = ? ORDER BY seq DESC LIMIT ?"
        return self.connection.execute(sql, (session, count)).fetchall()[::-1]

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
