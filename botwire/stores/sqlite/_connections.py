"""Connections to one file: kept for reuse while it is that file, closed for a fork."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from time import monotonic

import apsw

from botwire._errors import Closed, StoreReadOnly, StoreUnavailable
from botwire.stores.sqlite import _schema
from botwire.stores.sqlite._errors import from_apsw
from botwire.stores.sqlite._filelock import FileLock
from botwire.stores.sqlite._opening import (
    RAM,
    Absent,
    Connection,
    Identity,
    Opening,
    Patience,
    create_file,
    identity_of,
    inode_of,
    is_empty_log,
    remove_log,
    state_of,
)
from botwire.stores.sqlite._room import Room

MOST_IDLE_READERS = 8
RECHECK = 0.02
"""Seconds for which a reader trusts that the files are still those they were; a writer trusts only the log so."""

_READ = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX  # a reader too must be able to recover the log of a crashed writer
_LOOK_AGAIN = 0.0002  # seconds between looks whether all readers are back


class Connections:
    """One writing connection and a few reading ones, of one process, to one file.

    The writing one is used by one thread at a time, which holds the file lock; readers are taken and put back,
    without a lock where one is idle. Who needs both the file lock and a mutex, this one's or that which goes with
    writing, takes the file lock first.
    """

    def __init__(self, opening: Opening) -> None:
        self.path = opening.path
        self._opening = opening
        self._patience = Patience()
        self._mutex = threading.RLock()  # for opening, closing, and changing over to another file
        self._closed = False
        self._writer: Connection | None = None
        self._idle: deque[Connection] = deque()
        self._generation = object()  # changes with ``_idle``; a connection itself holds no reference to its fellows
        self._identity: Identity | None = None  # of the files that the idle ones are to
        self._readers: set[Connection] = set()  # all that are open, also those in use
        self._trusted_until = 0.0
        self._log_trusted_until = 0.0
        self._forking = False
        self._was_there = False  # the file, when somebody last asked whether it changed
        self._seen_unshared: object = None

    # -------------------------------------------------------------------------------------- writing

    def writer(self, deadline: float | None = None) -> Connection:
        """The writing connection; creates the file, or brings it to the present schema, if need be.

        Args:
            deadline: the ``time.monotonic()`` until which to wait for locks of other programs.

        Raises:
            BotWireError: if it cannot be had.
        """
        self._patience.deadline = monotonic() + self._opening.timeout if deadline is None else deadline
        if self._writer is not None and (self.path == RAM or self._is_current(self._writer)):
            return self._writer
        with self._mutex:
            self._refuse_if_closed()
            if self.path == RAM:
                self._writer = self._opening.open(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
                _schema.create_or_migrate(self._writer, self.path)
            else:
                self._change_over()
                create_file(self.path)
                self._writer = self._open_writer()
            return self._writer

    def _is_current(self, writer: Connection) -> bool:
        """Whether the files at the path are those that the writer is open to.

        The database is looked at each time, its log only now and then: on some file systems a look at a file makes
        syncing its next change take half as long again. Of a log that is removed meanwhile nothing is lost, since the
        next look finds it still open here, and saves it.
        """
        if monotonic() > self._log_trusted_until:
            self._log_trusted_until = monotonic() + RECHECK
            return identity_of(self.path) == writer.identity
        return writer.identity is not None and inode_of(self.path) == writer.identity.file

    def drop_writer(self) -> None:
        """After an error that another connection may not have: the next call opens anew, which also ends any transaction."""
        if self.path != RAM:
            self._close_writer()
            self.distrust()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.give_up()

    def _open_writer(self) -> Connection:
        try:
            connection = self._opening.open(apsw.SQLITE_OPEN_READWRITE, self._patience)
        except apsw.Error as error:
            raise from_apsw(error, self.path) from error
        try:
            self._prepare(connection)
        except BaseException as error:
            connection.give_up()
            self.distrust()  # within a process, connections share what they know of the log, and that it is read-only
            if isinstance(error, apsw.Error):
                raise from_apsw(error, self.path) from error
            raise
        connection.identity = identity_of(self.path)  # now that there is a log
        self._make_room(connection)
        return connection

    def _make_room(self, connection: Connection) -> None:
        """Let commits find the log long enough, where they wait for the disk."""
        if connection.identity is not None and connection.identity.log is not None and self._opening.synchronous == "FULL":
            connection.room = Room(self.path + "-wal", connection.identity.log, connection.pragma("page_size"))
            connection.set_wal_hook(connection.room.committed)

    def _prepare(self, connection: Connection) -> None:
        new = _schema.needs_work(connection, self.path)
        if connection.readonly("main"):
            raise StoreReadOnly(f"{self.path} is read-only: make it writable, or choose another path; nothing was written")
        if new:
            connection.pragma("auto_vacuum", 2)  # incremental; to be chosen before the first table
        mode = connection.pragma("journal_mode", "wal")
        if mode != "wal":
            raise StoreUnavailable(
                f"{self.path} lies where SQLite cannot keep a write-ahead log (journal mode {mode!r}); choose a local disk"
            )
        if _schema.needs_work(connection, self.path):
            _schema.create_or_migrate(connection, self.path)

    # -------------------------------------------------------------------------------------- reading

    def take_reader(self) -> Connection | None:
        """A connection to read with, to be put back; None while there is no file, and so nothing to read."""
        if monotonic() > self._trusted_until and not self._recheck():
            return None
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._open_reader()
        if self._forking:  # asked after the pop: either the fork sees this one missing, or this thread sees the fork
            self.put_reader(connection)
            with self._mutex:
                pass
            return self.take_reader()
        return connection

    def put_reader(self, connection: Connection) -> None:
        """Give a reader back."""
        idle = self._idle
        if connection.generation is self._generation and len(idle) < MOST_IDLE_READERS:
            idle.append(connection)
            if idle is not self._idle:  # closed, or changed over, this moment
                self._close_all(idle)
        else:
            self._close_reader(connection)

    def distrust(self) -> None:
        """Let no reader that is open now be used again; those in use are closed when they are put back."""
        self._generation = object()
        idle, self._idle = self._idle, deque()
        self._identity, self._trusted_until = None, 0.0
        self._close_all(idle)

    def _recheck(self) -> bool:
        """Whether there is a file to read; what is open to another one is given up."""
        identity, writer = identity_of(self.path), self._writer
        known = writer.identity if self._identity is None and writer is not None else self._identity
        if identity != known and known is not None:
            if identity is None:
                with self._mutex:
                    self.distrust()
            else:
                with Alone(self.path, self._opening.timeout), self._mutex:
                    self._change_over()
        self._trusted_until = monotonic() + RECHECK
        return identity is not None

    def _open_reader(self) -> Connection | None:
        with self._mutex:
            self._refuse_if_closed()
            try:
                connection = self._opening.open(_READ)
            except Absent:
                return None
            except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
                connection = self._opening.open_immutable(error)  # good for one read
            else:
                if not self._idle and self._identity is None:
                    self._identity = connection.identity
                if connection.identity == self._identity:
                    connection.generation = self._generation
            self._readers.add(connection)
        try:
            if self._has_schema(connection):
                return connection
        except BaseException as error:
            self._close_reader(connection)
            if isinstance(error, apsw.Error):
                raise from_apsw(error, self.path) from error
            raise
        self._close_reader(connection)
        return None

    def _has_schema(self, connection: Connection) -> bool:
        """Whether there is something to read; an older file is brought to the present schema first."""
        if not _schema.needs_work(connection, self.path):
            return True
        version = connection.pragma("user_version")
        if not version:
            return False
        try:
            with Alone(self.path, self._opening.timeout):
                Connections(self._opening).writer_once()
        except StoreReadOnly:
            if version < _schema.READABLE:
                raise
        return True

    def writer_once(self) -> None:
        """Do what opening for writing does."""
        self.writer()
        self._close_writer()

    def _close_reader(self, connection: Connection) -> None:
        connection.give_up()
        self._readers.discard(connection)

    def _close_all(self, idle: deque[Connection]) -> None:
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                return
            self._close_reader(connection)

    # ------------------------------------------------------------------------------- others' commits

    def changed_for_writer(self) -> bool | None:
        """Whether anything but the writing connection has committed since this was last asked; None if there is none to ask.

        ``PRAGMA data_version`` says so of each connection, so what each was last told is kept with it; one that was never
        asked says yes. The writing connection does not count its own commits, hence is asked where there is one. To be
        called with the mutex held that goes with writing.

        Raises:
            BotWireError, apsw.Error: if the file cannot be read.
        """
        with self._mutex:
            self._refuse_if_closed()
            writer = self._writer
            if writer is None or identity_of(self.path) != writer.identity:
                return None
            return self._changed_for(writer)

    def changed_for_reader(self) -> bool:
        """The same for a reading connection, to which every commit is another's.

        To be called without that mutex: a reader that finds another file takes the file lock, which a writer takes first.

        Raises:
            BotWireError, apsw.Error: if the file cannot be read.
        """
        reader = self.take_reader()
        there_before, self._was_there = self._was_there, reader is not None
        if reader is None:
            return there_before
        try:
            return self._changed_for(reader)
        finally:
            self.put_reader(reader)

    def _changed_for(self, connection: Connection) -> bool:
        if connection.identity is None:  # good for one read: that of a file which nobody here can write
            before, self._seen_unshared = self._seen_unshared, state_of(self.path)
            return before != self._seen_unshared
        before, connection.polled = connection.polled, connection.pragma("data_version")
        return before != connection.polled

    # ------------------------------------------------------------------------- another file, no log

    def _change_over(self) -> None:
        """Give up what is open, if the files at the path are no longer those that it was opened to.

        Otherwise writes would be acknowledged into a file that no longer has a name. To be called with the file
        lock held.
        """
        witness = self._writer or (self._idle[-1] if self._idle else None)  # as long as it is open, no other file has its inode
        before, now = None if witness is None else witness.identity, identity_of(self.path)
        if before == now:
            return
        if witness is not None and before is not None and now is not None and before.log is not None:
            if now.file == before.file and is_empty_log(self.path):
                self._save_log(witness)  # where there is a new one in use, somebody else has done this
            elif now.file != before.file and now.log == before.log:
                remove_log(self.path)  # it is the former file's; SQLite would read it into the new one
        self._close_writer()
        self.distrust()

    def _save_log(self, witness: Connection) -> None:
        """The log was removed, but is still open here: write what it holds into the database."""
        try:
            witness.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as error:
            raise from_apsw(error, self.path) from error

    # -------------------------------------------------------------------------------- closing, fork

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Closed(f"the store {self.path} is closed")

    def close(self) -> None:
        """Close for good; readers in use are closed when they are put back. No write may be under way."""
        with self._mutex:
            self._closed = True
            self.distrust()
            self._close_writer()

    def hold(self, deadline: float) -> bool:
        """Before a fork: let no call into SQLite begin, wait for those under way, and close all.

        A child that inherits an open database inherits SQLite's belief to hold locks that only the parent has. No
        write may be under way.

        Returns:
            whether that could be done before the deadline; only then is ``let_go`` to be called.
        """
        if not self._mutex.acquire(timeout=max(0.0, deadline - monotonic())):
            return False
        self._forking = True
        while len(self._readers) > len(self._idle):
            if monotonic() > deadline:
                self.let_go()
                return False
            time.sleep(_LOOK_AGAIN)
        if self.path != RAM:
            self.distrust()
            self._close_writer()
        return True

    def let_go(self) -> None:
        """After a fork."""
        self._forking = False
        self._mutex.release()

    def begin_anew(self, held: bool) -> None:
        """In the child of a fork.

        Args:
            held: whether ``hold`` closed the connections. If not, they must not be closed here either, since that
                could remove the log under the parent: they are kept for ever.
        """
        if not held:
            for connection in (*self._readers, *((self._writer,) if self._writer else ())):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
            self._writer, self._identity, self._trusted_until = None, None, 0.0
            self._idle, self._generation, self._readers = deque(), object(), set()
        self._mutex, self._forking = threading.RLock(), False


class Alone:
    """The file lock, for a thread that is not the writer: it needs lock files of its own."""

    def __init__(self, path: str, timeout: float) -> None:
        self._lock = FileLock(path)
        self._deadline = monotonic() + timeout

    def __enter__(self) -> None:
        try:
            self._lock.acquire(self._deadline)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        self._lock.release()  # not only closed: the child of a fork may have inherited it
        self._lock.close()
