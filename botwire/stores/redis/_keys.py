"""What botwire's keys are called, and in which slot of a Cluster they lie.

All of a namespace is in one slot: its name in braces is all that the slot is computed from. So any batch is one script call,
on one server and on a Cluster alike; a Cluster spreads namespaces.
"""

from __future__ import annotations

from typing import Any

from redis.crc import key_slot

from botwire._errors import InvalidName

_PARTS = ("e", "k", "x", "s", "i", "y", "m", "c", "g", "q")


class Keys:
    """The keys of one namespace.

    ``e`` values by key, ``k`` keys in order, ``x`` keys by expiry; ``s`` states of logs by name, ``i`` names in order,
    ``y`` names by expiry, ``m`` metadata by name, ``l:<name>`` messages; ``c`` meters, ``g`` the mark: whether the namespace is in the
    list of namespaces, and what it holds if that is counted; ``r:<id>`` requests, ``q`` those with an id of the caller's, by expiry.
    """

    __slots__ = ("base", "channel", "fixed", "name", "of_logs", "slot", *_PARTS)

    def __init__(self, prefix: str, namespace: str) -> None:
        name = namespace.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
        self.base = utf8(f"{prefix}{{{name}}}:")
        self.slot = key_slot(self.base)
        self.e, self.k, self.x, self.s, self.i, self.y, self.m, self.c, self.g, self.q = (self.base + part.encode() for part in _PARTS)
        self.channel = self.base + b"heard"
        self.name = utf8(namespace)
        self.of_logs: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}
        """Parts of appends that are the same in every call, by log and time to live."""
        self.fixed = (self.e, self.k, self.x, self.s, self.i, self.y, self.m, self.c, self.g, self.q)

    def stream(self, name: bytes) -> bytes:
        """Where the messages of a log are."""
        return self.base + b"l:" + name

    def request(self, scope: str, request_id: str) -> bytes:
        """Where the results of a request are kept."""
        return self.base + b"r:" + utf8(request_id + ("\0" + scope if scope else ""))


def log_name(session: str, agent: str) -> bytes:
    """A log's name: sorted as bytes, names come in the order of (session, agent)."""
    if "\0" in session or "\0" in agent:
        raise InvalidName("a session id or agent name holds the character NUL, which no name may")
    return utf8(f"{session}\0{agent}")


def split_log_name(name: bytes) -> tuple[str, str]:
    """The session and agent of a log's name."""
    session, _, agent = name.decode().partition("\0")
    return session, agent


def utf8(text: str) -> bytes:
    """The bytes of a text.

    Raises:
        InvalidName: if it has none, because of a lone surrogate.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidName(f"a lone surrogate at position {error.start} is not text, so it cannot be stored: {text!r:.80}") from None


def bounds(prefix: str, after: str | None) -> tuple[bytes, bytes]:
    """The range of keys that start with ``prefix`` and come after ``after``, as ZRANGEBYLEX takes it.

    The order of UTF-8 bytes is that of code points, and no UTF-8 has a byte 0xFF.
    """
    start = utf8(prefix)
    lowest = b"[" + start if start else b"-"
    if after is not None and after >= prefix:
        lowest = b"(" + utf8(after)
    return lowest, b"(" + start + b"\xff" if start else b"+"
