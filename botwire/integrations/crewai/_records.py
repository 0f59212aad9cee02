"""What is written to the log: records put, deletions by what they match, times of access.

Each is one message of a session, so that it can be listed, exported and read by people: a record's text is the
message's, everything else lies under ``native``. A vector is stored as the base64 of its float32 numbers.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import numpy as np
from crewai.memory.types import MemoryRecord
from numpy.typing import NDArray

from botwire import InvalidValue, Message
from botwire.integrations.crewai._scopes import normal, within
from botwire.stores import encode_message

Vector = NDArray[np.float32]

SESSION = "crewai/records"
"""The session of the namespace in which the log lies."""

_WIRE = np.dtype("<f4")
_UNSET_KEPT = ("source", "private")
"""What an update leaves as it is if the new record was made without it: CrewAI's own consolidation forgets them."""


class DimensionMismatch(InvalidValue):
    """A vector of another length than those stored: the embedder was changed.

    ``stored`` and ``given`` are the two lengths.
    """

    code = "invalid_value"

    def __init__(self, message: str, stored: int, given: int) -> None:
        super().__init__(message)
        self.stored = stored
        self.given = given

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.stored, self.given)


# --------------------------------------------------------------------------------------- vectors


def to_vector(numbers: Sequence[float] | None, what: str) -> Vector | None:
    """Numbers as float32; None if there are none.

    Raises:
        InvalidValue: if they are not finite numbers in float32's range.
    """
    if numbers is None or len(numbers) == 0:
        return None
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(numbers, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"{what} is not a list of numbers: {error}") from error
    if vector.ndim != 1:
        raise InvalidValue(f"{what} is not a list of numbers, but has {vector.ndim} dimensions")
    if not np.isfinite(vector).all():
        raise InvalidValue(f"{what} holds a number that is not finite, or too large for float32")
    return vector


def to_base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype(_WIRE, copy=False).tobytes()).decode("ascii")


def from_base64(text: str) -> Vector:
    return np.frombuffer(binascii.a2b_base64(text), dtype=_WIRE)


# ----------------------------------------------------------------------------------------- writing


def put_text(record: MemoryRecord, vector: Vector | None, *, keep: bool = False) -> str:
    """The message that puts a record; with ``keep``, what it was made without stays as it is.

    Raises:
        InvalidValue: if it could not be read back equal; names the place inside it.
    """
    fields: dict[str, Any] = {
        "id": record.id,
        "scope": normal(record.scope),
        "categories": list(record.categories),
        "metadata": record.metadata,
        "importance": record.importance,
        "created_at": record.created_at.isoformat(),
        "last_accessed": record.last_accessed.isoformat(),
        "source": record.source,
        "private": record.private,
    }
    unset = [name for name in _UNSET_KEPT if name not in record.model_fields_set] if keep else []
    return put_fields_text(record.content, fields, vector, [*unset, *(["embedding"] if keep and vector is None else [])])


def put_fields_text(content: str, fields: dict[str, Any], vector: Vector | None, keep: Sequence[str] = ()) -> str:
    """Like ``put_text``, of a record's fields."""
    event: dict[str, Any] = {"record": fields}
    if vector is not None:
        event["vector"] = to_base64(vector)
    if keep:
        event["keep"] = list(keep)
    return _text(event, content)


def delete_text(criteria: Criteria) -> str:
    """The message that deletes what matches, at its place in the log."""
    return _text({"delete": {name: value for name, value in criteria._asdict().items() if value is not None}})


def touch_text(record_ids: Sequence[str], moment: datetime) -> str:
    """The message that says when records were read last."""
    return _text({"touch": list(record_ids), "at": moment.isoformat()})


def trimmed_text(upto: int) -> str:
    """The message that says that rows up to that sequence number were removed, and lost nothing."""
    return _text({"trimmed": upto})


def _text(event: dict[str, Any], content: str | None = None) -> str:
    return encode_message(Message("system", content, native={"crewai": event}))


# ----------------------------------------------------------------------------------------- reading


def parse(body: str) -> tuple[str | None, dict[str, Any]] | None:
    """A message's text and what it does to the records; None if it is none of ours.

    Raises:
        ValueError, TypeError, KeyError: if it cannot be read.
    """
    message = json.loads(body)
    event = message.get("native", {}).get("crewai")
    return None if event is None else (message["content"], event)


def timestamp(moment: datetime) -> float:
    """Seconds since 1970; a time without a zone is UTC, as in CrewAI."""
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


class Known:
    """A record as kept in memory. ``slot`` is its vector's place, -1 if it has none; ``seq`` its row's number."""

    __slots__ = ("accessed", "categories", "created", "id", "scope", "seq", "slot", "text")

    def __init__(self, seq: int, content: str | None, fields: dict[str, Any]) -> None:
        self.seq = seq
        self.id: str = fields["id"]
        self.scope = normal(fields["scope"])
        self.categories = tuple(cast("list[str]", fields["categories"]))
        self.created = timestamp(datetime.fromisoformat(fields["created_at"]))
        self.accessed: str = fields["last_accessed"]
        self.text = json.dumps([content, fields], ensure_ascii=False, separators=(",", ":"))
        self.slot = -1

    @property
    def fields(self) -> dict[str, Any]:
        return {**json.loads(self.text)[1], "last_accessed": self.accessed}

    @property
    def content(self) -> str:
        return json.loads(self.text)[0] or ""

    def to_record(self, vector: Vector | None) -> MemoryRecord:
        """The record as CrewAI knows it."""
        content, fields = json.loads(self.text)
        fields.update(content=content or "", scope=self.scope, last_accessed=self.accessed)
        return MemoryRecord(**fields, embedding=None if vector is None else vector.tolist())


class Criteria(NamedTuple):
    """What records are meant; each part that is given must fit. ``older_than`` is in seconds since 1970.

    A deletion is stored as these, and every reader works out anew what it deletes: what they mean must never change.
    """

    scope: str | None = None
    categories: list[str] | None = None
    ids: list[str] | None = None
    older_than: float | None = None
    metadata: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        scope: str | None,
        categories: Iterable[str] | None,
        metadata: Mapping[str, Any] | None,
        ids: Iterable[str] | None = None,
        older_than: datetime | None = None,
    ) -> Criteria:
        """From CrewAI's arguments; an empty list of categories or empty metadata means any, an empty list of ids none."""
        return cls(
            None if normal(scope) == "/" else normal(scope),
            list(categories or ()) or None,
            None if ids is None else list(ids),
            None if older_than is None else timestamp(older_than),
            dict(metadata or {}) or None,
        )

    def select(self, records: Mapping[str, Known]) -> list[Known]:
        """The records that fit."""
        if self.ids is not None:
            candidates: Iterable[Known] = [records[identifier] for identifier in dict.fromkeys(self.ids) if identifier in records]
        else:
            candidates = records.values()
        if self == Criteria(ids=self.ids):
            return list(candidates)
        return [known for known in candidates if self._fits(known)]

    def _fits(self, known: Known) -> bool:
        return (
            (self.scope is None or within(known.scope, self.scope))
            and (self.older_than is None or known.created < self.older_than)
            and (self.categories is None or any(category in known.categories for category in self.categories))
            and (self.metadata is None or self._metadata_fits(known.fields["metadata"]))
        )

    def _metadata_fits(self, metadata: dict[str, Any]) -> bool:
        wanted = self.metadata or {}
        return all(_same(metadata.get(key), value) for key, value in wanted.items())


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)  # True is not 1, but 1 is 1.0
