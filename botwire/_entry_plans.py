"""What each call on entries does: checks, one request to the store, the result. No waiting, no threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Literal, TypeAlias

from botwire import _codec
from botwire._codec import encode
from botwire._errors import InvalidName, InvalidValue, VersionConflict, shown
from botwire._names import (
    RESERVED_NAMESPACE,
    check_count,
    check_name,
    check_namespace,
    check_prefix,
    check_request_id,
    check_version,
    ttl_to_us,
)
from botwire._plan import Plan, back_off, write, write_one
from botwire._records import Entry, SearchHit, SessionInfo, decode_value
from botwire.stores._protocol import KEEP, Change, Changed, Clear, Delete, DeleteLog, EntryRow, LogInfo, Set
from botwire.stores._search import query_words

PAGE = 1_000
"""Entries or sessions asked for at a time, where all are wanted."""

Rule: TypeAlias = Literal["increment", "append", "merge"]
_ARGUMENTS = {"increment": "by", "append": "items", "merge": "patch"}
"""What messages call the argument of each rule."""

UPDATE_ATTEMPTS = 100
"""How often ``update`` tries before it gives up."""


class EntryPlans:
    """The plans of one namespace's entries."""

    __slots__ = ("namespace",)

    def __init__(self, namespace: str) -> None:
        self.namespace = check_namespace(namespace)

    # ------------------------------------------------------------------------------------- reading

    def get(self, key: str, default: Any) -> Plan[Any]:
        key = check_name(key, "key")
        row: EntryRow | None = yield lambda store: store.get(self.namespace, key)
        return default if row is None else decode_value(row.value, self.namespace, key)

    def get_entry(self, key: str) -> Plan[Entry | None]:
        key = check_name(key, "key")
        row: EntryRow | None = yield lambda store: store.get(self.namespace, key)
        return None if row is None else Entry.from_row(row, self.namespace)

    def get_many(self, keys: Iterable[str]) -> Plan[dict[str, Any]]:
        names = _names(keys)
        rows: dict[str, EntryRow] = (yield lambda store: store.get_many(self.namespace, names)) if names else {}
        return {key: decode_value(rows[key].value, self.namespace, key) for key in names if key in rows}

    def key_page(self, prefix: str, after: str | None, limit: int) -> Plan[list[str]]:
        return (yield lambda store: store.scan_keys(self.namespace, prefix, after, limit))

    def item_page(self, prefix: str, after: str | None, limit: int) -> Plan[list[tuple[str, Any]]]:
        rows: list[EntryRow] = yield lambda store: store.scan(self.namespace, prefix, after, limit)
        return [(row.key, decode_value(row.value, self.namespace, row.key)) for row in rows]

    def list_keys(self, prefix: str) -> Plan[list[str]]:
        literal, pattern = split_glob(prefix)
        found: list[str] = []
        page = yield from self.key_page(literal, None, PAGE)
        while page:
            found += page
            page = (yield from self.key_page(literal, page[-1], PAGE)) if len(page) >= PAGE else []
        return found if pattern is None else [key for key in found if pattern.fullmatch(key)]

    def exists(self, key: str) -> Plan[bool]:
        key = check_name(key, "key")
        return (yield lambda store: store.get(self.namespace, key)) is not None

    def count(self, prefix: str) -> Plan[int]:
        prefix = check_prefix(prefix)
        return (yield lambda store: store.count(self.namespace, prefix))

    def search(self, query: str, limit: int) -> Plan[list[SearchHit]]:
        words = query_words(query)
        limit = check_count(limit, "limit")
        hits = yield lambda store: store.search(self.namespace, words, limit)
        return [SearchHit(Entry.from_row(hit.row, self.namespace), hit.score, hit.snippet) for hit in hits]

    # ------------------------------------------------------------------------------------- writing

    def set(self, key: str, value: Any, ttl: Any, if_version: int | None, request_id: str | None) -> Plan[int]:
        operation = Set(check_name(key, "key"), self.encode(key, value), check_version(if_version), ttl_to_us(ttl))
        return (yield from write_one(self.namespace, operation, check_request_id(request_id)))

    def delete(self, key: str, if_version: int | None) -> Plan[bool]:
        operation = Delete(check_name(key, "key"), check_version(if_version))
        return (yield from write_one(self.namespace, operation))

    def set_many(self, values: Mapping[str, Any], ttl: Any, request_id: str | None) -> Plan[dict[str, int]]:
        if not isinstance(values, Mapping):
            raise InvalidValue(f"set_many takes a mapping of keys to values, not {type(values).__name__}")
        lifetime, request = ttl_to_us(ttl), check_request_id(request_id)
        operations = [Set(check_name(key, "key"), self.encode(key, value), ttl=lifetime) for key, value in values.items()]
        if not operations:
            return {}
        versions = yield from write(self.namespace, *operations, request_id=request)
        return {operation.key: version for operation, version in zip(operations, versions, strict=True)}  # type: ignore[misc]

    def delete_many(self, keys: Iterable[str]) -> Plan[int]:
        operations = [Delete(key) for key in _names(keys)]
        return sum((yield from write(self.namespace, *operations))) if operations else 0  # type: ignore[arg-type]

    def clear(self, prefix: str) -> Plan[int]:
        return (yield from write_one(self.namespace, Clear(check_prefix(prefix))))

    def increment(self, key: str, by: float, request_id: str | None) -> Plan[Any]:
        return (yield from self.change(key, "increment", by, None, request_id))[1]

    def append(self, key: str, items: tuple[Any, ...], max_items: int | None, request_id: str | None) -> Plan[int]:
        return (yield from self.change(key, "append", list(items), max_items, request_id))[1]

    def merge(self, key: str, patch: Any, request_id: str | None) -> Plan[Any]:
        return (yield from self.change(key, "merge", patch, None, request_id))[1]

    def change(self, key: str, rule: Rule, argument: Any, max_items: int | None, request_id: str | None) -> Plan[tuple[int, Any]]:
        if rule not in _ARGUMENTS:
            raise InvalidValue(f"rule must be one of {', '.join(map(repr, _ARGUMENTS))}, not {shown(rule)}")
        if rule == "increment" and type(argument) not in (int, float):
            raise InvalidValue(f"by must be an int or a float, not {type(argument).__name__}: {shown(argument)}")
        if rule == "append" and type(argument) is not list:
            raise InvalidValue(f"items must be a list, not {type(argument).__name__}: {shown(argument)}")
        if rule != "append" and max_items is not None:
            raise InvalidValue(f"max_items is for 'append' alone, not for {rule!r}")
        most = None if max_items is None else check_count(max_items, "max_items", 1)
        operation = Change(key, rule, encode(argument, _ARGUMENTS[rule]), most)
        check_name(key, "key")
        changed: Changed = yield from write_one(self.namespace, operation, check_request_id(request_id))
        return changed.version, decode_value(changed.answer, self.namespace, key)

    def update(self, key: str, function: Callable[[Any], Any], default: Any) -> Plan[Any]:
        key = check_name(key, "key")
        if not callable(function):
            raise InvalidValue(f"update takes a function of the present value, not {type(function).__name__}")
        attempt = 0
        while True:
            row: EntryRow | None = yield lambda store: store.get(self.namespace, key)
            present = deepcopy(default) if row is None else decode_value(row.value, self.namespace, key)
            value = function(present)  # may change what it is given, and be called again
            operation = Set(key, self.encode(key, value), 0 if row is None else row.version, KEEP)
            try:
                yield from write_one(self.namespace, operation)
            except VersionConflict:
                attempt += 1
                if attempt == UPDATE_ATTEMPTS:
                    raise
            else:
                return value
            yield back_off(attempt)

    def encode(self, key: str, value: Any) -> str:
        return encode(value, f"value of {key!r}", _codec.MAX_VALUE_BYTES)

    # ------------------------------------------------------------------------------------ sessions

    def sessions(self) -> Plan[list[SessionInfo]]:
        found: list[LogInfo] = []
        page: list[LogInfo] = yield lambda store: store.scan_logs(self.namespace, None, PAGE)
        while page:
            found += page
            last = (page[-1].session, page[-1].agent)
            page = (yield lambda store, last=last: store.scan_logs(self.namespace, last, PAGE)) if len(page) >= PAGE else []
        return [SessionInfo.from_log(info) for info in found]

    def delete_session(self, session_id: str) -> Plan[bool]:
        operation = DeleteLog(check_name(session_id, "session id"), None)
        return bool((yield from write_one(self.namespace, operation)))

    def namespaces(self) -> Plan[list[str]]:
        found: list[str] = []
        page: list[str] = yield lambda store: store.namespaces(None, PAGE)
        while page:
            found += page
            last = page[-1]
            page = (yield lambda store, last=last: store.namespaces(last, PAGE)) if len(page) >= PAGE else []
        return [name for name in found if name != RESERVED_NAMESPACE]


def split_glob(prefix: str) -> tuple[str, re.Pattern[str] | None]:
    """The literal prefix to list by, and the pattern that keys must match too, if ``prefix`` holds a ``*``.

    Raises:
        InvalidName: if no key could match.
    """
    if not isinstance(prefix, str):
        raise InvalidName(f"prefix must be a str, not {type(prefix).__name__}: {shown(prefix)}")
    literal, star, _ = prefix.partition("*")
    if not star or prefix == literal + "*":
        return check_prefix(literal), None
    pattern = "".join(".*" if piece == "*" else re.escape(piece) for piece in re.split(r"(\*)", prefix))
    return check_prefix(literal), re.compile(pattern)


def _names(keys: Iterable[str]) -> list[str]:
    if isinstance(keys, str):
        raise InvalidName(f"keys must be several keys, not the one text {shown(keys)}; put it in a list")
    return list(dict.fromkeys([check_name(key, "key") for key in keys]))
