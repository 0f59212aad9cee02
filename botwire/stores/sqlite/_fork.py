"""What a fork does to stores: their connections are closed before it, and opened anew on both sides.

SQLite keeps in the memory of a process which locks that process holds. A child inherits the belief but not the
locks: the parent, thinking itself alone, would remove the log under the child, and what the child wrote would
be lost. A mutex inside SQLite that another thread holds at that moment would stay locked in the child for ever.
So before a fork every call into SQLite is waited for, and every connection is closed.
"""

from __future__ import annotations

import os
import weakref
from time import monotonic
from typing import Protocol

LONGEST_WAIT = 10.0
"""Seconds for which a fork waits for calls under way."""


class Forkable(Protocol):
    """What a store does about a fork."""

    def before_fork(self, deadline: float) -> bool: ...

    def after_fork(self, held: bool, in_child: bool) -> None: ...


_stores: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[tuple[Forkable, bool]] = []


def register(store: Forkable) -> None:
    """Have a store take part in every fork, as long as it lives."""
    _stores.add(store)


def _before() -> None:
    deadline = monotonic() + LONGEST_WAIT
    _held[:] = [(store, store.before_fork(deadline)) for store in list(_stores)]


def _after_in_parent() -> None:
    while _held:
        store, held = _held.pop()
        store.after_fork(held, in_child=False)


def _after_in_child() -> None:
    while _held:
        store, held = _held.pop()
        store.after_fork(held, in_child=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
