"""What a request holds, taken from it strictly: the body as it streams in, the query, the headers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from botwire import _wire
from botwire._errors import InvalidName, InvalidValue
from botwire._jsontext import decode_utf8
from botwire._names import check_name, check_request_id
from botwire.server._fields import Fields
from botwire.server._problems import Disconnected, HTTPProblem, body_too_large
from botwire.server._service import Action, Service

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderMap: TypeAlias = Mapping[bytes, bytes]

T = TypeVar("T")

INLINE_CHARS = 65_536
"""A body up to this size is parsed at once; a larger one on a thread."""

_is_json = re.compile(rb"\s*application/(?:[a-z0-9.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE).fullmatch
_is_number = re.compile(r"[0-9]{1,18}").fullmatch
_malformed_escape = re.compile(rb"%(?![0-9A-Fa-f]{2})").search


async def read_body(headers: HeaderMap, receive: Receive, limit: int) -> bytes:
    """The body of a request; refused as soon as it is known to be over ``limit`` bytes, not when it has all arrived.

    Raises:
        HTTPProblem: 413, or 415 if it is said to be something other than JSON.
        Disconnected: if the client went away.
    """
    kind = headers.get(b"content-type")
    if kind and kind != b"application/json" and not _is_json(kind):
        raise HTTPProblem(415, "unsupported_media_type", "the body must be JSON: send the header Content-Type: application/json")
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > 18 or int(declared) > limit:
        raise body_too_large(limit)
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise body_too_large(limit)
        return body
    return await _read_chunks(message, receive, limit)


async def _read_chunks(message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise body_too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def parse_query(raw: bytes, *known: str) -> dict[str, str]:
    """The parameters of a query string.

    Raises:
        InvalidValue: if one is not known, given twice, or not UTF-8: a misspelt ``prefix`` would list everything.
    """
    if not raw:
        return {}
    if _malformed_escape(raw):
        raise InvalidValue("the query holds a '%' that no two hex digits follow; a '%' itself is sent as %25")
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:
        raise InvalidValue("the query is not one: parameters are UTF-8, percent-encoded, joined by &") from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidValue("a parameter of the query is given twice")
    for name in found:
        if name not in known:
            takes = f"known are: {', '.join(known)}" if known else "this route takes none"
            raise InvalidValue(f"the query has the unknown parameter {name!r:.60}; {takes}")
    return found


def query_number(found: Mapping[str, str], name: str, default: int | None, least: int = 0, most: int = (1 << 63) - 1) -> int | None:
    """A whole number in a query.

    Raises:
        InvalidValue: if it is none, or out of range.
    """
    text = found.get(name)
    if text is None:
        return default
    if not _is_number(text) or not least <= int(text) <= most:
        at_most = f" and at most {most:,}" if most < 1 << 62 else ""
        raise InvalidValue(f"{name} must be a whole number of at least {least}{at_most}")
    return int(text)


def query_as_text(found: Mapping[str, str]) -> bool:
    """Whether stored JSON texts are wanted as strings.

    Raises:
        InvalidValue: if ``as`` is neither ``json`` nor ``text``.
    """
    form = found.get("as", "json")
    if form not in ("json", "text"):
        raise InvalidValue("as must be json or text")
    return form == "text"


def request_id_of(headers: HeaderMap) -> str | None:
    """The id in the ``Idempotency-Key`` header, with or without quotes; an id of other characters goes into a batch's body.

    Raises:
        InvalidName: if it cannot be one.
    """
    raw = headers.get(b"idempotency-key")
    if raw is None:
        return None
    found = _wire.is_plain_request_id(raw.decode("latin-1"))
    if found is None:
        raise InvalidName("Idempotency-Key must be 1 to 255 visible ASCII characters without quotes and spaces, such as a UUID")
    return check_request_id(found[2])


def if_version_of(headers: HeaderMap) -> int | None:
    """The version that a write asks for by ``If-Match: "3"``, or 0 by ``If-None-Match: *`` (RFC 9110 section 13.1).

    Raises:
        InvalidValue: if the header holds anything else: to pass over a condition would be to break it.
    """
    match, none_match = headers.get(b"if-match"), headers.get(b"if-none-match")
    version = None if match is None else _wire.version_from_etag(match.decode("latin-1"))
    if none_match is not None:
        if none_match.strip() != b"*":
            raise InvalidValue("a write takes If-None-Match: * (only if absent) or If-Match with a version, nothing else")
        if match is not None:
            raise HTTPProblem(412, "version_conflict", "If-Match (it is there) and If-None-Match: * (it is not) cannot both hold")
        return 0
    return version


def refuse_twice(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse a request with two tokens or two names of the server: what stands before it may have looked at the other one.

    Raises:
        InvalidValue: if it has.
    """
    names = [name for name, _ in headers]
    for name in (b"authorization", b"host"):
        if names.count(name) > 1:
            raise InvalidValue(f"the header {name.decode()} is sent twice; send it once")


def refuse_conditions(headers: HeaderMap) -> None:
    """For writes that cannot be conditional.

    Raises:
        InvalidValue: if the request has a condition.
    """
    if b"if-match" in headers or b"if-none-match" in headers:
        raise InvalidValue("this request cannot be conditional; use PUT with If-Match, or POST /batch with if_version")


def is_unchanged(headers: HeaderMap, version: int) -> bool:
    """Whether the client has this version already (``If-None-Match``, RFC 9110 section 13.1.2)."""
    tags = headers.get(b"if-none-match")
    if tags is None:
        return False
    wanted = _wire.etag(version).encode()
    return any(tag.strip().removeprefix(b"W/") in (b"*", wanted) for tag in tags.split(b","))


def raw_path(scope: Scope) -> bytes:
    """The path as it was sent, below the point where the app is mounted.

    Raises:
        InvalidName: if the server that runs the app does not tell.
    """
    raw = scope.get("raw_path")
    if raw is None:
        raise InvalidName("the server that runs this app does not pass on raw paths, so names in them cannot be told apart")
    root = scope.get("root_path")
    return raw.removeprefix(root.encode()) if root else raw


class Call:
    """One request to a route off the hot path, with what routes take from it."""

    def __init__(self, service: Service, scope: Scope, headers: HeaderMap, receive: Receive) -> None:
        self.service = service
        self.headers = headers
        self.method: str = scope["method"]
        self._scope = scope
        self._receive = receive

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as the client sees it."""
        return str(self._scope.get("scheme", "http"))

    def namespace(self, action: Action) -> str:
        """The namespace in the path, once it is clear that the caller may do that there."""
        namespace = self.name("namespace")
        self.service.authorize(self.headers, namespace, action)
        return namespace

    def name(self, parameter: str, what: str | None = None) -> str:
        """A name in the path."""
        what = what or parameter
        return check_name(_wire.decode_part(self._scope["path_params"][parameter].encode("latin-1"), what), what)

    def query(self, *known: str) -> dict[str, str]:
        """The query, which may hold ``known`` parameters."""
        return parse_query(self._scope["query_string"], *known)

    async def body(self, limit: int | None = None) -> str:
        """The body's text; ``limit`` in bytes, or that of one value."""
        body = await read_body(self.headers, self._receive, self.service.max_body_bytes if limit is None else limit)
        return decode_utf8(body, "body")

    async def fields(self, *, as_text: bool = False, limit: int | None = None) -> Fields:
        """The members of the body."""
        text = await self.body(limit)
        return await self.parsed(text, lambda: Fields(text, as_text=as_text, max_bytes=self.service.max_value_bytes))

    async def parsed(self, text: str, parse: Callable[[], T]) -> T:
        """What ``parse`` makes of a body; a large one on a thread, where it does not keep other requests waiting."""
        return parse() if len(text) <= INLINE_CHARS else await self.service.run(parse)

    @property
    def request_id(self) -> str | None:
        """See ``request_id_of``."""
        return request_id_of(self.headers)
