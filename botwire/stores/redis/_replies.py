"""What a server answers, from the bytes of one exchange: the driver's way to the same takes as long as the rest of a call.

All connections speak version 2 of the protocol (RESP2): strings, which stay bytes, integers, arrays, nulls and errors. Anything else
ends the connection, as do bytes after the last answer: whoever read on would take one command's answer for another's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import exceptions as driver

PIECE = 65_536
"""Bytes that are asked of a connection at a time."""

_STRING, _ERROR, _INTEGER, _BULK, _ARRAY = b"+-:$*"


class Replies:
    """So many answers, put together from pieces of any size.

    Args:
        count: how many.
        error_of: makes the driver's error of what a server says.
    """

    __slots__ = ("_error_of", "_open", "_pieces", "_size", "_wanted", "answers")

    def __init__(self, count: int, error_of: Callable[[str], Exception]) -> None:
        self.answers: list[Any] = []
        """All of them once ``feed`` says so; before that the last one may be an array that lacks items."""
        self._error_of = error_of
        self._open: list[tuple[list[Any], int]] = [(self.answers, count)]
        """Lists that are being read, each in the one before it, and how many items they are to have."""
        self._pieces: list[bytes] = []
        """The beginning of an item whose end is not here yet."""
        self._size = 0
        self._wanted = 0
        """Bytes that there must be of it before it is worth a look, so that a large one is put together once."""

    def feed(self, piece: bytes) -> bool:
        """Take what has come; whether that is all.

        Raises:
            redis.ConnectionError: if the connection has ended or must not be used any more, and no answer of it can be trusted: what
                came is none, or an error that the driver has among those of connections, as while a server is loading.
        """
        if not piece:
            raise driver.ConnectionError("the server closed the connection")
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size < self._wanted:
            return False
        data = piece if len(self._pieces) == 1 else b"".join(self._pieces)
        try:
            end = self._read(data)
        except ValueError:
            raise driver.ConnectionError("what answers is not a Redis server") from None
        if not self._open and end < len(data):
            raise driver.ConnectionError("the server answered more than it was asked")
        self._pieces = [data[end:]]
        self._size = len(data) - end
        return not self._open

    def _read(self, data: bytes) -> int:
        """Read the items that are whole; where they end."""
        at = 0
        while self._open:
            items, count = self._open[-1]
            at = _take_strings(data, at, items, count - len(items))
            if len(items) == count:
                self._open.pop()
                continue
            line = data.find(b"\r\n", at)
            end = _end_of_item(data, at, line)
            if end > len(data):
                self._wanted = end - at
                return at
            items.append(self._item(data[at], data[at + 1 : line]))
            at = end
        return at

    def _item(self, kind: int, text: bytes) -> Any:
        """An item that is one line, or the array that it begins."""
        if kind == _INTEGER:
            return int(text)
        if kind == _STRING:
            return text
        if kind == _ERROR:
            return self._error(text)
        if kind not in (_ARRAY, _BULK):
            raise ValueError(kind)
        count = _length(text)
        if count < 0:
            return None
        array: list[Any] = []
        self._open.append((array, count))
        return array

    def _error(self, text: bytes) -> Exception:
        error = self._error_of(text.decode(errors="replace"))
        if isinstance(error, driver.ConnectionError):
            raise error
        return error


def _take_strings(data: bytes, at: int, items: list[Any], most: int) -> int:
    """Take the bulk strings that follow each other from there, up to what is none, or not whole; where that begins."""
    for _ in range(most):
        line = data.find(b"\r\n", at)
        if line < 0 or data[at] != _BULK:
            break
        start = line + 2
        end = start + int(data[at + 1 : line])
        if not start <= end <= len(data) - 2:
            break
        items.append(data[start:end])
        at = end + 2
    return at


def _end_of_item(data: bytes, at: int, line: int) -> int:
    """Where an item ends whose first line does so at ``line``; more than there is as long as more must come."""
    if line < 0:
        return len(data) + 1
    length = _length(data[at + 1 : line]) if data[at] == _BULK else -1
    return line + 2 + (length + 2 if length >= 0 else 0)


def _length(text: bytes) -> int:
    """How long a string or an array is; -1 if it is null."""
    length = int(text)
    if length < -1:
        raise ValueError(length)
    return length
