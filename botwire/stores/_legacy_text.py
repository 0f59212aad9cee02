"""Values, names and times as the older public service keeps them."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from typing import cast

from botwire import _wire
from botwire._codec import encode
from botwire._errors import InvalidName, InvalidValue, ValueTooLarge
from botwire._jsontext import check_text

MAX_CHARACTERS = 100_000
"""Longest value the service takes, in characters."""

SESSION_PREFIX = "session."
"""How the keys of sessions begin. Entries cannot have such keys here, and listings leave them out."""

is_key = re.compile(r"[A-Za-z0-9_.-]{1,128}").fullmatch
"""Whether the service takes a key."""

_CHANGES = "the older service keeps text alone:"
_CURE = "put such a value into a list or dict to get it back as it was"


def to_text(value: str, what: str) -> str:
    """What is sent for a value's JSON text: a string as it is, other JSON as its text.

    The service keeps text alone, so a few values come back as something else; of each kind it is warned once.

    Raises:
        InvalidValue, ValueTooLarge: if the service cannot keep it at all.
    """
    if value.lstrip()[:1] in ("[", "{"):
        return sized(value, what)
    if not value.lstrip().startswith('"'):
        warnings.warn(f"{_CHANGES} numbers, bools and None come back as text, 42 as '42'; {_CURE}", UserWarning, stacklevel=2)
        return sized(value, what)
    text = cast("str", json.loads(value))
    if _is_container(text):
        warnings.warn(f"{_CHANGES} text that is a JSON list or object comes back as that list or dict; {_CURE}", UserWarning, stacklevel=2)
    if re.search(r"[\ud800-\udfff]", text):
        raise InvalidValue(f"{what} holds a lone surrogate, which this older service cannot keep")
    return sized(text, what)


def from_text(text: str) -> str:
    """The JSON text of the value that a text from the service stands for."""
    return text if _is_container(text) else encode(text)


def _is_container(text: str) -> bool:
    if text[:1] not in ("[", "{"):
        return False
    try:
        check_text(text, "value")
    except InvalidValue:
        return False
    return True


def sized(text: str, what: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise ValueTooLarge(f"{what} is {len(text):,} characters, over the {MAX_CHARACTERS:,} that this older service takes")
    return text


def session_key(session: str, agent: str) -> str:
    """The key under which a session is kept.

    Letters, digits, ``_`` and ``-`` stand for themselves, other bytes of the UTF-8 as ``.`` and two hex digits; the agent follows ``.-``.

    Raises:
        InvalidName: if that is too long for the service.
    """
    key = SESSION_PREFIX + _escape(session) + (f".-{_escape(agent)}" if agent else "")
    if not is_key(key):
        raise InvalidName(f"session {session!r:.80} makes a key of {len(key)} characters, over the 128 that this older service takes")
    return key


def session_of(key: str) -> tuple[str, str] | None:
    """The session and agent whose key it is; None if it is none of ``session_key``'s."""
    if not key.startswith(SESSION_PREFIX):
        return None
    session, _, agent = key.removeprefix(SESSION_PREFIX).partition(".-")
    try:
        return _unescape(session), _unescape(agent)
    except ValueError:
        return None


def _escape(name: str) -> str:
    return re.sub(rb"[^A-Za-z0-9_-]", lambda found: b".%02X" % found[0][0], name.encode()).decode()


def _unescape(text: str) -> str:
    return re.sub(rb"\.(..)", lambda found: bytes([int(found[1], 16)]), text.encode()).decode()


def epoch_of(bodies: Sequence[str]) -> str:
    """Changes when the list begins anew: with another first message, since there is nowhere to keep one apart from them."""
    return hashlib.sha256(bodies[0].encode()).hexdigest()[:16] if bodies else "empty"


def time_of(value: object) -> int:
    """A time that the service tells, in microseconds; 1970 if it tells none."""
    if isinstance(value, (int, float)):
        return int(value * (1_000 if value > 1e11 else 1_000_000))  # of the two usual units, milliseconds have more digits
    try:
        return _wire.time_from_iso(value)
    except InvalidValue:
        return 0
