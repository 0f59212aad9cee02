"""Messages on the wire: in the common chat shape, or as the texts that are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from botwire import _wire
from botwire._codec import encode, parse
from botwire._errors import InvalidValue, StoreCorrupt
from botwire._message import decode_message, encode_message, to_message
from botwire.stores._protocol import LogRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def body_of(text: str, what: str) -> str:
    """The stored text of a message that came in the common chat shape.

    Raises:
        InvalidValue: if it is no message.
    """
    shape = cast("dict[str, Any]", parse(text, what))
    if not isinstance(shape, dict):
        raise InvalidValue(f'{what} must be an object such as {{"role": "user", "content": "hi"}}')
    if not isinstance(shape.get("tool_calls"), list | None):
        raise InvalidValue(f"the tool_calls of {what} must be a list")
    return encode_message(to_message(shape))


def message_to_json(row: LogRow, as_text: bool) -> str:
    """A message with its place and time. One that is not botwire's is shown as it is stored."""
    if as_text:
        return _wire.message_to_json(row, as_text=True)
    try:
        shape = encode(decode_message(row.body, row.seq, _EPOCH + timedelta(microseconds=row.created_at), "the session").to_dict())
    except StoreCorrupt:
        _wire.check_readable(row.body, f"message {row.seq}")
        shape = row.body
    return _wire.message_to_json(row._replace(body=shape), as_text=False)
