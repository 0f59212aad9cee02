"""HashEmbedder: vectors of words, made here, for who has no model at hand."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from botwire import InvalidValue

_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    """
    a about an and any are as at be been but by can did do does for from had has have he her his how i if in into is it its
    me my no not of on or our she so some than that the their them then there they this to was we were what when where which
    who why will with would you your
    """.split()  # noqa: SIM905 - read as text
)
_COMMON_WEIGHT = 0.1
_PART_WEIGHT = 0.35
"""Of the three letters that a word has in common with its other forms."""


class HashEmbedder:
    """Turns texts into vectors that are near each other where the texts share words, or parts of words.

    It compares letters, not meaning: "car" is not near "automobile". It needs no key, network or download, and gives
    the same vectors on every machine and in every version, so it may be changed for a model's embedder only together
    with the namespace.

    Args:
        dimensions: how many numbers a vector has; 16 or more.
    """

    def __init__(self, dimensions: int = 512) -> None:
        if type(dimensions) is not int or dimensions < 16:
            raise InvalidValue(f"dimensions must be an int of 16 or more, not {dimensions!r:.40}")
        self.dimensions = dimensions

    def __repr__(self) -> str:
        return f"HashEmbedder({self.dimensions})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashEmbedder) and other.dimensions == self.dimensions

    def __hash__(self) -> int:
        return hash((HashEmbedder, self.dimensions))

    def __call__(self, input: Sequence[str]) -> list[list[float]]:  # noqa: A002 - the name that CrewAI's embedders have
        """A vector of length 1 for each text."""
        return [self._vector(text) for text in input]

    def _vector(self, text: str) -> list[float]:
        numbers = [0.0] * self.dimensions
        for word, count in Counter(_WORD.findall(text.casefold())).items():
            often = 1.0 + math.log(count)
            for feature, weight in _features(word):
                numbers[feature % self.dimensions] += often * (weight if feature >> 63 else -weight)
        length = math.sqrt(sum(number * number for number in numbers))
        if length == 0.0:  # no word at all: still something, the same for the same text
            numbers[_hash(text) % self.dimensions] = length = 1.0
        return [number / length for number in numbers]


@lru_cache(50_000)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """A word's hashes, with their weights: of the word itself, and of each three letters of it."""
    if word in _COMMON:
        return ((_hash(word), _COMMON_WEIGHT),)
    padded = f"<{word}>"
    parts = [padded[start : start + 3] for start in range(len(padded) - 2)] if len(word) > 2 else []
    weight = _PART_WEIGHT / math.sqrt(len(parts)) if parts else 0.0
    return ((_hash(word), 1.0), *((_hash(part), weight) for part in parts))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
