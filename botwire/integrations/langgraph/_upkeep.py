"""Removing and copying checkpoints, with what they alone need."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from botwire.integrations.langgraph import _keys, _pages
from botwire.integrations.langgraph._lines import Line, Lines
from botwire.integrations.langgraph._pages import Log, shift
from botwire.integrations.langgraph._records import Head, Record, Stored, head_text, task_of
from botwire.stores import Clear, Delete, Operation, Set

MOST_OPERATIONS = 1_000
"""Operations in one batch, where it need not be a single one."""


def delete_thread(lines: Lines, thread_id: str) -> None:
    """Remove all of a thread, at once."""
    prefix = _keys.thread_prefix(thread_id)
    lines.apply([Clear(prefix)])
    lines.forget(prefix)


def keep_latest(records: list[Record]) -> list[Record]:
    """The newest of a line's checkpoints, and those before it from which a delta channel's value is put together.

    A delta channel's value is not stored in every checkpoint: it is the last one that was, and what was written since.
    """
    kept = records[:1]
    by_id = {record.id: record for record in records}
    missing = _replayed(kept[0]) if kept else set[str]()
    parent = kept[0].parent if kept else None
    while missing and parent in by_id:
        kept.append(by_id[parent])
        missing -= kept[-1].stored.keys()
        parent = kept[-1].parent
    return kept


def _replayed(record: Record) -> set[str]:
    counters: Any = record.metadata.get("counters_since_delta_snapshot") or {}
    return {channel for channel in counters if channel not in record.stored}


def without_runs(run_ids: Iterable[str]) -> Callable[[list[Record]], list[Record]]:
    """Chooses the checkpoints that are not of these runs."""
    doomed = set(run_ids)
    return lambda records: [record for record in records if record.metadata.get("run_id") not in doomed]


def reduce_line(lines: Lines, prefix: str, choose: Callable[[list[Record]], list[Record]], serde: SerializerProtocol) -> None:
    """Remove a line's checkpoints but those chosen, with their writes, and what of the logs no other checkpoint needs."""

    def draft() -> tuple[list[Operation], Line | None]:
        heads = lines.heads(prefix)
        records = list(lines.records(prefix, serde))
        kept = choose(records)
        if len(kept) == len(records):
            return [], None
        ids = {record.id for record in kept}
        operations: list[Operation] = [_touch(prefix, head, last=not kept) for head in heads]
        operations += [Clear(_keys.checkpoint_key(prefix, record.id)) for record in records if record.id not in ids]
        needed = {name for record in kept for name in _pages_of(record)}
        operations += [Delete(key) for key in _page_keys(lines, prefix) if key[len(prefix) + 2 :] not in needed]
        return operations, None

    lines.write(prefix, draft)


def _touch(prefix: str, head: Head, *, last: bool) -> Operation:
    """Sets the head as it is, or removes it with all that it was for: whoever wrote meanwhile, or is about to, notices."""
    key = f"{prefix}h/{head.epoch}"
    return Delete(key, if_version=head.version) if last else Set(key, head_text(head.lengths), if_version=head.version)


def _pages_of(record: Record) -> Iterable[str]:
    for channel, stored in record.stored.items():
        for page in _pages.pages_of(stored.runs or []):
            yield f"{record.epoch}/{_keys.part(channel)}/{page:08d}"


def _page_keys(lines: Lines, prefix: str) -> list[str]:
    keys: list[str] = []
    page = lines.store.scan_keys(lines.namespace, f"{prefix}d/", None, 1_000)
    while page:
        keys += page
        page = lines.store.scan_keys(lines.namespace, f"{prefix}d/", page[-1], 1_000)
    return keys


# ----------------------------------------------------------------------------------------- copying


def copy_thread(lines: Lines, source: str, target: str, serde: SerializerProtocol) -> None:
    """Copy all of a thread to another, beside what is there: values first, then the checkpoints that refer to them."""
    if source == target:
        return
    for prefix, names in list(lines.names(source)):
        _copy_line(lines, prefix, (target, names[1]), serde)


def _copy_line(lines: Lines, prefix: str, names: tuple[str, str], serde: SerializerProtocol) -> None:
    goal = _keys.line_prefix(*names)
    records = list(lines.records(prefix, serde))
    pages = list(lines.rows(f"{prefix}d/"))
    places: dict[tuple[str, str], int] = {}
    epoch = ""

    def draft() -> tuple[list[Operation], Line | None]:
        nonlocal epoch
        line = lines.ready(goal)
        epoch, logs = line.epoch, dict(line.logs)
        if not pages:
            return [], None
        epoch = epoch or secrets.token_hex(4)
        operations: list[Operation] = []
        places.clear()
        for row in pages:  # in order: epoch, channel, page
            old_epoch, name, number = row.key[len(prefix) + 2 :].split("/")
            if (old_epoch, name) not in places:
                places[old_epoch, name] = -(-logs.get(name, Log()).length // _pages.PAGE)
            page = places[old_epoch, name] + int(number)
            logs[name] = Log(page * _pages.PAGE + len(_pages.decode_page(row.value)), None)
            operations.append(Set(f"{goal}d/{epoch}/{name}/{page:08d}", row.value))
        lengths = {name: log.length for name, log in logs.items()}
        head = Set(f"{goal}h/{epoch}", head_text(lengths), if_version=line.version or 0)
        return [head, *operations], None

    lines.write(goal, draft)
    rest: list[Operation] = []
    for record in reversed(records):
        stored = {channel: _moved(stored, places.get((record.epoch, _keys.part(channel)), 0)) for channel, stored in record.stored.items()}
        key = _keys.checkpoint_key(goal, record.id)
        rest += [Set(f"{key}/{_keys.part(task_of(text))}", text) for text in record.writes]
        rest.append(Set(key, replace(record, names=names, epoch=epoch, stored=stored).to_text(serde)))
    for start in range(0, len(rest), MOST_OPERATIONS):
        lines.apply(rest[start : start + MOST_OPERATIONS])


def _moved(stored: Stored, pages: int) -> Stored:
    return stored if stored.runs is None else stored._replace(runs=shift(stored.runs, pages * _pages.PAGE))
