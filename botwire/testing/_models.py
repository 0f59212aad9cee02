"""What an entry and a session are to a client: the state, and how each call changes it and is answered.

A step takes a state and a call, and gives the state after it, or None if the store could not have answered so. Answers
are plain JSON, so that a history can be written down by one process and checked by another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from botwire.testing._linear import Call

Observation = tuple[int, str]
"""A text that an answer shows, and the number with it: the version, or the message's number."""


class Model(NamedTuple):
    """One kind of thing that clients call. The first part of its state is its number: the version, or the last number given out."""

    initial: Any
    step: Callable[[Any, Call], Any]
    """The state after a call, or None if in that state the call would have been answered otherwise."""
    writes: Callable[[Call], tuple[Any, ...]]
    """What a call writes: the first of its arguments."""
    acknowledges: Callable[[int, int], Any]
    """The answer to a write of so many things, the first of which got that number."""
    shows: Callable[[Call], list[Observation]]
    """What of things written an answer shows."""
    holds: Callable[[Any], Collection[Observation]]
    """What a state holds of what can be shown."""
    needs: Callable[[Call], int | None]
    """The only number of the state in which the call is answered so; None if that cannot be said."""
    resets: str
    """The call after which the state is the initial one, whatever it was. No other call makes the number smaller."""


Entry = tuple[int, Any]
"""Version and value; version 0: there is no such entry."""

Log = tuple[int, tuple[tuple[int, str], ...]]
"""The last number given out, and the messages there are, each with its number."""


def entry_step(state: Entry, call: Call) -> Entry | None:
    """One call on an entry."""
    after, answer = _ENTRY_CALLS[call.name](state, *call.arguments)
    return after if call.ended is None or call.answer == answer else None


def _get(state: Entry) -> tuple[Entry, Any]:
    return state, list(state) if state[0] else None


def _set(state: Entry, value: Any, if_version: int | None = None) -> tuple[Entry, Any]:
    if if_version is not None and state[0] != if_version:
        return state, ["conflict", state[0]]
    return (state[0] + 1, value), state[0] + 1


def _delete(state: Entry) -> tuple[Entry, Any]:
    return (0, None), state[0] > 0


_ENTRY_CALLS: dict[str, Callable[..., tuple[Entry, Any]]] = {"get": _get, "set": _set, "delete": _delete}


def _entry_writes(call: Call) -> tuple[Any, ...]:
    return call.arguments[:1] if call.name == "set" else ()


def _entry_shows(call: Call) -> list[Observation]:
    return _observations([call.answer]) if call.name == "get" else []


def _entry_needs(call: Call) -> int | None:
    match call.name, call.answer:
        case ("get", None) | ("delete", False):
            return 0
        case ("get", [int(version), _]) | ("set", ["conflict", int(version)]):
            return version
        case "set", int(version):
            return version - 1
        case _:
            return None


def log_step(state: Log, call: Call) -> Log | None:
    """One call on a session."""
    after, answer = _LOG_CALLS[call.name](state, *call.arguments)
    return after if call.ended is None or call.answer == answer else None


def _append(state: Log, *texts: str) -> tuple[Log, Any]:
    head, messages = state
    numbers = range(head + 1, head + 1 + len(texts))
    return (numbers[-1], (*messages, *zip(numbers, texts, strict=True))), list(numbers)


def _read(state: Log, last: int) -> tuple[Log, Any]:
    head, messages = state
    return state, [head, len(messages), [list(message) for message in messages[-last:]]]


def _pop(state: Log) -> tuple[Log, Any]:
    head, messages = state
    return (head, messages[:-1]), list(messages[-1]) if messages else None


def _clear(state: Log) -> tuple[Log, Any]:
    return (0, ()), len(state[1])


_LOG_CALLS: dict[str, Callable[..., tuple[Log, Any]]] = {"append": _append, "read": _read, "pop": _pop, "clear": _clear}


def _log_writes(call: Call) -> tuple[Any, ...]:
    return call.arguments if call.name == "append" else ()


def _log_shows(call: Call) -> list[Observation]:
    match call.name, call.answer:
        case "pop", message:
            return _observations([message])
        case "read", [_, _, [*messages]]:
            return _observations(messages)
        case _:
            return []


def _log_needs(call: Call) -> int | None:
    match call.name, call.answer:
        case "append", [int(first), *_]:
            return first - 1
        case "read", [int(head), _, _]:
            return head
        case _:
            return None


def _observations(shown: list[Any]) -> list[Observation]:
    found: list[Observation] = []
    for one in shown:
        match one:
            case [int(number), str(text)]:
                found.append((number, text))
            case _:  # no message, no entry, or a store that answers nonsense: then no step gives that answer
                pass
    return found


def _entry_holds(state: Entry) -> Collection[Observation]:
    return (state,)


def _log_holds(state: Log) -> Collection[Observation]:
    return frozenset(state[1])


def _entry_acknowledges(first: int, _: int) -> int:
    return first


def _log_acknowledges(first: int, size: int) -> list[int]:
    return [*range(first, first + size)]


MODELS: dict[str, Model] = {
    "entry": Model((0, None), entry_step, _entry_writes, _entry_acknowledges, _entry_shows, _entry_holds, _entry_needs, "delete"),
    "session": Model((0, ()), log_step, _log_writes, _log_acknowledges, _log_shows, _log_holds, _log_needs, "clear"),
}
