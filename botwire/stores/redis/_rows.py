"""What lies in the server as rows."""

from __future__ import annotations

from botwire._errors import StoreCorrupt
from botwire.stores._protocol import EntryRow, EntryStamp, LogInfo, LogRow


def entry_of(namespace: str, key: str, stored: bytes) -> EntryRow:
    """An entry, of ``version created updated expires`` and, on the next line, its value.

    Raises:
        StoreCorrupt: if it is not that.
    """
    header, line, value = stored.partition(b"\n")
    stamp = stamp_of(namespace, key, header)
    if not line:
        raise _corrupt(namespace, key)
    version, created, updated, expires = header.split(b" ")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise _corrupt(namespace, key) from error
    return EntryRow(key, text, int(version), int(created), int(updated), stamp.expires_at if expires != b"-" else None)


def stamp_of(namespace: str, key: str, header: bytes) -> EntryStamp:
    """What its first line says of an entry.

    Raises:
        StoreCorrupt: if it is not that.
    """
    try:
        version, _, updated, expires = header.split(b" ")
        return EntryStamp(key, int(version), int(updated), None if expires == b"-" else int(expires))
    except ValueError as error:
        raise _corrupt(namespace, key) from error


def _corrupt(namespace: str, key: str) -> StoreCorrupt:
    return StoreCorrupt(f"the entry {key!r} in namespace {namespace!r} cannot be read: it is not as botwire writes it; set() it anew")


def info_of(session: str, agent: str, state: bytes, metadata: bytes) -> LogInfo:
    """A log's state, of ``head count:bytes created updated ttl expires epoch``; "+" may stand for the colon; older ones have no bytes.

    Raises:
        StoreCorrupt: if it is not that.
    """
    try:
        head, count, created, updated, ttl, expires, epoch = state.split(b" ", 6)
        return LogInfo(
            session,
            agent,
            epoch.decode(),
            int(head),
            int(count.replace(b"+", b":").partition(b":")[0]),
            int(created),
            int(updated),
            None if ttl == b"-" else int(ttl),
            None if expires == b"-" else int(expires),
            metadata.decode(),
        )
    except ValueError as error:
        raise StoreCorrupt(f"the state of session {session!r} cannot be read: it is not as botwire writes it") from error


def rows_of(heads: bytes, bodies: bytes) -> list[LogRow]:
    """Messages, of ``<seq>-<created> <bytes>`` for each and their bodies one after the other."""
    rows: list[LogRow] = []
    parts = heads.split(b" ") if heads else []
    start = 0
    for place, size in zip(parts[::2], parts[1::2], strict=True):
        seq, _, created = place.partition(b"-")
        end = start + int(size)
        rows.append(LogRow(int(seq), bodies[start:end].decode(), int(created)))
        start = end
    return rows


def row_of_pop(answer: list[bytes]) -> LogRow:
    """A message that was removed."""
    return LogRow(int(answer[0]), answer[1].decode(), int(answer[2]))
