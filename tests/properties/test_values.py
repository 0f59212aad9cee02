"""Any JSON value comes back as it went in; anything else is refused where it lies."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botwire import InvalidValue, Memory
from botwire._codec import decode, encode, parse
from botwire.server import serve_in_thread
from botwire.stores import open_store
from botwire.testing import exactly


def _holds_pair(text):
    return any("\ud800" <= one < "\udc00" <= other < "\ue000" for one, other in pairwise(text))


texts = st.text(st.characters(), max_size=30).filter(lambda text: not _holds_pair(text))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 40).map(lambda n: (-1) ** n * 10 ** (n * 137))
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda children: st.lists(children, max_size=5) | st.dictionaries(texts, children, max_size=5), max_leaves=25
)
numbers = [math.nan, math.inf, -math.inf, 1j, Decimal(1)]
strangers = st.sampled_from([*numbers, b"x", (1,), {1}, frozenset(), datetime(2026, 1, 1, tzinfo=UTC), object(), len, "\ud83d\ude00"])


@st.composite
def spoiled(draw):
    """A JSON value with something else in it, and the path to that."""
    value, path = draw(strangers), ""
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            before, after = draw(st.lists(scalars, max_size=3)), draw(st.lists(scalars, max_size=3))
            value, path = [*before, value, *after], f"[{len(before)}]{path}"
        else:
            name = draw(st.text("abc", max_size=3))
            others = draw(st.dictionaries(st.text("xyz", min_size=1, max_size=2), scalars, max_size=2))
            value, path = {**others, name: value}, f"[{name!r}]{path}"
    return value, path


@pytest.fixture(scope="module", params=["memory", "sqlite", "http"])
def memory(request, tmp_path_factory):
    if request.param == "sqlite":
        store = open_store(f"sqlite://{tmp_path_factory.mktemp('values')}/memory.db?durability=normal")
        yield Memory("values", store=store)
        store.close()
        return
    behind = open_store("memory://")
    if request.param == "memory":
        yield Memory("values", store=behind)
    else:
        with serve_in_thread(behind) as url, Memory("values", url=url) as memory:
            yield memory
    behind.close()


@given(values)
def test_a_value_is_the_same_after_encoding_and_decoding(value):
    """Through its JSON text a value comes back equal and of the same types, and that text can be stored as UTF-8."""
    text = encode(value)
    text.encode()
    assert exactly(decode(text, "it"), value)
    assert exactly(parse(text), value)
    assert "\n" not in text


@given(values)
def test_equal_values_have_one_text(value):
    """A value that came back is written as it was: a repeated request can be told from another one."""
    text = encode(value)
    assert encode(decode(text, "it")) == text


@given(spoiled())
def test_what_is_no_json_is_refused_with_its_path(spoiled_value):
    """Wherever it lies in a value, the refusal says where."""
    value, path = spoiled_value
    with pytest.raises(InvalidValue) as caught:
        encode(value, "it")
    assert str(caught.value).startswith(f"it{path}: ")


@given(value=values)
def test_every_store_keeps_any_value(memory, value):
    """What is set, appended, merged in and put in a message is got."""
    memory.set("k", value)
    assert exactly(memory.get("k"), value)
    memory.set("l", [])
    memory.append("l", value)
    assert exactly(memory.get("l"), [value])
    session = memory.session("s")
    session.clear()
    session.append({"role": "user", "content": "hi", "x": value})
    assert exactly(session.messages()[0].extra, {"x": value})
