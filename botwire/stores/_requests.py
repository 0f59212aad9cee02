"""What request ids mean, the same in every store: what they are compared by, and how long they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii

from botwire._errors import RequestConflict, StoreCorrupt
from botwire.stores._protocol import RETRY_PREFIX, Append, Batch, ClearLog, DeleteLog, Operation, Pop, Result, SetLog, Trim
from botwire.stores._records import operations_to_json, results_from_json

REQUEST_LIFETIME_US = 2 * 86_400 * 1_000_000
"""How long a request id is remembered, in microseconds: twice the day that is promised."""

RETRY_LIFETIME_US = 2 * 3_600 * 1_000_000
"""How long one is that a client made for its own retries: twice the hour. Every write over HTTP leaves one."""


def lifetime_us(request_id: str) -> int:
    """How long an id is remembered, in microseconds."""
    return RETRY_LIFETIME_US if request_id.startswith(RETRY_PREFIX) else REQUEST_LIFETIME_US


def scope_of(operations: Sequence[Operation]) -> str:
    """Within which session of the namespace an id counts: text that names it, or nothing."""
    first = operations[0] if operations else None
    if isinstance(first, Append | Pop | Trim | ClearLog | SetLog | DeleteLog):
        return text_pair(first.session, first.agent)
    return ""


def text_pair(one: str, other: str | None) -> str:
    """The JSON text of a list of these two, as ``json.dumps`` writes it, in a fifth of its time."""
    return f"[{encode_basestring_ascii(one)}, {'null' if other is None else encode_basestring_ascii(other)}]"


def fingerprint(operations: Sequence[Operation]) -> str:
    """By what two uses of an id are told apart: 64 hexadecimal digits."""
    return hashlib.sha256(operations_to_json(operations).encode()).hexdigest()


def recall(batch: Batch, fingerprint_now: str, fingerprint_then: str, results: str) -> list[Result]:
    """The results of the first time that a batch's request id was used.

    Raises:
        RequestConflict: if that was for another write.
        StoreCorrupt: if what was kept of it cannot be read.
    """
    if fingerprint_now != fingerprint_then:
        raise RequestConflict(f"the request id {batch.request_id!r} was used before, for another write; give each write its own")
    try:
        return results_from_json(batch.operations, results)
    except (ValueError, TypeError) as error:
        raise StoreCorrupt(f"what is kept of the request {batch.request_id!r} cannot be read: {error}") from error
