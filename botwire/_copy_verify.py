"""Whether a copy holds what its source does: everything is read from both sides and compared.

What has another stamp, epoch or number than in the source was changed since it was copied, and is behind, or newer. What has
the same must be the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botwire._copy_sessions import LOGS_PAGE, name_of
from botwire._transfer_export import Pages
from botwire.stores._protocol import EntryRow, LogInfo

if TYPE_CHECKING:
    from botwire._copy import Copied, Plan


def verify_namespace(plan: Plan, namespace: str, found: Copied) -> None:
    """Compare all entries and sessions of one namespace."""
    _verify_entries(plan, namespace, found)
    after = None
    while page := plan.source.scan_logs(namespace, after, LOGS_PAGE):
        for info in page:
            _verify_session(plan, namespace, info, found)
        after = (page[-1].session, page[-1].agent)


def _verify_entries(plan: Plan, namespace: str, found: Copied) -> None:
    pages, after = Pages(), None
    while rows := plan.source.scan(namespace, "", after, pages.limit):
        pages.got(len(rows), sum(len(row.value) for row in rows))
        there = plan.target.get_many(namespace, [row.key for row in rows])
        for row in rows:
            _compare_entry(namespace, row, there.get(row.key), found)
        plan.on_step(len(rows))
        after = rows[-1].key


def _compare_entry(namespace: str, row: EntryRow, there: EntryRow | None, found: Copied) -> None:
    found.compared += 1
    if there == row:
        return
    if there is not None and there[2:] == row[2:]:  # all but the value, which must then be equal too
        found.different += 1
        found.tell(f"entry {row.key!r} in namespace {namespace!r} is different in the destination")
    elif there is None or (there.updated_at, there.version) <= (row.updated_at, row.version):
        found.behind += 1


def _verify_session(plan: Plan, namespace: str, info: LogInfo, found: Copied) -> None:
    name, pages, after, is_behind = (namespace, info.session, info.agent), Pages(), 0, False
    while True:
        ours = plan.source.read_log(*name, after=after, limit=pages.limit)
        if not ours.rows or ours.info is None:
            break
        last = ours.rows[-1].seq
        theirs = plan.target.read_log(*name, after=after, before=last + 1)
        is_behind = is_behind or theirs.info is None or theirs.info.epoch != ours.info.epoch
        if theirs.info is not None and theirs.info.epoch != ours.info.epoch and theirs.info.updated_at > ours.info.updated_at:
            return  # newer: that is said already
        there = {row.seq: row for row in theirs.rows}
        for row in ours.rows:
            found.compared += 1
            if is_behind or row.seq not in there:
                is_behind = True
            elif there[row.seq] != row:
                found.different += 1
                found.tell(f"message {row.seq} of {name_of(namespace, info)} is different in the destination")
        is_behind = is_behind or len(there) > len(ours.rows)
        plan.on_step(len(ours.rows))
        pages.got(len(ours.rows), sum(len(row.body) for row in ours.rows))
        after = last
    found.behind += is_behind
