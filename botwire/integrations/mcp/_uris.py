"""``memory://{namespace}/{key}``: both parts percent-encoded, so that every name has one URI and every URI one name."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

from botwire.integrations.mcp._failures import invalid

TEMPLATE = "memory://{namespace}/{key}"
INDEX_TEMPLATE = "memory://{namespace}"
_SCHEME = "memory://"
_AFTER = "?cursor="


class Place(NamedTuple):
    """What a URI names: an entry, or with ``key`` None the index of a namespace, from ``cursor`` on."""

    namespace: str
    key: str | None
    cursor: str | None = None


def uri_of(namespace: str, key: str) -> str:
    """The URI of an entry."""
    return f"{index_of(namespace)}/{quote(key, safe='')}"


def index_of(namespace: str, cursor: str | None = None) -> str:
    """The URI of a namespace's index."""
    return f"{_SCHEME}{quote(namespace, safe='')}{'' if cursor is None else _AFTER + cursor}"


def place_of(uri: str) -> Place:
    """What a URI names. Clients may encode more than is needed, or less; a slash that is not encoded separates.

    Raises:
        Refusal: if it is none of this server's.
    """
    if uri[: len(_SCHEME)].lower() != _SCHEME:
        raise invalid(f"{uri!r:.120} is no URI of this server; they are {TEMPLATE} and {INDEX_TEMPLATE}")
    namespace, slash, key = uri[len(_SCHEME) :].partition("/")
    cursor = None
    if not key:
        namespace, _, cursor = namespace.partition(_AFTER)
    try:
        names = [unquote(part, errors="strict") for part in (namespace, key)]
    except UnicodeDecodeError as error:
        raise invalid(f"{uri!r:.120} is not percent-encoded UTF-8") from error
    if not names[0]:
        raise invalid(f"{uri!r:.120} names no namespace")
    return Place(names[0], names[1] if slash and key else None, cursor or None)
