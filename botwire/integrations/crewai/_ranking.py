"""The vectors of all records in memory, and which of them are nearest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from botwire.integrations.crewai._records import Vector

BLOCK = 256
"""Vectors in one array. Small enough that what is computed of one stays in the processor's cache, and nothing is ever moved to grow."""


class Vectors:
    """Float32 vectors of one length, each in a slot. Not for several threads at once."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.count = 0
        self._blocks: list[NDArray[np.float32]] = []
        self._free: list[int] = []

    def add(self, vector: Vector) -> int:
        """Keep a vector; returns its slot."""
        if not self._free:
            start = len(self._blocks) * BLOCK
            self._blocks.append(np.zeros((BLOCK, self.dimension), np.float32))
            self._free = list(range(start + BLOCK - 1, start - 1, -1))
        slot = self._free.pop()
        self._blocks[slot // BLOCK][slot % BLOCK] = vector
        self.count += 1
        return slot

    def remove(self, slot: int) -> None:
        self._free.append(slot)
        self.count -= 1

    def __getitem__(self, slot: int) -> Vector:
        return self._blocks[slot // BLOCK][slot % BLOCK].copy()

    def scores(self, query: Vector, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """How near each of the slots' vectors is: ``1/(1+d^2)`` of the Euclidean distance d, so 1.0 for the same vector."""
        squares = np.empty(len(slots), np.float64)
        blocks = slots // BLOCK
        order = np.argsort(blocks, kind="stable")
        bounds = np.flatnonzero(np.diff(blocks[order])) + 1
        for part in np.split(order, bounds) if len(order) else ():
            block = self._blocks[int(blocks[part[0]])]
            rows = slots[part] % BLOCK
            difference = block - query if len(part) == BLOCK else block[rows] - query
            distances = np.einsum("ij,ij->i", difference, difference, dtype=np.float32)
            squares[part] = distances[rows] if len(part) == BLOCK else distances
        return 1.0 / (1.0 + squares)


def best(scores: NDArray[np.float64], limit: int, min_score: float) -> list[int]:
    """The positions of the highest scores that are at least ``min_score``, best first; of equal ones, the first comes first."""
    candidates = np.flatnonzero(scores >= min_score)
    if len(candidates) > limit:
        least = np.partition(scores[candidates], len(candidates) - limit)[len(candidates) - limit]
        candidates = candidates[scores[candidates] >= least]
    order = np.argsort(-scores[candidates], kind="stable")[:limit]
    return [int(position) for position in candidates[order]]
