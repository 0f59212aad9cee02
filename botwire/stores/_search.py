"""Lexical search: every word, any case, in keys and in text. Pure functions that every store may use."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from botwire._codec import decode
from botwire._errors import InvalidValue, StoreCorrupt

SNIPPET_CHARS = 160
"""About how long a snippet is, in characters."""

_WORD = re.compile(r"\w+")
_KEY_BONUS = 2.0
_WHOLE_WORD_BONUS = 0.5


def query_words(query: object) -> list[str]:
    """The words of a query: runs of letters, digits and underscores, casefolded, each once.

    Raises:
        InvalidValue: if the query is no text or has no word in it.
    """
    if not isinstance(query, str):
        raise InvalidValue(f"a search query must be a str, not {type(query).__name__}")
    words = list(dict.fromkeys(_WORD.findall(query.casefold())))
    if not words:
        raise InvalidValue(f"the search query {query!r:.80} has no word in it; list_keys() and items() list everything")
    return words


Match: TypeAlias = "tuple[float, str] | None"
"""A score, higher being better, with a snippet around the match; None where a word is missing."""


def match_entry(words: Sequence[str], key: str, value: str) -> Match:
    """How well an entry matches ``words`` (as ``query_words`` gives them). Unreadable text matches nothing."""
    try:
        return _match(words, key, "\n".join(_texts(decode(value, "value"))))
    except StoreCorrupt:
        return None


def match_message(words: Sequence[str], body: str) -> Match:
    """How well a message's words (content, name, tool calls) match; its ids, times and metadata do not count."""
    try:
        record = decode(body, "message")
    except StoreCorrupt:
        return None
    if type(record) is not dict:
        return None
    return _match(words, "", "\n".join(_texts([cast("Any", record).get(field) for field in ("content", "name", "tool_calls")])))


def _match(words: Sequence[str], key: str, text: str) -> Match:
    folded_key, folded = key.casefold(), text.casefold()
    score = 0.0
    for word in words:
        in_key, in_text = folded_key.count(word), folded.count(word)
        if not in_key and not in_text:
            return None
        score += _KEY_BONUS * min(in_key, 1) + (1 + math.log(in_text) if in_text else 0)
        if re.search(rf"\b{re.escape(word)}\b", folded_key) or re.search(rf"\b{re.escape(word)}\b", folded):
            score += _WHOLE_WORD_BONUS
    return score / (1 + math.log10(1 + len(text) / 200)), _snippet(words, text, folded)


def _texts(value: Any) -> list[str]:
    """All text inside a value, member names included, in reading order."""
    found: list[str] = []
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            for name, child in reversed(cast("dict[str, Any]", item).items()):
                stack += (child, name)
        elif isinstance(item, list):
            stack.extend(reversed(cast("list[Any]", item)))
        elif isinstance(item, float) or (type(item) is int and item.bit_length() < 256):
            found.append(str(item))
    return found


def _snippet(words: Sequence[str], text: str, folded: str) -> str:
    at = min((found for word in words if (found := folded.find(word)) >= 0), default=0)
    if len(folded) != len(text):  # casefolding changed lengths ("ß" is two letters), so the place is only near
        at = min(at, len(text))
    start = max(0, at - SNIPPET_CHARS // 3)
    piece = " ".join(text[start : start + SNIPPET_CHARS].split())
    return ("…" if start else "") + piece + ("…" if start + SNIPPET_CHARS < len(text) else "")
