"""What the answers of others say of a call without one.

A server that dies under load leaves many calls of which nobody knows what became of them. Tried in all orders they are too many to
try, and most of that can be known beforehand:

- If somebody saw what only this call wrote, the call happened, before that answer came, and what it was answered follows from the number
  that was seen with it.
- What nobody ever saw might as well have been anything: calls that differ in nothing else stand for each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botwire.testing._linear import Call
    from botwire.testing._models import Model


class Unseen(Enum):
    """In place of a text that no answer shows; equal to nothing that an answer could show."""

    TEXT = "never seen"

    def __repr__(self) -> str:
        return f"<{self.value}>"


def told(calls: Sequence[Call], model: Model) -> list[Call]:
    """The calls in the same order; those without an answer with what is known of them."""
    sightings = _sightings(calls, model)
    writers = Counter(text for call in calls for text in model.writes(call) if isinstance(text, str))
    return [
        call if call.ended is not None else _happened(call, model, sightings, writers) or _faceless(call, model, sightings)
        for call in calls
    ]


Sightings = dict[str, tuple[int, int]]
"""For each text that was seen the end of the first call that saw it, and the number seen with it."""


def _sightings(calls: Iterable[Call], model: Model) -> Sightings:
    seen: Sightings = {}
    for call in calls:
        if call.ended is not None:
            for number, text in model.shows(call):
                seen[text] = min(seen.get(text, (call.ended, number)), (call.ended, number))
    return seen


def _happened(call: Call, model: Model, sightings: Sightings, writers: Counter[str]) -> Call | None:
    """The call with its end and answer, if somebody saw what it wrote; not if a second call may have written that."""
    texts = model.writes(call)
    for place, text in enumerate(texts):
        if isinstance(text, str) and text in sightings and writers[text] == 1:
            ended, number = sightings[text]
            if ended >= call.began:  # else it was seen before it was there, which the search finds
                return call._replace(ended=ended, answer=model.acknowledges(number - place, len(texts)))
    return None


def _faceless(call: Call, model: Model, sightings: Sightings) -> Call:
    texts = model.writes(call)
    hidden = [Unseen.TEXT if isinstance(text, str) and text not in sightings else text for text in texts]
    return call._replace(arguments=(*hidden, *call.arguments[len(texts) :]))
