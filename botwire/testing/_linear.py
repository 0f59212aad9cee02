"""Whether one order of their calls explains what concurrent clients saw of an entry or of a session.

A history is linearizable (Herlihy and Wing, "Linearizability", 1990) if every call can be thought to have happened at one
moment between its beginning and its end. The search is Wing's and Gong's, with Lowe's memory of what was tried already
(G. Lowe, "Testing for linearizability", 2017). Each entry and each session is checked by itself, which is enough: a
history is linearizable if those of its parts are.

A call without an answer may have happened at any time since it began, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from botwire.testing._models import MODELS


class Call(NamedTuple):
    """One call of one client, as that client saw it. Times are of one clock for all clients."""

    client: str
    name: str
    arguments: tuple[Any, ...]
    began: int
    ended: int | None = None  # None: no answer came
    answer: Any = None


class Undecided(Exception):
    """The history has more orders than the patience given; that says nothing about the store."""


Step = Callable[[Any, Call], Any]
"""The state after a call, or None if in that state the call would have been answered otherwise."""


def violation(kind: str, calls: Sequence[Call], *, patience: int = 2_000_000) -> str | None:
    """What no order of the calls explains, for people to read; None if one order explains all of them.

    Args:
        kind: ``"entry"`` or ``"session"``: what the calls are on.
        calls: of all clients, in any order.
        patience: how many steps to try.

    Raises:
        Undecided: if the patience was not enough.
    """
    initial, step = MODELS[kind]
    search = _Search(calls, step)
    return None if search.succeeds(initial, patience) else search.report()


class _Search:
    """Beginnings and ends of calls as a list in order of time, out of which calls are taken as they find their place."""

    def __init__(self, calls: Sequence[Call], step: Step) -> None:
        self.calls = sorted(calls, key=lambda call: call.began)
        self.step = step
        never = 1 + max((call.ended or call.began for call in calls), default=0)
        events = [(call.began, 0, number) for number, call in enumerate(self.calls)]
        events += [(never if call.ended is None else call.ended, 1, number) for number, call in enumerate(self.calls)]
        events.sort()  # at the same moment beginnings first: such calls overlap
        self.events = [(-1, 0), *((number, end) for _, end, number in events)]
        size = len(self.events)
        self.next = [*range(1, size), 0]
        self.previous = [size - 1, *range(size - 1)]
        self.end_of = {number: place for place, (number, end) in enumerate(self.events) if end}
        self.open = sum(call.ended is not None for call in self.calls)
        self.best: tuple[int, frozenset[int], Any] = (-1, frozenset(), None)

    def succeeds(self, state: Any, patience: int) -> bool:
        tried: set[tuple[int, Hashable]] = set()
        placed, stack = 0, list[tuple[int, Any]]()
        place = self.next[0]
        while self.open:
            number, is_end = self.events[place]
            if is_end:  # whoever has ended must have had its place by now
                self._remember(placed, len(stack), state)
                if not stack:
                    return False
                place, state = stack.pop()
                number = self.events[place][0]
                placed ^= 1 << number
                self._put_back(place, number)
                place = self.next[place]
                continue
            after = self.step(state, self.calls[number])
            attempt = (placed | 1 << number, after)
            if after is None or attempt in tried:
                place = self.next[place]
                continue
            tried.add(attempt)
            if len(tried) > patience:
                raise Undecided(f"{len(self.calls)} calls, {len(tried)} steps tried")
            stack.append((place, state))
            placed, state = attempt
            self._take_out(place, number)
            place = self.next[0]
        return True

    def _take_out(self, place: int, number: int) -> None:
        for event in (place, self.end_of[number]):
            self.next[self.previous[event]], self.previous[self.next[event]] = self.next[event], self.previous[event]
        self.open -= self.calls[number].ended is not None

    def _put_back(self, place: int, number: int) -> None:
        for event in (self.end_of[number], place):
            self.next[self.previous[event]] = self.previous[self.next[event]] = event
        self.open += self.calls[number].ended is not None

    def _remember(self, placed: int, depth: int, state: Any) -> None:
        if depth > self.best[0]:
            self.best = (depth, frozenset(number for number in range(len(self.calls)) if placed >> number & 1), state)

    def report(self) -> str:
        """The longest explanation found, and the calls at its end that fit nowhere."""
        _, placed, state = self.best
        left = [call for number, call in enumerate(self.calls) if number not in placed]
        horizon = min(call.ended for call in left if call.ended is not None)
        stuck = [call for call in left if call.began <= horizon]
        first = min(call.began for call in self.calls)
        lines = [
            f"{len(placed)} of {len(self.calls)} calls can be put into an order, after which the state is {_short(state)}; then none of"
        ]
        lines += [
            f"  {call.client}: {call.name}{_short(call.arguments)} -> {_short(call.answer) if call.ended is not None else 'no answer'}"
            f" from {(call.began - first) / 1e6:.3f} ms to {'?' if call.ended is None else f'{(call.ended - first) / 1e6:.3f} ms'}"
            for call in stuck
        ]
        return "\n".join([*lines, "could have been next"])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:140]} ... {text[-140:]}"
