"""Under which keys a thread's checkpoints lie.

    checkpoint/<thread>/<checkpoint_ns>/h/<epoch>                   the head: how long each channel's log is, if there are any
    checkpoint/<thread>/<checkpoint_ns>/c/<checkpoint id>           a checkpoint, newest first
    checkpoint/<thread>/<checkpoint_ns>/c/<checkpoint id>/<task>    what a task wrote after it: found by the same scan
    checkpoint/<thread>/<checkpoint_ns>/d/<epoch>/<channel>/<page>  a page of a channel's log

A thread's epoch is random and begins with it: whoever still holds on to a thread that was deleted and begun anew
writes to keys that are gone, and notices. Keys are listed in ascending order only, so a checkpoint's id is written
such that the greatest comes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import quote

ROOT = "checkpoint/"
LONGEST_PART = 90
"""Longer names than this, escaped, are replaced by a digest: a key has room for 512 bytes."""


@lru_cache(1_024)
def part(name: str) -> str:
    """A name as one part of a key: escaped, or a digest of it."""
    if not name:
        return "="  # escaping leaves no "=" in any other
    escaped = quote(name, safe="", errors="surrogatepass")
    return escaped if len(escaped) <= LONGEST_PART else "=" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def thread_prefix(thread_id: str) -> str:
    return f"{ROOT}{part(thread_id)}/"


def line_prefix(thread_id: str, checkpoint_ns: str) -> str:
    """What all keys of one namespace of a thread begin with."""
    return f"{ROOT}{part(thread_id)}/{part(checkpoint_ns)}/"


class _Reversed(dict[int, str]):
    """What each character becomes, so that the greater sorts first."""

    def __missing__(self, point: int) -> str:
        if point >= 0x7E:
            return f" {0x10FFFF - point:06x}"  # before all that is printed
        self[point] = chr(0x9E - point) if point > 0x20 else f"~{0x20 - point:02x}"
        return self[point]


_reversed = _Reversed()

END = "~~"
"""Ends what is reversed: it sorts behind every character, and no text contains it."""


def descending(text: str) -> str:
    """Text that sorts the other way round: of two texts, the greater one's comes first."""
    return text.translate(_reversed) + END


def checkpoint_key(line: str, checkpoint_id: str) -> str:
    """The checkpoint's key; with a ``/`` and a task behind it, that of what the task wrote. No other key begins with it."""
    return f"{line}c/{descending(checkpoint_id)}"


def children(store: Any, namespace: str, prefix: str) -> Iterator[str]:
    """The parts that come next after ``prefix`` in the keys there are; one lookup each, however many keys share a part."""
    after: str | None = None
    while found := store.scan_keys(namespace, prefix, after, 1):
        child = found[0][len(prefix) :].partition("/")[0]
        yield child
        after = f"{prefix}{child}0"  # "0" follows "/": all keys under this part are passed over
