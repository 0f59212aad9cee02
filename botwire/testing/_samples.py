"""Values and names that stores have been seen to get wrong."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from typing import Any


def nested(depth: int) -> Any:
    """A list in a list, ``depth`` deep."""
    value: Any = "core"
    for _ in range(depth):
        value = [value]
    return value


VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one, which is not true": 1,
    "int of 64 bits and more": 2**64 + 1,
    "int of 10,000 digits": 10**9_999 + 7,
    "negative int of 10,000 digits, inside": {"n": [-(10**9_999) - 3, 1]},
    "float that is whole": 1.0,
    "negative zero": -0.0,
    "tenths": 0.1 + 0.2,
    "largest float": 1.7976931348623157e308,
    "smallest float": 5e-324,
    "empty text": "",
    "NUL in text": "a\0b",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85\u2028",
    "lone surrogates": ["\ud800", "x\udfff y", {"\udc80": "\U0001f600"}],
    "a lone surrogate beside an int of 5,000 digits": ["é\ud800\\", 10**4_999],
    "surrogate pair's halves, apart": "\ud83d" + " " + "\ude00",
    "emoji and the last code point": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0010ffff",
    "combining characters stay as they are": ["é", "e\u0301"],
    "text that looks like an object": '{"a": 1}',
    "text that looks like a list": "[1, 2]",
    "text that looks like a number": "42",
    "text that looks like null": "null",
    "text that looks like JSON text": '"quoted"',
    "text that looks like an escape": "\\u0041\\n%41&lt;",
    "empty list": [],
    "empty object": {},
    "empty member name": {"": {"": []}},
    "members in the caller's order": {"b": 1, "a": 2, "10": 3, "9": 4},
    "members that differ by case": {"Key": 1, "key": 2},
    "members named as the wire's": {"value": 1, "version": 99, "key": "x", "namespace": "y", "deleted": True, "code": "closed"},
    "every kind in one": [None, True, 1, 1.0, "1", [1], {"1": 1}],
    "nesting of 200": nested(200),
    "text of one MiB as JSON": "x" * (1024 * 1024 - 2),
    "text of many bytes a character": "\U0001f600" * 50_000,
}
"""JSON values by what is special about them."""


def _holding_itself() -> Any:
    value: list[Any] = [1]
    value += [value, value]
    return value


BAD_VALUES: dict[str, tuple[Any, str]] = {
    "NaN": (float("nan"), ""),
    "infinity": ([1, float("inf")], "[1]"),
    "bytes": (b"x", ""),
    "bytearray inside": ({"a": bytearray(b"x")}, "['a']"),
    "tuple": ({"a": [(1, 2)]}, "['a'][0]"),
    "set": ([{1}], "[0]"),
    "datetime": ({"when": {"at": datetime(2026, 1, 1, tzinfo=UTC)}}, "['when']['at']"),
    "int as a member name": ({"a": {1: "x"}}, "['a']"),
    "None as a member name": ({None: "x"}, ""),
    "an object of some class": ([object()], "[0]"),
    "text of a subclass": (type("Text", (str,), {})("x"), ""),
    "int of a subclass": (type("Int", (int,), {})(1), ""),
    "dict of a subclass": ([type("Dict", (dict,), {})()], "[0]"),
    "a surrogate pair in two characters": ({"a": ["x", "\ud83d\ude00"]}, "['a'][1]"),
    "nesting of 300": (nested(300), "[0]"),
    "a list that holds itself": (_holding_itself(), ""),
}
"""What JSON cannot hold, with the path inside the value that the error names."""

AWKWARD_NAMES: tuple[str, ...] = tuple(
    dict.fromkeys(
        (
            *string.punctuation.replace(".", ""),
            string.punctuation,
            " ",
            " leading and trailing ",
            "a/b",
            "/user/1",
            "/user/10",
            "//",
            "a//b/",
            "..x",
            "...",
            ".hidden",
            "../up",
            "a/../b",
            "a/./b",
            "%2F",
            "%2e%2e",
            "%00",
            "%",
            "%zz",
            "+",
            "a+b c",
            "?x#y",
            "x?prefix=y&limit=1",
            "a::b",
            "::",
            "user:42",
            "whatsapp:+1 23?x#y",
            "*",
            "a*",
            "[a-z]",
            "a_c",
            "abc",
            "a%c",
            "A",
            "a",
            "{tag}",
            "'; DROP TABLE entry; --",
            '"',
            "\\",
            "back\\slash",
            "é",
            "e\u0301",
            "ß",
            "SS",
            "日本語",
            "\ud7ff",
            "\ue000",
            "\uffff",
            "\U0001f600",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "\U0010ffff",
            "null",
            "0",
            "00",
            "count",
            "messages",
            "__proto__",
            "x" * 512,
            "\U0001f600" * 128,
        )
    )
)
"""Names that are allowed, and that something on the way to the disk may take for more than data."""

BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "one dot": ".",
    "two dots": "..",
    "NUL": "a\0b",
    "line end": "a\nb",
    "delete": "\x7f",
    "C1 control": "a\x85",
    "line separator": "a\u2028b",
    "lone surrogate": "a\ud800",
    "513 bytes": "x" * 513,
    "513 bytes in 129 characters": "\U0001f600" * 128 + "x",
    "None": None,
    "int": 42,
    "int of many digits": 10**5_000,
    "bytes": b"key",
    "list": ["key"],
    "tuple": ("a", "b"),
}
"""What cannot be a name."""

BAD_TTLS: dict[str, Any] = {
    "zero": 0,
    "negative": -1,
    "negative int of many digits": -(10**5_000),
    "zero timedelta": timedelta(0),
    "negative timedelta": timedelta(days=-1),
    "NaN": float("nan"),
    "infinity": float("inf"),
    "over a hundred years": 1e12,
    "int beyond floats": 10**400,
    "longest timedelta": timedelta.max,
    "text": "60",
    "bool": True,
    "list": [60],
}
"""What cannot be a time to live."""

BAD_VERSIONS: dict[str, Any] = {
    "negative": -1,
    "bool": True,
    "float": 1.0,
    "text": "1",
    "over 63 bits": 1 << 63,
    "int of many digits": 10**5_000,
}
"""What cannot be the version to compare with."""

MERGE_CASES: tuple[tuple[Any, Any, Any], ...] = (
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
)
"""The test cases of RFC 7396, appendix A: original, patch, result."""
