"""The members of a JSON object that came over the wire: taken by name, each checked, none left over."""

from __future__ import annotations

import json
from typing import Any, Final

from botwire import _wire
from botwire._codec import MAX_VALUE_BYTES
from botwire._errors import InvalidValue, ValueTooLarge
from botwire._jsontext import check_text, items, members
from botwire._names import check_count, check_name, check_version
from botwire.server._messages import body_of
from botwire.stores._protocol import KEEP, Ttl

REQUIRED: Final = object()
"""In place of a default: without this member the body is refused."""


class Fields:
    """The members of one object.

    Args:
        text: its JSON text.
        what: how messages call it.
        as_text: whether values in it are JSON texts in strings.
        max_bytes: largest value, in bytes of JSON as UTF-8.

    Raises:
        InvalidValue: on construction and by every method, where the member is missing or not of its kind.
    """

    def __init__(self, text: str, what: str = "body", *, as_text: bool = False, max_bytes: int = MAX_VALUE_BYTES) -> None:
        self._members = members(text, what)
        self._what = what
        self._known: list[str] = []
        self._as_text = as_text
        self._max_bytes = max_bytes

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def _take(self, name: str, default: object = REQUIRED) -> str | None:
        self._known.append(name)
        raw = self._members.pop(name, None)
        if raw is None and default is REQUIRED:
            raise InvalidValue(f"{self._what} has no member {name!r}")
        return raw

    def plain(self, name: str, default: Any = REQUIRED) -> Any:
        """A member of few kinds, as a Python value."""
        raw = self._take(name, default)
        return default if raw is None else _load(raw, name)

    def json(self, name: str, default: Any = REQUIRED) -> Any:
        """The JSON text of a member that may be any value; a text, or the default."""
        raw = self._take(name, default)
        return default if raw is None else self._stored(raw, name)

    def jsons(self, name: str) -> list[str]:
        """The JSON texts of a member that is an array of any values."""
        raw = self._take(name)
        return [self._stored(item, f"{name}[{index}]") for index, item in enumerate(items(raw or "", name))]

    def message(self, name: str) -> str:
        """The stored text of a member that is a message."""
        text = self.json(name)
        return text if self._as_text else body_of(text, name)

    def messages(self, name: str) -> list[str]:
        """The stored texts of a member that is an array of messages."""
        texts = self.jsons(name)
        return texts if self._as_text else [body_of(text, f"{name}[{index}]") for index, text in enumerate(texts)]

    def objects(self, name: str) -> list[Fields]:
        """A member that is an array of objects."""
        raw = self._take(name)
        return [self._inner(item, f"{name}[{index}]") for index, item in enumerate(items(raw or "", name))]

    def object(self, name: str) -> Fields:
        """A member that is an object."""
        return self._inner(self._take(name) or "", name)

    def object_or_none(self, name: str) -> Fields | None:
        """A member that is an object, or None."""
        raw = self._take(name, None)
        return None if raw is None or raw.strip() == "null" else self._inner(raw, name)

    def name(self, name: str, what: str | None = None) -> str:
        """A key, session id or other name."""
        return check_name(self.plain(name), what or name)

    def agent(self) -> str:
        """The agent of a session; empty for the session's own transcript."""
        agent = self.plain("agent", "")
        return "" if agent == "" else check_name(agent, "agent")

    def metadata(self, default: Any = REQUIRED) -> Any:
        """The JSON text of the member ``metadata``, an object; or the default."""
        text = self.json("metadata", default)
        if text is not default and not text.lstrip().startswith("{"):
            raise InvalidValue("metadata must be an object")
        return text

    def count(self, name: str, least: int = 0, default: Any = REQUIRED) -> Any:
        """A whole number of at least ``least``, or the default."""
        number = _whole(self.plain(name, default))
        return number if number is default else check_count(number, name, least)

    def version(self, name: str) -> int | None:
        """A version to compare with, or None."""
        return check_version(_whole(self.plain(name, None)))

    def ttl(self, default: Ttl) -> Ttl:
        """A time to live: seconds on the wire, null for no expiry, ``"keep"`` for what there is."""
        seconds = self.plain("ttl", "keep" if default is KEEP else default)
        return KEEP if seconds == "keep" else _wire.ttl_from_seconds(seconds)

    def time(self, name: str) -> int:
        """A time, in microseconds."""
        return _wire.time_from_iso(self.plain(name), name)

    def time_or_none(self, name: str) -> int | None:
        """A time in microseconds, or None."""
        text = self.plain(name, None)
        return None if text is None else _wire.time_from_iso(text, name)

    def done(self) -> None:
        """Refuse members that nobody asked for: a misspelt ``ttl`` would be an entry that never expires."""
        for name in self._members:
            known = ", ".join(dict.fromkeys(self._known))
            raise InvalidValue(f"{self._what} has the unknown member {name!r:.60}; known are: {known}")

    def _stored(self, raw: str, what: str) -> str:
        text = raw
        if self._as_text:
            text = _load(raw, what)
            if not isinstance(text, str):
                raise InvalidValue(f"{what} must be JSON text in a string, because the request says as=text")
            check_text(text, what)
        size = len(text) if text.isascii() else len(_wire.encode_utf8(text))
        if size > self._max_bytes:
            raise ValueTooLarge(
                f"{what} is {size:,} bytes of JSON, over this server's limit of {self._max_bytes:,}; split it over several keys"
            )
        return text

    def _inner(self, raw: str, what: str) -> Fields:
        return Fields(raw, what, as_text=self._as_text, max_bytes=self._max_bytes)


def _whole(number: Any) -> Any:
    """To JSON 3.0 is the same number as 3."""
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 1 << 53 else number


def _load(raw: str, what: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:  # it is JSON, so this is a number too long to be any count
        raise InvalidValue(f"{what} is not a value that it can have") from error
