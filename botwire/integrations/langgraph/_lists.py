"""What a list was when it was last written or read, so that only its new items are encoded or decoded.

Nearly all state is one list of messages that grows. LangGraph's serializer writes a list as its length and its items, one
behind the other: a list that begins with the items of another begins with its bytes, and the other way round.
An application may change its objects at any time, so that what was written last time is no proof of what they are now.
Of a list written, a mark of everything in it is kept and compared, which takes a third of the time of encoding; of a list
read, copies that nobody else holds.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple, cast

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

KIND = "msgpack"

SMALL = 8_192
"""Bytes of a list up to which encoding it is no dearer than looking whether it must be."""


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A list that was written: its bytes behind the head, how many items, and their mark (see ``_mark``)."""

    serde: SerializerProtocol
    body: bytes
    count: int
    mark: bytes

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self.body) + len(self.mark)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A list that was read: its bytes behind the head, and its items as decoding gives them, ready to be copied."""

    serde: SerializerProtocol
    body: bytes
    items: list[Any]

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 6 * len(self.body)


class Encoded(NamedTuple):
    """A value as the serializer writes it, and what to remember of it for the next time, if anything."""

    type: str
    data: bytes
    written: Written | None = None


def encode(value: Any, last: Written | None, serde: SerializerProtocol, *, remember: bool) -> Encoded:
    """Encode a value; of a list, only what comes behind the items that were written last time."""
    items: list[Any] | None = cast("list[Any]", value) if type(value) is list else None
    if items is not None and last is not None and last.serde is serde and _mark(items[: last.count]) == last.mark:
        kind, data = serde.dumps_typed(items[last.count :])
        if kind == KIND:
            body = last.body + data[_head_size(data) :]
            return Encoded(kind, _head(len(items)) + body, _written(last, body, items))
    kind, data = serde.dumps_typed(value)
    if items is None or not remember or kind != KIND or type(serde) is not JsonPlusSerializer or len(data) <= SMALL:
        return Encoded(kind, data)
    return Encoded(kind, data, _written(Written(serde, b"", 0, b""), data[_head_size(data) :], items))


def _written(last: Written, body: bytes, items: list[Any]) -> Written | None:
    """What to remember of a list whose beginning is known; None if it holds what cannot be marked."""
    new = items[last.count :]
    mark = _mark(new) if all(map(_is_plain, new)) else None
    return None if mark is None else Written(last.serde, body, len(items), last.mark + mark)


def decode(kind: str, head: bytes, body: bytes, known: Known | None, serde: SerializerProtocol) -> tuple[Any, Known | None]:
    """The value of ``head + body``, and what is known then. Decodes only what comes behind the items known."""
    if kind != KIND or type(serde) is not JsonPlusSerializer or not head or (count := _count(head)) is None:
        return serde.loads_typed((kind, head + body)), None
    if known is None or known.serde is not serde:
        known = Known(serde, b"", [])
    if count <= len(known.items) and known.body.startswith(body):
        return _copies(known.items[:count]), known  # the same list, or an older state of it
    if count < len(known.items) or not body.startswith(known.body):
        known = Known(serde, b"", [])
    new = serde.loads_typed((kind, _head(count - len(known.items)) + body[len(known.body) :]))
    try:
        return _copies(known.items) + new, Known(serde, body, known.items + [_kept(item) for item in new])
    except (_NotCopied, RecursionError):
        return serde.loads_typed((kind, head + body)), None


# ----------------------------------------------------------------------------------------- MessagePack


def _count(head: bytes) -> int | None:
    """How many items the list has that begins so; None if it is no list.

    Source: https://github.com/msgpack/msgpack/blob/master/spec.md#array-format-family
    """
    if 0x90 <= head[0] < 0xA0:
        return head[0] & 0x0F
    return int.from_bytes(head[1:], "big") if head[0] in (0xDC, 0xDD) else None


def _head(count: int) -> bytes:
    """The head of a list of so many items, as short as can be."""
    if count < 16:
        return bytes((0x90 | count,))
    return b"\xdc" + count.to_bytes(2, "big") if count < 65_536 else b"\xdd" + count.to_bytes(4, "big")


def _head_size(data: bytes) -> int:
    return {0xDC: 3, 0xDD: 5}.get(data[0], 1)


# --------------------------------------------------------------------------------------------- marks


def _mark(items: list[Any]) -> bytes | None:
    """Everything in plain items, with the types and order of all, as bytes to compare; None if they are not plain.

    Marshal's version 0 depends on nothing but the values, and writes the items of a list one behind the other. It serves
    this process alone and is never stored.
    """
    try:
        return marshal.dumps([_parts(item) if type(item) in _MESSAGES else item for item in items], 0)[_MARSHAL_HEAD:]
    except ValueError:
        return None


_MARSHAL_HEAD = 5  # a list's type and length


def _parts(message: BaseMessage) -> tuple[Any, ...]:
    return type(message).__name__, message.__dict__, message.__pydantic_extra__, ...  # no application's value has an ellipsis


def _is_plain(value: Any) -> bool:
    """Whether a mark tells a value from all others. Marshal writes bytes, arrays and buffers of all kinds alike."""
    kind = cast("type[Any]", type(value))
    if kind in _MARKED:
        return True
    if kind is dict:
        return _MARKED.issuperset(map(type, value)) and _are_plain(value.values())
    if kind is list:
        return _are_plain(value)
    return _is_message(kind) and _are_plain(value.__dict__.values()) and _is_plain(value.__pydantic_extra__)


def _are_plain(values: Iterable[Any]) -> bool:
    return all(type(value) in _MARKED or _is_plain(value) for value in values)


# -------------------------------------------------------------------------------------------- copies

_MARKED: frozenset[type] = frozenset((str, int, bool, float, NoneType))
_ATOMS = _MARKED | {bytes}
"""Types whose values cannot change."""

_MESSAGES: set[type[Any]] = set()
"""LangChain's own classes of messages, as far as seen: of these alone it is known what they consist of."""


class _NotCopied(Exception):
    """A value of a type of which it is not known what it consists of."""


def _is_message(kind: type[Any]) -> bool:
    if kind in _MESSAGES:
        return True
    ours = issubclass(kind, BaseMessage) and kind.__module__.startswith("langchain_core.messages.") and not kind.__private_attributes__
    if ours:
        _MESSAGES.add(kind)
        _COPIES[kind] = _copied_message
    return ours


def _copied(value: object) -> Any:
    """A copy that shares nothing that can change."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind not in _COPIES and not _is_message(kind):
        raise _NotCopied
    return _COPIES[kind](value)


def _copied_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if not value:
        return {}  # most are
    if not _ATOMS.issuperset(map(type, value)):
        raise _NotCopied
    return {name: member if type(member) in _ATOMS else _copied(member) for name, member in value.items()}


def _copied_list(value: list[Any]) -> list[Any]:
    return [item if type(item) in _ATOMS else _copied(item) for item in value]


def _copied_message(value: BaseMessage) -> BaseMessage:
    return _copy_of(_KeptMessage(value))


class _KeptMessage:
    """A message to be copied often: what of it can change, and how deep, is found out once."""

    __slots__ = ("deep", "extra", "fields_set", "flat", "kind", "members")

    def __init__(self, message: BaseMessage) -> None:
        self.kind = type(message)
        self.members: dict[str, Any] = message.__dict__.copy()
        self.extra = _copied(message.__pydantic_extra__)
        self.fields_set = message.__pydantic_fields_set__.copy()
        changing = [(name, _copied(member)) for name, member in self.members.items() if type(member) not in _ATOMS]
        self.deep = [(name, member) for name, member in changing if not _is_flat(member)]
        self.flat = [(name, member) for name, member in changing if _is_flat(member)]


def _is_flat(value: Any) -> bool:
    """Whether it is a list or dict, most often an empty one, of nothing but what cannot change."""
    kind = cast("type[Any]", type(value))
    return (kind is dict and _ATOMS.issuperset(map(type, value.values()))) or (kind is list and _ATOMS.issuperset(map(type, value)))


def _copy_of(kept: _KeptMessage) -> BaseMessage:
    """What pydantic's own copy does, at a quarter of its time, with all members copied too."""
    copy = kept.kind.__new__(kept.kind)
    members = kept.members.copy()
    for name, member in kept.flat:
        members[name] = member.copy()
    for name, member in kept.deep:
        members[name] = _copied(member)
    _set(copy, "__dict__", members)
    _set(copy, "__pydantic_extra__", kept.extra if kept.extra is None else _copied(kept.extra))
    _set(copy, "__pydantic_fields_set__", kept.fields_set.copy())
    _set(copy, "__pydantic_private__", None)
    return copy


def _kept(item: Any) -> Any:
    """An item as it is kept: nobody else holds anything of it that can change."""
    return _KeptMessage(item) if _is_message(cast("type[Any]", type(item))) else _copied(item)


def _copies(kept: list[Any]) -> list[Any]:
    return [_copy_of(item) if type(item) is _KeptMessage else _copied(item) for item in kept]


_set = object.__setattr__  # a model's own checks the name, and looks for a field
_COPIES: dict[type, Callable[[Any], Any]] = {dict: _copied_dict, list: _copied_list}
