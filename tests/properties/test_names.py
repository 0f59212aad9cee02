"""Names: every text either is one, and then it is data, or is refused for a reason that is true."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from botwire import InvalidName, Memory
from botwire._names import check_name, check_prefix, prefix_end
from botwire._wire import decode_part, encode_part
from botwire.stores import open_store

any_text = st.text(st.characters(), max_size=40)
letters = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
names = st.text(letters, min_size=1, max_size=60).filter(lambda text: text not in (".", ".."))


def _may_be_a_name(text):
    categories = {unicodedata.category(character) for character in text}
    return text not in ("", ".", "..") and not categories & {"Cs", "Cc", "Zl", "Zp"} and len(text.encode()) <= 512


@given(any_text | names.map(lambda name: name * 20))
def test_a_text_is_a_name_or_is_refused(text):
    """The rule, said in another way, decides the same for every text."""
    if _may_be_a_name(text):
        assert check_name(text, "key") is text
    else:
        with pytest.raises(InvalidName, match="key"):
            check_name(text, "key")


@given(names)
def test_what_a_name_starts_with_is_a_prefix(name):
    """Every beginning of a name may be asked for."""
    for end in range(len(name) + 1):
        assert check_prefix(name[:end]) == name[:end]


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), st.text(st.characters(codec="utf-8"), max_size=12))
def test_the_end_of_a_prefix_parts_what_starts_with_it_from_the_rest(prefix, text):
    """prefix <= text < prefix_end(prefix) says exactly whether the text starts with the prefix."""
    end = prefix_end(prefix)
    if end is not None:
        end.encode()
    for candidate in (text, prefix + text, prefix[:-1] + text):
        inside = prefix <= candidate and (end is None or candidate < end)
        assert inside == candidate.startswith(prefix)


@given(names)
def test_a_name_travels_as_one_part_of_a_path(name):
    """Encoded, a name has nothing that a path could take for structure; decoded, it is the name."""
    part = encode_part(name)
    assert part.isascii()
    assert not set(part) & set("/?#")
    assert part not in (".", "..")
    assert decode_part(part.encode(), "key") == name


@given(st.sets(names, max_size=12), st.lists(names.map(lambda name: name[:2]), max_size=4))
def test_listing_is_what_a_sorted_set_says(keys, prefixes):
    """Keys are listed, counted and cleared by prefix as Python's own sorting and startswith say."""
    assume(len(keys) > 1)
    store = open_store("memory://")
    try:
        memory = Memory("names", store=store)
        memory.set_many(dict.fromkeys(keys, 1))
        for prefix in ["", *prefixes, *keys]:
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert list(memory.iter_keys(prefix, page_size=2)) == expected
            assert memory.count(prefix) == len(expected)
        prefix = min(keys)[:1]
        assert memory.clear(prefix) == sum(key.startswith(prefix) for key in keys)
        assert memory.list_keys() == sorted(key for key in keys if not key.startswith(prefix))
    finally:
        store.close()
