"""Backups: a copy of the file at one moment, and a copy put in its place.

A copy is made by SQLite in one step, inside one read transaction: it restarts for no writer, and what it holds is what a
reader would have seen at that moment. It counts as a backup once it was read from end to end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from typing import cast

import apsw

from botwire._errors import BotWireError, InvalidValue, StoreBusy, StoreCorrupt, StoreFull, StoreIncompatible
from botwire.stores._keeping import Copied
from botwire.stores.sqlite import _schema
from botwire.stores.sqlite._connections import Alone
from botwire.stores.sqlite._errors import from_apsw
from botwire.stores.sqlite._filelock import make_folder
from botwire.stores.sqlite._opening import Opening, remove_log

_COUNTS = "SELECT (SELECT count(*) FROM entry), (SELECT count(*) FROM log), (SELECT count(*) FROM message)"


def back_up(connection: apsw.Connection, _now: int, file: str) -> Copied:
    """Write a copy to ``file``, which must not be there, for its owner alone; durable and verified when this returns.

    Raises:
        StoreFull, StoreCorrupt: if it cannot be written, or the store cannot be read; nothing is left then.
        OSError: if the file is there, or cannot be made.
    """
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        counts = _copy(connection, file)
        _sync(file)
        _expect(verify(file), counts, file)
    except BaseException:
        _remove(file)
        raise
    return counts


def _copy(source: apsw.Connection, file: str) -> Copied:
    target = None
    try:
        target = apsw.Connection(file, flags=apsw.SQLITE_OPEN_READWRITE)
        source.execute("BEGIN")
        try:
            counts = _counts(source)
            with target.backup("main", source, "main") as copying:
                copying.step(-1)
        finally:
            source.execute("COMMIT" if source.in_transaction else "SELECT 1")
        target.pragma("journal_mode", "delete")  # one file, complete by itself
        return counts
    except apsw.FullError as error:
        raise StoreFull(f"no space left for the backup {file}") from error
    finally:
        if target is not None:
            target.close()


def _counts(connection: apsw.Connection) -> Copied:
    return Copied._make(cast("tuple[int, int, int]", connection.execute(_COUNTS).fetchone()))


def _expect(found: Copied, counts: Copied, file: str) -> None:
    if found != counts:
        raise StoreCorrupt(f"the copy {file} holds {tuple(found)}, but should hold {tuple(counts)} entries, sessions, messages; try again")


def verify(file: str) -> Copied:
    """Read a backup from end to end; what it holds.

    Raises:
        StoreIncompatible: if it is no store of botwire's, or a newer one's.
        StoreCorrupt: if it is damaged.
        OSError: if it cannot be read.
    """
    with open(file, "rb"):  # says plainly why it cannot be opened
        pass
    try:
        connection = apsw.Connection(_immutable(file), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            if _schema.needs_work(connection, file) and not connection.pragma("user_version"):
                raise StoreIncompatible(f"{file} is empty: it holds no store of botwire's")
            damage = [row[0] for row in connection.execute("PRAGMA quick_check(5)") if row[0] != "ok"]
            if damage:
                raise StoreCorrupt(f"{file} is damaged: {'; '.join(damage)[:300]}; use another backup")
            return _counts(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise from_apsw(error, file) from error


def _immutable(file: str) -> str:
    path = os.path.abspath(file)
    return "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?immutable=1"


def _sync(file: str) -> None:
    """Let file and name survive a power cut."""
    for place, flags in ((file, os.O_RDWR), (os.path.dirname(os.path.abspath(file)), os.O_RDONLY)):
        if os.name == "nt" and flags == os.O_RDONLY:
            continue
        handle = os.open(place, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(file: str) -> None:
    for ending in ("", "-journal", "-wal", "-shm"):
        try:
            os.unlink(file + ending)
        except FileNotFoundError:
            continue


def restore(path: str, file: str, *, force: bool, timeout: float) -> tuple[Copied, str | None]:
    """Put a backup where a store's file is. Others that have the store open find the backup at their next call.

    Args:
        path: the store's file.
        file: the backup, which stays.
        force: whether a store that is there may be replaced; it is kept beside, under another name.
        timeout: seconds to wait for who is reading or writing.

    Returns:
        what was restored, and under what name the former file is kept.

    Raises:
        InvalidValue: if there is a store, and ``force`` was not given; StoreBusy: if it is in use for all of the timeout.
        StoreCorrupt, StoreIncompatible: if the backup is no good; nothing was changed.
        OSError: if a file cannot be read or written.
    """
    if os.path.exists(path) and os.path.samefile(path, file):
        raise InvalidValue(f"{file} is the store itself, not a backup of it")
    counts = verify(file)
    if os.path.lexists(path) and not force:
        raise InvalidValue(f"{path} is there already; --force puts the backup in its place, and keeps that file under another name")
    make_folder(path)
    part = f"{path}.restoring-{secrets.token_hex(4)}"
    try:
        _copy_file(file, part)
        _expect(verify(part), counts, part)
        with Alone(path, timeout):
            return counts, _swap(path, part, timeout)
    except BaseException:
        _remove(part)
        raise


def _copy_file(file: str, part: str) -> None:
    with open(file, "rb") as source, os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    _sync(part)


def _swap(path: str, part: str, timeout: float) -> str | None:
    """With the writers' lock held: nobody writes between the one file and the other."""
    kept = None
    if os.path.exists(path):
        _settle(path, timeout)
        kept = f"{path}.before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}"
        os.link(path, kept)
    os.replace(part, path)
    remove_log(path)  # the former file's, which is empty: who still has it open notices that the file is another one
    _sync(path)
    return kept


def _settle(path: str, timeout: float) -> None:
    """Bring the log into the file, so that the file alone is the whole store."""
    try:
        connection = Opening(path, timeout, "FULL", None).open(apsw.SQLITE_OPEN_READWRITE)
    except BotWireError as error:
        if isinstance(error, StoreBusy):
            raise
        return  # it cannot be read, which may be why a backup is restored; it is kept as it is
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError as error:
        raise StoreBusy(f"{path} is being read for longer than the timeout; stop what uses it, then restore again") from error
    except apsw.Error:
        return  # as above
    finally:
        connection.give_up()
