"""States of entries and logs as every store computes and compares them."""

from __future__ import annotations

import secrets
from typing import Any

from botwire._errors import VersionConflict
from botwire.stores._protocol import KEEP, ClearLog, LogInfo, Trim, Ttl


def expect_version(namespace: str, key: str, current: int, wanted: int) -> None:
    """Raise ``VersionConflict`` unless an entry is at the version that a write wants; 0 is for none."""
    if current != wanted:
        asked = "to be absent" if wanted == 0 else f"at version {wanted}"
        found = "is absent" if current == 0 else f"is at version {current}"
        raise VersionConflict(f"{key!r} in namespace {namespace!r} was expected {asked} but {found}; read it again", current)


def expect_place(namespace: str, operation: Trim | ClearLog, info: tuple[Any, ...] | LogInfo | None) -> None:
    """Raise ``VersionConflict`` unless a log is where a write wants it: ``info`` is a LogInfo, or (epoch, head, count)."""
    place = None if info is None else (info.epoch, info.head, info.count) if isinstance(info, LogInfo) else info
    if place != operation.if_at:
        text = f"session {operation.session!r} in namespace {namespace!r} was changed by another writer; read it again"
        raise VersionConflict(text, 0 if place is None else place[1])


def new_epoch() -> str:
    """Random text that no other log's epoch equals."""
    return secrets.token_hex(8)


def new_log(session: str, agent: str, now: int) -> LogInfo:
    """The state of a log that begins."""
    return LogInfo(session, agent, new_epoch(), 0, 0, now, now, None, None, "{}")


def changed_log(info: LogInfo, now: int, ttl: Ttl = KEEP, **changes: Any) -> LogInfo:
    """The state of a log after a write; its time to live counts anew."""
    lifetime = info.ttl if ttl is KEEP else ttl
    return info._replace(updated_at=now, ttl=lifetime, expires_at=None if lifetime is None else now + lifetime, **changes)
