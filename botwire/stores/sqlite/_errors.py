"""SQLite's errors as ours: mapped here, once, with what to do."""

from __future__ import annotations

import os

import apsw

from botwire._errors import (
    BotWireError,
    OutcomeUnknown,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    ValueTooLarge,
)


def from_apsw(error: apsw.Error, path: str) -> BotWireError:
    """The botwire error that says what SQLite's means for the file at ``path``."""
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreBusy(f"{path} is locked by another program for longer than the timeout; close what else has it open")
    if isinstance(error, apsw.FullError):
        return StoreFull(f"no space left for {path}; free some, then call again: nothing was written")
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError | apsw.AuthError):
        return StoreReadOnly(f"{path} cannot be written: the file, its folder or its file system is read-only; nothing was written")
    if isinstance(error, apsw.NotADBError):
        return StoreIncompatible(f"{path} is not an SQLite file (it was left as it is); choose another path, or restore a backup")
    if isinstance(error, apsw.CorruptError):
        return StoreCorrupt(f"{path} is damaged: {error}; restore a backup, or save what can be read with `botwire export`")
    if isinstance(error, apsw.TooBigError):
        return ValueTooLarge(f"{path}: a text is larger than SQLite takes; split it over several keys")
    if isinstance(error, apsw.CantOpenError):
        return _cannot_open(error, path)
    return StoreUnavailable(f"{path} cannot be used now: {error}")


def _cannot_open(error: apsw.Error, path: str) -> BotWireError:
    if os.path.isdir(path):
        return StoreUnavailable(f"{path} is a folder, not a file; name a file in it, as {os.path.join(path, 'memory.db')}")
    if os.path.exists(path) and not os.access(path, os.R_OK):
        return StoreUnavailable(f"{path} may not be read by this user; change its permissions, or choose another path")
    folder = os.path.dirname(path)
    if os.path.isdir(folder) and not os.access(folder, os.W_OK):
        return StoreReadOnly(f"the folder of {path} cannot be written; make it writable, or choose another path")
    return StoreUnavailable(f"{path} cannot be opened: {error}; check the path and its permissions")


def from_commit(error: apsw.Error, path: str) -> BotWireError:
    """The botwire error for a COMMIT that failed.

    Such an error does not mean that nothing was written: a frame may be in the log although making it durable failed.
    Only a full disk is sure, since what marks a transaction as complete is written last.
    """
    if isinstance(error, apsw.FullError | apsw.BusyError):
        return from_apsw(error, path)
    return OutcomeUnknown(
        f"{path}: the commit failed ({error}), so the write may or may not be there; read before writing again, or repeat with a request_id"
    )
