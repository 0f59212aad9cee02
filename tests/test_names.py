"""Names, times to live, versions: the rules, one sentence each."""

from __future__ import annotations

import enum
from datetime import timedelta

import pytest

from botwire import InvalidName, InvalidValue, Memory
from botwire._names import check_name, check_prefix, check_version, prefix_end, ttl_to_us


class Colour(str, enum.Enum):  # noqa: UP042 - the older way, of which users have many
    RED = "red"


@pytest.mark.parametrize("name", ["k", "..x", "...", "user:42", "a/b", "whatsapp:+1 23?x#y", "\U0001f600", " ", "é" * 256, "x" * 512])
def test_almost_any_text_is_a_name(name):
    """Text of 1 to 512 bytes of UTF-8 is a name as it is."""
    assert check_name(name, "key") == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "must not be empty"),
        (".", "path step"),
        ("..", "path step"),
        ("a\tb", r"control character '\\t' at position 1"),
        ("\x85", "control character"),
        ("ab\u2029", "at position 2"),
        ("x\udfff", "lone surrogate"),
        ("x" * 513, "513 bytes of UTF-8, over the limit of 512"),
        ("é" * 257, "514 bytes"),
        (None, "must be a str, not NoneType"),
        (7, "must be a str, not int: 7"),
        pytest.param(10**5_000, "must be a str, not int: <int>", id="too long to show"),
        (b"k", "must be a str, not bytes"),
    ],
)
def test_a_refusal_says_what_and_why(name, reason):
    """The message has what the name was for, and the rule that it breaks."""
    with pytest.raises(InvalidName, match=f"session id.*{reason}"):
        check_name(name, "session id")


def test_of_a_text_of_a_subclass_the_text_counts():
    """A string enum's member names what its text does."""
    assert type(check_name(Colour.RED, "key")) is str
    memory = Memory("names", url="memory://")
    memory.set(Colour.RED, 1)
    assert memory.list_keys() == ["red"]
    assert memory.get("red") == 1
    memory.close()


def test_an_invalid_name_is_a_value_error_too():
    """Code that catches ValueError catches it."""
    with pytest.raises(ValueError, match="namespace must not be empty"):
        Memory("")


@pytest.mark.parametrize("prefix", ["", ".", "..", "a", "a/", "%"])
def test_a_prefix_is_what_a_key_may_begin_with(prefix):
    """Also the empty one, and dots."""
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("ab", "ac"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff", None),
        ("a\ud7ff", "a\ue000"),
        ("\uffff", "\U00010000"),
    ],
)
def test_the_end_of_a_prefix_is_the_next_text(prefix, end):
    """The least text that is greater than all that start with the prefix, over the gap of surrogates."""
    assert prefix_end(prefix) == end


@pytest.mark.parametrize(
    ("ttl", "microseconds"),
    [(None, None), (1, 1_000_000), (1.5, 1_500_000), (1e-9, 1), (timedelta(days=1), 86_400_000_000), (timedelta(microseconds=1), 1)],
)
def test_a_ttl_is_counted_in_microseconds(ttl, microseconds):
    """Seconds or a timedelta, rounded up, so never zero; None is for ever."""
    assert ttl_to_us(ttl) == microseconds


@pytest.mark.parametrize(
    ("ttl", "advice"),
    [(0, "delete"), (-1, "over zero"), (float("nan"), "finite"), (1e10, "seconds"), ("60", "not str"), (True, "not bool")],
)
def test_a_ttl_that_is_none_is_refused_with_advice(ttl, advice):
    """The message says what is wrong with it."""
    with pytest.raises(InvalidValue, match=f"ttl.*{advice}"):
        ttl_to_us(ttl)


def test_a_version_is_an_int_of_zero_or_more():
    """None is no condition; a bool is not a version."""
    assert [check_version(version) for version in (None, 0, 7)] == [None, 0, 7]
    for version in (-1, True, 1.0, "1", 1 << 63):
        with pytest.raises(InvalidValue, match="if_version"):
            check_version(version)
