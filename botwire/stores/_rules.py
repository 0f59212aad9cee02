"""How a Change computes the new value: pure functions, the same in every store that runs Python."""

from __future__ import annotations

from typing import Any, cast

from botwire._codec import MAX_VALUE_BYTES, decode, encode
from botwire._errors import InvalidValue
from botwire.stores._protocol import Change


def apply_change(change: Change, present: str | None) -> tuple[str, str]:
    """The new value's text and the answer's text.

    Args:
        change: the rule and its argument.
        present: the present value's text; None if there is no entry.

    Raises:
        InvalidValue: if the rule does not apply to the present value, or the result cannot be stored.
    """
    what = f"the value of {change.key!r}"
    value = None if present is None else decode(present, what)
    argument = decode(change.argument, "the argument")
    limit = MAX_VALUE_BYTES if change.max_bytes is None else change.max_bytes
    if change.rule == "increment":
        total = encode(_increment(value, argument, present is None, what), what, limit)
        return total, total
    if change.rule == "append":
        items = _append(value, argument, present is None, change.max_items, what)
        return encode(items, what, limit), str(len(items))
    merged = encode(merge_patch(value, argument), what, limit)
    return merged, merged


def _increment(value: Any, by: Any, absent: bool, what: str) -> Any:
    if absent:
        value = 0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidValue(f"{what} is {_kind(value)}, so it cannot be incremented; set() a number first")
    try:
        return value + by
    except OverflowError as error:  # an int beyond all floats, and a float
        raise InvalidValue(f"{what} and the increment have no sum that a number can hold: {error}") from error


def _append(value: Any, items: list[Any], absent: bool, max_items: int | None, what: str) -> list[Any]:
    if absent:
        value = []
    if type(value) is not list:
        raise InvalidValue(f"{what} is {_kind(value)}, so nothing can be appended; set() a list first")
    items = [*value, *items]
    return items if max_items is None else items[-max_items:]


def merge_patch(target: Any, patch: Any) -> Any:
    """JSON Merge Patch, RFC 7396 section 2: null removes a member, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(cast("dict[str, Any]", target)) if type(target) is dict else {}
    for name, change in cast("dict[str, Any]", patch).items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), change)
    return merged


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", bool: "a bool", type(None): "null"}.get(cast("Any", type(value)), "a number")
