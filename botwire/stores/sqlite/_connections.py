"""Connections to one file: opened as they must be, kept for reuse, never carried over a fork."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from time import monotonic
from typing import Literal

import apsw

from botwire._errors import StoreReadOnly, StoreUnavailable
from botwire.stores.sqlite import _schema
from botwire.stores.sqlite._errors import from_apsw
from botwire.stores.sqlite._filelock import READ_ONLY, make_folder

MOST_IDLE_READERS = 8
RECHECK = 0.02
"""Seconds for which a reader trusts that the file is still the one it was; a writer asks each time."""
RAM = ":memory:"

_READ = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX  # a reader too must be able to recover the log of a crashed writer
_OPENED = (
    "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
    "PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 1000;"
    "PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;"  # on macOS a plain fsync does not reach the disk
)


class Connections:
    """One writing connection and a few reading ones, of one process, to one file.

    ``writer`` is to be used by one thread at a time; readers are taken and put back.
    """

    def __init__(self, path: str, timeout: float, durability: Literal["full", "normal"]) -> None:
        self.path = path
        self._timeout_ms = max(1, int(timeout * 1000))
        self._durability = durability.upper()
        self._writer: apsw.Connection | None = None
        self._readers: deque[apsw.Connection] = deque()
        self._trusted_until = 0.0
        self._file: tuple[int, int] | None = None  # device and inode of the file that the connections are to

    def writer(self) -> apsw.Connection:
        """The writing connection; creates the file, or brings it to the present schema, if need be.

        Raises:
            StoreUnavailable: and its subclasses, StoreCorrupt, StoreIncompatible: if it cannot be had.
        """
        if self.path == RAM:
            if self._writer is None:
                self._writer = self._open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
                _schema.create_or_migrate(self._writer, self.path)
            return self._writer
        if not self._still_there() or self._writer is None:
            _create_file(self.path)
            self._writer = self._prepared(apsw.SQLITE_OPEN_READWRITE)
            self._file = _identity(self.path)
        return self._writer

    def take_reader(self) -> apsw.Connection | None:
        """A connection to read with, to be put back; None while there is no file, and so nothing to read."""
        if monotonic() > self._trusted_until:
            if not self._still_there():
                self._file = _identity(self.path)
                if self._file is None:
                    return None
            self._trusted_until = monotonic() + RECHECK
        try:
            return self._readers.pop()
        except IndexError:
            return self._prepared(_READ)

    def put_reader(self, connection: apsw.Connection) -> None:
        """Give a reader back."""
        if len(self._readers) < MOST_IDLE_READERS and self._file is not None:
            self._readers.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close all connections that are not in use."""
        readers, self._readers = self._readers, deque()
        writer, self._writer = self._writer, None
        self._file, self._trusted_until = None, 0.0
        for connection in (*readers, *((writer,) if writer else ())):
            connection.close()

    def forget(self) -> None:
        """In the child of a fork: use nothing of the parent's, and do not close it either.

        Closing an inherited connection could checkpoint or remove the log under the parent, so it is kept for ever.
        """
        for connection in (*self._readers, *((self._writer,) if self._writer else ())):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self._readers, self._writer, self._file, self._trusted_until = deque(), None, None, 0.0

    def _still_there(self) -> bool:
        """Whether the file is the one that the connections are to; if another took its place, they are closed.

        Otherwise writes would be acknowledged into a file that no longer has a name.
        """
        if self._file is not None and _identity(self.path) == self._file:
            return True
        if self._file is not None:
            self.close()
        return False

    def _prepared(self, flags: int) -> apsw.Connection:
        try:
            connection = self._open(flags)
        except apsw.CantOpenError as error:
            connection = self._open_immutable(error)
        try:
            if _schema.needs_work(connection, self.path):
                self._set_up(connection)
            return connection
        except apsw.Error as error:
            connection.close()
            raise from_apsw(error, self.path) from error
        except BaseException:
            connection.close()
            raise

    def _set_up(self, connection: apsw.Connection) -> None:
        connection.pragma("auto_vacuum", 2)  # incremental; to be chosen before the first table
        mode = connection.pragma("journal_mode", "wal")
        if mode != "wal":
            raise StoreUnavailable(
                f"{self.path} lies where SQLite cannot keep a write-ahead log (journal mode {mode!r}); choose a local disk"
            )
        _schema.create_or_migrate(connection, self.path)

    def _open(self, flags: int) -> apsw.Connection:
        try:
            connection = apsw.Connection(self.path, flags)
        except apsw.CantOpenError:
            raise
        except apsw.Error as error:
            raise from_apsw(error, self.path) from error
        try:
            connection.set_busy_timeout(self._timeout_ms)
            connection.execute(_OPENED)
            connection.pragma("synchronous", self._durability)
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # reads the header: says now what is wrong
        except apsw.CantOpenError:
            connection.close()
            raise
        except apsw.Error as error:
            connection.close()
            raise from_apsw(error, self.path) from error
        return connection

    def _open_immutable(self, error: apsw.Error) -> apsw.Connection:
        """On a read-only file system SQLite cannot share a log; what is there can be read if nobody can write it."""
        if not os.path.isfile(self.path) or os.access(os.path.dirname(self.path), os.W_OK):
            raise from_apsw(error, self.path) from error
        wal = self.path + "-wal"
        if os.path.exists(wal) and os.path.getsize(wal):
            raise StoreReadOnly(
                f"{self.path} is read-only and was not closed cleanly; make it writable once, then it can be read"
            ) from error
        uri = "file:" + self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?immutable=1"
        return apsw.Connection(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _create_file(path: str) -> None:
    """Make the file, for its owner alone, and the folders above it. SQLite gives its other files the same mode."""
    make_folder(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
    except FileExistsError:
        pass  # the usual case; if it is a folder, opening it will say so
    except OSError as error:
        if error.errno in READ_ONLY:
            raise StoreReadOnly(f"cannot create {path}: {error.strerror}; make the folder writable, or choose another path") from error
        raise StoreUnavailable(f"cannot create {path}: {error.strerror}; choose another path") from error
