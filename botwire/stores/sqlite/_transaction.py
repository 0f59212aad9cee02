"""One transaction for many batches, and what each way of failing means for each of them."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from botwire._errors import BotWireError, InvalidValue
from botwire.stores._protocol import Batch, Outcome
from botwire.stores.sqlite._connections import Connections
from botwire.stores.sqlite._errors import from_apsw, from_commit
from botwire.stores.sqlite._opening import Connection
from botwire.stores.sqlite._operations import apply_batch
from botwire.stores.sqlite._terms import Ledger, begin_to_count

HARMLESS = (apsw.BusyError, apsw.ConstraintError, apsw.FullError, apsw.TooBigError)
"""After these a connection is as good as before; with a full disk, a new one could not even be opened."""


class Progress:
    """Whether a COMMIT was begun, after which an interruption no longer means that nothing was written."""

    committing = False


class _Spoiled(Exception):
    """A batch failed before COMMIT; nothing was written."""

    def __init__(self, error: BotWireError) -> None:
        self.error = error


def commit_all(
    connections: Connections, batches: list[Batch], clock: Callable[[], int], deadline: float, progress: Progress
) -> list[Outcome]:
    """Apply all batches in one transaction; one that SQLite refuses does not spoil the others.

    Raises:
        BotWireError: if none of them could be written, or if COMMIT failed.
    """
    connection = connections.writer(deadline)
    try:
        return _together(connections, connection, batches, clock(), progress)
    except _Spoiled as spoiled:
        if len(batches) == 1:
            return [spoiled.error]
    return [_alone(connections, batch, clock(), deadline, progress) for batch in batches]


def _alone(connections: Connections, batch: Batch, now: int, deadline: float, progress: Progress) -> Outcome:
    try:
        return _together(connections, connections.writer(deadline), [batch], now, progress)[0]
    except _Spoiled as spoiled:
        return spoiled.error
    except BotWireError as error:
        return error


def _together(connections: Connections, connection: Connection, batches: list[Batch], now: int, progress: Progress) -> list[Outcome]:
    progress.committing, begun = False, False
    try:
        if not connection.metered and any(batch.terms is not None and batch.terms.cap is not None for batch in batches):
            begin_to_count(connection)
        connection.execute("BEGIN IMMEDIATE")
        begun = True
        alone = len(batches) == 1  # then its savepoint is the transaction
        ledger = Ledger(connection, now) if any(batch.terms is not None for batch in batches) else None
        outcomes = [apply_batch(connection, batch, now, ledger, alone=alone) for batch in batches]
        if alone and isinstance(outcomes[0], BotWireError):
            connection.execute("ROLLBACK")
            return outcomes
        if ledger is not None:
            ledger.close()
        if connection.room is not None:
            connection.room.make()
        progress.committing = True
        connection.execute("COMMIT")
    except BaseException as error:
        roll_back(connections, connection, error)
        if isinstance(error, apsw.Error):
            if progress.committing:
                raise from_commit(error, connections.path) from error
            if begun:
                raise _Spoiled(from_apsw(error, connections.path)) from error
            raise from_apsw(error, connections.path) from error
        if isinstance(error, UnicodeError | OverflowError):
            raise _Spoiled(InvalidValue(f"this cannot be stored: {error}")) from error
        raise
    return outcomes


def roll_back(connections: Connections, connection: Connection, error: BaseException) -> None:
    """Leave no transaction open: the connection would read a frozen past and fail every write."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except apsw.Error as second:
        error = second
    if isinstance(error, apsw.Error) and not isinstance(error, HARMLESS):
        connections.drop_writer()
