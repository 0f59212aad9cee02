"""Comparing a store with an export."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from botwire._transfer_import import MOST_TOLD, Group, Imported, LineReader, groups, stored_messages
from botwire.stores._protocol import LogInfo, LogRow, Store


@dataclass
class Compared:
    """What a comparison found: names in ``differences``, some of them at least."""

    compared: int = 0
    expired: int = 0
    different: int = 0
    differences: list[str] = field(default_factory=list[str])

    def add(self, what: str, same: bool) -> None:
        """Count one entry, session or message."""
        self.compared += 1
        if not same:
            self.different += 1
            if len(self.differences) < MOST_TOLD:
                self.differences.append(what)


def compare_store(
    store: Store,
    lines: Iterable[bytes],
    *,
    namespaces: tuple[str, ...] | None = None,
    on_line: Callable[[int], None] | None = None,
) -> Compared:
    """Whether a store holds, exactly, what an export does; what has expired since is counted apart. Bad lines are passed over."""
    found = Compared()
    last: tuple[str, str, str] | None = None
    for group in groups(LineReader(lines, skip_bad=True, done=Imported(), on_line=on_line), namespaces):
        _compare_entries(store, group, found)
        for info, rows in group.sessions:
            session = (group.namespace, info.session, info.agent)
            _compare_session(store, group.namespace, info, rows, found, again=session == last)
            last = session
    return found


def _compare_entries(store: Store, group: Group, found: Compared) -> None:
    now = time.time_ns() // 1_000
    rows = {row.key: row for row in group.entries}
    present = store.get_many(group.namespace, list(rows)) if rows else {}
    for key, row in rows.items():
        if row.expires_at is not None and row.expires_at <= now:
            found.expired += 1
        else:
            found.add(f"entry {key!r} in namespace {group.namespace!r}", present.get(key) == row)


def _compare_session(store: Store, namespace: str, info: LogInfo, rows: list[LogRow], found: Compared, *, again: bool) -> None:
    """``again``: these are more messages of a session that was looked at before."""
    if info.expires_at is not None and info.expires_at <= time.time_ns() // 1_000:
        found.expired += len(rows) + (not again)
        return
    where = f"session {info.session!r}{f' (agent {info.agent!r})' if info.agent else ''} in namespace {namespace!r}"
    if not again:
        there = store.read_log(namespace, info.session, info.agent, last=0).info
        found.add(where, there is not None and there._replace(count=0) == info)
    have = {row.seq: row for row in stored_messages(store, namespace, info, rows)}
    for row in rows:
        found.add(f"message {row.seq} of {where}", have.get(row.seq) == row)
