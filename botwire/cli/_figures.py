"""Where a store lies and what it holds, in figures: read page by page, so that a large one needs time but no memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from botwire._names import RESERVED_NAMESPACE
from botwire.stores._protocol import LogInfo, Store

_PAGE = 1_000


class Figures(NamedTuple):
    """What one namespace holds."""

    namespace: str
    entries: int
    sessions: int
    messages: int


def file_of(store: Store) -> str | None:
    """The file in which a store lies, if it is one."""
    path = getattr(store, "path", None)
    return path if isinstance(path, str) and Path(path).is_absolute() else None


def iter_namespaces(store: Store) -> Iterator[str]:
    """Every namespace that holds anything."""
    after = None
    while page := store.namespaces(after, _PAGE):
        yield from (name for name in page if name != RESERVED_NAMESPACE)
        after = page[-1]


def iter_logs(store: Store, namespace: str) -> Iterator[LogInfo]:
    """The sessions of a namespace, and within each its agents' transcripts."""
    after = None
    while page := store.scan_logs(namespace, after, _PAGE):
        yield from page
        after = (page[-1].session, page[-1].agent)


def figures_of(store: Store, namespace: str) -> Figures:
    """What a namespace holds."""
    sessions = messages = 0
    for log in iter_logs(store, namespace):
        sessions += 1
        messages += log.count
    return Figures(namespace, store.count(namespace), sessions, messages)
