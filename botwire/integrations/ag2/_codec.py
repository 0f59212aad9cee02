"""AG2's events as JSON and back, of the same types: what JSON has no form for is tagged.

A tag is an object with one member whose name starts with ``$``, as ``{"$bytes": "aGk="}``. Classes are named by module and
name, and only those of ``ag2`` and of registered modules are ever looked up: what lies in a store may not choose what is run.
"""

from __future__ import annotations

import base64
import builtins
import dataclasses
import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from importlib import import_module
from typing import Any, cast
from uuid import UUID

from ag2.events import BaseEvent
from pydantic import BaseModel

from botwire import InvalidValue

_ATOMS = frozenset({str, int, bool, type(None)})
_LEAVES: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("$bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: ("$bytes", lambda value: base64.b64encode(value).decode()),
    datetime: ("$datetime", datetime.isoformat),
    date: ("$date", date.isoformat),
    time: ("$time", time.isoformat),
    UUID: ("$uuid", str),
    Decimal: ("$decimal", str),
}
_REVIVE: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$uuid": UUID,
    "$decimal": Decimal,
    "$float": float,
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
    "$dict": dict,
}


class UnknownClass(ValueError):
    """A class that is not there, or that may not be looked up."""


def to_json(value: Any, path: str) -> Any:
    """``value`` as JSON, tagged where JSON has no form for it.

    Args:
        value: an event, or what one may hold.
        path: how messages call it.

    Raises:
        InvalidValue: if it could not come back; names the path inside it.
    """
    kind = cast("type[Any]", type(value))
    if kind in _ATOMS or (kind is float and math.isfinite(value)):
        return value
    if kind is float:
        return {"$float": repr(value)}
    if kind is list:
        return [to_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if kind is dict:
        return _dict_to_json(value, path)
    if kind in (tuple, set, frozenset):
        return {f"${kind.__name__}": [to_json(item, path) for item in value]}
    if kind in _LEAVES:
        tag, convert = _LEAVES[kind]
        return {tag: convert(value)}
    return _object_to_json(value, path)


def from_json(value: Any, modules: Iterable[str]) -> Any:
    """The reverse of ``to_json``.

    An object of a class that may not be looked up comes back as the dict of its members; an event does not.

    Args:
        value: what ``to_json`` returned.
        modules: those whose classes may be looked up, besides those of ``ag2``; each with all that are below it.

    Raises:
        UnknownClass: if it holds an event of a class that is not there, or may not be looked up.
        ValueError, TypeError, KeyError: if it is not what ``to_json`` returns.
    """
    if isinstance(value, list):
        return [from_json(item, modules) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    tag = _tag_of(given)
    if tag is None:
        return {key: from_json(item, modules) for key, item in given.items()}
    held = from_json(given[tag], modules)
    return _REVIVE[tag](held) if tag in _REVIVE else _OBJECTS[tag](*held, modules)


def _dict_to_json(value: dict[Any, Any], path: str) -> Any:
    members = {key: to_json(item, f"{path}[{key!r:.60}]") for key, item in value.items()}
    if all(type(key) is str for key in members) and _tag_of(members) is None:
        return members
    return {"$dict": [[to_json(key, path), item] for key, item in members.items()]}


def _tag_of(value: dict[Any, Any]) -> str | None:
    if len(value) != 1:
        return None
    (key,) = value
    return key if type(key) is str and key.startswith("$") else None


def _object_to_json(value: Any, path: str) -> Any:
    name = f"{type(value).__module__}:{type(value).__qualname__}"
    if isinstance(value, Enum):
        return {"$enum": [name, to_json(value.value, path)]}
    if isinstance(value, BaseException):
        try:
            return {"$error": [name, to_json(list(value.args), path)]}
        except InvalidValue:
            return {"$error": [name, [str(value)]]}
    tag, members = "$object", _members(value)
    if isinstance(value, BaseEvent):
        tag = "$event"
    if members is None:
        raise InvalidValue(f"{path}: a {type(value).__name__} cannot be stored so that it comes back; give dicts, lists, text or numbers")
    return {tag: [name, {member: to_json(item, f"{path}.{member}") for member, item in members.items()}]}


def _members(value: Any) -> dict[str, Any] | None:
    if isinstance(value, BaseEvent):
        return {name: getattr(value, name) for name in value.to_dict()}
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields} | (value.model_extra or {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return None


# ------------------------------------------------------------------------------------- classes


def _class(name: str, modules: Iterable[str], base: type) -> type[Any]:
    module, _, path = name.partition(":")
    if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in ("ag2", *modules)):
        raise UnknownClass(f"{name} is of no module that may be looked up")
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UnknownClass(f"{name} is not there ({error})") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UnknownClass(f"{name} is no {base.__name__}")
    return found


def _event(name: str, members: dict[str, Any], modules: Iterable[str]) -> Any:
    cls = _class(name, modules, BaseEvent)
    return cls(**{member: value for member, value in members.items() if hasattr(cls, member)})  # a newer ag2 may have had more


def _object(name: str, members: dict[str, Any], modules: Iterable[str]) -> Any:
    try:
        cls = _class(name, modules, object)
    except UnknownClass:
        return members
    if issubclass(cls, BaseModel):
        return cls.model_validate(members)
    if not dataclasses.is_dataclass(cls):
        return members
    known = {field.name for field in dataclasses.fields(cls)}
    return cls(**{member: value for member, value in members.items() if member in known})


def _enum(name: str, value: Any, modules: Iterable[str]) -> Any:
    try:
        return _class(name, modules, Enum)(value)
    except ValueError:  # also UnknownClass: as ag2 has it, the bare value
        return value


def _error(name: str, arguments: list[Any], modules: Iterable[str]) -> BaseException:
    module, _, path = name.partition(":")
    try:
        cls: Any = getattr(builtins, path, None) if module == "builtins" else _class(name, modules, BaseException)
        if isinstance(cls, type) and issubclass(cls, BaseException):
            return cls(*arguments)
    except (UnknownClass, TypeError):
        pass
    return Exception(*arguments)


_OBJECTS: dict[str, Callable[..., Any]] = {"$event": _event, "$object": _object, "$enum": _enum, "$error": _error}
