"""The file's layout, and the way from an older one to it.

Rows hold text as given; what is looked up or sorted by has a column of its own. Text is compared by code
point (SQLite's BINARY), so a prefix is a range. Entries have a rowid and a separate key index, so that
listing keys does not read large values; messages lie in (log, seq) order with their bodies, as they are read.
"""

from __future__ import annotations

import apsw

from botwire._errors import StoreIncompatible

APPLICATION_ID = 0x62777265  # "bwre": tells our files from other SQLite files
VERSION = 2
READABLE = 1
"""The oldest version whose entries and logs can be read as they are: what was added since is not needed for that."""

_CREATE = """
CREATE TABLE entry (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE UNIQUE INDEX entry_key ON entry (namespace, key);
CREATE INDEX entry_expiry ON entry (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE log (
    id         INTEGER PRIMARY KEY,
    namespace  TEXT    NOT NULL,
    session    TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    epoch      TEXT    NOT NULL,
    head       INTEGER NOT NULL,
    count      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ttl        INTEGER,
    expires_at INTEGER,
    metadata   TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX log_name ON log (namespace, session, agent);
CREATE INDEX log_expiry ON log (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE message (
    log        INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (log, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    namespace   TEXT    NOT NULL,
    scope       TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    results     TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (namespace, scope, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_expiry ON request (expires_at);
"""

_METERS = """
CREATE TABLE meter (
    namespace  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX meter_expiry ON meter (expires_at);

CREATE TABLE usage (
    namespace TEXT    NOT NULL PRIMARY KEY,
    bytes     INTEGER NOT NULL,
    keys      INTEGER NOT NULL,
    sessions  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""Since version 2. ``usage`` is empty until somebody asks for a cap: see ``_terms``."""

MIGRATIONS: dict[int, str] = {1: _METERS}
"""SQL that brings a file of version N to N + 1, by N."""


def needs_work(connection: apsw.Connection, path: str) -> bool:
    """Whether the file is still to be created or migrated.

    Raises:
        StoreIncompatible: if it is no file of ours, or of a newer botwire. It is left as it is.
    """
    application_id = connection.pragma("application_id")
    version = connection.pragma("user_version")
    if application_id != APPLICATION_ID:
        if application_id or version or connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").get is not None:
            _leave_as_it_is(connection)
            raise StoreIncompatible(f"{path} is an SQLite file, but not botwire's; choose another path")
        return True
    if version > VERSION:
        _leave_as_it_is(connection)
        raise StoreIncompatible(
            f"{path} has schema version {version}, this botwire knows up to {VERSION}; upgrade botwire to open it (it was left as it is)"
        )
    return version < VERSION


def _leave_as_it_is(connection: apsw.Connection) -> None:
    """Closing the last connection would otherwise write what a log holds into the file."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def create_or_migrate(connection: apsw.Connection, path: str) -> None:
    """Bring the file to the present version, in one transaction: entirely or not at all.

    Raises:
        StoreIncompatible: if there is no way from its version.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if needs_work(connection, path):  # asked again: another process may have done it since
            version = connection.pragma("user_version")
            if not version:
                connection.execute(_CREATE + _METERS)
                connection.pragma("application_id", APPLICATION_ID)
                version = VERSION
            for step in range(version, VERSION):
                connection.execute(_migration(step, path))
            connection.pragma("user_version", VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _migration(version: int, path: str) -> str:
    if version not in MIGRATIONS:
        raise StoreIncompatible(f"{path} has schema version {version}, which this botwire cannot migrate; use an older one to export it")
    return MIGRATIONS[version]
