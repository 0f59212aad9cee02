"""The checker of histories against one that tries every order: small histories of all kinds, right and wrong ones."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from botwire.testing import Call, violation

NOTHING = {"entry": (0, None), "session": (0, [])}


def answered(state, name, arguments):
    """The state after a call and the call's answer, written for this test from what docs/design.md says."""
    number, held = state
    match name, *arguments:
        case ["get"]:
            return state, [number, held] if number else None
        case ["set", _, expected] if expected != number:
            return state, ["conflict", number]
        case ["set", value, *_]:
            return (number + 1, value), number + 1
        case ["delete"]:
            return (0, None), number > 0
        case ["append", *texts]:
            new = [[number + place, text] for place, text in enumerate(texts, 1)]
            return (number + len(texts), held + new), [seq for seq, _ in new]
        case ["read", last]:
            return state, [number, len(held), held[-last:]]
        case ["pop"]:
            return (number, held[:-1]), held[-1] if held else None
        case ["clear"]:
            return (0, []), len(held)
    raise AssertionError(name)


def has_an_order(kind, calls):
    """Whether one of all orders of all the answered calls, with any of the others, explains the answers."""

    def follows(state, left):
        if all(calls[number].ended is None for number in left):
            return True
        for number in left:
            call = calls[number]
            if any(calls[other].ended is not None and calls[other].ended < call.began for other in left):
                continue
            after, answer = answered(state, call.name, call.arguments)
            if (call.ended is None or answer == call.answer) and follows(after, left - {number}):
                return True
        return False

    return follows(NOTHING[kind], frozenset(range(len(calls))))


TEXTS = st.sampled_from(["a", "b", "c", "d", "e", "f"])
KINDS = {
    "entry": st.one_of(
        st.just(("get",)),
        st.tuples(st.just("set"), TEXTS),
        st.tuples(st.just("set"), TEXTS, st.integers(0, 3)),
        st.just(("delete",)),
    ),
    "session": st.one_of(
        st.lists(TEXTS, min_size=1, max_size=3).map(lambda texts: ("append", *texts)),
        st.lists(TEXTS, min_size=1, max_size=3).map(lambda texts: ("append", *texts)),
        st.tuples(st.just("read"), st.integers(1, 3)),
        st.just(("pop",)),
        st.just(("clear",)),
    ),
}
FATES = st.sampled_from(["answered", "answered", "answered", "unanswered", "unanswered and never applied"])
"""What becomes of a call."""


@st.composite
def small_histories(draw, kind):
    """Calls that happened one after another, and each began before that and ended after; then some answers or times are changed."""
    state, calls = NOTHING[kind], []
    for moment in range(draw(st.integers(2, 7))):
        (name, *arguments), fate = draw(KINDS[kind]), draw(FATES)
        after, answer = answered(state, name, arguments)
        state = state if fate == "unanswered and never applied" else after
        began, ended = 10 * moment - draw(st.integers(0, 35)), 10 * moment + draw(st.integers(0, 35))
        calls.append(Call(f"c{moment}", name, tuple(arguments), began, ended, answer))
        if fate != "answered":
            calls[-1] = calls[-1]._replace(ended=None, answer=None)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(calls) - 1))
        calls[place] = draw(st.sampled_from(list(spoilt(calls, place))))
    return draw(st.permutations(calls))


def spoilt(calls, place):
    """The call at a place with an answer that another call of its name had, with numbers one off, and at another time."""
    call = calls[place]
    yield call._replace(began=call.began - 200, ended=None if call.ended is None else call.began - 100)
    yield call._replace(began=call.began + 200, ended=None if call.ended is None else call.began + 300)
    if call.ended is None:
        return
    yield from (call._replace(answer=other.answer) for other in calls if other.name == call.name and other.ended is not None)
    match call.answer:
        case int(number):
            yield call._replace(answer=number + 1)
        case [int(number), *rest]:
            yield call._replace(answer=[number + 1, *rest])
            yield call._replace(answer=[number - 1, *rest])


@pytest.mark.parametrize("kind", ["entry", "session"])
@settings(max_examples=1_500)
@given(data=st.data())
def test_the_verdict_is_that_of_trying_every_order(kind, data):
    calls = data.draw(small_histories(kind))
    right = has_an_order(kind, calls)
    event(f"{'right' if right else 'wrong'}")
    assert (violation(kind, calls) is None) == right


def test_an_answered_reset_that_could_come_early_may_be_needed_late():
    calls = [
        Call("a", "append", ("one",), 0, 10, [1]),
        Call("b", "pop", (), 0),
        Call("c", "clear", (), 5, 20, 0),  # nothing to clear before the append, or after it and the pop
        Call("d", "append", ("two",), 15, 30, [1]),
    ]
    assert has_an_order("session", calls)
    assert violation("session", calls) is None
