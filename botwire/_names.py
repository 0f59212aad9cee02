"""The rules for names and numbers that callers hand in. The only place that knows them."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from botwire._errors import InvalidName, InvalidValue, shown

MAX_NAME_BYTES = 512
"""Longest namespace, key, session id or agent, in bytes of UTF-8."""

MAX_TTL_SECONDS = 100 * 366 * 86_400
"""Longest time to live: about a hundred years. Longer is a mistake of units, not a wish."""

RESERVED_NAMESPACE = "botwire:system"
"""Where a server keeps what is its own: the hashes of its tokens. No Memory opens it, no client of a server, no listing shows it."""

_PLAIN = re.compile(r"[ -~]{3,512}").fullmatch  # printable ASCII, too long to be "." or ".."
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def check_name(name: object, what: str) -> str:
    """Return ``name`` if it can be a name.

    Args:
        name: any text of 1 to 512 bytes of UTF-8, without control characters, not ``.`` or ``..``.
        what: what it names, for the message: ``"key"``, ``"namespace"``, ``"session id"``, ``"agent"``.

    Raises:
        InvalidName: saying which rule is broken, and where.
    """
    if type(name) is str and _PLAIN(name):
        return name
    return _check_unusual(name, what)


def _check_unusual(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise InvalidName(f"{what} must be a str, not {type(name).__name__}: {shown(name)}")
    name = str.__str__(name)  # of a subclass, an enum say, only the text is kept
    if not name:
        raise InvalidName(f"{what} must not be empty")
    if name in (".", ".."):
        raise InvalidName(f"{what} must not be {name!r}: every URL library reads it as a path step")
    if found := _CONTROL.search(name):
        raise InvalidName(f"{what} holds the control character {found[0]!r} at position {found.start()}: {shown(name)}")
    if found := _SURROGATE.search(name):
        raise InvalidName(f"{what} holds a lone surrogate {found[0]!r} at position {found.start()}, which is not text")
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        raise InvalidName(f"{what} is {size} bytes of UTF-8, over the limit of {MAX_NAME_BYTES}: {shown(name)}")
    return name


def check_namespace(name: object) -> str:
    """Return ``name`` if it can be the namespace of a memory.

    Raises:
        InvalidName: as ``check_name``, and for the one namespace that is botwire's own.
    """
    if name == RESERVED_NAMESPACE:
        raise InvalidName(f"the namespace {RESERVED_NAMESPACE!r} is botwire's own, for what a server keeps; choose another name")
    return check_name(name, "namespace")


def check_prefix(prefix: object) -> str:
    """Return ``prefix`` if some key could start with it; the empty prefix is every key's.

    Raises:
        InvalidName: if it is no text, or holds what no key may hold.
    """
    if prefix == "":
        return ""
    if prefix in (".", ".."):
        return str(prefix)
    return check_name(prefix, "prefix")


def ttl_to_us(ttl: object) -> int | None:
    """A time to live in microseconds, rounded to the nearest one, and never zero.

    Args:
        ttl: seconds as an int, float or timedelta; None for no expiry.

    Raises:
        InvalidValue: if it is zero, negative, not finite, over a hundred years, or no number.
    """
    if ttl is None:
        return None
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidValue(f"ttl must be seconds (a number) or a timedelta, not {type(ttl).__name__}: {shown(ttl)}")
    if isinstance(seconds, float) and not math.isfinite(seconds):
        raise InvalidValue(f"ttl must be a finite number of seconds, not {seconds!r}; None means forever")
    if seconds <= 0:
        raise InvalidValue(f"ttl must be over zero seconds, not {shown(seconds)}; delete() removes at once, None means forever")
    if seconds > MAX_TTL_SECONDS:
        raise InvalidValue(f"ttl is over a hundred years ({MAX_TTL_SECONDS} s); it counts in seconds, and None means forever")
    return max(1, round(seconds * 1_000_000))


def check_version(if_version: object) -> int | None:
    """Return ``if_version`` if it can be a version: None, or an int of 0 (absent) or more.

    Raises:
        InvalidValue: otherwise.
    """
    if if_version is None:
        return None
    if type(if_version) is not int:
        raise InvalidValue(f"if_version must be an int (0 means: only if absent), not {type(if_version).__name__}: {shown(if_version)}")
    if not 0 <= if_version < 1 << 63:
        raise InvalidValue("if_version must be 0 (only if absent) or a version that a write returned")
    return if_version


def check_count(number: object, what: str, least: int = 0) -> int:
    """Return ``number`` if it is an int of at least ``least`` that fits 63 bits.

    Raises:
        InvalidValue: otherwise, naming it by ``what``.
    """
    if type(number) is not int:
        raise InvalidValue(f"{what} must be an int, not {type(number).__name__}: {shown(number)}")
    if not least <= number < 1 << 63:
        raise InvalidValue(f"{what} must be {least} or more, not {shown(number, 40)}")
    return number


def check_request_id(request_id: object) -> str | None:
    """Return ``request_id`` if it can name a request: None, or any name.

    Raises:
        InvalidName: otherwise.
    """
    return None if request_id is None else check_name(request_id, "request id")


def prefix_end(prefix: str) -> str | None:
    """The least text that is greater than everything starting with ``prefix``; None if there is none.

    Text is ordered by code point, which is also the order of its UTF-8 bytes.
    """
    for index in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[index])
        if point == 0x10FFFF:
            continue
        point = 0xE000 if point == 0xD7FF else point + 1  # the gap between holds surrogates, which are not text
        return prefix[:index] + chr(point)
    return None
