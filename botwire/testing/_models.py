"""What an entry and a session are to a client: the state, and how each call changes it and is answered.

A step takes a state and a call, and gives the state after it, or None if the store could not have answered so. Answers
are plain JSON, so that a history can be written down by one process and checked by another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botwire.testing._linear import Call

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

MODELS: dict[str, tuple[Any, Callable[[Any, Call], Any]]] = {"entry": ((0, None), entry_step), "session": ((0, ()), log_step)}
