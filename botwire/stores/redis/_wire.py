"""Commands as bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


def packed(*arguments: bytes) -> bytes:
    """A command in the protocol's form (RESP: an array of bulk strings)."""
    return packed_all(arguments)


def bulk(*arguments: bytes) -> bytes:
    """Arguments in the protocol's form, to be put after a command's header."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


def packed_all(arguments: Sequence[bytes]) -> bytes:
    """Like ``packed``, of a sequence."""
    return b"*%d\r\n" % len(arguments) + bulk(*arguments)


class Command(NamedTuple):
    """One command, and the slot that it is for; None for any server.

    ``again`` makes what is sent once an attempt may have been carried out without an answer, if that is something else.
    """

    slot: int | None
    data: bytes
    again: Callable[[], bytes] | None = None
    writes: bool = False


ASKING = packed(b"ASKING")
TIME = Command(None, packed(b"TIME"))
