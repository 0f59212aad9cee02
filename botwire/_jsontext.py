"""JSON texts: checked, cut apart and put together, without turning their values into Python's and back.

What passes through as text is exact whatever it holds, and costs no conversion: an integer of a million
digits takes Python 3.11 many seconds to convert, and one request may carry it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

from botwire._codec import MAX_DEPTH
from botwire._errors import InvalidValue

quote = json.JSONEncoder(ensure_ascii=False).encode
"""The JSON string of a text."""

_skip_space = re.compile(r"[ \t\n\r]*").match


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text:.40} is out of range")
    return number


def _no_number(_: str) -> int:
    return 0


_decode_at = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).raw_decode
_decode_long_at = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, parse_int=_no_number).raw_decode


def encode_utf8(text: str) -> bytes:
    """A JSON text as UTF-8. Lone surrogates, which UTF-8 cannot hold, become the escapes that JSON has for them."""
    return text.encode("utf-8", "backslashreplace")


def decode_utf8(body: bytes, what: str) -> str:
    """The text of a body.

    Raises:
        InvalidValue: if it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue(f"{what} is not UTF-8: {error.reason} at byte {error.start}") from error


def check_text(text: str, what: str) -> None:
    """Refuse a text that is not the JSON text of a value.

    Raises:
        InvalidValue: if it is no JSON, nested too deep, or holds a number that is not finite.
    """
    _check_end(text, _value_end(text, _space_end(text, 0), what), what)


def members(text: str, what: str) -> dict[str, str]:
    """The members of a JSON object, each by its own JSON text; of equal names the last one counts.

    Raises:
        InvalidValue: if the text is not that of an object.
    """
    at = _space_end(text, 0)
    if text[at : at + 1] != "{":
        _check_end(text, _value_end(text, at, what), what)
        raise InvalidValue(f"{what} must be a JSON object")
    found: dict[str, str] = {}
    at = _space_end(text, at + 1)
    more = text[at : at + 1] != "}"
    while more:
        name, at = _member_name(text, at, what)
        end = _value_end(text, at, what)
        found[name] = text[at:end]
        at, more = _next(text, end, "}", what)
    _check_end(text, at + 1, what)
    return found


def items(text: str, what: str) -> list[str]:
    """The items of a JSON array, each by its own JSON text.

    Raises:
        InvalidValue: if the text is not that of an array.
    """
    at = _space_end(text, 0)
    if text[at : at + 1] != "[":
        raise InvalidValue(f"{what} must be a JSON array")
    found: list[str] = []
    at = _space_end(text, at + 1)
    more = text[at : at + 1] != "]"
    while more:
        end = _value_end(text, at, what)
        found.append(text[at:end])
        at, more = _next(text, end, "]", what)
    _check_end(text, at + 1, what)
    return found


def _space_end(text: str, at: int) -> int:
    match = _skip_space(text, at)
    return match.end() if match else at


def _member_name(text: str, at: int, what: str) -> tuple[str, int]:
    """The name that begins at ``at``, and where its value begins."""
    if text[at : at + 1] != '"':
        raise InvalidValue(f"{what} is not JSON: expected a member's name at character {at}")
    try:
        name, at = _decode_at(text, at)
    except ValueError as error:
        raise InvalidValue(f"{what} is not JSON: {error}") from error
    at = _space_end(text, at)
    if text[at : at + 1] != ":":
        raise InvalidValue(f"{what} is not JSON: expected ':' at character {at}")
    return name, _space_end(text, at + 1)


def _next(text: str, end: int, closing: str, what: str) -> tuple[int, bool]:
    """Where the next item begins, or the closing bracket is, after an item that ends at ``end``."""
    at = _space_end(text, end)
    mark = text[at : at + 1]
    if mark == closing:
        return at, False
    if mark != ",":
        raise InvalidValue(f"{what} is not JSON: expected ',' or '{closing}' at character {at}")
    return _space_end(text, at + 1), True


def _value_end(text: str, at: int, what: str) -> int:
    try:
        try:
            value, end = _decode_at(text, at)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of more digits than Python converts, or a number that JSON does not have
            value, end = _decode_long_at(text, at)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"{what} is not JSON: {error}") from error
    if text.count("[", at, end) + text.count("{", at, end) > MAX_DEPTH:
        _check_depth(value, what)
    return end


def _check_end(text: str, at: int, what: str) -> None:
    if _space_end(text, at) != len(text):
        raise InvalidValue(f"{what} is not JSON: more text after its end at character {at}")


def _check_depth(value: Any, what: str) -> None:
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []  # brackets in a string do not nest
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            children = cast("dict[str, Any]", item).values() if isinstance(item, dict) else item
            below.extend(child for child in children if type(child) in (dict, list))
        if not below:
            return
        level = below
    raise InvalidValue(f"{what} is nested over {MAX_DEPTH} deep; flatten it, or store it as text")
