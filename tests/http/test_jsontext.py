"""JSON texts are cut apart exactly where json itself would, and nothing that is not JSON passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botwire import InvalidValue
from botwire._jsontext import check_text, encode_utf8, items, members
from botwire._wire import time_from_iso, time_to_iso, ttl_from_seconds, ttl_to_seconds

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters())
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner), max_leaves=20)
spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")])


@given(st.dictionaries(st.text(st.characters()), values), spaces, st.booleans())
def test_the_members_of_an_object_are_those_that_json_finds(value: dict[str, Any], separators: tuple[str, str], ascii_only: bool) -> None:
    text = f" {json.dumps(value, separators=separators, ensure_ascii=ascii_only)}\n"
    found = members(text, "body")
    assert {name: json.loads(part) for name, part in found.items()} == value
    assert all(part == part.strip() and part in text for part in found.values())


@given(st.lists(values), spaces)
def test_the_items_of_an_array_are_those_that_json_finds(value: list[Any], separators: tuple[str, str]) -> None:
    assert [json.loads(item) for item in items(json.dumps(value, separators=separators), "body")] == value


@given(values)
def test_every_value_passes_and_survives_utf8(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    check_text(text, "value")
    assert json.loads(encode_utf8(text)) == value


@given(st.text(alphabet='{}[]",:0123456789.-+eE truefalsnl\\u\n'))
def test_what_json_refuses_is_refused(text: str) -> None:
    try:
        json.loads(text, parse_constant=lambda _: 1 / 0)
        good = True
    except (ValueError, ZeroDivisionError):
        good = False
    try:
        check_text(text, "value")
    except InvalidValue as error:
        assert not good or "out of range" in str(error)
    else:
        assert good


@given(st.integers(min_value=-62_135_596_800_000_000, max_value=253_402_300_799_999_999))
def test_every_time_comes_back_to_the_microsecond(time: int) -> None:
    assert time_from_iso(time_to_iso(time)) == time
    assert len(time_to_iso(time)) == 27


@given(st.integers(min_value=1, max_value=50 * 366 * 86_400 * 1_000_000))
def test_every_ttl_comes_back_to_the_microsecond(ttl: int) -> None:
    assert ttl_from_seconds(json.loads(json.dumps(ttl_to_seconds(ttl)))) == ttl


@pytest.mark.parametrize("text", ["2026-11-22T14:00:00", "yesterday", 5, None, "", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(InvalidValue):
        time_from_iso(text)
