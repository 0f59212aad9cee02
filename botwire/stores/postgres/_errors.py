"""The driver's errors as botwire's: mapped here, once, with what to do, and with what they mean for a write under way."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors

from botwire._errors import (
    BotWireError,
    Closed,
    InvalidValue,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    Unauthorized,
    ValueTooLarge,
)
from botwire.stores.postgres._script import NOT_AS_WANTED, Again


class Late(Exception):
    """No answer came in time, and none after the server was asked to give up."""


class Unreplicated(Exception):
    """The commit was answered with a warning: it may not be as durable as the server's settings demand."""


class Failed(Exception):
    """A script did not come to its end.

    ``unknown``: what it wrote may be there, or come to be there. ``repeatable``: another attempt may succeed.
    """

    def __init__(self, error: BotWireError, *, unknown: bool = False, repeatable: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.unknown = unknown
        self.repeatable = repeatable


def failure(error: BaseException, where: str, *, commits: bool, broken: bool) -> Exception:
    """What an error during a trip means: Failed, Again, or the error itself if it is none of the driver's.

    Args:
        error: what was raised.
        where: the store, for messages.
        commits: whether what was sent may be there for good.
        broken: whether the connection can be used no more.
    """
    if isinstance(error, Late):
        return Failed(StoreBusy(f"{where} did not answer in time; it may be overloaded, or wait for a standby or a lock"), unknown=commits)
    if isinstance(error, Unreplicated):
        return Failed(StoreUnavailable(f"{where} says that a commit may not be on its standby: {error}"), unknown=True, repeatable=True)
    if isinstance(error, errors.UniqueViolation) or (isinstance(error, errors.InvalidTextRepresentation) and NOT_AS_WANTED in str(error)):
        return Again()
    if isinstance(error, UnicodeError):
        return Failed(InvalidValue(f"{where} cannot store this text: {error}"))
    if not isinstance(error, psycopg.Error):
        return error if isinstance(error, Exception) else Exception()
    if broken or _is_end(error):
        text = f"the connection to {where} was lost: {reason(error)}; is the server running?"
        return Failed(StoreUnavailable(text), unknown=commits, repeatable=True)
    return Failed(from_postgres(error, where), repeatable=_is_passing(error))


def _is_end(error: psycopg.Error) -> bool:
    """Whether the server, or a pooler before it, broke off: such an error does not say that nothing was written."""
    severity = error.diag.severity_nonlocalized or error.diag.severity
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return severity in ("FATAL", "PANIC") or state.startswith(("08", "57P"))


_PASSING = {
    "25006",  # read-only: a standby that was a primary, or is going to be one
    "26000",  # a prepared statement that another server made
    "40001",
    "40P01",
    "42P05",
    "55P03",
}


def _is_passing(error: psycopg.Error) -> bool:
    return error.sqlstate in _PASSING


def reason(error: BaseException) -> str:
    """What the driver says, on one line; it never holds the password."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def from_postgres(error: psycopg.Error, where: str) -> BotWireError:
    """The botwire error that says what the server's means; nothing was written."""
    state, text = error.sqlstate or "", reason(error)
    for start, make in _BY_STATE.items():
        if state.startswith(start):
            return make(f"{where}: {text}")
    if not state and isinstance(error, psycopg.DataError):
        return InvalidValue(f"{where} cannot store this text: {text}")
    return StoreUnavailable(f"{where} cannot be used now: {text}")


_BY_STATE: dict[str, Any] = {
    "22": lambda text: InvalidValue(f"{text}; PostgreSQL cannot hold it"),
    "25006": lambda text: StoreReadOnly(
        f"{text}; is this a standby? Name the primary, or all servers with target_session_attrs=read-write"
    ),
    "28": lambda text: Unauthorized(f"{text}; check user and password in the URL, and the server's pg_hba.conf"),
    "3D": lambda text: StoreUnavailable(f"{text}; create the database, or name another in the URL"),
    "3F": lambda text: StoreUnavailable(f"{text}; botwire's tables are gone: restore a backup, or open the store anew"),
    "42501": lambda text: Unauthorized(f"{text}; the user needs its rights on botwire's schema, and CREATE on the database to make it"),
    "42P01": lambda text: StoreUnavailable(f"{text}; botwire's tables are gone: restore a backup, or open the store anew"),
    "42": lambda text: StoreIncompatible(f"{text}; these tables or this server are not what botwire expects"),
    "53100": lambda text: StoreFull(f"{text}; free space on the server, then call again: nothing was written"),
    "54": lambda text: ValueTooLarge(f"{text}; split it over several keys"),
    "57014": lambda text: StoreBusy(f"{text}; it took longer than the timeout, and nothing was written"),
    "55P03": lambda text: StoreBusy(f"{text}; nothing was written"),
    "40": lambda text: StoreBusy(f"{text}; other writers came first again and again, and nothing was written"),
    "XX001": lambda text: StoreCorrupt(f"{text}; restore a backup"),
    "XX002": lambda text: StoreCorrupt(f"{text}; REINDEX the table, or restore a backup"),
}


def cannot_connect(error: BaseException | None, where: str) -> tuple[BotWireError, bool]:
    """The error for a connection that cannot be made, and whether waiting may help."""
    if error is None:
        return StoreBusy(f"all connections to {where} were in use for longer than the timeout; nothing was sent"), True
    text = reason(error)
    state = getattr(error, "sqlstate", None) or ""
    lowered = text.lower()
    # libpq gives no SQLSTATE for what goes wrong while connecting; these texts are the server's, in English or with its code.
    if (
        state.startswith("28")
        or "password authentication failed" in lowered
        or "no password supplied" in lowered
        or "pg_hba.conf" in lowered
    ):
        return Unauthorized(f"{where} refuses the connection: {text}; check user and password in the URL"), False
    if isinstance(error, BotWireError):
        return error, False
    if state.startswith("3D") or ("database" in lowered and "does not exist" in lowered):
        return StoreUnavailable(f"cannot open {where}: {text}; create the database, or name another in the URL"), False
    if isinstance(error, psycopg.ProgrammingError):
        return InvalidValue(f"the URL of {where} is not one that libpq takes: {text}"), False
    return StoreUnavailable(f"cannot reach {where}: {text}; is the server running, and the URL right?"), True


def closed(where: str) -> Closed:
    """The error of every call after ``close``."""
    return Closed(f"the store {where} is closed; open a new one")
