"""The sessions of one namespace: which differ, and bringing the target's up to the source's.

Messages keep their sequence numbers. They are copied oldest first, and the target's last number is that of the last message
that has arrived, so it says where an interrupted copy goes on. Each write asks that the session be still where it was left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from botwire._copy_entries import joined, refused
from botwire._errors import BotWireError, VersionConflict
from botwire._transfer_export import Pages
from botwire.stores._protocol import (
    Batch,
    DeleteLog,
    LogInfo,
    LogPlace,
    LogRow,
    Operation,
    Pop,
    RestoreLog,
    SetLog,
    Store,
    Trim,
)

if TYPE_CHECKING:
    from botwire._copy import Copied, Plan

LOGS_PAGE = 1_000
MOST_POPS = 500
"""Messages that are taken off one by one; of more, the whole session is copied anew."""


def copy_sessions(plan: Plan, namespace: str, found: Copied) -> None:
    """Make the target's sessions what the source's are."""
    for ours, theirs in joined(_logs(plan.source, namespace), _logs(plan.target, namespace)):
        _copy_one(plan, namespace, ours, theirs, found)


def _logs(store: Store, namespace: str) -> Iterator[tuple[tuple[str, str], LogInfo]]:
    page = store.scan_logs(namespace, None, LOGS_PAGE)
    while page:
        yield from (((info.session, info.agent), info) for info in page)
        page = store.scan_logs(namespace, (page[-1].session, page[-1].agent), LOGS_PAGE) if len(page) >= LOGS_PAGE else []


def name_of(namespace: str, info: LogInfo) -> str:
    """How messages call a session."""
    agent = f" (agent {info.agent!r})" if info.agent else ""
    return f"session {info.session!r}{agent} in namespace {namespace!r}"


def _copy_one(plan: Plan, namespace: str, ours: LogInfo | None, theirs: LogInfo | None, found: Copied) -> None:
    if theirs is not None and ours is not None and ours != theirs and _is_blank(theirs):
        theirs = None
    if ours is None:
        _remove(plan, namespace, theirs, found)
    elif ours == theirs:
        found.same += 1
        plan.on_step(ours.count)
    elif theirs is not None and theirs.updated_at > ours.updated_at and not plan.overwrite:
        found.newer += 1
        found.tell(f"{name_of(namespace, ours)} is newer in the destination")
    elif plan.dry_run:
        found.sessions += 1
        found.messages += ours.count if theirs is None or theirs.epoch != ours.epoch else max(0, ours.head - theirs.head)
    else:
        try:
            _Transfer(plan, namespace, ours, theirs, found).run()
        except VersionConflict:
            return  # somebody wrote to it at this moment: the next pass will see


def _is_blank(info: LogInfo) -> bool:
    """Whether nothing was ever in it: what a copy begins with."""
    return info.head == 0 and info.metadata == "{}"


def _remove(plan: Plan, namespace: str, theirs: LogInfo | None, found: Copied) -> None:
    if theirs is None:
        return
    if not plan.delete:
        found.extra += 1
        return
    found.deleted += 1
    if not plan.dry_run:
        batch = Batch(namespace, (_still_at(theirs), DeleteLog(theirs.session, theirs.agent)))
        outcome = plan.target.write((batch,))[0]
        if isinstance(outcome, VersionConflict):
            found.deleted -= 1
        elif isinstance(outcome, BotWireError):
            raise outcome


def _still_at(info: LogInfo) -> Trim:
    """What changes nothing, and fails if the session is no longer as it was."""
    return Trim(info.session, info.agent, info.count, LogPlace(info.epoch, info.head, info.count))


class _Transfer:
    """One session on its way. ``there`` is the target's state as this copy left it."""

    def __init__(self, plan: Plan, namespace: str, ours: LogInfo, theirs: LogInfo | None, found: Copied) -> None:
        self._plan = plan
        self._namespace = namespace
        self._ours = ours
        self._found = found
        self._pages = Pages()
        self._there = self._begin() if theirs is None else theirs
        self._after = 0  # the number of the last message that the target has
        self._kept = 0  # how many of its messages stay

    def _begin(self) -> LogInfo:
        """Create it, so that every later write can say what it expects."""
        results = self._write(SetLog(self._ours.session, self._ours.agent))
        created = results[0]
        if not isinstance(created, LogInfo) or not _is_blank(created):
            raise VersionConflict(f"{name_of(self._namespace, self._ours)} was begun in the destination at this moment", 0)
        return created

    def run(self) -> None:
        """Copy it.

        Raises:
            VersionConflict: if the target's was written to meanwhile.
        """
        first = self._reconcile()
        while True:
            page = self._plan.source.read_log(
                self._namespace, self._ours.session, self._ours.agent, after=self._after, limit=self._pages.limit
            )
            if page.info is None or page.info.epoch != self._ours.epoch:
                return  # cleared meanwhile: the next pass will see
            info, rows = page.info, page.rows
            is_last = not rows or rows[-1].seq >= info.head
            self._restore(first, info if is_last else info._replace(head=rows[-1].seq), rows)
            first = ()
            if is_last:
                break
        self._found.sessions += 1

    def _restore(self, first: tuple[Operation, ...], info: LogInfo, rows: list[LogRow]) -> None:
        self._write(_still_at(self._there), *first, RestoreLog(info, tuple(rows)))
        self._kept += len(rows)
        self._there = info._replace(count=self._kept)
        if rows:
            self._after = rows[-1].seq
            self._pages.got(len(rows), sum(len(row.body) for row in rows))
        self._found.messages += len(rows)
        self._plan.on_step(len(rows))

    def _write(self, *operations: Operation) -> list[object]:
        outcome = self._plan.target.write((Batch(self._namespace, operations),))[0]
        if isinstance(outcome, BotWireError):
            raise refused(outcome, name_of(self._namespace, self._ours))
        return list(outcome)

    # ------------------------------------------------------------------------ what the source has no more

    def _reconcile(self) -> tuple[Operation, ...]:
        """What removes from the target the messages that were popped or trimmed in the source since they were copied."""
        ours, theirs, name = self._ours, self._there, (self._ours.session, self._ours.agent)
        if theirs.epoch != ours.epoch:
            return ()  # another conversation: it goes as soon as something of this one comes
        popped, trimmed = (0, 0) if theirs.head > ours.head else (self._popped(), self._trimmed())
        if theirs.head > ours.head or popped > MOST_POPS:
            return (DeleteLog(*name),)
        self._after, self._kept = theirs.head, max(0, theirs.count - popped - trimmed)
        return (*[Pop(*name)] * popped, *([Trim(*name, self._kept)] if trimmed else []))

    def _popped(self) -> int:
        """How many of the target's last messages the source does not have."""
        name = (self._namespace, self._ours.session, self._ours.agent)
        last = self._plan.source.read_log(*name, before=self._there.head + 1, last=1).rows
        return self._count_in_target(after=last[-1].seq if last else 0)

    def _trimmed(self) -> int:
        """How many of the target's first messages the source does not have."""
        first = self._plan.source.read_log(self._namespace, self._ours.session, self._ours.agent, limit=1).rows
        return self._count_in_target(before=first[0].seq) if first and first[0].seq <= self._there.head else 0

    def _count_in_target(self, *, after: int = 0, before: int | None = None) -> int:
        name, count = (self._namespace, self._ours.session, self._ours.agent), 0
        while rows := self._plan.target.read_log(*name, after=after, before=before, limit=self._pages.limit).rows:
            count += len(rows)
            after = rows[-1].seq
            self._pages.got(len(rows), sum(len(row.body) for row in rows))
        return count
