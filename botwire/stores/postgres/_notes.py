"""What is said to those who listen: which names a batch wrote, as JSON, on a channel of its namespace."""

from __future__ import annotations

import functools
import hashlib
import json
from json.encoder import encode_basestring_ascii

from botwire.stores._protocol import Batch, Change, Clear, Delete, Heard, Operation, Restore, RestoreLog, Set
from botwire.stores.postgres._entries import Note

MOST_BYTES = 7_500
"""The most that one notification carries; PostgreSQL takes 8,000."""


@functools.lru_cache(1_024)
def channel_of(schema: str, namespace: str) -> str:
    """The channel of a namespace: a name that PostgreSQL takes, whatever the namespace is called."""
    return "botwire_" + hashlib.blake2b(f"{schema}\0{namespace}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def note_of(schema: str, batch: Batch) -> Note:
    """What is said of a batch."""
    return Note(channel_of(schema, batch.namespace), _payload(*_names(batch.operations)))


def heard(payload: str) -> Heard:
    """What a notification says."""
    try:
        keys, sessions = json.loads(payload)
        return Heard(None if keys is None else frozenset(keys), None if sessions is None else frozenset(sessions))
    except (ValueError, TypeError):
        return Heard(None, None)


def _names(operations: tuple[Operation, ...]) -> tuple[list[str] | None, list[str] | None]:
    keys: dict[str, None] | None = {}
    sessions: dict[str, None] = {}
    for operation in operations:
        match operation:
            case Clear():
                keys = None
            case Set() | Delete() | Change():
                if keys is not None:
                    keys[operation.key] = None
            case Restore(row):
                if keys is not None:
                    keys[row.key] = None
            case RestoreLog(info):
                sessions[info.session] = None
            case _:
                sessions[operation.session] = None
    return None if keys is None else list(keys), list(sessions)


def _listed(names: list[str] | None) -> str:
    return "null" if names is None else f"[{','.join(map(encode_basestring_ascii, names))}]"


def _payload(keys: list[str] | None, sessions: list[str] | None) -> str:
    text = f"[{_listed(keys)},{_listed(sessions)}]"
    if len(text) <= MOST_BYTES:
        return text
    return json.dumps([None if keys is None or keys else [], None if sessions else []])
