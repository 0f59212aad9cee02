"""What is stored of a checkpoint and of a task's writes, as the JSON text of an entry."""

from __future__ import annotations

import json
from binascii import a2b_base64 as decode_bytes
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.base import SerializerProtocol

from botwire import StoreCorrupt
from botwire.integrations.langgraph._pages import INLINE, Runs

_dump = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_load = json.JSONDecoder().decode


class Stored(NamedTuple):
    """Where a channel's value lies: in runs of its log, behind the head; or, without runs, in the head alone."""

    version: Any
    type: str
    head: str  # base64
    runs: Runs | None


@dataclass(frozen=True, slots=True)
class Record:
    """A checkpoint as stored: its values apart, in ``stored`` by channel."""

    epoch: str
    parent: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    stored: dict[str, Stored]
    writes: tuple[str, ...] = ()
    """What tasks wrote after it, each as the text of an entry."""

    @property
    def id(self) -> str:
        return self.checkpoint["id"]

    def to_text(self, serde: SerializerProtocol) -> str:
        """The entry's JSON text."""
        names = f'"epoch":{_dump(self.epoch)},"parent":{_dump(self.parent)},"stored":{_dump(self.stored)}'
        return f'{{{names},"checkpoint":{pack(self.checkpoint, serde)},"metadata":{pack(self.metadata, serde)}}}'

    @classmethod
    def from_text(cls, text: str, writes: Iterable[str], serde: SerializerProtocol, where: str) -> Record:
        """The reverse of ``to_text``, with what lies behind it.

        Raises:
            StoreCorrupt: if the text is not of that form.
        """
        try:
            members = _load(text)
            stored = {channel: Stored(*parts) for channel, parts in members["stored"].items()}
            checkpoint, metadata = unpack(members["checkpoint"], serde), unpack(members["metadata"], serde)
            return cls(members["epoch"], members["parent"], checkpoint, metadata, stored, tuple(writes))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreCorrupt(f"a checkpoint of {where} cannot be read: {error!r}") from error


def pack(value: Any, serde: SerializerProtocol) -> str:
    """The JSON text of a value: as it is if JSON gives it back, which people can read too; or as the serializer writes it."""
    try:
        text = _dump(value)
        if _load(text) == value:
            return f'{{"json":{text}}}'
    except (TypeError, ValueError, RecursionError):
        pass
    kind, data = serde.dumps_typed(value)
    return _dump({"type": kind, "data": encode_bytes(data)})


def unpack(packed: dict[str, Any], serde: SerializerProtocol) -> Any:
    """The reverse of ``pack``."""
    return packed["json"] if "json" in packed else serde.loads_typed((packed["type"], decode_bytes(packed["data"])))


def encode_bytes(data: bytes) -> str:
    """Bytes as base64 text."""
    return b2a_base64(data, newline=False).decode("ascii")


def inline(version: Any, kind: str, data: bytes) -> Stored | None:
    """A small value, to lie in the checkpoint itself; None if it is not small."""
    return Stored(version, kind, encode_bytes(data), None) if len(data) <= INLINE else None


# ----------------------------------------------------------------------------------------- writes

Write: TypeAlias = "list[Any]"
"""What a task wrote to a channel: ``[index, channel, type, base64, task path]``."""


def to_writes(writes: Sequence[tuple[str, Any]], task_path: str, serde: SerializerProtocol) -> list[Write]:
    """The writes of one call, numbered; the special ones by what they are."""
    rows: list[Write] = []
    for index, (channel, value) in enumerate(writes):
        kind, data = serde.dumps_typed(value)
        rows.append([WRITES_IDX_MAP.get(channel, index), channel, kind, encode_bytes(data), task_path])
    return rows


def merge_writes(present: list[Write], new: list[Write]) -> list[Write]:
    """What a task has written after one more call: a special write replaces the one before, an ordinary one does not."""
    replace = all(row[1] in WRITES_IDX_MAP for row in new)
    by_index = {row[0]: row for row in present}
    for row in new:
        if replace or row[0] not in by_index:
            by_index[row[0]] = row
    return list(by_index.values())


def writes_text(task_id: str, writes: list[Write]) -> str:
    """The entry's JSON text."""
    return _dump({"task": task_id, "writes": writes})


def parse_writes(text: str) -> list[Write]:
    """The reverse of ``writes_text``, without the task."""
    return json.loads(text)["writes"]


def task_of(text: str) -> str:
    """The task whose writes an entry's text holds."""
    return json.loads(text)["task"]


def pending(texts: Iterable[str], serde: SerializerProtocol) -> list[tuple[str, str, Any]]:
    """The writes of all tasks after a checkpoint, in the order in which LangGraph applies them."""
    found: list[tuple[tuple[str, str, int], Write]] = []
    for text in texts:
        members = _load(text)
        found += [((row[4], members["task"], row[0]), row) for row in members["writes"]]
    found.sort(key=lambda item: item[0])  # LangGraph's writes_sort_key, which older ones do not have
    return [(key[1], row[1], serde.loads_typed((row[2], decode_bytes(row[3])))) for key, row in found]


# ------------------------------------------------------------------------------------------- head


def head_text(thread_id: str, checkpoint_ns: str, lengths: dict[str, int]) -> str:
    """A head's JSON text."""
    return _dump({"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "lengths": lengths})


class Head(NamedTuple):
    """The head of a namespace of a thread, and the version of its entry."""

    epoch: str
    version: int
    thread_id: str
    checkpoint_ns: str
    lengths: dict[str, int]


def parse_head(key: str, version: int, text: str) -> Head:
    """The head of an entry."""
    members = json.loads(text)
    return Head(key.rpartition("/")[2], version, members["thread_id"], members["checkpoint_ns"], members["lengths"])
