"""Fold: the records that a log amounts to, kept in memory and brought up to date row by row."""

from __future__ import annotations

import bisect
import logging
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from botwire.integrations.crewai._ranking import Vectors, best
from botwire.integrations.crewai._records import (
    Criteria,
    Known,
    Vector,
    from_base64,
    parse,
    put_fields_text,
    trimmed_text,
)
from botwire.stores import LogPlace, LogRow

logger = logging.getLogger("botwire")

MOST_OUTCOMES = 1_000
"""Deletions of which it is remembered how many records they removed."""

MOVED_AT_ONCE = 256
"""Records written anew in one step of making a log shorter."""

SPARE_ROWS = 1_000
"""Rows that no longer count, before it pays to remove them; besides as many as there are records."""


class Step(NamedTuple):
    """One step of making a log shorter: if the log is at ``place``, keep so many rows and append these."""

    place: LogPlace
    keep_last: int
    bodies: list[str]


class Fold:
    """The records of one log. Not for several threads at once.

    ``head`` is the last sequence number that is taken into account; ``rows`` those of the rows there are. ``is_complete``
    tells whether the log was once read to its end: from then on every row is expected to follow the one before.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self.generation += 1
        self.epoch: str | None = None
        self.is_complete = False
        self.head = 0
        self.rows = array("q")
        self.records: dict[str, Known] = {}
        self.vectors: Vectors | None = None
        self._outcomes: OrderedDict[int, int] = OrderedDict()

    @property
    def dimension(self) -> int | None:
        """The length of the vectors; None if there are none."""
        return self.vectors.dimension if self.vectors is not None and self.vectors.count else None

    # ---------------------------------------------------------------------------------- rows

    def apply(self, row: LogRow) -> None:
        """Take the next row into account. One that cannot be read changes nothing."""
        self.head = row.seq
        self.rows.append(row.seq)
        try:
            parsed = parse(row.body)
            if parsed is not None:
                self._apply(row.seq, *parsed)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("message %d of CrewAI's records cannot be read and is passed over: %r", row.seq, error)

    def _apply(self, seq: int, content: str | None, event: dict[str, Any]) -> None:
        if "record" in event:
            self._put(seq, content, event)
        elif "delete" in event:
            doomed = Criteria(**event["delete"]).select(self.records)
            for known in doomed:
                self._remove(known)
            self._remember(seq, len(doomed))
        elif "touch" in event:
            datetime.fromisoformat(event["at"])
            for identifier in event["touch"]:
                if identifier in self.records:
                    self.records[identifier].accessed = event["at"]
        elif "trimmed" in event:
            del self.rows[: bisect.bisect_right(self.rows, event["trimmed"])]

    def _put(self, seq: int, content: str | None, event: dict[str, Any]) -> None:
        fields, keep = event["record"], event.get("keep", ())
        before = self.records.get(fields["id"])
        if before is not None and keep:
            old = before.fields
            fields.update({name: old[name] for name in keep if name in old})
        known = Known(seq, content, fields)
        vector = from_base64(event["vector"]) if "vector" in event else None
        if before is not None:
            if vector is None and "embedding" in keep and self.vectors is not None and before.slot >= 0:
                vector = self.vectors[before.slot]
            self._remove(before)
        self.records[known.id] = known
        if vector is not None:
            known.slot = self._place(vector, known.id)

    def _place(self, vector: Vector, identifier: str) -> int:
        if self.dimension is None:
            self.vectors = Vectors(len(vector))
        assert self.vectors is not None  # noqa: S101 - for the type checker
        if len(vector) != self.vectors.dimension:  # two writers with different embedders began at once
            text = "CrewAI's record %r has a vector of %d numbers among those of %d, and is not found by similarity"
            logger.warning(text, identifier, len(vector), self.vectors.dimension)
            return -1
        return self.vectors.add(vector)

    def _remove(self, known: Known) -> None:
        del self.records[known.id]
        if known.slot >= 0 and self.vectors is not None:
            self.vectors.remove(known.slot)

    def _remember(self, seq: int, count: int) -> None:
        self._outcomes[seq] = count
        while len(self._outcomes) > MOST_OUTCOMES:
            self._outcomes.popitem(last=False)

    def outcome(self, epoch: str, seq: int) -> int | None:
        """How many records the deletion of that row removed; None if it is not known any more."""
        return self._outcomes.get(seq) if epoch == self.epoch else None

    # ------------------------------------------------------------------------------- questions

    def vector(self, known: Known) -> Vector | None:
        return None if known.slot < 0 or self.vectors is None else self.vectors[known.slot]

    def nearest(self, query: Vector, criteria: Criteria, limit: int, min_score: float) -> Iterator[tuple[Known, float]]:
        """The records that fit whose vectors are nearest, best first; of equally near ones, the older first."""
        found = [known for known in criteria.select(self.records) if known.slot >= 0]
        if not found or self.vectors is None:
            return
        scores = self.vectors.scores(query, np.fromiter((known.slot for known in found), np.int64, len(found)))
        for position in best(scores, limit, min_score):
            yield found[position], float(scores[position])

    # ------------------------------------------------------------------------------ becoming shorter

    @property
    def is_wasteful(self) -> bool:
        """Whether there are many rows that no longer count."""
        return len(self.rows) > 2 * len(self.records) + SPARE_ROWS

    def step(self) -> Step:
        """Drop rows from the log's beginning, and put anew at its end those records that they held.

        That is right only as long as nobody appends meanwhile, which the step's place makes sure of.
        """
        oldest = sorted(self.records.values(), key=lambda known: known.seq)
        moved = oldest[:MOVED_AT_ONCE]
        upto = self.head if len(moved) == len(oldest) else oldest[len(moved)].seq - 1
        dropped = bisect.bisect_right(self.rows, upto)
        place = LogPlace(self.epoch or "", self.head, len(self.rows))
        bodies = [trimmed_text(upto)]
        bodies += [put_fields_text(known.content, known.fields, self.vector(known)) for known in moved]
        return Step(place, len(self.rows) - dropped, bodies)
