"""BotWireSaver: LangGraph's checkpoints in botwire's memory."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from botwire import AsyncMemory, InvalidValue, Memory, VersionConflict
from botwire.integrations.langgraph import _keys, _upkeep
from botwire.integrations.langgraph._lines import ATTEMPTS, Lines
from botwire.integrations.langgraph._lists import Known
from botwire.integrations.langgraph._pages import MissingPage, Reader
from botwire.integrations.langgraph._records import Record, merge_writes, parse_writes, pending, to_writes, writes_text
from botwire.integrations.langgraph._threads import in_thread
from botwire.integrations.langgraph._values import load, load_all, read_value
from botwire.stores import Set, Store

if TYPE_CHECKING:
    from langgraph.checkpoint.base import DeltaChannelHistory  # not in older ones

T = TypeVar("T")
Tuples: TypeAlias = Iterator[CheckpointTuple]
Strings: TypeAlias = Sequence[str]


class BotWireSaver(BaseCheckpointSaver[str]):
    """A checkpointer: give it to ``compile`` or ``create_agent``, and a thread outlives the process.

    Args:
        namespace: the namespace of memory in which the checkpoints lie, apart from what people keep there themselves.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        serde: LangGraph's serializer, such as an ``EncryptedSerializer``.

    One object serves synchronous and asynchronous graphs, in any number of threads, event loops and processes.
    A list of messages that grows is stored once, not once for each checkpoint. Costs no I/O until its first call.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if the arguments contradict each other.
    """

    def __init__(
        self,
        *,
        namespace: str = "langgraph",
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        if memory is not None and (url is not None or namespace not in ("langgraph", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._memory = Memory(namespace, url=url) if memory is None else memory
        self._lines = Lines(self._store, self._memory.namespace)

    def __repr__(self) -> str:
        return f"<BotWireSaver of {self._memory.namespace!r}>"

    def _store(self) -> Store:
        return self._memory.store

    # ------------------------------------------------------------------------------------- writing

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Store a checkpoint, durably; returns the config that names it.

        Raises:
            StoreUnavailable: if the store cannot be written.
        """
        names = _names(config)
        full = cast("dict[str, Any]", get_checkpoint_metadata(config, metadata))
        self._lines.add(names, _settings(config).get("checkpoint_id"), checkpoint, full, new_versions, self.serde)
        return _config(*names, checkpoint["id"])

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Store what a task wrote after a checkpoint, durably.

        Raises:
            StoreUnavailable: if the store cannot be written.
        """
        prefix = _keys.line_prefix(*_names(config))
        key = f"{_keys.checkpoint_key(prefix, _settings(config)['checkpoint_id'])}/{_keys.part(task_id)}"
        new = to_writes(writes, task_path, self.serde)
        present, version = [], 0
        for _ in range(ATTEMPTS):
            try:
                self._lines.apply([Set(key, writes_text(task_id, merge_writes(present, new)), if_version=version)])
            except VersionConflict:  # the task has written before
                row = self._lines.store.get(self._lines.namespace, key)
                present, version = ([], 0) if row is None else (parse_writes(row.value), row.version)
            else:
                return
        raise VersionConflict(f"other writers for the task {task_id!r} were faster {ATTEMPTS} times in a row", version)

    # ------------------------------------------------------------------------------------- reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that ``config`` names, or its thread's newest; None if there is none.

        Raises:
            StoreCorrupt: if it cannot be read back.
        """
        names = _names(config)
        found = self._lines.read(_keys.line_prefix(*names), get_checkpoint_id(config), self.serde)
        return None if found is None else self._tuple(names, *found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Tuples:
        """Checkpoints, newest first: of one thread, or of all.

        Args:
            config: names the thread, and the namespace and checkpoint if they are to be certain ones; None for all.
            filter: only those whose metadata has all these members, with equal values.
            before: only those older than the checkpoint that it names.
            limit: at most so many.
        """
        return itertools.islice(self._search(config, filter or {}, before), limit)

    def _search(self, config: RunnableConfig | None, wanted: dict[str, Any], before: RunnableConfig | None) -> Tuples:
        settings = {} if config is None else _settings(config)
        thread_id, only_ns, only_id = settings.get("thread_id"), settings.get("checkpoint_ns"), settings.get("checkpoint_id")
        bound = None if before is None else get_checkpoint_id(before)
        thread = None if thread_id is None else str(thread_id)
        if thread is not None and only_ns is not None:
            lines = [(_keys.line_prefix(thread, only_ns), (thread, only_ns))]
        else:
            lines = [(prefix, names) for prefix, names in self._lines.names(thread) if only_ns in (None, names[1])]
        seen: dict[tuple[str, str], tuple[Reader, dict[str, Known]]] = {}  # what checkpoints share is read, and decoded, once
        for record, prefix, names in _newest_first([self._records(*line, bound) for line in lines]):
            if only_id not in (None, record.id) or not all(record.metadata.get(name) == value for name, value in wanted.items()):
                continue
            if (prefix, record.epoch) not in seen:
                seen[prefix, record.epoch] = self._lines.reader(prefix, record), {}
            if (found := self._values(record, *seen[prefix, record.epoch])) is not None:
                yield self._tuple(names, record, found)

    def _records(self, prefix: str, names: tuple[str, str], bound: str | None) -> Iterator[tuple[Record, str, tuple[str, str]]]:
        return ((record, prefix, names) for record in self._lines.records(prefix, self.serde, bound))

    def _values(self, record: Record, reader: Reader, lists: dict[str, Known]) -> dict[str, Any] | None:
        try:
            return load_all({channel: read_value(reader, channel, stored) for channel, stored in record.stored.items()}, self.serde, lists)
        except MissingPage:
            return None  # removed since it was listed

    def _tuple(self, names: tuple[str, str], record: Record, values: dict[str, Any]) -> CheckpointTuple:
        checkpoint = cast("Checkpoint", {**record.checkpoint, "channel_values": values})
        parent = None if record.parent is None else _config(*names, record.parent)
        metadata = cast("CheckpointMetadata", record.metadata)
        return CheckpointTuple(_config(*names, record.id), checkpoint, metadata, parent, pending(record.writes, self.serde))

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Strings) -> Mapping[str, DeltaChannelHistory]:
        """What was written to channels before a checkpoint, along its parents, back to where each value was stored whole.

        Reads of the checkpoints on the way only what is asked for.
        """
        prefix = _keys.line_prefix(*_names(config))
        found: dict[str, DeltaChannelHistory] = {channel: {"writes": []} for channel in channels}
        remaining = set(channels)
        record = self._lines.record(prefix, get_checkpoint_id(config), self.serde) if channels else None
        while record is not None and record.parent is not None and remaining:
            record = self._lines.record(prefix, record.parent, self.serde)
            if record is None:
                break
            for write in reversed(pending(record.writes, self.serde)):
                if write[1] in remaining:
                    found[write[1]]["writes"].append(write)
            reader = self._lines.reader(prefix, record)
            for channel in remaining & record.stored.keys():
                found[channel]["seed"] = load(read_value(reader, channel, record.stored[channel]), self.serde)
                remaining.discard(channel)
        for history in found.values():
            history["writes"].reverse()
        return found

    # ------------------------------------------------------------------------------------ removing

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread with all its checkpoints and writes; nothing happens if there is none."""
        _upkeep.delete_thread(self._lines, str(thread_id))

    def delete_for_runs(self, run_ids: Strings) -> None:
        """Remove the checkpoints, with their writes, that runs of these ids have made, in any thread.

        Looks at every checkpoint there is. A later checkpoint whose delta channel was built on a removed one loses that
        part, as LangGraph says of every checkpointer.
        """
        choose = _upkeep.without_runs(run_ids)
        for prefix, _ in self._lines.names(None):
            _upkeep.reduce_line(self._lines, prefix, choose, self.serde)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread's checkpoints and writes to another thread, beside those that are there."""
        _upkeep.copy_thread(self._lines, str(source_thread_id), str(target_thread_id), self.serde)

    def prune(self, thread_ids: Strings, *, strategy: str = "keep_latest") -> None:
        """Remove what of threads is not needed to go on.

        Args:
            thread_ids: the threads.
            strategy: ``"keep_latest"`` keeps the newest checkpoint of each namespace with its writes, and of those before
                it what its delta channels are built on; ``"delete"`` keeps nothing.

        Raises:
            InvalidValue: if the strategy is another one.
        """
        if strategy not in ("keep_latest", "delete"):
            raise InvalidValue(f"strategy must be 'keep_latest' or 'delete', not {strategy!r:.80}")
        for thread_id in map(str, thread_ids):
            if strategy == "delete":
                self.delete_thread(thread_id)
                continue
            for prefix, _ in list(self._lines.names(thread_id)):
                _upkeep.reduce_line(self._lines, prefix, _upkeep.keep_latest, self.serde)

    # --------------------------------------------------------------------------------- versions

    def get_next_version(self, current: str | int | None, channel: None) -> str:  # noqa: ARG002 - LangGraph's signature
        """The version after ``current``: greater as text, and unlike that of any other branch of the thread."""
        number = int(str(current).partition(".")[0]) if current is not None else 0
        return f"{number + 1:032}.{random.random():016}"

    # ------------------------------------------------------------------------------- asynchronously

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """See ``put``."""
        return await in_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """See ``put_writes``."""
        await in_thread(self.put_writes, config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See ``get_tuple``."""
        return await in_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See ``list``."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (item := await in_thread(lambda: next(found, None))) is not None:
            yield item

    async def aget_delta_channel_history(self, *, config: RunnableConfig, channels: Strings) -> Mapping[str, DeltaChannelHistory]:
        """See ``get_delta_channel_history``."""
        return await in_thread(lambda: self.get_delta_channel_history(config=config, channels=channels))

    async def adelete_thread(self, thread_id: str) -> None:
        """See ``delete_thread``."""
        await in_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Strings) -> None:
        """See ``delete_for_runs``."""
        await in_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """See ``copy_thread``."""
        await in_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Strings, *, strategy: str = "keep_latest") -> None:
        """See ``prune``."""
        await in_thread(lambda: self.prune(thread_ids, strategy=strategy))


def _settings(config: RunnableConfig) -> dict[str, Any]:
    return config.get("configurable", {})


def _names(config: RunnableConfig) -> tuple[str, str]:
    settings = _settings(config)
    return str(settings["thread_id"]), settings.get("checkpoint_ns", "")


def _config(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}}


def _newest_first(lines: Sequence[Iterator[tuple[Record, T, Any]]]) -> Iterator[tuple[Record, T, Any]]:
    return lines[0] if len(lines) == 1 else heapq.merge(*lines, key=lambda item: item[0].id, reverse=True)
