"""Values to JSON text and back, exactly or not at all.

A value comes back equal and of the same type. What JSON cannot hold so is refused before anything is
written, and the error names the path inside the value.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

from botwire._errors import InvalidValue, StoreCorrupt, ValueTooLarge, shown
from botwire._longint import LONG_BITS, int_text, parse_int

MAX_VALUE_BYTES = 256 * 1024 * 1024
"""Largest value or message a store takes, in bytes of JSON text as UTF-8; a server may set less."""

MAX_DEPTH = 200
"""Deepest nesting of a value: far below what any supported Python's JSON parser refuses."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_SCALARS = frozenset({str, int, float, bool, type(None)})
_CURES = {
    "tuple": "use a list",
    "set": "use a sorted list",
    "frozenset": "use a sorted list",
    "bytes": "use base64 text",
    "bytearray": "use base64 text",
    "datetime": "use .isoformat()",
    "date": "use .isoformat()",
    "Decimal": "use str() or float()",
    "UUID": "use str()",
}
_KINDS = (str, int, float, list, dict)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_encode_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def encode(value: Any, what: str = "value", max_bytes: int = MAX_VALUE_BYTES) -> str:
    """The JSON text of ``value``: compact, keys in their order, storable as UTF-8.

    Args:
        value: None, bool, int of any size, finite float, str, or lists and str-keyed dicts of these.
        what: how messages call it.
        max_bytes: largest size of the text in bytes of UTF-8.

    Raises:
        InvalidValue: if it would not come back equal and of the same type; names the path inside it.
        ValueTooLarge: if the text is over ``max_bytes``.
    """
    if type(value) not in _SCALARS or type(value) is float:
        _check(value, what)
    try:
        text = _encode_text(value)
    except ValueError:  # an int of more digits than Python turns into text by default
        text = _encode_long_ints(value)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:  # a lone surrogate: JSON can escape it, UTF-8 cannot hold it
        if _PAIR.search(text):
            where = _place_of_pair(value, what) or what
            message = f"{where}: a surrogate pair in two characters would come back as one; decode the text it came from as UTF-16"
            raise InvalidValue(message) from None
        utf8 = text.encode("utf-8", "backslashreplace")
        text, size = utf8.decode(), len(utf8)
    if size > max_bytes:
        raise ValueTooLarge(f"{what} is {size:,} bytes of JSON, over the limit of {max_bytes:,}; split it over several keys")
    return text


def decode(text: str, what: str) -> Any:
    """The value of a stored text.

    Raises:
        StoreCorrupt: if it is not the JSON text of a value; ``what`` says where it lay.
    """
    try:
        return _load(text)
    except (ValueError, RecursionError) as error:
        raise StoreCorrupt(f"{what} cannot be read back: {error}; `botwire doctor` checks the whole store") from error


def parse(text: str, what: str = "body") -> Any:
    """The value of a JSON text that came from outside.

    Raises:
        InvalidValue: if it is not JSON, or holds what a value may not: NaN, a number out of range, nesting over the limit.
    """
    try:
        value = _load(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"{what} is not JSON: {error}") from error
    _check(value, what)
    return value


def _load(text: str) -> Any:
    try:
        value, end = _decoder.raw_decode(text)  # without looking for space around it, which our own texts never have
        return value if end == len(text) else _decoder.decode(text)
    except json.JSONDecodeError:
        return _decoder.decode(text)
    except ValueError as error:
        if "integer string conversion" not in str(error):
            raise
        return json.loads(text, parse_int=parse_int, parse_constant=_refuse_constant)


def _check(value: Any, what: str) -> None:  # noqa: C901 - one loop over all kinds of values: it runs for every write
    """Refuse whatever would not come back as it went in.

    Walks with an explicit stack, level by level; paths are only built for what is refused.
    """
    level: list[tuple[Any, Any, Any]] = [(value, None, None)]  # (value, its parent's row, its key there)
    depth = 0
    while level:
        if depth > MAX_DEPTH:
            raise InvalidValue(f"{_path(level[0], what)}: nested over {MAX_DEPTH} deep; flatten it, or store it as text")
        depth += 1
        below: list[tuple[Any, Any, Any]] = []
        for row in level:
            item = row[0]
            kind = cast("Any", type(item))
            if kind is dict:
                for key, child in item.items():
                    if type(key) is not str:
                        raise InvalidValue(f"{_path(row, what)}: the dict key {shown(key, 60)} is {_a(key)}, not str; JSON keys are text")
                    if type(child) not in _SCALARS or type(child) is float:
                        below.append((child, row, key))
            elif kind is list:
                below.extend((child, row, index) for index, child in enumerate(item) if type(child) not in _SCALARS or type(child) is float)
            elif kind is float:
                if not math.isfinite(item):
                    raise InvalidValue(f"{_path(row, what)}: {item!r} has no JSON form; use None or text")
            elif kind not in _SCALARS:
                raise InvalidValue(f"{_path(row, what)}: {_a(item)} would not come back as it is; {_cure(kind)}")
        level = _each_once(below)


def _each_once(rows: list[tuple[Any, Any, Any]]) -> list[tuple[Any, Any, Any]]:
    """Of very many rows those of different objects: in a list that holds itself twice they would double level by level."""
    return rows if len(rows) < 1_000 else list({id(row[0]): row for row in rows}.values())


def _cure(kind: type[Any]) -> str:
    """What to write instead: of a subclass (an enumeration, LangChain's ``message.text``) what it is one of."""
    base = next((f"use {base.__name__}()" for base in _KINDS if issubclass(kind, base)), "convert it to dicts, lists, text and numbers")
    return _CURES.get(kind.__name__, base)


def _a(item: Any) -> str:
    name = type(item).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _path(row: tuple[Any, Any, Any], what: str) -> str:
    parts: list[str] = []
    while row[1] is not None:
        parts.append(f"[{shown(row[2], 60)}]")
        row = row[1]
    if len(parts) > 12:
        parts[4:-4] = ["…"]
    return what + "".join(reversed(parts))


def _place_of_pair(item: Any, where: str) -> str | None:
    if isinstance(item, str):
        return where if _PAIR.search(item) else None
    children: list[tuple[str, Any]] = []
    if isinstance(item, dict):
        members = cast("dict[str, Any]", item)
        children = [(f"{where}, a dict key", key) for key in members] + [(f"{where}[{key!r:.60}]", child) for key, child in members.items()]
    elif isinstance(item, list):
        children = [(f"{where}[{index}]", child) for index, child in enumerate(cast("list[Any]", item))]
    return next((found for place, child in children if (found := _place_of_pair(child, place))), None)


def _encode_long_ints(value: Any) -> str:
    """Python limits int-to-text against slow conversions, at 4,300 digits or as few as 640; here they are fast.

    Each long int leaves a mark in its place that no other text in the value contains.
    """
    mark = "#"
    while mark in _encode_text(_swap_long_ints(value, [], "")):
        mark += "#"
    digits: list[str] = []
    parts = _encode_text(_swap_long_ints(value, digits, mark)).split(f'"{mark}"')
    return "".join(part + number for part, number in zip(parts, [*digits, ""], strict=True))


def _swap_long_ints(item: Any, digits: list[str], mark: str) -> Any:
    if type(item) is int and item.bit_length() > LONG_BITS:
        digits.append(int_text(item))
        return mark
    if isinstance(item, list):
        return [_swap_long_ints(child, digits, mark) for child in cast("list[Any]", item)]
    if isinstance(item, dict):
        return {key: _swap_long_ints(child, digits, mark) for key, child in cast("dict[str, Any]", item).items()}
    return item
