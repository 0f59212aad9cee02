"""Copying a store into another one while both are in use: exactly, as far as it differs, again and again if need be.

A pass compares what both have, by versions, times, epochs and sequence numbers, and copies what differs. So a copy that was
interrupted is simply run again, what changed meanwhile is caught up with by another pass, and to follow a store is to go on
with passes. Nothing is put over what somebody else wrote in between: each write says what it found there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from botwire._copy_entries import copy_entries
from botwire._copy_sessions import copy_sessions
from botwire._copy_verify import verify_namespace
from botwire._errors import BotWireError, InvalidValue, QuotaExceeded, StoreUnavailable
from botwire._names import check_name
from botwire.stores._protocol import Listener, Store

logger = logging.getLogger("botwire")

NAMES_PAGE = 1_000
MOST_PASSES = 5
"""Passes of one copy: writers that are faster than that are for ``follow``."""
MOST_TOLD = 20
"""Names that are told of one by one; all are counted."""
MOST_LISTENERS = 32
"""Namespaces that are listened to while following; others are looked at now and then."""
LOOK_EVERY = 2.0
"""Seconds between two looks at all there is while following, at least."""
LONGEST_PAUSE = 10.0


@dataclass
class Copied:
    """What a copy did and found.

    ``entries``, ``sessions``, ``messages`` and ``deleted`` were written (with ``dry_run``: would be). The others are how it stood
    at the end: ``same`` entries and sessions needed nothing; ``newer`` ones were left, since the destination's are newer;
    ``extra`` ones are in the destination alone. After verifying, ``compared`` entries and messages were read from both
    sides, ``different`` of them are not equal although they should be, and ``behind`` have changed since they were copied.
    """

    entries: int = 0
    sessions: int = 0
    messages: int = 0
    deleted: int = 0
    same: int = 0
    newer: int = 0
    extra: int = 0
    passes: int = 0
    compared: int = 0
    different: int = 0
    behind: int = 0
    names: list[str] = field(default_factory=list[str])
    """Of some that are newer or different."""

    @property
    def ok(self) -> bool:
        """Whether the destination now holds all that the source does, as far as is known."""
        return not self.newer and not self.different

    def tell(self, name: str) -> None:
        """Name something that people want to know of."""
        if len(self.names) < MOST_TOLD:
            self.names.append(name)

    @property
    def written(self) -> int:
        """How much was written."""
        return self.entries + self.sessions + self.messages + self.deleted


@dataclass(frozen=True)
class Plan:
    """From where to where, and what is allowed.

    Args:
        source: where to read.
        target: where to write.
        delete: remove from the target what the source does not have.
        overwrite: also put what the source has over what is newer in the target.
        dry_run: write nothing, only count.
        on_step: called with a number of rows that are done.
    """

    source: Store
    target: Store
    delete: bool = False
    overwrite: bool = False
    dry_run: bool = False
    on_step: Callable[[int], object] = lambda _: None


def copy_store(
    source: Store,
    target: Store,
    *,
    namespaces: tuple[str, ...] | None = None,
    delete: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    on_step: Callable[[int], object] = lambda _: None,
) -> Copied:
    """Copy what a store holds into another one, with versions, times, expiry, epochs and sequence numbers. Both may be in use.

    What is equal is passed over, so a copy that was interrupted is simply run again. What changes meanwhile is caught up with.

    Args:
        source: where to read.
        target: where to write.
        namespaces: only these; None for all.
        delete: remove from the target what the source does not have, in these namespaces.
        overwrite: also put the source's entries and sessions over newer ones of the target.
        dry_run: write nothing, only say what would be.
        verify: afterwards read both and compare.
        on_step: called with a number of entries and messages that are done.

    Raises:
        InvalidName, InvalidValue: if that cannot be asked for, or the target refuses an entry or message: it says which.
        BotWireError: if a store cannot be used; what was copied stays, and the copy can be run again.
    """
    plan = Plan(source, target, delete, overwrite, dry_run, on_step)
    found = Copied()
    names = _checked(plan, namespaces)
    _catch_up(plan, names, found)
    if verify and not dry_run:
        _verify(plan, names, found)
        if found.behind:
            _catch_up(plan, names, found)
            _verify(plan, names, found)
    return found


def _checked(plan: Plan, namespaces: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if plan.source is plan.target or plan.source.url == plan.target.url != "memory://":
        raise InvalidValue(f"source and destination are the same store, {plan.source.url}; nothing was copied")
    return None if namespaces is None else tuple(dict.fromkeys(check_name(name, "namespace") for name in namespaces))


def _catch_up(plan: Plan, namespaces: tuple[str, ...] | None, found: Copied) -> None:
    """Passes until one finds nothing to do."""
    for _ in range(MOST_PASSES):
        before = found.written
        found.same = found.newer = found.extra = 0
        found.names.clear()
        found.passes += 1
        for namespace in _namespaces(plan, namespaces):
            _copy_namespace(plan, namespace, found)
        if plan.dry_run or found.written == before:
            return


def _copy_namespace(plan: Plan, namespace: str, found: Copied) -> None:
    copy_entries(plan, namespace, found)
    copy_sessions(plan, namespace, found)


def _verify(plan: Plan, namespaces: tuple[str, ...] | None, found: Copied) -> None:
    found.compared = found.different = found.behind = 0
    for namespace in _namespaces(plan, namespaces):
        verify_namespace(plan, namespace, found)


def _namespaces(plan: Plan, namespaces: tuple[str, ...] | None) -> Iterator[str]:
    if namespaces is not None:
        yield from namespaces
        return
    seen = set[str]()
    for store in (plan.source, plan.target) if plan.delete else (plan.source,):
        page = store.namespaces(None, NAMES_PAGE)
        while page:
            yield from (name for name in page if name not in seen)
            if plan.delete:
                seen.update(page)
            page = store.namespaces(page[-1], NAMES_PAGE)


# ---------------------------------------------------------------------------------------- following


def follow_store(
    source: Store,
    target: Store,
    stop: threading.Event,
    *,
    namespaces: tuple[str, ...] | None = None,
    delete: bool = False,
    overwrite: bool = False,
    on_pass: Callable[[Copied], object] = lambda _: None,
) -> None:
    """Go on copying what changes, until ``stop`` is set. Whatever goes wrong with a connection, it tries again.

    Args:
        source: where to read, and to listen.
        target: where to write.
        stop: ends it, after the pass under way.
        namespaces: as for ``copy_store``.
        delete: likewise.
        overwrite: likewise.
        on_pass: called after each pass that wrote something, with what it did.
    """
    plan = Plan(source, target, delete, overwrite)
    names = _checked(plan, namespaces)
    ears = _Ears(source)
    try:
        pause, look_at = LOOK_EVERY, 0.0
        while not stop.is_set():
            found = Copied()
            try:
                due = time.monotonic() >= look_at
                wanted = list(_namespaces(plan, names)) if due else ears.take()
                ears.listen_to(wanted)
                for namespace in wanted:
                    _copy_namespace(plan, namespace, found)
                pause = LOOK_EVERY
                if due:  # sessions, new namespaces and expiry are not heard of from every store
                    look_at = time.monotonic() + max(LOOK_EVERY, found.same / 100_000)
            except (StoreUnavailable, QuotaExceeded) as error:
                logger.warning("following goes on when both stores answer again: %s", error)
                stop.wait(pause)
                pause, look_at = min(2 * pause, LONGEST_PAUSE), 0.0
            if found.written:
                on_pass(found)
            ears.wait(max(0.0, min(look_at - time.monotonic(), LOOK_EVERY)), stop)
    finally:
        ears.close()


class _Ears:
    """Listens to namespaces, each on a thread: which of them may have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[str, Listener] = {}
        self._heard: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False

    def listen_to(self, namespaces: list[str]) -> None:
        """Listen from now on to those of them that there is room for."""
        for namespace in namespaces:
            if namespace not in self._listeners and len(self._listeners) < MOST_LISTENERS:
                listener = self._listeners[namespace] = self._store.listen(namespace)
                threading.Thread(target=self._listen, args=(namespace, listener), name="botwire-follow", daemon=True).start()

    def _listen(self, namespace: str, listener: Listener) -> None:
        while not self._closed:
            try:
                heard = listener.wait(5.0)
            except BotWireError as error:
                if not self._closed:
                    logger.warning("namespace %r is looked at now and then, since it cannot be listened to: %s", namespace, error)
                return
            if heard is not None:
                with self._changed:
                    self._heard.add(namespace)
                    self._changed.notify_all()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Until something was heard, the time is over, or it is to stop."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self._heard and not stop.is_set() and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.2))

    def take(self) -> list[str]:
        """The namespaces that may have changed since the last call."""
        with self._changed:
            heard = sorted(self._heard)
            self._heard.clear()
        return heard

    def close(self) -> None:
        self._closed = True
        for listener in self._listeners.values():
            with suppress(BotWireError):
                listener.close()
