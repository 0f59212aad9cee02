"""A batch's operations as the body of ``POST /records/{namespace}``, and its results from the answer.

The names on the wire say "session" where the store says "log".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from botwire import _wire
from botwire._jsontext import encode_utf8
from botwire.stores._protocol import (
    KEEP,
    Append,
    Appended,
    Change,
    Changed,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    EntryRow,
    LogPlace,
    Operation,
    Pop,
    Restore,
    RestoreLog,
    Result,
    Set,
    SetLog,
    Trim,
    Ttl,
)

_ARGUMENTS = {"increment": "by", "append": "items", "merge": "patch"}


def operations_to_body(operations: Sequence[Operation], request_id: str | None) -> bytes:
    """The body of a batch."""
    body = {"operations": [_record(operation) for operation in operations], "request_id": request_id}
    return encode_utf8(json.dumps(body, ensure_ascii=False, separators=(",", ":")))


def _record(operation: Operation) -> dict[str, Any]:  # noqa: C901, PLR0911 - a table of all operations
    match operation:
        case Set(key, value, if_version, ttl):
            return {"op": "set", "key": key, "value": value, "if_version": if_version, "ttl": _ttl(ttl)}
        case Delete(key, if_version):
            return {"op": "delete", "key": key, "if_version": if_version}
        case Change(key, rule, argument, max_items, max_bytes, ttl):
            limits = {"max_items": max_items} if rule == "append" else {}
            return {"op": rule, "key": key, _ARGUMENTS[rule]: argument, **limits, "max_bytes": max_bytes, "ttl": _ttl(ttl)}
        case Clear(prefix):
            return {"op": "clear", "prefix": prefix}
        case Restore(row):
            return {"op": "restore", **_entry_record(row)}
        case Append(session, agent, bodies, ttl):
            return {"op": "append_messages", "session": session, "agent": agent, "messages": bodies, "ttl": _ttl(ttl)}
        case Pop(session, agent):
            return {"op": "pop_message", "session": session, "agent": agent}
        case Trim(session, agent, keep_last, if_at):
            return {"op": "trim_session", "session": session, "agent": agent, "keep_last": keep_last, **_condition(if_at)}
        case ClearLog(session, agent, if_at):
            return {"op": "clear_session", "session": session, "agent": agent, **_condition(if_at)}
        case SetLog(session, agent, ttl, metadata, merge):
            kept = {} if metadata is KEEP else {"metadata": metadata}
            return {"op": "set_session", "session": session, "agent": agent, "ttl": _ttl(ttl), **kept, "merge": merge}
        case DeleteLog(session, agent):
            return {"op": "delete_session", "session": session, "agent": agent}
        case RestoreLog(info, rows):
            messages = [json.loads(_wire.message_to_json(row, as_text=True)) for row in rows]
            return {"op": "restore_session", "info": json.loads(_wire.info_to_json(info, as_text=True)), "messages": messages}


def _condition(place: LogPlace | None) -> dict[str, Any]:
    return {} if place is None else {"if_at": place._asdict()}


def _ttl(ttl: Ttl) -> float | str | None:
    return "keep" if ttl is KEEP else None if ttl is None else _wire.ttl_to_seconds(ttl)


def _entry_record(row: EntryRow) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads("{" + _wire.entry_to_json(row, as_text=True) + "}"))


def results_from_body(operations: Sequence[Operation], document: dict[str, Any]) -> list[Result]:
    """The results of those operations, from the answer."""
    return [_result(operation, record) for operation, record in zip(operations, document["results"], strict=True)]


def _result(operation: Operation, record: Any) -> Result:
    match operation:
        case Change():
            return Changed(record["version"], record["value"])
        case Append():
            return Appended(record["epoch"], record["first"], record["last"])
        case Pop():
            return None if record is None else _wire.message_from_json(record)
        case SetLog():
            return _wire.info_from_json(record)
        case _:
            return record
