"""BotWireStorage: CrewAI's unified memory in botwire's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from crewai.memory.types import MemoryRecord, ScopeInfo

from botwire import InvalidValue, Memory
from botwire.integrations.crewai._fold import Fold
from botwire.integrations.crewai._log import RecordLog, log_of
from botwire.integrations.crewai._outages import Outages
from botwire.integrations.crewai._records import Criteria, DimensionMismatch, Known, Vector, put_text, to_vector, touch_text
from botwire.integrations.crewai._scopes import children, normal
from botwire.integrations.crewai._threads import in_thread

__all__ = ["BotWireStorage", "DimensionMismatch"]

T = TypeVar("T")

TOUCHED_LATELY = timedelta(minutes=1)
"""So soon after a record was read, reading it again is not written down."""


class BotWireStorage:
    """A storage for CrewAI's ``Memory``: ``Memory(storage=BotWireStorage("research"), embedder=...)``.

    Args:
        namespace: the namespace of memory in which the records lie; a hard wall.
        url: where memory lies; as for ``botwire.Memory``.
        token: for a server that asks for one.
        memory: a Memory to use, in place of ``url`` and ``namespace``; it stays yours to close.

    The records are one session of the namespace, ``crewai/records``, never among its keys. All vectors are kept in memory
    as float32, and compared one by one: made for up to about 10,000 records of 1,536 numbers, or 50,000 of 256. After the first call each
    search reads only what was written since, in one round trip. For any number of threads and processes. Costs no I/O
    until its first call.

    What goes wrong is raised, and logged once until it works again, because CrewAI goes on without saying so.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if the arguments contradict each other.
    """

    def __init__(
        self, namespace: str = "crewai", *, url: str | None = None, token: str | None = None, memory: Memory | None = None
    ) -> None:
        if memory is not None and (url is not None or token is not None or namespace not in ("crewai", memory.namespace)):
            raise InvalidValue("give memory=, or namespace= with url= and token=, not both")
        self._memory = Memory(namespace, url=url, token=token) if memory is None else memory
        self._kept: RecordLog | None = None
        self._outages = Outages(f"CrewAI's memory in the namespace {self._memory.namespace!r}")

    def __repr__(self) -> str:
        return f"<BotWireStorage {self._memory.namespace!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # CrewAI copies agents with all they hold; this is a handle of what is shared anyway

    @property
    def namespace(self) -> str:
        """The name of the namespace in which the records lie."""
        return self._memory.namespace

    @property
    def _log(self) -> RecordLog:
        store = self._memory.store
        if self._kept is None or self._kept.store is not store:
            self._kept = log_of(store, self._memory.namespace)
        return self._kept

    def _look(self, question: Callable[[Fold], T]) -> T:
        """What the records there are now answer."""
        with self._outages.watch("read"):
            log = self._log
            log.sync()
            with log.mutex:
                return question(log.fold)

    # ------------------------------------------------------------------------------------- writing

    def save(self, records: list[MemoryRecord]) -> None:
        """Store records, durably; one whose id is there replaces it. All or none, up to 4 MiB at once.

        Raises:
            DimensionMismatch: if an embedding's length is not that of the stored ones; nothing is stored.
            InvalidValue: if metadata is not JSON, or an embedding not finite; nothing is stored.
            StoreUnavailable: if the store cannot be written.
        """
        self._put(records, keep=False)

    def update(self, record: MemoryRecord) -> None:
        """Replace the record of that id, or store it if there is none.

        What the new one was made without stays as it is: ``source``, ``private`` and the embedding.

        Raises:
            As ``save``.
        """
        self._put([record], keep=True)

    def _put(self, records: Sequence[MemoryRecord], *, keep: bool) -> None:
        if not records:
            return
        with self._outages.watch("written"):
            vectors = [to_vector(record.embedding, f"the embedding of the record {record.id!r}") for record in records]
            bodies = [put_text(record, vector, keep=keep) for record, vector in zip(records, vectors, strict=True)]
            log = self._log
            log.sync()
            with log.mutex:
                self._check_dimension(log.fold.dimension, vectors)
            log.append(bodies)
            log.shorten()

    def _check_dimension(self, stored: int | None, vectors: Sequence[Vector | None]) -> None:
        for vector in vectors:
            if vector is None:
                continue
            if stored is not None and len(vector) != stored:
                raise DimensionMismatch(
                    f"the namespace {self.namespace!r} holds embeddings of {stored} numbers, this one has {len(vector)}: the embedder"
                    " was changed. Use the former embedder, or another namespace, or remove the old records with reset()",
                    stored,
                    len(vector),
                )
            stored = len(vector)

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete the records for which all that is given holds; all of the namespace if nothing is given.

        Args:
            scope_prefix: in that scope or below it: ``/user/1`` is not ``/user/10``.
            categories: with any of these; with an empty list, none.
            record_ids: with one of these ids.
            older_than: made before then; without a time zone it is UTC, as CrewAI's times are.
            metadata_filter: with these top-level members, equal.

        Returns:
            How many were there and are not any more, by this call and no other.
        """
        if categories is not None and not categories:
            return 0
        with self._outages.watch("written"):
            log = self._log
            count = log.delete(Criteria.of(scope_prefix, categories, metadata_filter, record_ids, older_than))
            log.shorten()
            return count

    def reset(self, scope_prefix: str | None = None) -> None:
        """Delete all records of a scope, or of the namespace; its keys and other sessions stay."""
        if normal(scope_prefix) != "/":
            self.delete(scope_prefix)
            return
        with self._outages.watch("written"):
            self._log.clear()

    def touch_records(self, record_ids: list[str]) -> None:
        """Set when these records were read last to now, unless that was within the last minute."""
        with self._outages.watch("written"):
            log, now = self._log, datetime.now(UTC).replace(tzinfo=None)  # naive, as all of CrewAI's times
            with log.mutex:
                ids = [identifier for identifier in record_ids if _is_due(log.fold.records.get(identifier), now)]
            if ids:
                log.append([touch_text(ids, now)])

    # ------------------------------------------------------------------------------------- reading

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """The records nearest to a vector, best first, for which all that is given holds; as for ``delete``.

        The score is ``1 / (1 + d^2)`` of the Euclidean distance d: 1.0 for the same vector, 0.33 for orthogonal ones of length 1.
        A record without an embedding is never found.

        Raises:
            DimensionMismatch: if the vector's length is not that of the stored ones.
            StoreUnavailable: if the store cannot be read.
        """
        if limit < 1:
            return []
        criteria = Criteria.of(scope_prefix, categories, metadata_filter)

        def question(fold: Fold) -> list[tuple[MemoryRecord, float]]:
            query = to_vector(query_embedding, "the query's embedding")
            if query is None or fold.dimension is None:
                return []
            self._check_dimension(fold.dimension, [query])
            return [(known.to_record(fold.vector(known)), score) for known, score in fold.nearest(query, criteria, limit, min_score)]

        return self._look(question)

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """The record of that id; None if there is none. Its embedding is of float32 numbers."""
        return self._look(lambda fold: _record(fold, fold.records.get(record_id)))

    def list_records(self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0) -> list[MemoryRecord]:
        """The records of a scope, newest first; ``offset`` of them are left out."""
        if limit < 1:
            return []

        def question(fold: Fold) -> list[MemoryRecord]:
            found = sorted(_in(fold, scope_prefix), key=lambda known: (-known.created, known.id))
            return [known.to_record(fold.vector(known)) for known in found[max(offset, 0) :][:limit]]

        return self._look(question)

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """How many records there are in a scope and below, of when, with which categories and child scopes."""

        def question(fold: Fold) -> ScopeInfo:
            found = _in(fold, scope)
            moments = sorted((known.created, known.fields["created_at"]) for known in found)
            return ScopeInfo(
                path=normal(scope),
                record_count=len(found),
                categories=sorted({category for known in found for category in known.categories}),
                oldest_record=datetime.fromisoformat(moments[0][1]) if moments else None,
                newest_record=datetime.fromisoformat(moments[-1][1]) if moments else None,
                child_scopes=children((known.scope for known in found), normal(scope)),
            )

        return self._look(question)

    def list_scopes(self, parent: str = "/") -> list[str]:
        """The scopes immediately below ``parent``, as full paths."""
        return self._look(lambda fold: children((known.scope for known in fold.records.values()), normal(parent)))

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """How many records of a scope have each category."""
        return self._look(lambda fold: dict(Counter(category for known in _in(fold, scope_prefix) for category in known.categories)))

    def count(self, scope_prefix: str | None = None) -> int:
        """How many records there are in a scope, or in all."""
        return self._look(lambda fold: len(_in(fold, scope_prefix)))

    # ------------------------------------------------------------------------------------ awaitable

    async def asave(self, records: list[MemoryRecord]) -> None:
        """See ``save``."""
        await in_thread(lambda: self.save(records))

    async def asearch(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """See ``search``."""
        return await in_thread(lambda: self.search(query_embedding, scope_prefix, categories, metadata_filter, limit, min_score))

    async def adelete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """See ``delete``."""
        return await in_thread(lambda: self.delete(scope_prefix, categories, record_ids, older_than, metadata_filter))

    def close(self) -> None:
        """Give back the memory that vectors take. What is saved is on disk already; a later call works, and reads it again."""
        self._kept = None


def _record(fold: Fold, known: Known | None) -> MemoryRecord | None:
    return None if known is None else known.to_record(fold.vector(known))


def _in(fold: Fold, scope: str | None) -> list[Known]:
    return Criteria.of(scope, None, None).select(fold.records)


def _is_due(known: Known | None, now: datetime) -> bool:
    if known is None:
        return False
    accessed = datetime.fromisoformat(known.accessed)
    if accessed.tzinfo is not None:
        accessed = accessed.astimezone(UTC).replace(tzinfo=None)
    return now - accessed >= TOUCHED_LATELY
