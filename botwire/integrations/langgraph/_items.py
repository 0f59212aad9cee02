"""An item of the long-term store as an entry, and which items a filter means."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

from botwire import InvalidName, InvalidValue, StoreCorrupt
from botwire.stores import EntryRow

ROOT = "store/"
MOST_BYTES = 512
"""Longest key of an entry, in bytes of UTF-8."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPECIAL = re.compile(r"[%/!\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPE = re.compile(r"%([0-9a-f]{4})")
_dump = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode

Namespace = tuple[str, ...]


# ------------------------------------------------------------------------------------------ names


def prefix_of(namespace: Namespace) -> str:
    """What the keys of a namespace's items, and of those below it, begin with."""
    return ROOT + "".join(f"{_escape(label)}/" for label in namespace)


def key_of(namespace: Namespace, key: str) -> str:
    """The key of an item's entry. A ``!`` marks the last part, so that a namespace's own items lie together.

    Raises:
        InvalidName: if it is too long.
    """
    name = f"{prefix_of(namespace)}!{_escape(key)}"
    if (size := len(name.encode())) > MOST_BYTES:
        raise InvalidName(f"the namespace {namespace!r:.200} with the key {key!r:.200} takes {size} bytes, over the limit of {MOST_BYTES}")
    return name


def names_of(name: str) -> tuple[Namespace, str]:
    """The reverse of ``key_of``."""
    *labels, key = name[len(ROOT) :].split("/")
    return tuple(map(_unescape, labels)), _unescape(key[1:])


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"%{ord(match[0]):04x}", text)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


# ----------------------------------------------------------------------------------------- values


class Stored(NamedTuple):
    """An item as stored. ``ttl`` is in microseconds."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    ttl: int | None
    created_at: datetime
    updated_at: datetime


def to_text(value: Mapping[str, Any], ttl: int | None) -> str:
    """An item's value, and its time to live, as the JSON text of an entry.

    Raises:
        InvalidValue: if the value would not come back equal; names the path inside it.
    """
    members: dict[str, Any] = {"value": _tagged(value, "value")}
    if ttl is not None:
        members["ttl"] = ttl
    try:
        return _dump(members)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"the value cannot be stored: {error}") from error


def parse(row: EntryRow) -> Stored:
    """The item of an entry.

    Raises:
        StoreCorrupt: if it is none.
    """
    try:
        members = json.loads(row.value)
        value, ttl = _untagged(members["value"]), members.get("ttl")
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"the item {row.key!r} cannot be read: {error!r}") from error
    return Stored(*names_of(row.key), value, ttl, _moment(row.created_at), _moment(row.updated_at))


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _tagged(value: Any, path: str) -> Any:
    """``value`` as JSON; NaN and the infinities, which JSON has no form for, as ``{"$float": "nan"}``."""
    kind = cast("type[Any]", type(value))
    if kind is float and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or kind in (str, int, bool, float):
        return value
    if kind is list:
        return [_tagged(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if kind is not dict:
        cure = "use str()" if isinstance(value, str) else "convert it to dicts, lists, text and numbers"  # as LangChain's message.text
        raise InvalidValue(f"{path}: a {kind.__name__} would not come back as it is; {cure}")
    for key in value:
        if type(key) is not str:
            raise InvalidValue(f"{path}: the dict key {key!r:.60} is not text")
    members = {key: _tagged(item, f"{path}[{key!r:.60}]") for key, item in value.items()}
    return {"$dict": members} if members.keys() in ({"$float"}, {"$dict"}) else members


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value)
    if members.keys() == {"$float"}:
        return float(members["$float"])
    members = members["$dict"] if members.keys() == {"$dict"} else members
    return {key: _untagged(item) for key, item in members.items()}


# ---------------------------------------------------------------------------------------- filters

_MISSING = object()


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    """Whether an item's value has all that a filter wants.

    A plain value must be equal, a list item by item; None means that the field is missing or None. A dict wants its
    members inside the field's dict, or compares: ``$eq``, ``$ne``, ``$gt``, ``$gte``, ``$lt``, ``$lte``. Numbers
    compare as numbers and text as text; what cannot be compared does not match. A missing field matches ``$ne``.
    """
    return all(_fits(value.get(key, _MISSING), expected) for key, expected in (wanted or {}).items())


def _fits(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        members = cast("dict[str, Any]", expected)
        if any(key.startswith("$") for key in members):
            return all(_compares(found, operator, operand) for operator, operand in members.items())
        return isinstance(found, dict) and matches(cast("dict[str, Any]", found), members)
    if isinstance(expected, (list, tuple)):
        return isinstance(found, list) and list(cast("Sequence[Any]", expected)) == found
    return (None if found is _MISSING else found) == expected


def _compares(found: Any, operator: str, operand: Any) -> bool:
    if operator not in _OPERATORS:
        raise ValueError(f"unknown operator {operator!r} in a filter; there are {', '.join(_OPERATORS)}")
    if operator in ("$eq", "$ne"):
        return _OPERATORS[operator](None if found is _MISSING else found, operand)
    try:
        return bool(_OPERATORS[operator](found, operand))
    except TypeError:
        return False


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, operand: found == operand,
    "$ne": lambda found, operand: found != operand,
    "$gt": lambda found, operand: found > operand,
    "$gte": lambda found, operand: found >= operand,
    "$lt": lambda found, operand: found < operand,
    "$lte": lambda found, operand: found <= operand,
}


def begins(namespace: Namespace, path: Sequence[str]) -> bool:
    """Whether a namespace begins with ``path``, in which ``*`` is any one label."""
    return len(namespace) >= len(path) and all(want in ("*", label) for label, want in zip(namespace, path, strict=False))


def ends(namespace: Namespace, path: Sequence[str]) -> bool:
    """Whether a namespace ends with ``path``, in which ``*`` is any one label."""
    return begins(namespace[::-1], list(path)[::-1])


def namespaces(store: Any, memory_namespace: str, prefix: str, page_size: int = 100) -> Iterator[Namespace]:
    """The namespaces that hold an item, under a prefix of keys. Passes over the many items of one without reading them all."""
    after: str | None = None
    last: Namespace | None = None
    while keys := store.scan_keys(memory_namespace, prefix, after, page_size):
        for key in keys:
            namespace = names_of(key)[0]
            if namespace != last:
                yield namespace
                last = namespace
        if len(keys) < page_size:
            return
        own = keys[-1].rpartition("/")[0] + "/!"
        after = own + "\U0010ffff" if keys[0].startswith(own) else keys[-1]
