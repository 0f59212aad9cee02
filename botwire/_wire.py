"""The HTTP protocol without I/O: paths, times, rows and errors as they travel. Server and client share it.

Both parts of ``/memory/{namespace}/{key}`` are percent-encoded whole, so that a name is data and never structure.
Times are ISO 8601 in UTC with microseconds, a time to live is in seconds, errors are problem documents of RFC 9457.

A value travels as the JSON value that it is. With ``?as=text`` it travels as its JSON text in a string: exact for every
reader, whatever its numbers can hold, and what botwire's own client asks for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote as _percent_encode
from urllib.parse import unquote, unquote_to_bytes

from botwire import _errors
from botwire._errors import (
    BotWireError,
    InvalidName,
    InvalidValue,
    OutcomeUnknown,
    QuotaExceeded,
    RequestConflict,
    StoreFull,
    StoreUnavailable,
    Unauthorized,
    Unsupported,
    ValueTooLarge,
    VersionConflict,
)
from botwire._jsontext import check_text, encode_utf8, quote
from botwire._names import ttl_to_us
from botwire.stores._protocol import DayUsage, EntryHit, EntryRow, EntryStamp, Heard, LogHit, LogInfo, LogRow, Usage

PROTOCOL = 1
"""The number of this protocol, which ``/health`` tells. It changes when an older client would no longer understand."""

SERVICE = "botwire"
JSON = "application/json"
PROBLEM = "application/problem+json"
MERGE_PATCH = "application/merge-patch+json"

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 10_000
"""Rows in one page of a listing, unless asked for otherwise, and at most."""

MAX_PAGE_BYTES = 8 * 1024 * 1024
"""A page with values ends once it is about so large; values are never cut."""

KEEP_ALIVE_SECONDS = 15
"""Seconds of silence after which a stream of changes shows that it is alive, unless asked for otherwise."""

# --------------------------------------------------------------------------------------------- names

_is_session_cursor = re.compile("(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+/(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})*").fullmatch
_malformed_escape = re.compile(rb"%(?![0-9A-Fa-f]{2})").search


def encode_part(name: str) -> str:
    """A name as one segment of a path, or one value of a query."""
    encoded = _percent_encode(name, safe="")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded  # URL libraries resolve these away


def decode_part(raw: bytes, what: str) -> str:
    """The name in a raw segment.

    Raises:
        InvalidName: if an escape is malformed, or the bytes are not UTF-8.
    """
    try:
        if b"%" not in raw:
            return raw.decode()
        if found := _malformed_escape(raw):
            raise InvalidName(f"{what} holds a '%' at byte {found.start()} that no two hex digits follow; a '%' itself is sent as %25")
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise InvalidName(f"{what} is not UTF-8 once its escapes are decoded") from error


def path(*parts: str) -> str:
    """The path of encoded segments."""
    return "".join([f"/{encode_part(part)}" for part in parts])


def query(**parameters: str | int | None) -> str:
    """The query string with its question mark; parameters that are None are left out."""
    given = [f"{name.rstrip('_')}={encode_part(str(value))}" for name, value in parameters.items() if value is not None]
    return "?" + "&".join(given) if given else ""


def session_cursor(session: str, agent: str) -> str:
    """A place in the listing of sessions."""
    return f"{encode_part(session)}/{encode_part(agent)}"


def parse_session_cursor(cursor: str) -> tuple[str, str]:
    """The session and agent of a ``session_cursor``. It is but a place: there need be no such session.

    Raises:
        InvalidValue: if it is none.
    """
    if not _is_session_cursor(cursor):
        raise InvalidValue("cursor must be the next_cursor that a page of sessions gave")
    session, _, agent = cursor.partition("/")
    return unquote(session, errors="replace"), unquote(agent, errors="replace")


# --------------------------------------------------------------------------------------------- times

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").zfill(19)  # %Y does not pad on every system


def time_to_iso(microseconds: int) -> str:
    """The ISO 8601 form of a time in microseconds since 1970: ``2026-11-22T14:00:00.000000Z``."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


def time_from_iso(text: object, what: str = "time") -> int:
    """Microseconds since 1970 of an ISO 8601 time with an offset.

    Raises:
        InvalidValue: if it is no such time.
    """
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]
        return (moment - _EPOCH) // _MICROSECOND
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidValue(f"{what} must be an ISO 8601 time in UTC such as 2026-11-22T14:00:00.000000Z") from error


def _time(microseconds: int | None) -> str:
    return "null" if microseconds is None else f'"{time_to_iso(microseconds)}"'


def ttl_to_seconds(ttl: int) -> float:
    """A time to live in seconds, from microseconds."""
    return ttl / 1_000_000


def ttl_from_seconds(seconds: object) -> int | None:
    """A time to live in microseconds, to the nearest, from seconds.

    Raises:
        InvalidValue: if it is none, as in ``ttl_to_us``, which rounds up and so would grow it with each hop.
    """
    if isinstance(seconds, float) and ttl_to_us(seconds):
        return max(1, round(seconds * 1_000_000))
    return ttl_to_us(seconds)


# ---------------------------------------------------------------------------------------------- rows


def embed(text: str, as_text: bool) -> str:
    """A stored JSON text as part of an answer: the value that it is, or a string."""
    return quote(text) if as_text else text


def entry_to_json(row: EntryRow, as_text: bool) -> str:
    """The members of an entry, without braces."""
    return (
        f'"key":{quote(row.key)},"value":{quote(row.value) if as_text else row.value},"version":{row.version},'
        f'"created_at":"{time_to_iso(row.created_at)}","updated_at":"{time_to_iso(row.updated_at)}","expires_at":{_time(row.expires_at)}'
    )


def entry_from_json(record: dict[str, Any]) -> EntryRow:
    """The row of an entry that came with ``as=text``."""
    expires_at = record["expires_at"]
    return EntryRow(
        record["key"],
        record["value"],
        record["version"],
        time_from_iso(record["created_at"]),
        time_from_iso(record["updated_at"]),
        None if expires_at is None else time_from_iso(expires_at),
    )


def stamp_to_json(stamp: EntryStamp) -> str:
    """An entry without its value, as an object."""
    return (
        f'{{"key":{quote(stamp.key)},"version":{stamp.version},"updated_at":"{time_to_iso(stamp.updated_at)}",'
        f'"expires_at":{_time(stamp.expires_at)}}}'
    )


def stamp_from_json(record: dict[str, Any]) -> EntryStamp:
    expires_at = record["expires_at"]
    until = None if expires_at is None else time_from_iso(expires_at)
    return EntryStamp(record["key"], record["version"], time_from_iso(record["updated_at"]), until)


def heard_to_json(heard: Heard) -> str:
    """What may have changed: names, or null for any."""
    names = {"keys": heard.keys, "sessions": heard.sessions}
    return json.dumps({kind: None if found is None else sorted(found) for kind, found in names.items()}, ensure_ascii=False)


def heard_from_json(text: str) -> Heard:
    """The reverse; what makes no sense means that anything may have changed."""
    try:
        record = json.loads(text)
        keys, sessions = record["keys"], record["sessions"]
        return Heard(None if keys is None else frozenset(keys), None if sessions is None else frozenset(sessions))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Heard(None, None)


def info_to_json(info: LogInfo, as_text: bool) -> str:
    """A session's state as an object."""
    ttl = "null" if info.ttl is None else repr(ttl_to_seconds(info.ttl))
    return (
        f'{{"session":{quote(info.session)},"agent":{quote(info.agent)},"epoch":{quote(info.epoch)},"head":{info.head},'
        f'"count":{info.count},"created_at":"{time_to_iso(info.created_at)}","updated_at":"{time_to_iso(info.updated_at)}",'
        f'"ttl":{ttl},"expires_at":{_time(info.expires_at)},"metadata":{embed(info.metadata, as_text)}}}'
    )


def info_from_json(record: dict[str, Any]) -> LogInfo:
    """The state of a session that came with ``as=text``."""
    expires_at = record["expires_at"]
    return LogInfo(
        record["session"],
        record["agent"],
        record["epoch"],
        record["head"],
        record["count"],
        time_from_iso(record["created_at"]),
        time_from_iso(record["updated_at"]),
        ttl_from_seconds(record["ttl"]),
        None if expires_at is None else time_from_iso(expires_at),
        record["metadata"],
    )


def message_to_json(row: LogRow, as_text: bool) -> str:
    """A message with its place, as an object."""
    return f'{{"seq":{row.seq},"created_at":"{time_to_iso(row.created_at)}","message":{embed(row.body, as_text)}}}'


def message_from_json(record: dict[str, Any]) -> LogRow:
    """A message that came with ``as=text``."""
    return LogRow(record["seq"], record["message"], time_from_iso(record["created_at"]))


def entry_hit_to_json(hit: EntryHit, as_text: bool) -> str:
    return f'{{"score":{hit.score!r},"snippet":{quote(hit.snippet)},{entry_to_json(hit.row, as_text)}}}'


def entry_hit_from_json(record: dict[str, Any]) -> EntryHit:
    return EntryHit(entry_from_json(record), record["score"], record["snippet"])


def log_hit_to_json(hit: LogHit, message: str) -> str:
    """A hit, of whose row ``message`` is the JSON."""
    head = f'{{"score":{hit.score!r},"snippet":{quote(hit.snippet)},"session":{quote(hit.session)},"agent":{quote(hit.agent)},'
    return head + message.removeprefix("{")


def log_hit_from_json(record: dict[str, Any]) -> LogHit:
    return LogHit(record["session"], record["agent"], message_from_json(record), record["score"], record["snippet"])


def usage_to_json(namespace: str, usage: Usage) -> str:
    """What a namespace holds, as an object."""
    return json.dumps({"namespace": namespace, **usage._asdict(), "days": [day._asdict() for day in usage.days]}, ensure_ascii=False)


def usage_from_json(record: dict[str, Any]) -> Usage:
    """What a namespace holds; members that are not known are a later server's."""
    days = tuple(DayUsage._make(day[name] for name in DayUsage._fields) for day in record["days"])
    return Usage._make([*(record[name] for name in Usage._fields[:-1]), days])


def check_readable(text: str, what: str) -> None:
    """Refuse to send out a stored text that would break the answer it is put into.

    Raises:
        StoreCorrupt: if it is not JSON.
    """
    try:
        check_text(text, what)
    except InvalidValue as error:
        message = f"{what} cannot be read back: its stored text is not JSON; with ?as=text it comes as it is"
        raise _errors.StoreCorrupt(message) from error


# ---------------------------------------------------------------------------------------------- tags


def etag(version: int) -> str:
    """The entity tag of a version (RFC 9110 section 8.8.3)."""
    return f'"{version}"'


def version_from_etag(tag: str) -> int:
    """The version in a tag; its quotes may be missing.

    Raises:
        InvalidValue: if it is not one of ours.
    """
    found = re.fullmatch(r'("?)([0-9]{1,19})\1', tag)
    if found is None or int(found[2]) >= 1 << 63:
        raise InvalidValue('If-Match takes one version, as ETag gives it: If-Match: "3"')
    return int(found[2])


is_plain_request_id = re.compile(r'("?)([!#-~]{1,255})\1').fullmatch
"""Whether a request id can travel in the ``Idempotency-Key`` header as it is; the second group is the id."""


# -------------------------------------------------------------------------------------------- errors

_STATUSES: dict[type[BotWireError], int] = {
    ValueTooLarge: 413,
    InvalidName: 400,
    InvalidValue: 400,
    VersionConflict: 412,
    RequestConflict: 409,
    QuotaExceeded: 429,
    Unauthorized: 401,
    Unsupported: 501,
    StoreFull: 507,
    OutcomeUnknown: 500,
    StoreUnavailable: 503,
    _errors.Closed: 503,
}


def status_of(error: BotWireError) -> int:
    """The HTTP status that carries an error."""
    if isinstance(error, QuotaExceeded) and error.retry_after is None:
        return 507  # no room is left: waiting makes none
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)


def problem(status: int, code: str, title: str, detail: str, **extra: Any) -> bytes:
    """A problem document (RFC 9457)."""
    document = {"type": f"/docs#{code}", "title": title, "status": status, "detail": detail, "code": code, **extra}
    return encode_utf8(json.dumps(document, ensure_ascii=False))


def problem_of(error: BotWireError) -> tuple[int, bytes]:
    """Status and problem document of an error."""
    extra: dict[str, Any] = {}
    if isinstance(error, VersionConflict):
        extra["current"] = error.current
    if isinstance(error, QuotaExceeded):
        extra |= {"retry_after": error.retry_after, "limit": error.limit, "current": error.current, "allowed": error.allowed}
    status = status_of(error)
    return status, problem(status, error.code, _title(type(error)), str(error), **extra)


def _title(kind: type[BotWireError]) -> str:
    return kind.code.replace("_", " ")


def _family(kind: type[BotWireError]) -> list[type[BotWireError]]:
    return [kind, *(member for child in kind.__subclasses__() for member in _family(child))]


_BY_CODE = {kind.code: kind for kind in _family(BotWireError)}


def error_of(document: Mapping[str, Any]) -> BotWireError | None:
    """The error that a problem document tells of; None if it has no code that is ours."""
    code, detail = document.get("code"), str(document.get("detail", ""))
    kind = _BY_CODE.get(code) if isinstance(code, str) else None
    if kind is VersionConflict:
        current = document.get("current")
        return VersionConflict(detail, current if isinstance(current, int) else 0)
    if kind is QuotaExceeded:
        return _quota_exceeded(detail, document)
    return None if kind is None else kind(detail)


def _quota_exceeded(detail: str, document: Mapping[str, Any]) -> QuotaExceeded:
    limit, current, allowed = (document.get(name) for name in ("limit", "current", "allowed"))
    return QuotaExceeded(
        detail,
        number_or_none(document.get("retry_after")),
        limit=limit if isinstance(limit, str) else None,
        current=current if isinstance(current, int) else None,
        allowed=allowed if isinstance(allowed, int) else None,
    )


def number_or_none(value: object) -> float | None:
    """A number of seconds that a header or document gives, if it gives one."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < 1e9 else None
