"""A checkpoint's values: from objects to where they lie, and back."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from botwire.integrations.langgraph import _keys, _pages
from botwire.integrations.langgraph._lists import Encoded, Known, Written, decode, encode
from botwire.integrations.langgraph._pages import Log, Reader, Value, split_head
from botwire.integrations.langgraph._records import Stored

YOUNG = 8_192
"""Bytes of values up to which a checkpoint holds them all itself, while its thread has no logs: a young one needs none."""


def encode_all(values: Mapping[str, Any], last: Mapping[str, Written], serde: SerializerProtocol, *, remember: bool) -> dict[str, Encoded]:
    """Values as they are to be written; what was written of a list last time spares encoding it again."""
    with paused_gc():
        return {channel: encode(value, last.get(channel), serde, remember=remember) for channel, value in values.items()}


def is_still(before: Stored | None, version: Any) -> bool:
    """Whether a channel that was not changed has the value that its parent's checkpoint has."""
    return before is not None and version is not None and before.version == version


def store_young(
    values: Mapping[str, Any], versions: Mapping[str, Any], changed: Mapping[str, Any], serde: SerializerProtocol
) -> dict[str, Stored] | None:
    """All values of a young thread's checkpoint, to lie in it; None if they are too many bytes, or would be stored again and again."""
    stored: dict[str, Stored] = {}
    room = YOUNG
    for channel, value in values.items():
        kind, data = serde.dumps_typed(value)
        room -= len(data)
        if room < 0 or (channel not in changed and len(data) > _pages.INLINE):
            return None
        stored[channel] = Stored(versions.get(channel), kind, data.decode("latin-1"), None)
    return stored


def place(
    logs: dict[str, Log], before: dict[str, Stored], checkpoint: Mapping[str, Any], values: dict[str, Encoded]
) -> tuple[dict[str, Stored], dict[str, Log], dict[str, bytes]]:
    """Where each channel's value is to lie, the logs then, and the pages to be written by channel and number."""
    stored: dict[str, Stored] = {}
    logs = dict(logs)
    written: dict[str, bytes] = {}
    for channel in checkpoint["channel_values"]:
        if channel in values:
            version, kind, data = checkpoint["channel_versions"].get(channel), *values[channel][:2]
        else:
            known = before[channel]
            if known.runs is not None or len(known.head) <= _pages.INLINE:
                stored[channel] = known
                continue
            version, kind, data = known.version, known.type, known.head.encode("latin-1")  # not in each checkpoint, as while it was young
        if len(data) <= _pages.INLINE:
            stored[channel] = Stored(version, kind, data.decode("latin-1"), None)
            continue
        name = _keys.part(channel)
        logs[name], value, pages = _pages.add(logs.get(name, Log()), kind, data)
        stored[channel] = Stored(version, kind, value.head.decode("latin-1"), value.runs)
        written.update({f"{name}/{number:08d}": page for number, page in pages.items()})
    return stored, logs, written


def read_value(reader: Reader, channel: str, stored: Stored) -> Value:
    """A channel's value as serialised.

    Raises:
        MissingPage: if a part of it is not there.
    """
    head = stored.head.encode("latin-1")
    if stored.runs is None:
        return Value(stored.type, *split_head(stored.type, head), [])
    return Value(stored.type, head, reader.read(_keys.part(channel), stored.runs), stored.runs)


def load(value: Value, serde: SerializerProtocol) -> Any:
    """A channel's value."""
    return serde.loads_typed((value.type, value.head + value.body))


def load_all(values: Mapping[str, Value], serde: SerializerProtocol, lists: dict[str, Known] | None = None) -> dict[str, Any]:
    """The channels' values. Of lists, what is known spares decoding, and ``lists`` is made to hold what is known then."""
    loaded: dict[str, Any] = {}
    with paused_gc():
        for channel, value in values.items():
            if lists is None or not value.head:
                loaded[channel] = load(value, serde)
                continue
            loaded[channel], known = decode(value.type, value.head, value.body, lists.pop(channel, None), serde)
            if known is not None:
                lists[channel] = known
    return loaded


class paused_gc:  # noqa: N801 - a function in all but form: a generator would take longer than what it encloses
    """Without cyclic garbage collection, which would walk through thousands of new objects, none of them garbage."""

    __slots__ = ("_was_enabled",)

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()
