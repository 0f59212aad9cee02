"""Operations of an operator, beside those of the protocol: removing what is old, deleting a namespace, giving space back.

A store that has ``keeps = True`` takes those of the first kind in a batch, and does in them what the protocol's operations cannot:
compare times, and leave a session's own time and expiry as they are. For other stores ``plain`` says what comes nearest.
"""

from __future__ import annotations

from typing import NamedTuple

from botwire.stores._protocol import ClearLog, Delete, DeleteLog, LogPlace, Operation, Trim


class DeleteStale(NamedTuple):
    """Remove an entry if it is as it was seen, else ``VersionConflict``."""

    key: str
    version: int
    updated_at: int


class TrimStale(NamedTuple):
    """Remove all but the last messages if the log is as it was seen, else ``VersionConflict``. That is no use of the session."""

    session: str
    agent: str
    keep_last: int
    place: LogPlace


class DeleteLogStale(NamedTuple):
    """Remove a log if it is as it was seen, else ``VersionConflict``."""

    session: str
    agent: str
    place: LogPlace
    updated_at: int


Keeping = DeleteStale | TrimStale | DeleteLogStale


def plain(step: Keeping) -> tuple[Operation, ...]:
    """What the protocol has for it. It removes nothing that was written to meanwhile, unless an entry was deleted and made anew."""
    match step:
        case DeleteStale(key, version, _):
            return (Delete(key, version),)
        case TrimStale(session, agent, keep_last, place):
            return (Trim(session, agent, keep_last, place),)
        case DeleteLogStale(session, agent, place, _):
            return ClearLog(session, agent, place), DeleteLog(session, agent)


class Copied(NamedTuple):
    """What a backup holds, in rows."""

    entries: int
    sessions: int  # transcripts of agents each count as one
    messages: int


class Freed(NamedTuple):
    """The size of a store's files in bytes, before and after unused space was given back."""

    before: int
    after: int


class Gone(NamedTuple):
    """What a deletion removed."""

    entries: int = 0
    sessions: int = 0
    messages: int = 0
