"""Operations in a batch's body, and their results in its answer.

The names on the wire say "session" where the store says "log". With ``as=text`` the stored texts travel as they are, in
strings; without it values are JSON values, and messages have the common chat shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from botwire import _wire
from botwire._errors import InvalidValue
from botwire._jsontext import encode_utf8, quote
from botwire._names import check_name, check_prefix, check_request_id
from botwire.server._fields import Fields
from botwire.server._messages import message_to_json
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
    LogInfo,
    LogPlace,
    LogRow,
    Operation,
    Pop,
    Restore,
    RestoreLog,
    Result,
    Set,
    SetLog,
    Trim,
)

MAX_DIGITS = 4_000
"""Longest number to increment by: arithmetic on longer ones takes so long that other requests would wait."""


def operations_from_body(text: str, *, as_text: bool, max_bytes: int) -> tuple[tuple[Operation, ...], str | None]:
    """The operations of a batch, and its request id.

    Raises:
        InvalidName, InvalidValue: naming the operation by its place.
    """
    body = Fields(text, as_text=as_text, max_bytes=max_bytes)
    operations = tuple([_operation(fields, max_bytes) for fields in body.objects("operations")])
    request_id = check_request_id(body.plain("request_id", None)) if as_text else None
    body.done()
    if not operations:
        raise InvalidValue("operations must not be empty")
    return operations, request_id


def _operation(fields: Fields, max_bytes: int) -> Operation:
    name = fields.plain("op")
    parse = _PARSERS.get(name) if isinstance(name, str) else None
    if parse is None:
        raise InvalidValue(f"there is no operation {name!r:.60}; known are: {', '.join(_PARSERS)}")
    operation = parse(fields, max_bytes)
    fields.done()
    return operation


def _set(fields: Fields, _: int) -> Operation:
    return Set(fields.name("key"), fields.json("value"), fields.version("if_version"), fields.ttl(None))


def _delete(fields: Fields, _: int) -> Operation:
    return Delete(fields.name("key"), fields.version("if_version"))


def increment(fields: Fields, max_bytes: int) -> Operation:
    """``{"key", "by"?, "ttl"?}``."""
    by = fields.json("by", "1")
    if not is_number(by):
        raise InvalidValue(f"by must be a number of at most {MAX_DIGITS} digits")
    return Change(fields.name("key"), "increment", by, None, _least(fields, max_bytes), fields.ttl(KEEP))


def append(fields: Fields, max_bytes: int) -> Operation:
    """``{"key", "items", "max_items"?, "ttl"?}``."""
    items = fields.json("items")
    if items.lstrip()[:1] != "[":
        raise InvalidValue("items must be a list")
    max_items = fields.count("max_items", 1, None)
    return Change(fields.name("key"), "append", items, max_items, _least(fields, max_bytes), fields.ttl(KEEP))


def merge(fields: Fields, max_bytes: int) -> Operation:
    """``{"key", "patch", "ttl"?}``."""
    return Change(fields.name("key"), "merge", fields.json("patch"), None, _least(fields, max_bytes), fields.ttl(KEEP))


def is_number(text: str) -> bool:
    """Whether a JSON text is that of a number to increment by."""
    return len(text) <= MAX_DIGITS and text[:1] in "-0123456789"


def _least(fields: Fields, max_bytes: int) -> int:
    given = fields.count("max_bytes", 1, None)
    return max_bytes if given is None else min(given, max_bytes)


def _clear(fields: Fields, _: int) -> Operation:
    return Clear(check_prefix(fields.plain("prefix", "")))


def _restore(fields: Fields, _: int) -> Operation:
    return Restore(
        EntryRow(
            fields.name("key"),
            fields.json("value"),
            fields.count("version", 1),
            fields.time("created_at"),
            fields.time("updated_at"),
            fields.time_or_none("expires_at"),
        )
    )


def append_messages(fields: Fields, _: int) -> Operation:
    """``{"session", "agent"?, "messages", "ttl"?}``."""
    bodies = tuple(fields.messages("messages"))
    if not bodies:
        raise InvalidValue("messages must not be empty")
    return Append(fields.name("session", "session id"), fields.agent(), bodies, fields.ttl(KEEP))


def _pop(fields: Fields, _: int) -> Operation:
    return Pop(fields.name("session", "session id"), fields.agent())


def _trim(fields: Fields, _: int) -> Operation:
    return Trim(fields.name("session", "session id"), fields.agent(), fields.count("keep_last"), _place(fields.object_or_none("if_at")))


def _clear_session(fields: Fields, _: int) -> Operation:
    return ClearLog(fields.name("session", "session id"), fields.agent(), _place(fields.object_or_none("if_at")))


def _place(fields: Fields | None) -> LogPlace | None:
    if fields is None:
        return None
    place = LogPlace(check_name(fields.plain("epoch"), "epoch"), fields.count("head"), fields.count("count"))
    fields.done()
    return place


def set_session(fields: Fields, _: int) -> Operation:
    """``{"session", "agent"?, "ttl"?, "metadata"?, "merge"?}``."""
    metadata = fields.metadata(KEEP)
    merge = fields.plain("merge", False)
    if not isinstance(merge, bool):
        raise InvalidValue("merge must be true or false")
    return SetLog(fields.name("session", "session id"), fields.agent(), fields.ttl(KEEP), metadata, merge)


def _delete_session(fields: Fields, _: int) -> Operation:
    agent = fields.plain("agent", None)
    return DeleteLog(fields.name("session", "session id"), agent if agent is None or agent == "" else check_name(agent, "agent"))


def _restore_session(fields: Fields, _: int) -> Operation:
    info = _info(fields.object("info"))
    rows = [_row(message) for message in fields.objects("messages")]
    return RestoreLog(info, tuple(rows))


def _info(fields: Fields) -> LogInfo:
    info = LogInfo(
        fields.name("session", "session id"),
        fields.agent(),
        check_name(fields.plain("epoch"), "epoch"),
        fields.count("head"),
        fields.count("count"),
        fields.time("created_at"),
        fields.time("updated_at"),
        _wire.ttl_from_seconds(fields.plain("ttl", None)),
        fields.time_or_none("expires_at"),
        fields.metadata(),
    )
    fields.done()
    return info


def _row(fields: Fields) -> LogRow:
    row = LogRow(fields.count("seq", 1), fields.message("message"), fields.time("created_at"))
    fields.done()
    return row


_PARSERS: dict[str, Callable[[Fields, int], Operation]] = {
    "set": _set,
    "delete": _delete,
    "increment": increment,
    "append": append,
    "merge": merge,
    "clear": _clear,
    "restore": _restore,
    "append_messages": append_messages,
    "pop_message": _pop,
    "trim_session": _trim,
    "clear_session": _clear_session,
    "set_session": set_session,
    "delete_session": _delete_session,
    "restore_session": _restore_session,
}


def results_to_body(namespace: str, results: Sequence[Result], as_text: bool) -> bytes:
    """The answer to a batch."""
    inner = ",".join([result_to_json(result, as_text) for result in results])
    return encode_utf8(f'{{"namespace":{quote(namespace)},"results":[{inner}]}}')


def result_to_json(result: Result, as_text: bool) -> str:
    """One operation's result."""
    match result:
        case Changed(version, answer):
            return f'{{"version":{version},"value":{_wire.embed(answer, as_text)}}}'
        case Appended(epoch, first, last):
            return json.dumps({"epoch": epoch, "first": first, "last": last}, separators=(",", ":"))
        case LogRow():
            return message_to_json(result, as_text)
        case LogInfo():
            return _wire.info_to_json(result, as_text)
        case _:
            return json.dumps(result)
