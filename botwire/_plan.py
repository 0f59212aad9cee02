"""How a call reaches its store, written once for sync and async.

A plan is a generator: it checks what the caller gave, yields what it wants from the store, is sent the
answer, and returns the result. ``run`` drives it over a store; ``arun`` over a store with native async.
So every rule of a call stands in one place, whatever it waits with.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from botwire._errors import BotWireError
from botwire.stores._protocol import Batch, Operation, Result

T = TypeVar("T")


class Pause(NamedTuple):
    """What a plan yields to wait: a time in seconds."""

    seconds: float


Call: TypeAlias = Callable[[Any], Any]
"""What a plan yields to ask its store: a function of the store."""

Plan: TypeAlias = Generator["Call | Pause", Any, T]


def run(plan: Plan[T], store: Any) -> T:
    """Drive a plan over a store, in the calling thread."""
    answer = None
    try:
        while True:
            step = plan.send(answer)
            answer = time.sleep(step.seconds) if isinstance(step, Pause) else step(store)
    except StopIteration as stop:
        return stop.value


async def arun(plan: Plan[T], store: Any) -> T:
    """Drive a plan over a store whose methods are coroutines."""
    from asyncio import sleep  # late: `import botwire` loads nothing that it does not need

    answer = None
    try:
        while True:
            step = plan.send(answer)
            answer = await (sleep(step.seconds) if isinstance(step, Pause) else step(store))
    except StopIteration as stop:
        return stop.value


def write(namespace: str, *operations: Operation, request_id: str | None = None) -> Plan[list[Result]]:
    """The plan of one batch; its results, or the error that kept it from happening."""
    batch = Batch(namespace, operations, request_id)
    outcome = (yield lambda store: store.write((batch,)))[0]
    if isinstance(outcome, BotWireError):
        raise outcome
    return outcome


def write_one(namespace: str, operation: Operation, request_id: str | None = None) -> Plan[Any]:
    """The plan of a batch of one operation; its result. Nearly every write is one, so it goes straight to the store."""
    batch = Batch(namespace, (operation,), request_id)
    outcome = (yield lambda store: store.write((batch,)))[0]
    if isinstance(outcome, BotWireError):
        raise outcome
    return outcome[0]


def back_off(attempt: int) -> Pause:
    """A random wait that grows with the number of attempts, from under a millisecond to 50."""
    return Pause(random.uniform(0, min(0.05, 0.0005 * 1.5**attempt)))
