"""A server put into the text of a client's settings: all else stays as it is, comments, order and spaces too.

The text is changed at one place, never parsed and printed anew. What comes of it is read again: it must say what the
old text said, and the server besides. If it does not, it is not used.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, NamedTuple, cast

from botwire._errors import BotWireError
from botwire.cli import _exit

_JSONC = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_raw_decode = json.JSONDecoder().raw_decode
_space = re.compile(r"\s*").match
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)


class Refused(BotWireError):
    """A file that is left as it is, since it cannot be changed without a risk to what is in it."""

    code = "config_refused"

    def __init__(self, message: str, status: int = _exit.UNREADABLE) -> None:
        super().__init__(message)
        self.status = status


def merged(text: str, form: str, key: str, name: str, entry: dict[str, Any], *, replace: bool) -> str:
    """The text with the server in it; the same text if it is there already.

    Args:
        text: of the file; empty for a new one.
        form: ``json`` (comments and trailing commas are no obstacle) or ``toml``.
        key: under which member or table servers stand.
        name: the server's.
        entry: what the client is to know of it.
        replace: whether another server of that name gives way; what it has besides the members of ``entry`` stays.

    Raises:
        Refused: if the text cannot be read, or changed safely; or holds another server of that name.
    """
    before = read_settings(text, form)
    servers = _object(before.get(key, {}))
    if servers is None:
        raise Refused(f"{key!r} is not a table of servers there")
    old = servers.get(name)
    if _holds(old, entry):
        return text
    if old is not None and not replace:
        raise Refused(f"a server {name!r} is there already, and differs; --replace changes it, --name adds another", _exit.CONFLICT)
    wanted = {**(_object(old) or {}), **entry}
    newline = "\r\n" if "\r\n" in text else "\n"
    put = _put_json if form == "json" else _put_toml
    after = put(text, key, name, wanted, old is not None).replace("\r\n", "\n").replace("\n", newline)
    if read_settings(after, form) != {**before, key: {**servers, name: wanted}}:
        raise Refused("it is written in a way that cannot be changed without rewriting it; add the server by hand")
    return after


def _object(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _holds(old: Any, entry: dict[str, Any]) -> bool:
    known = _object(old)
    return known is not None and {name: known.get(name) for name in entry} == entry


def read_settings(text: str, form: str) -> dict[str, Any]:
    try:
        value = tomllib.loads(text) if form == "toml" else json.loads(_plain(text)) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise Refused(f"it cannot be read: {error}") from error
    settings = _object(value)
    if settings is None:
        raise Refused("it holds no object")
    return settings


# --------------------------------------------------------------------------------------------- JSON


def _plain(text: str) -> str:
    """JSON of the same length: comments, trailing commas and a byte order mark are blanks."""
    without = _JSONC.sub(lambda found: found[0] if found[0].startswith('"') else re.sub(r"[^\n]", " ", found[0]), text)
    parts = re.split(r'("(?:[^"\\\n]|\\.)*")', without)
    for index in range(0, len(parts), 2):  # between strings; a comma before the string that follows is not trailing
        parts[index] = _TRAILING_COMMA.sub(" ", parts[index])
    return "".join(parts).replace("\ufeff", " ", 1)


class _Member(NamedTuple):
    name: str
    start: int
    value: int
    end: int


def _members(plain: str, brace: int) -> list[_Member]:
    """The members of the object that begins at ``brace``, and where each lies."""
    members: list[_Member] = []
    at = _after_space(plain, brace + 1)
    while plain[at] != "}":
        name, end = _raw_decode(plain, at)
        value = _after_space(plain, _after_space(plain, end) + 1)
        _, after = _raw_decode(plain, value)
        members.append(_Member(str(name), at, value, after))
        at = _after_space(plain, after)
        if plain[at] == ",":
            at = _after_space(plain, at + 1)
    return members


def _after_space(plain: str, at: int) -> int:
    found = _space(plain, at)
    return at if found is None else found.end()


def _put_json(text: str, key: str, name: str, entry: dict[str, Any], present: bool) -> str:
    if not text.strip("\ufeff \t\r\n"):
        return json.dumps({key: {name: entry}}, indent=2, ensure_ascii=False) + "\n"
    text = text.replace("\r\n", "\n")
    plain = _plain(text)
    root = plain.index("{")
    servers = [member for member in _members(plain, root) if member.name == key]
    if not servers:
        return _insert(text, plain, root, key, {name: entry})
    if not present:
        return _insert(text, plain, servers[-1].value, name, entry)
    member = [one for one in _members(plain, servers[-1].value) if one.name == name][-1]
    indent = _indent_at(text, member.start)
    return text[: member.value] + _dumped(entry, indent, _unit(text)) + text[member.end :]


def _insert(text: str, plain: str, brace: int, name: str, value: dict[str, Any]) -> str:
    """A member more, behind those there are, indented as they are."""
    members, unit = _members(plain, brace), _unit(text)
    indent = _indent_at(text, members[0].start) if members and "\n" in text[brace : members[0].start] else _indent_at(text, brace) + unit
    written = f"\n{indent}{json.dumps(name, ensure_ascii=False)}: {_dumped(value, indent, unit)}"
    if not members:
        close = _after_space(plain, brace + 1)
        outer = _indent_at(text, brace)
        kept = text[brace + 1 : close].rstrip()  # a comment
        return f"{text[: brace + 1]}{kept}{written}\n{outer}{text[close:]}"
    end = members[-1].end
    comma = _after_space(text, end)
    behind = comma + 1 if text[comma : comma + 1] == "," else end  # a trailing comma is allowed in some files
    line_end = text.find("\n", behind)
    at = line_end if line_end >= 0 and not plain[behind:line_end].strip() else behind  # a comment stays with what it is about
    tail = text[at:] if "\n" in text[at : _after_space(plain, at)] else "\n" + _indent_at(text, brace) + text[at:].lstrip()
    return f"{text[:end]},{text[behind:at]}{written}{tail}"


def _dumped(value: dict[str, Any], indent: str, unit: str) -> str:
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", f"\n{indent}")


def _indent_at(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


def _unit(text: str) -> str:
    found = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    return found[1] if found else "  "


# --------------------------------------------------------------------------------------------- TOML


def _put_toml(text: str, key: str, name: str, entry: dict[str, Any], present: bool) -> str:
    text = text.replace("\r\n", "\n")
    quoted = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    simple = {member: value for member, value in entry.items() if not isinstance(value, dict)}  # tables have headers of their own
    lines = [f"{member} = {_toml(value)}" for member, value in simple.items()]
    table = "\n".join([f"[{key}.{quoted}]", *lines]) + "\n"
    if present:
        header = re.search(rf"^[ \t]*\[\s*{re.escape(key)}\s*\.\s*(?:{re.escape(name)}|\"{re.escape(name)}\")\s*\].*$", text, re.MULTILINE)
        if header is None:
            raise Refused("the server is written there in a way that cannot be changed without rewriting it; change it by hand")
        following = _HEADER.search(text, header.end())
        rest = text[following.start() :] if following else ""
        return text[: header.start()] + table + ("\n" if rest else "") + rest
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return text + gap + table


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in cast('list[Any]', value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's too
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise Refused(f"a value of the server there, {value!r:.40}, cannot be written back; change it by hand")
