"""How a connection to the file is opened, and which file that is."""

from __future__ import annotations

import logging
import os
import random
import stat
import time
from typing import NamedTuple

import apsw

from botwire._errors import StoreReadOnly, StoreUnavailable
from botwire.stores.sqlite._errors import from_apsw
from botwire.stores.sqlite._filelock import READ_ONLY, make_folder
from botwire.stores.sqlite._room import Room

logger = logging.getLogger("botwire")

RAM = ":memory:"

_OPENED = (
    "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
    "PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 1000;"
    "PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;"  # on macOS a plain fsync does not reach the disk
)


class Identity(NamedTuple):
    """Which files lie at a path: device and inode of the database and of its log, None for a log that is not there."""

    file: tuple[int, int]
    log: tuple[int, int] | None


class Absent(apsw.CantOpenError):
    """There was no file when this was raised. Another look could find one that a writer has made since."""


class Connection(apsw.Connection):
    """A connection that knows to which files it is, with which idle ones it belongs, and what it was last asked for changes."""

    identity: Identity | None = None
    generation: object = None
    polled: object = None
    metered = False
    """Whether it has seen that this file keeps count of what each namespace holds, which no file stops doing."""
    room: Room | None = None
    """In its log, if it writes durably."""

    def give_up(self) -> None:
        """Close it. What fails in that is work for later: the log holds what could not yet go into the database."""
        path = self.filename
        try:
            self.close()
        except apsw.Error as error:
            logger.warning("closing %s: %s", path, error)


class Patience:
    """A busy handler: how long, and how, to wait for a lock inside SQLite. Random waits keep that fair."""

    def __init__(self) -> None:
        self.deadline = 0.0

    def __call__(self, _tries: int) -> bool:
        """Whether to try once more."""
        if time.monotonic() >= self.deadline:
            return False
        time.sleep(random.uniform(0.0001, 0.002))
        return True


class Opening(NamedTuple):
    """All that it takes to open a connection to one path."""

    path: str
    timeout: float
    synchronous: str
    vfs: str | None

    def open(self, flags: int, patience: Patience | None = None) -> Connection:
        """A connection whose file was found to be readable, unless it is empty.

        Args:
            flags: SQLite's, for opening.
            patience: how to wait for locks; without it, for the timeout at most.

        Raises:
            Absent: if there is no file.
            apsw.CantOpenError, apsw.ReadOnlyError: if the file, or one that SQLite keeps beside it, cannot be opened.
            BotWireError: if it is no SQLite file, or damaged, or cannot be used now.
        """
        before = identity_of(self.path)
        try:
            connection = Connection(self.path, flags, vfs=self.vfs)
            try:
                self._set_up(connection, patience)
            except BaseException:
                connection.give_up()
                raise
        except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
            if identity_of(self.path) is None:
                raise Absent(str(error)) from error
            if before is not None:
                raise
            return self.open(flags, patience)  # the file was made at this moment, by another writer
        except apsw.Error as error:
            raise from_apsw(error, self.path) from error
        connection.identity = identity_of(self.path)
        if before is None or connection.identity is None or before.file == connection.identity.file:
            return connection
        connection.give_up()  # replaced at this moment: which of the two it is to cannot be told
        return self.open(flags, patience)

    def _set_up(self, connection: Connection, patience: Patience | None) -> None:
        if patience is None:
            connection.set_busy_timeout(max(1, int(self.timeout * 1000)))
        else:
            connection.set_busy_handler(patience)
        connection.execute(_OPENED)
        connection.pragma("synchronous", self.synchronous)
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # reads the header: says now what is wrong

    def open_immutable(self, error: apsw.Error) -> Connection:
        """A connection for one read, where SQLite cannot share a log since the folder is read-only.

        It takes no locks, so this is only for what nobody here can write.

        Raises:
            BotWireError: if that is not why the file could not be opened.
        """
        if not os.path.isfile(self.path) or os.access(os.path.dirname(self.path), os.W_OK):
            raise from_apsw(error, self.path) from error
        log = self.path + "-wal"
        if os.path.exists(log) and os.path.getsize(log):
            raise StoreReadOnly(
                f"{self.path} is read-only and was not closed cleanly; make it writable once, then it can be read"
            ) from error
        uri = "file:" + self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?immutable=1"
        try:
            return Connection(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, vfs=self.vfs)
        except apsw.Error as second:
            raise from_apsw(second, self.path) from second


def identity_of(path: str) -> Identity | None:
    """None if there is no file at ``path``."""
    file = inode_of(path)
    return None if file is None else Identity(file, inode_of(path + "-wal"))


def inode_of(path: str) -> tuple[int, int] | None:
    """Device and inode of the file at ``path``; None if there is none.

    Raises:
        StoreUnavailable: if that cannot be told.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # not the same as an empty store
        raise StoreUnavailable(
            f"{path} cannot be looked at: {error.strerror}; check its folders' permissions, or choose another path"
        ) from error
    return status.st_dev, status.st_ino


def state_of(path: str) -> tuple[int, int] | None:
    """When the file at ``path`` was last changed, and its size; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def create_file(path: str) -> None:
    """Make the file, for its owner alone, and the folders above it. SQLite gives its other files the same mode.

    To be called with the file lock held: a log that lies there without its database belongs to one that was
    removed, and is removed too, since another process may still have it open and would be taken to share it.
    """
    make_folder(path)
    try:
        if not os.path.lexists(path):
            remove_log(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
    except FileExistsError:  # the usual case; if it is a folder, opening it will say so
        _give_log_the_same_mode(path)
    except OSError as error:
        if error.errno in READ_ONLY:
            raise StoreReadOnly(f"cannot create {path}: {error.strerror}; make the folder writable, or choose another path") from error
        raise StoreUnavailable(f"cannot create {path}: {error.strerror}; choose another path") from error


def is_empty_log(path: str) -> bool:
    """Whether the file at ``path`` has no log, or one that nobody has written to."""
    try:
        return os.stat(path + "-wal").st_size == 0
    except FileNotFoundError:
        return True


def _give_log_the_same_mode(path: str) -> None:
    """A log that was made while the file was read-only is so too, and would stay so when the file no longer is."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        for beside in (path + "-wal", path + "-shm"):
            if stat.S_IMODE(os.stat(beside).st_mode) != mode:
                os.chmod(beside, mode)
    except OSError:
        return  # there is none, or it is somebody else's: SQLite will say what follows from that


def remove_log(path: str) -> None:
    """Remove what SQLite keeps beside the file at ``path``."""
    for ending in ("-wal", "-shm"):
        try:
            os.unlink(path + ending)
        except FileNotFoundError:
            continue
