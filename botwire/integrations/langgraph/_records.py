"""What is stored of a checkpoint and of a task's writes, as the JSON text of an entry."""

from __future__ import annotations

import json
import math
from binascii import a2b_base64 as decode_bytes
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple, TypeAlias, cast

from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.base import SerializerProtocol

from botwire import StoreCorrupt
from botwire.integrations.langgraph._pages import Runs

_dump = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_dump_bytes = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_load = json.JSONDecoder().decode
_quote = json.encoder.encode_basestring_ascii


class Stored(NamedTuple):
    """Where a channel's value lies: in runs of its log, behind the head; or, without runs, in the head alone."""

    version: Any
    type: str
    head: str  # each byte as the character of that number
    runs: Runs | None


@dataclass(frozen=True, slots=True)
class Record:
    """A checkpoint as stored: its values apart, in ``stored`` by channel."""

    names: tuple[str, str]
    """The thread's id and the checkpoint namespace, which the key need not tell."""
    epoch: str
    """That of the line's logs; empty if there were none."""
    parent: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    stored: dict[str, Stored]
    writes: tuple[str, ...] = ()
    """What tasks wrote after it, each as the text of an entry."""

    @property
    def id(self) -> str:
        return self.checkpoint["id"]

    @property
    def needs_logs(self) -> bool:
        """Whether values of it lie in logs."""
        return any(stored.runs is not None for stored in self.stored.values())

    def to_text(self, serde: SerializerProtocol) -> str:
        """The entry's JSON text: people can read all but the values and what is about their versions."""
        names = f"{_quote(self.names[0])},{_quote(self.names[1])}"
        head = f'"names":[{names}],"id":{_quote(self.id)},"epoch":"{self.epoch}","parent":{_dump(self.parent)}'
        stored = ",".join([f"{_quote(channel)}:{_stored_text(*stored)}" for channel, stored in self.stored.items()])
        kind, data = serde.dumps_typed(self.checkpoint)
        checkpoint = f'[{_quote(kind)},"{encode_bytes(data)}"]'
        return f'{{{head},"stored":{{{stored}}},"checkpoint":{checkpoint},"metadata":{pack(self.metadata, serde)}}}'

    @classmethod
    def from_text(cls, text: str, writes: Iterable[str], serde: SerializerProtocol, where: str) -> Record:
        """The reverse of ``to_text``, with what lies behind it.

        Raises:
            StoreCorrupt: if the text is not of that form.
        """
        try:
            members = _load(text)
            stored = {channel: Stored(*parts) for channel, parts in members["stored"].items()}
            kind, data = members["checkpoint"]
            checkpoint, metadata = serde.loads_typed((kind, decode_bytes(data))), unpack(members["metadata"], serde)
            return cls(tuple(members["names"]), members["epoch"], members["parent"], checkpoint, metadata, stored, tuple(writes))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreCorrupt(f"a checkpoint of {where} cannot be read: {error!r}") from error


def _stored_text(version: Any, kind: str, head: str, runs: Runs | None) -> str:
    """The JSON text of where a value lies; put together by hand, which takes half of the time that a general encoder does."""
    return f"[{_dump(version)},{_quote(kind)},{_dump_bytes(head)},{'null' if runs is None else _dump(runs)}]"


def names_of(text: str) -> tuple[str, str]:
    """The thread's id and the checkpoint namespace of a checkpoint's text."""
    thread_id, checkpoint_ns = _load(text)["names"]
    return thread_id, checkpoint_ns


def pack(value: Any, serde: SerializerProtocol) -> str:
    """The JSON text of a value: as it is if JSON gives it back, which people can read too; or as the serializer writes it."""
    if _is_json(value):
        return f'{{"json":{_dump(value)}}}'
    kind, data = serde.dumps_typed(value)
    return _dump({"type": kind, "data": encode_bytes(data)})


def _is_json(value: Any) -> bool:
    kind = cast("type[Any]", type(value))
    if kind is dict:
        return _TEXT.issuperset(map(type, value)) and all(map(_is_json, value.values()))
    if kind is list:
        return all(map(_is_json, value))
    return kind in _JSON or (kind is float and math.isfinite(value))


_TEXT = frozenset((str,))
_JSON = frozenset((str, int, bool, NoneType))


def unpack(packed: dict[str, Any], serde: SerializerProtocol) -> Any:
    """The reverse of ``pack``."""
    return packed["json"] if "json" in packed else serde.loads_typed((packed["type"], decode_bytes(packed["data"])))


def encode_bytes(data: bytes) -> str:
    """Bytes as base64 text."""
    return b2a_base64(data, newline=False).decode("ascii")


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


def head_text(lengths: dict[str, int]) -> str:
    """A head's JSON text."""
    return _dump({"lengths": lengths})


class Head(NamedTuple):
    """The head of a line, and the version of its entry."""

    epoch: str
    version: int
    lengths: dict[str, int]


def parse_head(key: str, version: int, text: str) -> Head:
    """The head of an entry."""
    return Head(key.rpartition("/")[2], version, _load(text)["lengths"])
