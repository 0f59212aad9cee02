"""Python values as JSON and back, of the same type: what JSON has no form for is tagged.

A tag is an object with one member whose name starts with ``$``, as ``{"$bytes": "aGk="}``. A dict that looks like one,
or has keys that are not text, is itself tagged. Whatever has no tag is refused, by the path inside the value: a
message that could be written but not read would make its conversation unreadable later, when it is too late.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast
from uuid import UUID

from langchain_core.documents import Document
from pydantic import BaseModel

from botwire import InvalidValue

Objects: TypeAlias = Literal["refuse", "dict"]
"""What becomes of pydantic models and dataclasses inside a message: refused, or stored as plain dicts."""

_ATOMS = frozenset({str, int, bool, type(None)})


def _bytes_text(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _document_dict(value: Document) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).model_fields}


_LEAVES: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("$bytes", _bytes_text),
    bytearray: ("$bytearray", _bytes_text),
    datetime: ("$datetime", datetime.isoformat),
    date: ("$date", date.isoformat),
    time: ("$time", time.isoformat),
    timedelta: ("$timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    UUID: ("$uuid", str),
    Decimal: ("$decimal", str),
}
_GROUPS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    tuple: ("$tuple", list),
    set: ("$set", lambda value: sorted(value, key=repr)),
    frozenset: ("$frozenset", lambda value: sorted(value, key=repr)),
    Document: ("$document", _document_dict),
}
_REVIVE: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$bytearray": lambda text: bytearray(base64.b64decode(text)),
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda parts: timedelta(*parts),
    "$uuid": UUID,
    "$decimal": Decimal,
    "$float": float,
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$document": lambda members: Document(**members),
    "$dict": dict,
}


def to_json(value: Any, path: str, objects: Objects = "refuse") -> Any:
    """``value`` as JSON, tagged where JSON has no form for it.

    Args:
        value: None, bool, int, float, str, bytes, datetime and its kin, UUID, Decimal, a Document, or lists, tuples,
            sets and dicts of these.
        path: how messages call it.
        objects: what to do with pydantic models and dataclasses.

    Raises:
        InvalidValue: if it could not come back as it is; names the path inside it.
    """
    kind = cast("type[Any]", type(value))
    if kind in _ATOMS or (kind is float and math.isfinite(value)):
        return value
    if kind is float:
        return {"$float": repr(value)}
    if kind is list:
        return [to_json(item, f"{path}[{index}]", objects) for index, item in enumerate(value)]
    if kind is dict:
        return _dict_to_json(value, path, objects)
    if kind in _LEAVES:
        tag, convert = _LEAVES[kind]
        return {tag: convert(value)}
    if kind in _GROUPS:
        tag, convert = _GROUPS[kind]
        return {tag: to_json(convert(value), path, objects)}
    if objects == "dict" and (members := _members(value)) is not None:
        return to_json(members, path, objects)
    raise InvalidValue(f"{path}: a {kind.__name__} cannot be stored so that it comes back equal; {_cure(value)}")


def from_json(value: Any) -> Any:
    """The reverse of ``to_json``.

    Raises:
        ValueError, TypeError, KeyError: if a tag is not one of ours, or does not hold what it should.
    """
    if isinstance(value, list):
        return [from_json(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = {key: from_json(item) for key, item in cast("dict[str, Any]", value).items()}
    tag = _tag_of(members)
    return members if tag is None else _REVIVE[tag](members[tag])


def plain(value: Any) -> Any:
    """``value`` as JSON that any other reader understands, where it need not come back: bytes as base64, the rest as text or lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in cast("Iterable[Any]", value)]
    if type(value) in _ATOMS or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return _bytes_text(value)
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types throughout; NaN is the same as NaN."""
    if type(one) is not type(other):
        return False
    if type(one) is dict:
        items = cast("dict[Any, Any]", one).items()
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in items)
    if type(one) in (list, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (type(one) is float and math.isnan(one) and math.isnan(other))


def _dict_to_json(value: dict[Any, Any], path: str, objects: Objects) -> Any:
    members = {key: to_json(item, f"{path}[{key!r:.60}]", objects) for key, item in value.items()}
    if all(type(key) is str for key in members) and _tag_of(members) is None:
        return members
    return {"$dict": [[to_json(key, f"{path}: the dict key {key!r:.60}", objects), item] for key, item in members.items()]}


def _tag_of(value: dict[Any, Any]) -> str | None:
    if len(value) != 1:
        return None
    (key,) = value
    return key if type(key) is str and key.startswith("$") else None


def _members(value: Any) -> dict[str, Any] | None:
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields} | (value.model_extra or {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _cure(value: Any) -> str:
    if _members(value) is None:
        return "convert it to dicts, lists, text or numbers first"
    return "convert it to a dict first, or let BotWireChatHistory(..., objects='dict') do so"
