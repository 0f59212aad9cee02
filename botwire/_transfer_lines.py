"""The lines of an export, to text and back, without I/O.

An export is JSON Lines in UTF-8. Each line is an object on its own and says all that it needs, so that one bad line spoils
only itself and a part can be picked out with grep or jq:

    {"type":"header","format":1,"botwire":"1.0.0","created_at":"...","source":"sqlite:///...","namespaces":null,"prefix":""}
    {"type":"entry","namespace":"default","key":"plan","version":3,"created_at":"...","updated_at":"...","expires_at":null,"value":{"a":1}}
    {"type":"session","namespace":"default","session":"user-42","agent":"","epoch":"1f2e","head":7,"ttl":null,...,"metadata":{}}
    {"type":"message","namespace":"default","session":"user-42","agent":"","epoch":"1f2e","seq":7,"created_at":"...","body":{...}}
    {"type":"end","entries":1,"sessions":1,"messages":1,"sha256":"..."}

Values are JSON texts already and are put in as they are, neither parsed nor written anew: ``1e5`` stays ``1e5``, an integer
of a million digits keeps every one, an escaped lone surrogate stays escaped. Reading cuts the same text out again. So an
export is both readable and exact. The rare text that could not stand in a line (JSON over several lines, space around it,
or what is not JSON, because it is damaged) goes into a string instead, under the same name with ``_text`` added.

Messages follow their session's line. A session's line may come again: the export was continued there, or the session was
cleared meanwhile and began a new epoch, which replaces what came before. The last line has the number of lines of each
kind (of sessions: how many) and the SHA-256 of all bytes before it, so that a missing end or a changed line is noticed.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, TypeAlias, cast

from botwire._errors import InvalidValue, StoreIncompatible
from botwire._jsontext import check_text, decode_utf8, encode_utf8, members, quote
from botwire._names import check_count, check_name, check_namespace
from botwire._version import __version__
from botwire._wire import time_from_iso, time_to_iso, ttl_from_seconds, ttl_to_seconds
from botwire.stores._protocol import EntryRow, LogInfo, LogRow

FORMAT = 1
"""The number of this format. It grows when an older botwire could no longer read it."""


class Header(NamedTuple):
    """The first line: what was asked for, of which store."""

    source: str
    namespaces: tuple[str, ...] | None  # None: all
    prefix: str


class EntryLine(NamedTuple):
    """One entry."""

    namespace: str
    row: EntryRow


class SessionLine(NamedTuple):
    """A session's state, before its messages."""

    namespace: str
    info: LogInfo

    @property
    def name(self) -> tuple[str, str, str]:
        """What tells it from other sessions."""
        return self.namespace, self.info.session, self.info.agent


class MessageLine(NamedTuple):
    """One message of the session whose line came before."""

    namespace: str
    session: str
    agent: str
    epoch: str
    row: LogRow


class EndLine(NamedTuple):
    """The last line: how much came before, and its checksum."""

    entries: int
    sessions: int
    messages: int
    sha256: str


Line: TypeAlias = Header | EntryLine | SessionLine | MessageLine | EndLine

# ------------------------------------------------------------------------------------------ to lines


def header_line(header: Header, now: int) -> bytes:
    """The first line; ``now`` in microseconds."""
    record = {
        "type": "header",
        "format": FORMAT,
        "botwire": __version__,
        "created_at": time_to_iso(now),
        "source": header.source,
        "namespaces": None if header.namespaces is None else list(header.namespaces),
        "prefix": header.prefix,
    }
    return encode_utf8(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")


def entry_line(namespace: str, row: EntryRow) -> bytes:
    """The line of one entry."""
    return encode_utf8(
        f'{{"type":"entry","namespace":{quote(namespace)},"key":{quote(row.key)},"version":{row.version},'
        f'"created_at":"{time_to_iso(row.created_at)}","updated_at":"{time_to_iso(row.updated_at)}",'
        f'"expires_at":{_time(row.expires_at)},{_text("value", row.value)}}}\n'
    )


def session_line(namespace: str, info: LogInfo) -> bytes:
    """The line of a session's state. How many messages there are, the lines after it say."""
    ttl = "null" if info.ttl is None else repr(ttl_to_seconds(info.ttl))
    return encode_utf8(
        f'{{"type":"session",{_session(namespace, info.session, info.agent, info.epoch)},"head":{info.head},"ttl":{ttl},'
        f'"created_at":"{time_to_iso(info.created_at)}","updated_at":"{time_to_iso(info.updated_at)}",'
        f'"expires_at":{_time(info.expires_at)},{_text("metadata", info.metadata)}}}\n'
    )


def message_line(namespace: str, info: LogInfo, row: LogRow) -> bytes:
    """The line of one message."""
    return encode_utf8(
        f'{{"type":"message",{_session(namespace, info.session, info.agent, info.epoch)},"seq":{row.seq},'
        f'"created_at":"{time_to_iso(row.created_at)}",{_text("body", row.body)}}}\n'
    )


def end_line(end: EndLine) -> bytes:
    """The last line."""
    return encode_utf8(json.dumps({"type": "end", **end._asdict()}, separators=(",", ":")) + "\n")


def _session(namespace: str, session: str, agent: str, epoch: str) -> str:
    return f'"namespace":{quote(namespace)},"session":{quote(session)},"agent":{quote(agent)},"epoch":{quote(epoch)}'


def _time(microseconds: int | None) -> str:
    return "null" if microseconds is None else f'"{time_to_iso(microseconds)}"'


def _text(name: str, text: str) -> str:
    return f'"{name}":{text}' if _fits(text) else f'"{name}_text":{quote(text)}'


def _fits(text: str) -> bool:
    """Whether a stored text can stand in a line and be cut out of it again."""
    if "\n" in text or "\r" in text or text != text.strip():
        return False
    try:
        check_text(text, "value")
    except InvalidValue:
        return False
    return True


# ---------------------------------------------------------------------------------------- from lines


def parse_line(raw: bytes) -> Line:
    """What a line says.

    Raises:
        InvalidValue, InvalidName: if it says nothing that an export can say.
        StoreIncompatible: if it is the header of a newer format.
    """
    found = members(decode_utf8(raw, "the line"), "the line")
    kind = _plain(found, "type")
    parse = _PARSE.get(kind) if isinstance(kind, str) else None
    if parse is None:
        raise InvalidValue(f"unknown type {kind!r:.60}; known are {', '.join(_PARSE)}")
    return parse(found)


def _parse_header(found: dict[str, str]) -> Header:
    version = check_count(_plain(found, "format"), "format", 1)
    if version > FORMAT:
        raise StoreIncompatible(
            f"this export has format {version}, written by botwire {_plain(found, 'botwire')!r:.40}; "
            f"botwire {__version__} reads up to format {FORMAT}: upgrade botwire to import it"
        )
    namespaces = _plain(found, "namespaces")
    if namespaces is not None:
        if not isinstance(namespaces, list):
            raise InvalidValue("namespaces must be null or a list of names")
        namespaces = tuple(check_namespace(name) for name in cast("list[object]", namespaces))
    return Header(_str(found, "source"), namespaces, _str(found, "prefix"))


def _parse_entry(found: dict[str, str]) -> EntryLine:
    row = EntryRow(
        check_name(_plain(found, "key"), "key"),
        _stored(found, "value"),
        check_count(_plain(found, "version"), "version", 1),
        _moment(found, "created_at"),
        _moment(found, "updated_at"),
        _moment_or_none(found, "expires_at"),
    )
    return EntryLine(check_namespace(_plain(found, "namespace")), row)


def _parse_session(found: dict[str, str]) -> SessionLine:
    namespace, session, agent, epoch = _parse_names(found)
    info = LogInfo(
        session,
        agent,
        epoch,
        check_count(_plain(found, "head"), "head"),
        0,
        _moment(found, "created_at"),
        _moment(found, "updated_at"),
        ttl_from_seconds(_plain(found, "ttl")),
        _moment_or_none(found, "expires_at"),
        _stored(found, "metadata"),
    )
    return SessionLine(namespace, info)


def _parse_message(found: dict[str, str]) -> MessageLine:
    row = LogRow(check_count(_plain(found, "seq"), "seq", 1), _stored(found, "body"), _moment(found, "created_at"))
    return MessageLine(*_parse_names(found), row)


def _parse_end(found: dict[str, str]) -> EndLine:
    entries, sessions, messages = (check_count(_plain(found, kind), kind) for kind in ("entries", "sessions", "messages"))
    return EndLine(entries, sessions, messages, _str(found, "sha256"))


_PARSE = {"header": _parse_header, "entry": _parse_entry, "session": _parse_session, "message": _parse_message, "end": _parse_end}


def _parse_names(found: dict[str, str]) -> tuple[str, str, str, str]:
    agent = _plain(found, "agent")
    return (
        check_namespace(_plain(found, "namespace")),
        check_name(_plain(found, "session"), "session"),
        "" if agent == "" else check_name(agent, "agent"),
        _str(found, "epoch"),
    )


def _plain(found: dict[str, str], name: str) -> Any:
    if name not in found:
        raise InvalidValue(f"the member {name!r} is missing")
    try:
        return json.loads(found[name])
    except (ValueError, RecursionError) as error:  # it is JSON, so this is a number of too many digits
        raise InvalidValue(f"{name} is not a value that it can have") from error


def _str(found: dict[str, str], name: str) -> str:
    text = _plain(found, name)
    if not isinstance(text, str):
        raise InvalidValue(f"{name} must be text, not {type(text).__name__}")
    return text


def _stored(found: dict[str, str], name: str) -> str:
    """The stored text of a member: its own text, or the string that holds it."""
    if name in found:
        return found[name]
    if f"{name}_text" not in found:
        raise InvalidValue(f"the member {name!r} is missing")
    text = _str(found, f"{name}_text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"{name}_text holds a lone surrogate at position {error.start}, which no store can hold") from error
    return text


def _moment(found: dict[str, str], name: str) -> int:
    return time_from_iso(_plain(found, name), name)


def _moment_or_none(found: dict[str, str], name: str) -> int | None:
    return None if found.get(name) == "null" else _moment(found, name)
