"""Cursors: where the next page of a list begins, as text that says nothing to a client.

A cursor holds the last position seen, never a number of rows to skip, so writers between two pages neither hide nor
repeat what is there all the while. It opens nothing: the caller's namespace is checked as for any other call.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, cast

from botwire.integrations.mcp._failures import invalid


def make_cursor(query: list[Any], *position: Any) -> str:
    """The cursor after ``position`` of what ``query`` lists."""
    text = json.dumps([_digest(query), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(query: list[Any], cursor: str | None, *kinds: type) -> list[Any] | None:
    """The position in a cursor; None if there is no cursor.

    Raises:
        Refusal: if it is none that was given for this query.
    """
    if cursor is None:
        return None
    try:
        record: Any = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, list) or len(cast("list[Any]", record)) != 1 + len(kinds) or record[0] != _digest(query):
        raise invalid("the cursor is none that was given for these arguments; repeat them as they were, or begin without a cursor")
    position = cast("list[Any]", record)[1:]
    if not all(type(part) is kind for part, kind in zip(position, kinds, strict=True)):
        raise invalid("the cursor is damaged; begin without one")
    return position


def _digest(query: list[Any]) -> str:
    return hashlib.sha256(json.dumps(query).encode()).hexdigest()[:12]
