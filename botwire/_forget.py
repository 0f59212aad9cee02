"""Deleting for good, with a count: a namespace, sessions by the beginning of their ids. In any store.

What names one entry or one session is an operation of the protocol; here is what takes several.
"""

from __future__ import annotations

from typing import Any, cast

from botwire._errors import BotWireError
from botwire.stores._keeping import Gone
from botwire.stores._protocol import Batch, Clear, DeleteLog, Store

_PAGE = 200


def delete_namespace(store: Store, namespace: str) -> tuple[Gone, bool]:
    """Remove all that is kept of a namespace.

    Returns:
        what was removed; and whether remembered requests and meters went too. A store that has no way of its own for this
        keeps those until they expire, within a day.
    """
    own = getattr(store, "delete_namespace", None)
    if own is not None:
        return Gone._make(own(namespace)), True
    gone = delete_sessions(store, namespace, "")
    return gone._replace(entries=_apply(store, namespace, Clear())[0]), False


def delete_session(store: Store, namespace: str, session: str) -> bool:
    """Remove one session with all transcripts of agents; whether it was there."""
    return bool(_apply(store, namespace, DeleteLog(session, None))[0])


def delete_sessions(store: Store, namespace: str, prefix: str) -> Gone:
    """Remove the sessions whose ids begin so, with all transcripts of agents."""
    names: set[str] = set()
    messages = 0
    after = None if not prefix else _just_before(prefix)
    while page := [log for log in store.scan_logs(namespace, after, _PAGE) if log.session >= prefix]:
        logs = [log for log in page if log.session.startswith(prefix)]
        removed = _apply(store, namespace, *(DeleteLog(log.session, log.agent) for log in logs)) if logs else []
        gone = [log for log, count in zip(logs, removed, strict=True) if count]
        names |= {log.session for log in gone}
        messages += sum(log.count for log in gone)
        if len(logs) < len(page):
            break
        after = (page[-1].session, page[-1].agent)
    return Gone(0, len(names), messages)


def _just_before(prefix: str) -> tuple[str, str] | None:
    """A place in the listing before every session that begins so."""
    last = ord(prefix[-1]) - 1
    before = chr(0xD7FF) if 0xD800 <= last <= 0xDFFF else chr(last)
    return prefix[:-1] + before, chr(0x10FFFF)


def _apply(store: Store, namespace: str, *operations: Any) -> list[Any]:
    outcome = store.write((Batch(namespace, operations),))[0]
    if isinstance(outcome, BotWireError):
        raise outcome
    return cast("list[Any]", outcome)
