"""The entries of one namespace: which differ, and putting them where they are to be.

A stamp tells versions and times. What the target had when it was compared is asked for again in the write: an entry that
somebody wrote there in between fails the batch, and is for the next pass to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from botwire._errors import BotWireError, InvalidValue, Unsupported, VersionConflict
from botwire._transfer_export import Pages
from botwire.stores._protocol import Batch, Delete, EntryRow, EntryStamp, Operation, Outcome, Restore, Set, Store

if TYPE_CHECKING:
    from botwire._copy import Copied, Plan

T = TypeVar("T")

STAMPS_PAGE = 2_000

Pair = tuple[EntryStamp | None, EntryStamp | None]


def joined(ours: Iterable[tuple[Any, T]], theirs: Iterable[tuple[Any, T]]) -> Iterator[tuple[T | None, T | None]]:
    """Two lists of (name, row) in the order of names, put side by side; None where one has no such name."""
    left, right = iter(ours), iter(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            yield (None if one is None else one[1]), None
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield None, other[1]
            other = next(right, None)
        else:
            yield one[1], other[1]
            one, other = next(left, None), next(right, None)


def copy_entries(plan: Plan, namespace: str, found: Copied) -> None:
    """Make the target's entries what the source's are."""
    waiting: list[Pair] = []
    pages = Pages()
    for ours, theirs in joined(_stamps(plan.source, namespace), _stamps(plan.target, namespace)):
        if not _is_wanted(plan, namespace, ours, theirs, found):
            continue
        waiting.append((ours, theirs))
        if len(waiting) >= pages.limit:
            _copy(plan, namespace, waiting, pages, found)
            waiting.clear()
    _copy(plan, namespace, waiting, pages, found)


def _stamps(store: Store, namespace: str) -> Iterator[tuple[str, EntryStamp]]:
    page = store.scan_stamps(namespace, "", None, STAMPS_PAGE)
    while page:
        yield from ((stamp.key, stamp) for stamp in page)
        page = store.scan_stamps(namespace, "", page[-1].key, STAMPS_PAGE) if len(page) >= STAMPS_PAGE else []


def _is_wanted(plan: Plan, namespace: str, ours: EntryStamp | None, theirs: EntryStamp | None, found: Copied) -> bool:
    if ours is None:
        found.extra += not plan.delete
        return plan.delete
    if theirs is None:
        return True
    if ours == theirs:
        found.same += 1
        plan.on_step(1)
        return False
    if (theirs.updated_at, theirs.version) > (ours.updated_at, ours.version) and not plan.overwrite:
        found.newer += 1
        found.tell(f"entry {ours.key!r} in namespace {namespace!r} is newer in the destination")
        return False
    return True


def _copy(plan: Plan, namespace: str, pairs: list[Pair], pages: Pages, found: Copied) -> None:
    if plan.dry_run:
        gone = sum(ours is None for ours, _ in pairs)
        found.deleted += gone
        found.entries += len(pairs) - gone
        return
    keys = [ours.key for ours, _ in pairs if ours is not None]
    rows = plan.source.get_many(namespace, keys) if keys else {}
    if rows:
        pages.got(len(rows), sum(len(row.value) for row in rows.values()))
    writes = [write for ours, theirs in pairs if (write := _operations(ours, theirs, rows)) is not None]
    outcomes = _write_together(plan.target, namespace, writes)
    for write, outcome in zip(writes, outcomes, strict=True):
        _count(namespace, write, outcome, found)
    plan.on_step(len(pairs))


def _operations(ours: EntryStamp | None, theirs: EntryStamp | None, rows: dict[str, EntryRow]) -> tuple[Operation, ...] | None:
    """What makes one entry right, if the target still has what it had; None if the source no longer has it."""
    if ours is None:
        return None if theirs is None else (Delete(theirs.key, theirs.version),)
    row = rows.get(ours.key)
    if row is None:
        return None
    return (Set(row.key, "null", 0) if theirs is None else Delete(row.key, theirs.version), Restore(row))


def _write_together(target: Store, namespace: str, writes: list[tuple[Operation, ...]]) -> list[Outcome]:
    """All in one batch, or, if something is in the way of one of them, each on its own."""
    if not writes:
        return []
    outcome = target.write((Batch(namespace, tuple(operation for write in writes for operation in write)),))[0]
    if isinstance(outcome, BotWireError):
        return [outcome] if len(writes) == 1 else target.write([Batch(namespace, write) for write in writes])
    return [outcome] * len(writes)


def _count(namespace: str, write: tuple[Operation, ...], outcome: Outcome, found: Copied) -> None:
    restored = isinstance(write[-1], Restore)
    if isinstance(outcome, VersionConflict):
        return  # somebody wrote it at this moment: the next pass will see
    if isinstance(outcome, BotWireError):
        raise refused(outcome, f"entry {write[-1].row.key if isinstance(write[-1], Restore) else '?'!r} in namespace {namespace!r}")
    found.entries += restored
    found.deleted += not restored


def refused(error: BotWireError, what: str) -> BotWireError:
    """The error with the name of what could not be written, if that is what was wrong."""
    if isinstance(error, InvalidValue | Unsupported):
        return type(error)(f"{what} cannot be copied: {error}")
    return error
