"""What a server's error means to the caller: the one place where the driver's errors become botwire's."""

from __future__ import annotations

import re
from typing import Any

from redis import exceptions as driver

from botwire._errors import (
    BotWireError,
    InvalidValue,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    Unauthorized,
)

_PASSING = (driver.TryAgainError, driver.ClusterDownError, driver.MasterDownError, driver.BusyLoadingError)
_CODE = re.compile(r"-?\b(OOM|READONLY|MISCONF|NOREPLICAS|BUSY|NOPERM|NOAUTH|WRONGPASS|WRONGTYPE|CROSSSLOT|UNKILLABLE)\b")


def is_passing(error: driver.ResponseError) -> bool:
    """Whether the same command may well succeed a moment later, as nothing was done."""
    return isinstance(error, _PASSING) or _code(error) == "BUSY"


def _code(error: Exception) -> str:
    """The error's code. Older servers wrap what a command in a script said, so it may stand anywhere."""
    kinds: dict[type, str] = {
        driver.OutOfMemoryError: "OOM",
        driver.ReadOnlyError: "READONLY",
        driver.NoPermissionError: "NOPERM",
        driver.ClusterCrossSlotError: "CROSSSLOT",
    }
    found = _CODE.search(str(error))
    return kinds.get(type(error)) or (found[1] if found else "")


def unauthorized(error: Exception, where: str) -> Unauthorized:
    """The server wants a password, or another one."""
    made = Unauthorized(f"{where} does not accept the user and password of the URL: {_said(error)}; write redis://user:password@host:port")
    made.__cause__ = error
    return made


def from_redis(error: Exception, where: str) -> BotWireError:
    """The botwire error for what a server answered; its cause is the driver's."""
    made = _made(error, where)
    made.__cause__ = error
    return made


def _made(error: Exception, where: str) -> BotWireError:  # noqa: C901, PLR0911 - a table in words
    code, said = _code(error), _said(error)
    if isinstance(error, driver.AuthenticationError) or code in ("NOAUTH", "WRONGPASS"):
        return unauthorized(error, where)
    if "DB index" in said:
        return InvalidValue(f"{where} has no such database: {said}; leave the number out of the URL, or raise the server's databases")
    if code == "NOPERM":
        return Unauthorized(f"the user of the URL may not do this at {where}: {said}; docs/redis.md has what it must be allowed")
    if code == "OOM":
        return StoreFull(f"{where} has reached its maxmemory, it is out of memory; nothing was written. Raise it, or delete something")
    if code == "READONLY":
        return StoreReadOnly(f"{where} is a replica and takes no writes; nothing was written. Name the primary, or sentinels, in the URL")
    if code == "MISCONF" and "space" in said.lower():
        return StoreFull(f"the disk of {where} is full: {said}")
    if code in ("MISCONF", "NOREPLICAS"):
        return StoreUnavailable(f"{where} takes no writes now: {said}; nothing was written")
    if isinstance(error, (driver.ClusterDownError, driver.MasterDownError)):
        return StoreUnavailable(f"{where} cannot serve this now: {said or 'the Cluster is down'}; nothing was written")
    if is_passing(error) if isinstance(error, driver.ResponseError) else False:
        return StoreBusy(f"{where} is busy: {said}; nothing was written")
    if code == "WRONGTYPE":
        return StoreCorrupt(f"a key of botwire's at {where} holds something else: {said}; was it written by another program?")
    if code == "CROSSSLOT" or "unknown command" in said.lower():
        return StoreIncompatible(f"{where} cannot do what botwire needs: {said}; it needs Redis 6.2 or Valkey 7.2 or newer")
    return StoreCorrupt(f"{where} could not run a script of botwire's: {said}")


def _said(error: Any) -> str:
    return " ".join(str(error).split())[:300]
