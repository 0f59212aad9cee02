"""Values to text: what is stored is plain JSON, exact, and refused with its place where it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from uuid import uuid4

import pytest

from botwire import InvalidValue, StoreCorrupt, ValueTooLarge
from botwire._codec import decode, encode, parse


class Colour(StrEnum):
    RED = "red"


def nested(depth):
    value = "core"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        ("é", '"é"'),
        ("\ud800é", '"\\ud800é"'),
        ("\0", '"\\u0000"'),
        ({"b": [1, {}], "a": None}, '{"b":[1,{}],"a":null}'),
    ],
)
def test_what_is_stored_is_compact_json(value, text):
    """Any JSON reader can read it, and it can be stored as UTF-8."""
    assert encode(value) == text
    assert json.loads(text) == value
    encode(value).encode()


@pytest.mark.parametrize(
    ("value", "place", "cure"),
    [
        ({"a": [1, (2,)]}, "it['a'][1]", "use a list"),
        ([{1, 2}], "it[0]", "sorted list"),
        ({"a": b"x"}, "it['a']", "base64"),
        (datetime(2026, 1, 1, tzinfo=UTC), "it", "isoformat"),
        ([date(2026, 1, 1)], "it[0]", "isoformat"),
        (Decimal(1), "it", r"str\(\) or float\(\)"),
        (uuid4(), "it", r"str\(\)"),
        (OrderedDict(), "it", r"dict\(\)"),
        ([defaultdict(list)], "it[0]", r"dict\(\)"),
        ({"a": Colour.RED}, "it['a']", r"a Colour would not come back as it is; use str\(\)$"),
        ([HTTPStatus.OK], "it[0]", r"use int\(\)$"),
        (object(), "it", "convert"),
        (float("nan"), "it", "nan has no JSON form"),
        ({"a": {2: "x"}}, "it['a']", "the dict key 2 is an int, not str"),
        ({"a": ["\ud83d\ude00"]}, "it['a'][0]", "surrogate pair"),
        ({"\ud83d\ude00": 1}, "it, a dict key", "surrogate pair"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_place_and_cure(value, place, cure):
    """The message has the path inside the value, and what to do."""
    with pytest.raises(InvalidValue, match=cure) as caught:
        encode(value, "it")
    assert str(caught.value).startswith(f"{place}: ")


def test_the_path_of_something_deep_is_cut_in_its_middle():
    """A long path stays readable."""
    with pytest.raises(InvalidValue) as caught:
        encode({"outer": [nested(60), b""]}, "it")
    assert str(caught.value).startswith("it['outer'][1]: ")
    value = b"x"
    for _ in range(60):
        value = [value]
    with pytest.raises(InvalidValue) as caught:
        encode(value, "it")
    assert "…" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_nesting_has_a_limit():
    """200 levels are stored; more are refused, and so is a value that holds itself."""
    assert decode(encode(nested(200)), "it") == nested(200)
    with pytest.raises(InvalidValue, match="nested over 200 deep"):
        encode(nested(250))
    endless = []
    endless.append(endless)
    with pytest.raises(InvalidValue, match="nested over 200 deep"):
        encode(endless)
    wide = {}
    wide.update(a=wide, b=[wide, wide])
    with pytest.raises(InvalidValue, match="nested over 200 deep"):
        encode(wide)


def test_a_limit_of_size_counts_bytes_of_utf8():
    """A text exactly as long as the limit is stored, one byte more is not."""
    assert encode("é" * 4, max_bytes=10) == '"éééé"'
    for value in ("é" * 4 + "x", "\ud800éx"):  # a lone surrogate is six bytes, as an escape
        with pytest.raises(ValueTooLarge, match="it is 11 bytes of JSON, over the limit of 10"):
            encode(value, "it", max_bytes=10)


@pytest.mark.parametrize("text", ["", "{", "nothing", "NaN", "[Infinity]", "1 2", "[" * 100_000, '"\t"', "'x'"])
def test_a_stored_text_that_is_no_json_is_corrupt(text):
    """What lay where is named; NaN and endless nesting are no values either."""
    with pytest.raises(StoreCorrupt, match="the value of 'k' cannot be read back"):
        decode(text, "the value of 'k'")


@pytest.mark.parametrize("text", ["{", "NaN", "1e999", "[-1e999]", "[" * 300 + "]" * 300])
def test_a_text_from_outside_is_refused(text):
    """What came from outside is the caller's mistake, not the store's."""
    with pytest.raises(InvalidValue):
        parse(text)


def test_long_ints_do_not_depend_on_pythons_limit():
    """Where Python turns only 640 digits into text, ints of any size are stored, shown and read all the same."""
    program = """
from botwire import Memory, InvalidName
from botwire._codec import encode, decode
for digits in (500, 639, 640, 641, 1_000, 4_000, 5_000, 20_000):
    number = 10**digits + 7
    for value in (number, -number, [1, {"n": number, "#": "#", "##": ["##", number]}], ["\\ud800", number]):
        assert decode(encode(value), "it") == value, digits
try:
    Memory(10**1_000)
except InvalidName as error:
    assert "not int" in str(error)
print("same")
"""
    done = subprocess.run([sys.executable, "-X", "int_max_str_digits=640", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("same", "")
