"""AutoGen's MemoryContent as the value of an entry, and back.

What text or a dict says by itself is stored as such, so that others read an ordinary entry. Anything else is an object
with a member ``$autogen`` that says so.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from datetime import UTC, datetime
from typing import Any, cast

from autogen_core import Image
from autogen_core.memory import MemoryContent, MemoryMimeType

from botwire import InvalidValue

_TAG = "$autogen"
_MADE = re.compile(r"memory-\d{8}T\d{12}-[0-9a-f]{8}")


def new_key() -> str:
    """A key for content that came without one; keys sort by the time at which they were made."""
    return f"memory-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"


def key_of(content: MemoryContent) -> str:
    """The key under which to store it: what its metadata has as ``key``, or a new one.

    Raises:
        InvalidValue: if the key is not text.
    """
    key = (content.metadata or {}).get("key")
    if key is None:
        return new_key()
    if not isinstance(key, str):
        raise InvalidValue(f"metadata['key'] must be text, not {type(key).__name__}")
    return key


def to_value(key: str, content: MemoryContent) -> Any:
    """The value from which ``from_value`` makes equal content.

    Raises:
        InvalidValue: if it cannot be read as JSON again; the store says where.
    """
    value = content.content
    if isinstance(value, (str, dict)) and _same(from_value(key, value), content):
        return value
    record: dict[str, Any] = {_TAG: "MemoryContent"}
    if isinstance(value, bytes):
        record |= {"content": base64.b64encode(value).decode(), "encoding": "base64"}
    elif isinstance(value, Image):
        record |= {"content": value.to_base64(), "encoding": "image"}
    else:
        record["content"] = value
    mime = content.mime_type
    record |= {"mime_type": mime.value, "enum": True} if isinstance(mime, MemoryMimeType) else {"mime_type": mime}
    return record if content.metadata is None else {**record, "metadata": content.metadata}


def from_value(key: str, value: Any) -> MemoryContent:
    """The content of an entry, whoever wrote it: of JSON other than text and objects, the JSON text."""
    if isinstance(value, dict) and _TAG in value:
        record = cast("dict[str, Any]", value)
        try:
            return _from_record(record)
        except (KeyError, TypeError, ValueError, OSError):
            pass  # another's object, which happens to have such a member: shown as it is
    metadata = None if _MADE.fullmatch(key) else {"key": key}
    if isinstance(value, str):
        return MemoryContent(content=value, mime_type=MemoryMimeType.TEXT, metadata=metadata)
    content = cast("dict[str, Any]", value) if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
    return MemoryContent(content=content, mime_type=MemoryMimeType.JSON, metadata=metadata)


def shown(content: MemoryContent) -> str:
    """The content in words, for a model to read."""
    value = content.content
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return f"[{len(value)} bytes of {_mime_text(content)}]"
    return f"[an image of {value.image.width} x {value.image.height} pixels]"


def _mime_text(content: MemoryContent) -> str:
    return content.mime_type.value if isinstance(content.mime_type, MemoryMimeType) else content.mime_type


def _from_record(record: dict[str, Any]) -> MemoryContent:
    content, encoding = record["content"], record.get("encoding")
    if encoding == "base64":
        content = base64.b64decode(content, validate=True)
    elif encoding == "image":
        content = Image.from_base64(content)
    mime = MemoryMimeType(record["mime_type"]) if record.get("enum") else record["mime_type"]
    return MemoryContent(content=content, mime_type=mime, metadata=record.get("metadata"))


def _same(one: MemoryContent, other: MemoryContent) -> bool:
    return (
        type(one.content) is type(other.content)
        and one.content == other.content
        and one.mime_type is other.mime_type
        and one.metadata == other.metadata
    )
