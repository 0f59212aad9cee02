"""A channel's values as stretches of one log, so that what a value shares with the one before is stored once.

Most channels grow: each checkpoint's list of messages begins as the last one did. The serialised value is compared
with the last one known; only what lies between a common beginning and a common end is added to the log. A value is
then a few runs, each from one position of the log to another. The log lies in pages of a fixed size, so that a
position says which page it is on; only the last page is ever written again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

PAGE = 6_144
"""Bytes in a page: few enough to write the last one again and again, enough that a long value is not many pages."""

INLINE = 160
"""A value of at most so many bytes lies in the checkpoint itself."""

LEAST_SHARED = 64
"""A beginning or end in common that is shorter is not worth a run of its own."""

MOST_RUNS = 48
"""A value in more pieces is written anew, whole."""

_dump = json.JSONEncoder(ensure_ascii=False).encode
_load = json.JSONDecoder().decode

Runs: TypeAlias = "list[list[int]]"
"""Stretches of a log: ``[from, to]`` each, the latter not included."""


class Value(NamedTuple):
    """A serialised value, and where it lies. The head of a list, its length, changes with every item, so it is kept apart."""

    type: str
    head: bytes
    body: bytes
    runs: Runs


@dataclass(frozen=True, slots=True)
class Log:
    """What is known of a channel's log: its length, its last page as far as known, and the last value known."""

    length: int = 0
    tail: bytes | None = b""
    base: Value | None = None

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 0 if self.base is None else PAGE + len(self.base.body)


def split_head(kind: str, data: bytes) -> tuple[bytes, bytes]:
    """The head of a msgpack array or map, and the rest; without one, nothing and everything."""
    if kind != "msgpack" or not data:
        return b"", data
    first = data[0]
    size = 1 if 0x80 <= first <= 0x9F else 3 if first in (0xDC, 0xDE) else 5 if first in (0xDD, 0xDF) else 0
    return data[:size], data[size:]


def add(log: Log, kind: str, data: bytes) -> tuple[Log, Value, dict[int, bytes]]:
    """Add a value to a log: the log then, where the value lies, and the pages to be written."""
    head, body = split_head(kind, data)
    base = log.base
    start, end = (0, 0) if base is None or base.type != kind else _shared(base.body, body)
    runs = _cut(base.runs, 0, start) if base is not None and start else []
    last = _cut(base.runs, len(base.body) - end, len(base.body)) if base is not None and end else []
    if len(runs) + len(last) >= MOST_RUNS:
        start, end, runs, last = 0, 0, [], []
    new = body[start : len(body) - end]
    position, pages, tail = _write(log, new)
    middle = [[position, position + len(new)]] if new else []
    value = Value(kind, head, body, _joined([*runs, *middle, *last]))
    return Log(position + len(new) if new else log.length, tail, value), value, pages


def _write(log: Log, new: bytes) -> tuple[int, dict[int, bytes], bytes | None]:
    """Where new bytes begin, the pages that hold them, and the log's last page then."""
    if not new:
        return log.length, {}, log.tail
    known = log.tail
    position = log.length
    if known is None:  # the last page's bytes are not known: leave it as it is, begin another
        position, known = -(-log.length // PAGE) * PAGE, b""
    first = position // PAGE
    content = known + new
    pages = {first + index: content[index * PAGE : (index + 1) * PAGE] for index in range(-(-len(content) // PAGE))}
    tail = pages[max(pages)]
    return position, pages, b"" if len(tail) == PAGE else tail


def _shared(old: bytes, new: bytes) -> tuple[int, int]:
    """The lengths of the beginning and of the end that two values have in common, not overlapping."""
    start = _common_start(old, new)
    start = start if start >= LEAST_SHARED else 0
    most = min(len(old), len(new)) - start
    end = _common_start(old[len(old) - most :][::-1], new[len(new) - most :][::-1]) if most >= LEAST_SHARED else 0
    return start, end if end >= LEAST_SHARED else 0


def _common_start(old: bytes, new: bytes) -> int:
    if new.startswith(old):
        return len(old)
    most, step = min(len(old), len(new)), 4_096
    start = 0
    while start < most and old[start : start + step] == new[start : start + step]:
        start += step
    while step > 1:  # within the block that differs, by halves
        step //= 2
        if old[start : start + step] == new[start : start + step]:
            start += step
    return min(start, most)


def _cut(runs: Runs, start: int, end: int) -> Runs:
    """The part of a value's runs from one of its positions to another."""
    cut: Runs = []
    position = 0
    for begin, stop in runs:
        low, high = max(start, position), min(end, position + stop - begin)
        if low < high:
            cut.append([begin + low - position, begin + high - position])
        position += stop - begin
    return cut


def _joined(runs: Iterable[Sequence[int]]) -> Runs:
    joined: Runs = []
    for begin, stop in runs:
        if joined and joined[-1][1] == begin:
            joined[-1][1] = stop
        else:
            joined.append([begin, stop])
    return joined


def shift(runs: Runs, by: int) -> Runs:
    """The same runs in a log where they lie further on."""
    return [[begin + by, stop + by] for begin, stop in runs]


def pages_of(runs: Runs) -> set[int]:
    """The pages that runs lie on."""
    return {page for begin, stop in runs for page in range(begin // PAGE, (stop - 1) // PAGE + 1)}


class MissingPage(Exception):
    """A page that a checkpoint refers to is not there: the thread was deleted or pruned while it was read."""


class Reader:
    """Reads values of one namespace of a thread; a page is read once, however many values lie on it."""

    AT_ONCE = 128
    """Pages in one request: under a megabyte."""

    def __init__(self, store: Any, namespace: str, prefix: str) -> None:
        self._store = store
        self._namespace = namespace
        self._prefix = prefix
        self._pages: dict[tuple[str, int], bytes] = {}

    def read(self, channel: str, runs: Runs) -> bytes:
        """The bytes of runs of a channel's log.

        Raises:
            MissingPage: if some are not there.
        """
        wanted = sorted(page for page in pages_of(runs) if (channel, page) not in self._pages)
        while wanted:
            group = [page for page in wanted if page < wanted[0] + self.AT_ONCE]
            self._load(channel, group[0], group[-1])
            wanted = wanted[len(group) :]
        return b"".join(self._run(channel, begin, stop) for begin, stop in runs)

    def log_of(self, value_channel: str, value: Value) -> Log:
        """What a value that was read tells of its log: if it ends the log, its length and last page."""
        last = max(stop for _, stop in value.runs) - 1
        page = self._pages[value_channel, last // PAGE]
        length = last // PAGE * PAGE + len(page)
        return Log(length, b"" if len(page) == PAGE else page, value)

    def _load(self, channel: str, first: int, last: int) -> None:
        prefix = f"{self._prefix}{channel}/"
        after = f"{prefix}{first - 1:08d}" if first else None
        for row in self._store.scan(self._namespace, prefix, after, last - first + 1):
            self._pages[channel, int(row.key[len(prefix) :])] = decode_page(row.value)

    def _run(self, channel: str, begin: int, stop: int) -> bytes:
        pages = [self._pages.get((channel, page)) for page in range(begin // PAGE, (stop - 1) // PAGE + 1)]
        if any(page is None for page in pages):
            raise MissingPage
        start = begin % PAGE
        found = b"".join(pages)[start : start + stop - begin]  # type: ignore[arg-type]
        if len(found) != stop - begin:
            raise MissingPage
        return found


def encode_page(data: bytes) -> str:
    """Bytes as the JSON text of an entry: each as the character of that number, which is fast, and small for what is mostly text."""
    return _dump(data.decode("latin-1"))


def decode_page(text: str) -> bytes:
    """The reverse of ``encode_page``."""
    return _load(text).encode("latin-1")
