"""What an operator does to a file, as calls that take many short turns among its writers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import apsw

from botwire._errors import BotWireError
from botwire.stores._keeping import Freed, Gone
from botwire.stores._protocol import Batch, Operation, Outcome
from botwire.stores.sqlite._connections import Alone
from botwire.stores.sqlite._errors import from_apsw
from botwire.stores.sqlite._keeping import FreePages, Wipe
from botwire.stores.sqlite._opening import RAM, Opening

if TYPE_CHECKING:
    from botwire.stores.sqlite._store import SQLiteStore

ROWS = 2_000
"""Rows that one turn removes."""
PAGES = 256
"""Pages (of 4 KiB) that one turn gives back."""

Write = Callable[[Sequence[Batch]], list[Outcome]]


def _do(write: Write, namespace: str, step: Wipe | FreePages) -> Any:
    outcome = write((Batch(namespace, (cast("Operation", step),)),))[0]
    if isinstance(outcome, BotWireError):
        raise outcome
    return outcome[0]


def delete_namespace(write: Write, namespace: str) -> Gone:
    """Remove all of it; in the last step, all that is left, at one moment."""
    gone, done = Gone(), False
    while not done:
        entries, sessions, messages, done = _do(write, namespace, Wipe(ROWS))
        gone = Gone(gone.entries + entries, gone.sessions + sessions, gone.messages + messages)
    return gone


def vacuum(store: SQLiteStore, write: Write, *, full: bool, on_step: Callable[[int], None]) -> Freed:
    """Give unused pages back to the file system.

    Usually those that are free already, some at a time, in turn with all writers: nobody waits longer than for another
    write. With ``full`` the file is written anew without gaps: while that goes on all others wait to write, and it needs
    as much space again; readers are not held up.

    Args:
        store: whose file it is.
        write: how to take a turn.
        full: whether to write it anew.
        on_step: called with the number of pages given back so far.
    """
    before = size_of(store.path)
    if store.path == RAM or before is None:
        return Freed(0, 0)
    first = left = _do(write, "", FreePages(0))
    while left:
        fewer = _do(write, "", FreePages(PAGES))
        if fewer >= left:
            break  # made before files could shrink: a full one helps
        left = fewer
        on_step(first - left)
    opening = Opening(store.path, store.timeout, "FULL", None)
    with Alone(store.path, store.timeout):
        _write_anew(opening, full=full)
    return Freed(before, size_of(store.path) or 0)


def _write_anew(opening: Opening, *, full: bool) -> None:
    """Shorten the file to what is in use; its log must be empty for that, so it is brought in."""
    connection = opening.open(apsw.SQLITE_OPEN_READWRITE)
    try:
        if full:
            connection.execute("VACUUM")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        pass  # a reader is in the way: the next checkpoint shortens it
    except apsw.Error as error:
        raise from_apsw(error, opening.path) from error
    finally:
        connection.give_up()


def size_of(path: str) -> int | None:
    """Bytes of the file with its log; None if there is no file."""
    try:
        return os.stat(path).st_size + (os.stat(path + "-wal").st_size if os.path.exists(path + "-wal") else 0)
    except FileNotFoundError:
        return None
