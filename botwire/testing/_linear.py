"""Whether one order of their calls explains what concurrent clients saw of an entry or of a session.

A history is linearizable (Herlihy and Wing, "Linearizability", 1990) if every call can be thought to have happened at one
moment between its beginning and its end. The search is Wing's and Gong's, with Lowe's memory of what was tried already
(G. Lowe, "Testing for linearizability", 2017). Each entry and each session is checked by itself, which is enough: a
history is linearizable if those of its parts are.

A call without an answer may have happened at any time since it began, or never. Such calls have no end, so that a server that dies
under load leaves dozens which could come next at every step for the rest of the history: with 12 of them the plain search tried
2,000,000 steps in vain. Hence what ``_unanswered`` finds out about them beforehand, and these rules, each of which leaves at least one
shortest order in the search if there is an order at all (a shortest one has no call without an answer that could be left out):

- Calls with an answer come first; one that changes nothing comes at once, since with that answer it changes nothing anywhere, and what
  could come before it can follow it. Not so a reset: it may change nothing here and be needed later.
- Of calls without an answer that differ only in when they began, the first is taken.
- None is taken that changes nothing, or that makes the number larger than any call needs which could be the next with an answer.
- None is taken just before a reset without an answer, since the state is the initial one after that anyway.
- An order that explains as many calls with an answer, up to the same state, with more of those without, is not followed.
- An order is given up once a call that can be next needs a smaller number than there is, and no reset can come before it; or if it
  shows what is not there, and whoever wrote that has been placed already.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from botwire.testing._models import MODELS, Model, Observation
from botwire.testing._unanswered import told


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


def violation(kind: str, calls: Sequence[Call], *, patience: int = 2_000_000) -> str | None:
    """What no order of the calls explains, for people to read; None if one order explains all of them.

    Args:
        kind: ``"entry"`` or ``"session"``: what the calls are on.
        calls: of all clients, in any order.
        patience: how many steps to try.

    Raises:
        Undecided: if the patience was not enough.
    """
    search = _Search(calls, MODELS[kind])
    return None if search.succeeds(patience) else search.report()


class _Attempt(NamedTuple):
    """Calls that were put into an order, as the bits of their numbers; the state after them; whether the last had an answer."""

    placed: int
    state: Any
    answered: bool


class _Search:
    """Depth first, with a memory of what was tried. Calls are numbered in the order of their beginnings."""

    def __init__(self, calls: Sequence[Call], model: Model) -> None:
        self.written = sorted(calls, key=lambda call: call.began)
        self.calls, self.model = told(self.written, model), model
        self.needs = [None if call.ended is None else model.needs(call) for call in self.calls]
        self.all = (1 << len(calls)) - 1
        self.answered = sum(1 << number for number, call in enumerate(self.calls) if call.ended is not None)
        self.resets = sum(1 << number for number, call in enumerate(self.calls) if call.name == model.resets)
        self.shown = [self._sources(call) for call in self.calls]
        self.tried: dict[tuple[int, Hashable], list[int]] = {}
        self.best = _Attempt(0, model.initial, answered=True)

    def succeeds(self, patience: int) -> bool:
        steps, stack = 0, [self._nexts(self.best)]
        while self.answered & ~self.best.placed and stack:
            attempt = next(stack[-1], None)
            if attempt is None:
                stack.pop()
            elif self._is_new(attempt):
                steps += 1
                if steps > patience:
                    raise Undecided(f"{len(self.calls)} calls, {steps} steps tried")
                self.best = max(self.best, attempt, key=self._explained)
                stack.append(self._nexts(attempt))
        return bool(stack)

    def _explained(self, attempt: _Attempt) -> int:
        return (attempt.placed & self.answered).bit_count()

    def _is_new(self, attempt: _Attempt) -> bool:
        explained, unanswered = attempt.placed & self.answered, attempt.placed & ~self.answered
        earlier = self.tried.setdefault((explained, attempt.state), [])
        if any(not fewer & ~unanswered for fewer in earlier):
            return False
        earlier.append(unanswered)
        return True

    def _nexts(self, so_far: _Attempt) -> Iterator[_Attempt]:
        """The orders with one call more that must be tried."""
        placed, state, _ = so_far
        window = self._window(placed)
        answered = [number for number in window if self.answered >> number & 1]
        held = self.model.holds(state)
        if any(self._is_too_late_for(number, so_far) or self._shows_what_is_gone(number, placed, held) for number in answered):
            return
        steps = [(number, self.model.step(state, self.calls[number])) for number in answered]
        for number, after in steps:
            if after == state and self.calls[number].name != self.model.resets:
                yield _Attempt(placed | 1 << number, after, answered=True)
                return
        yield from (_Attempt(placed | 1 << number, after, answered=True) for number, after in steps if after is not None)
        yield from self._guesses(so_far, window)

    def _guesses(self, so_far: _Attempt, window: list[int]) -> Iterator[_Attempt]:
        """Those whose last call has no answer."""
        needs = [self.needs[number] for number in window if self.answered >> number & 1]
        known = [need for need in needs if need is not None]
        kinds: set[Hashable] = set()
        for number in window:
            call = self.calls[number]
            kind = call.name, call.arguments
            if call.ended is not None or kind in kinds or (call.name == self.model.resets and not so_far.answered):
                continue
            kinds.add(kind)
            after = self.model.step(so_far.state, call)
            if after != so_far.state and (len(known) < len(needs) or after[0] <= max(known)):
                yield _Attempt(so_far.placed | 1 << number, after, answered=False)

    def _window(self, placed: int) -> list[int]:
        """The calls that can be next: those that began before any other had ended that is left."""
        left, window, horizon = self.all & ~placed, list[int](), None
        while left:
            number = (left & -left).bit_length() - 1
            call = self.calls[number]
            if horizon is not None and call.began > horizon:
                break
            if call.ended is not None and (horizon is None or call.ended < horizon):
                horizon = call.ended
            window.append(number)
            left &= left - 1
        return window

    def _is_too_late_for(self, number: int, so_far: _Attempt) -> bool:
        need, ended = self.needs[number], self.calls[number].ended
        if need is None or ended is None or so_far.state[0] <= need:
            return False
        resets = self.resets & ~so_far.placed
        return not resets or self.calls[(resets & -resets).bit_length() - 1].began > ended

    def _sources(self, call: Call) -> list[tuple[Observation, int]]:
        """What an answer shows, each with those calls before its end that may have written it."""
        if call.ended is None:
            return []
        return [(shown, self._writers_of(shown[1], call.ended)) for shown in self.model.shows(call)]

    def _writers_of(self, text: str, until: int) -> int:
        writers = (number for number, call in enumerate(self.calls) if call.began <= until and text in self.model.writes(call))
        return sum(1 << number for number in writers)

    def _shows_what_is_gone(self, number: int, placed: int, held: Collection[Observation]) -> bool:
        return any(not writers & ~placed and shown not in held for shown, writers in self.shown[number])

    def report(self) -> str:
        """The longest explanation found, and the calls at its end that fit nowhere."""
        placed, state, _ = self.best
        stuck = [number for number in self._window(placed) if self.answered >> number & 1]
        first = self.written[0].began
        order = f"{placed.bit_count()} of {len(self.calls)} calls can be put into an order"
        lines = [f"{order}, after which the state is {_short(state)}; then none of"]
        for number in stuck:
            call, known = self.written[number], self.calls[number]
            answer = _short(call.answer) if call.ended is not None else f"no answer (others saw that it was {_short(known.answer)})"
            until = "?" if call.ended is None else f"{(call.ended - first) / 1e6:.3f} ms"
            lines.append(
                f"  {call.client}: {call.name}{_short(call.arguments)} -> {answer} from {(call.began - first) / 1e6:.3f} ms to {until}"
            )
        return "\n".join([*lines, "could have been next"])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:140]} ... {text[-140:]}"
