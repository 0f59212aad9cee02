"""Checks a call's arguments against the schema that the tool shows, so that the two cannot differ.

Knows the part of JSON Schema that the tools' schemas use. Nothing is converted: "5" is no number, and text that looks
like JSON is text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from botwire.integrations.mcp._failures import invalid

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NAMES = {dict: "an object", list: "an array", str: "a string", int: "an integer", float: "a number", bool: "a boolean", type(None): "null"}


def check_arguments(schema: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    """Refuse arguments that the schema does not admit.

    Raises:
        Refusal: naming the argument and what it should be.
    """
    _refuse_surrogates(arguments)
    _check(schema, arguments, "")


def _check(schema: Mapping[str, Any], value: Any, where: str) -> None:
    if "type" in schema:
        _check_type(schema["type"], value, where)
    if "enum" in schema and value not in schema["enum"]:
        raise invalid(f"{where} must be one of {', '.join(map(repr, schema['enum']))}, not {value!r:.80}")
    if isinstance(value, dict) and "properties" in schema:
        _check_members(schema, cast("dict[str, Any]", value), where)
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        _check_size(schema, len(items), where, "Items", "items")
        for index, item in enumerate(items if "items" in schema else ()):
            _check(schema["items"], item, f"{where}[{index}]")
    elif isinstance(value, str):
        _check_size(schema, len(value), where, "Length", "characters")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_range(schema, value, where)


def _check_type(wanted: str | list[str], value: Any, where: str) -> None:
    names = [wanted] if isinstance(wanted, str) else wanted
    kinds = {kind for name in names for kind in _TYPES[name]}
    given = cast("type[Any]", type(value))
    if given not in kinds:
        raise invalid(f"{where or 'arguments'} must be of type {' or '.join(names)}, not {_NAMES.get(given, given.__name__)}")


def _check_members(schema: Mapping[str, Any], value: dict[str, Any], where: str) -> None:
    known: Mapping[str, Any] = schema["properties"]
    inside = f" in {where}" if where else ""
    for name in schema.get("required", ()):
        if name not in value:
            raise invalid(f"{name} is missing{inside}")
    for name, member in value.items():
        if name in known:
            _check(known[name], member, f"{where}.{name}" if where else name)
        elif schema.get("additionalProperties") is False:
            raise invalid(f"there is no argument {name!r:.80}{inside}; there are {', '.join(known)}")


def _check_size(schema: Mapping[str, Any], size: int, where: str, bound: str, units: str) -> None:
    if size < schema.get(f"min{bound}", 0):
        raise invalid(f"{where} must have at least {schema[f'min{bound}']} {units}, not {size}")
    if size > schema.get(f"max{bound}", size):
        raise invalid(f"{where} must have at most {schema[f'max{bound}']} {units}, not {size}")


def _check_range(schema: Mapping[str, Any], number: float, where: str) -> None:
    if number < schema.get("minimum", number):
        raise invalid(f"{where} must be {schema['minimum']} or more, not {number!r:.40}")
    if number > schema.get("maximum", number):
        raise invalid(f"{where} must be {schema['maximum']} or less, not {number!r:.40}")
    if number <= schema.get("exclusiveMinimum", float("-inf")):
        raise invalid(f"{where} must be over {schema['exclusiveMinimum']}, not {number!r:.40}")


def _refuse_surrogates(arguments: dict[str, Any]) -> None:
    """A lone surrogate is half a character: MCP's transports cannot carry it back, so nothing with one is taken."""
    level: list[tuple[str, Any]] = list(arguments.items())
    while level:
        below: list[tuple[str, Any]] = []
        for where, item in level:
            if isinstance(item, dict):
                members = cast("dict[str, Any]", item)
                below += [(f"{where}, a member's name", name) for name in members]
                below += [(f"{where}.{name}", child) for name, child in members.items()]
            elif isinstance(item, list):
                below += [(f"{where}[{index}]", child) for index, child in enumerate(cast("list[Any]", item))]
            elif isinstance(item, str) and (found := _SURROGATE.search(item)):
                place = where.encode("utf-8", "backslashreplace").decode()
                raise invalid(f"{place:.200} holds the lone surrogate {found[0]!r} at position {found.start()}, which is not text")
        level = below
