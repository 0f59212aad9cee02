"""BotWireStore: LangGraph's long-term store in botwire's memory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from operator import attrgetter
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from botwire import AsyncMemory, BotWireError, InvalidValue, Memory, VersionConflict
from botwire.integrations.langgraph._items import Namespace, Stored, begins, ends, key_of, matches, namespaces, parse, prefix_of, to_text
from botwire.integrations.langgraph._threads import in_thread
from botwire.stores import Batch, Delete, EntryRow, Operation, Restore, Set, Store

MINUTE = 60_000_000
"""Microseconds."""

REFRESH_AFTER = 0.05
"""The part of its time to live after which reading an item begins that time anew: not every read has to be a write."""

SCAN = 1_000
"""Entries asked for at a time."""


class BotWireStore(BaseStore):
    """A long-term store: give it to ``compile`` or ``create_agent``, and what agents put there outlives thread and process.

    Args:
        namespace: the namespace of memory in which the items lie.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: LangGraph's TTLConfig: ``default_ttl`` in minutes, and ``refresh_on_read``. What has expired is never read,
            and is removed without being asked to.

    One object serves synchronous and asynchronous callers, in any number of threads, event loops and processes.
    Behaves the same wherever memory lies. Costs no I/O until its first call. It has no vectors: a search with a
    ``query`` finds what the same search without it would, the newest first.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if the arguments contradict each other.
    """

    supports_ttl = True

    def __init__(
        self,
        *,
        namespace: str = "langgraph",
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        if memory is not None and (url is not None or namespace not in ("langgraph", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._memory = Memory(namespace, url=url) if memory is None else memory
        self.ttl_config = ttl

    def __repr__(self) -> str:
        return f"<BotWireStore of {self._memory.namespace!r}>"

    # ------------------------------------------------------------------------------------- batches

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations; the results are in their order. All reads see what was there before all writes.

        The writes happen together or not at all; of several to one key the last counts.

        Raises:
            InvalidNamespaceError: if a label cannot be one.
            InvalidName: if namespace and key together are too long.
            InvalidValue: if a value would not come back equal; names the path inside it. Nothing is written.
            StoreUnavailable: if the store cannot be used.
        """
        operations = list(ops)
        for operation in operations:
            _check_labels(operation)
        store = self._memory.store
        puts = {key_of(op.namespace, str(op.key)): op for op in operations if isinstance(op, PutOp)}
        writes = [_write(key, op) for key, op in puts.items()]  # first: says what cannot be stored before anything is done
        rows = self._read(store, [op for op in operations if isinstance(op, GetOp)])
        refreshed: list[EntryRow] = []
        results = [self._answer(store, op, rows, refreshed) for op in operations]
        if writes:
            _write_all(store, [Batch(self._memory.namespace, tuple(writes))])
        self._refresh(store, [row for row in refreshed if row.key not in puts])
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """See ``batch``."""
        return await in_thread(self.batch, list(ops))

    def _read(self, store: Store, ops: Sequence[GetOp]) -> dict[str, EntryRow]:
        keys = list(dict.fromkeys(key_of(op.namespace, str(op.key)) for op in ops))
        return store.get_many(self._memory.namespace, keys) if keys else {}

    def _answer(self, store: Store, op: Op, rows: dict[str, EntryRow], refreshed: list[EntryRow]) -> Result:
        if isinstance(op, GetOp):
            return self._get(op, rows, refreshed)
        if isinstance(op, SearchOp):
            return self._search(store, op, refreshed)
        if isinstance(op, ListNamespacesOp):
            return self._list_namespaces(store, op)
        return None

    # ------------------------------------------------------------------------------------- reading

    def _get(self, op: GetOp, rows: dict[str, EntryRow], refreshed: list[EntryRow]) -> Item | None:
        row = rows.get(key_of(op.namespace, str(op.key)))
        if row is None:
            return None
        if op.refresh_ttl:
            refreshed.append(row)
        found = parse(row)
        return Item(value=found.value, key=found.key, namespace=found.namespace, created_at=found.created_at, updated_at=found.updated_at)

    def _search(self, store: Store, op: SearchOp, refreshed: list[EntryRow]) -> list[SearchItem]:
        rows = self._rows(store, prefix_of(op.namespace_prefix))
        rows.sort(key=attrgetter("updated_at"), reverse=True)  # of the same microsecond, by key
        found: list[SearchItem] = []
        skip = op.offset
        for row in rows:
            if len(found) == op.limit:
                break
            if not op.filter and skip:  # nothing to look at: not parsed either
                skip -= 1
                continue
            item = parse(row)
            if not matches(item.value, op.filter):
                continue
            if skip:
                skip -= 1
                continue
            found.append(_search_item(item))
            if op.refresh_ttl:
                refreshed.append(row)
        return found

    def _rows(self, store: Store, prefix: str) -> list[EntryRow]:
        rows: list[EntryRow] = []
        page = store.scan(self._memory.namespace, prefix, None, SCAN)
        while page:
            rows += page
            page = store.scan(self._memory.namespace, prefix, page[-1].key, SCAN) if len(page) == SCAN else []
        return rows

    def _list_namespaces(self, store: Store, op: ListNamespacesOp) -> list[Namespace]:
        conditions = op.match_conditions or ()
        found: set[Namespace] = set()
        for namespace in namespaces(store, self._memory.namespace, prefix_of(_literal_prefix(op))):
            fits = (begins if condition.match_type == "prefix" else ends for condition in conditions)
            if all(fit(namespace, condition.path) for fit, condition in zip(fits, conditions, strict=True)):
                found.add(namespace if op.max_depth is None else namespace[: op.max_depth])
        return sorted(found)[op.offset : op.offset + op.limit]

    # ----------------------------------------------------------------------------------- time to live

    def _refresh(self, store: Store, rows: Sequence[EntryRow]) -> None:
        """Begin the time to live of items anew, unless somebody has written them since."""
        now = time.time_ns() // 1_000
        batches: list[Batch] = []
        for row in dict.fromkeys(rows):
            ttl = None if row.expires_at is None else parse(row).ttl
            if ttl is not None and now + ttl - (row.expires_at or 0) > REFRESH_AFTER * ttl:
                longer = row._replace(expires_at=now + ttl)
                batches.append(Batch(self._memory.namespace, (Delete(row.key, if_version=row.version), Restore(longer))))
        if batches:
            _write_all(store, batches)

    def sweep_ttl(self) -> int:
        """Expired items are removed without being asked to, and never read before; returns 0."""
        return 0

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:  # noqa: ARG002 - LangGraph's signature
        """There is no need for one; returns a future that is done."""
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - LangGraph's signature
        """There is none; returns True."""
        return True


def _check_labels(op: Op) -> None:
    """LangGraph's rules for labels, which its own methods check, but not for a batch."""
    if isinstance(op, ListNamespacesOp):
        paths: Sequence[Sequence[Any]] = [condition.path for condition in op.match_conditions or ()]
    else:
        paths = [op.namespace_prefix if isinstance(op, SearchOp) else op.namespace]
    for label in (label for path in paths for label in path):
        if not isinstance(label, str) or not label or "." in label or "\x00" in label:
            raise InvalidNamespaceError(f"a label of a namespace must be text without periods and NUL, and not empty: {label!r:.80}")


def _write(key: str, op: PutOp) -> Operation:
    if op.value is None:
        return Delete(key)
    ttl = _microseconds(op.ttl)
    return Set(key, to_text(op.value, ttl), ttl=ttl)


def _microseconds(minutes: float | None) -> int | None:
    if minutes is None:
        return None
    if not math.isfinite(minutes) or minutes <= 0:
        raise InvalidValue(f"ttl must be over zero minutes, or None for no expiry, not {minutes!r:.80}")
    return math.ceil(minutes * MINUTE)


def _write_all(store: Store, batches: list[Batch]) -> None:
    for outcome in store.write(batches):
        if isinstance(outcome, BotWireError) and not isinstance(outcome, VersionConflict):  # only a refresh asks for a version
            raise outcome


def _search_item(item: Stored) -> SearchItem:
    return SearchItem(namespace=item.namespace, key=item.key, value=item.value, created_at=item.created_at, updated_at=item.updated_at)


def _literal_prefix(op: ListNamespacesOp) -> Namespace:
    """The labels with which every namespace that is asked for begins."""
    for condition in op.match_conditions or ():
        if condition.match_type == "prefix":
            path: list[Any] = list(condition.path)
            return tuple(path[: path.index("*")] if "*" in path else path)
    return ()
