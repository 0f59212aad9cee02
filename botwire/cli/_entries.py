"""``get``, ``set``, ``delete``, ``keys``."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any, cast

import typer

from botwire._codec import parse
from botwire._errors import InvalidValue
from botwire._names import check_name
from botwire._records import decode_value, to_datetime
from botwire._wire import check_readable, entry_to_json
from botwire.cli import _exit
from botwire.cli._options import Options, command
from botwire.cli._output import (
    Column,
    complain,
    moment_text,
    note,
    out,
    out_json,
    out_table,
    plural,
    safe,
    safe_json,
    safe_line,
    size_text,
    stdout_is_terminal,
    until_text,
)
from botwire.stores._protocol import EntryRow

_ON_TERMINAL = 100_000  # characters of one value that are shown to people
_NEGATIVE = re.compile(r"-(\d|\.\d|Infinity)").match
_PAGE = 256

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key: any text of 1 to 512 bytes.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "get")(get)
    command(app, "set", context_settings={"ignore_unknown_options": True})(set_)
    command(app, "delete")(delete)
    command(app, "keys")(keys)


# ---------------------------------------------------------------------------------------------- get


def get(
    options: Options,
    key: Key,
    default: Annotated[
        str | None, typer.Option("--default", metavar="TEXT", help="Print this if there is no such key, and exit with 0.")
    ] = None,
) -> int:
    """Print the value under a key. Exits with 1 if there is none.

    Text is printed as it is, any other value as JSON. With --json the whole entry is printed, and text is told from JSON.

        botwire get plan
        botwire get plan --json | jq .version
        botwire get count --default 0
    """
    row = options.memory().store.get(options.name, check_name(key, "key"))
    if row is None and default is None:
        complain(f"no key {key!r} in namespace {options.name!r}", "not_found", as_json=options.json)
        return _exit.PROBLEM
    if row is None:
        out(str(default))
    elif options.json:
        check_readable(row.value, f"the value of {key!r} in namespace {options.name!r}")
        out(safe_json(f'{{"namespace":{_quote(options.name)},{entry_to_json(row, as_text=False)}}}'))
    elif stdout_is_terminal():
        _show_value(row, options.name)
    else:
        value = decode_value(row.value, options.name, key)
        out(value if isinstance(value, str) else row.value)
    return _exit.OK


def _quote(text: str) -> str:
    from botwire._jsontext import quote

    return quote(text)


def _show_value(row: EntryRow, namespace: str) -> None:
    """For people: JSON over several lines, and nothing that acts on the terminal."""
    value = decode_value(row.value, namespace, row.key)
    text = value if isinstance(value, str) else _indented(value, row.value)
    if len(text) > _ON_TERMINAL:
        out(safe(text[:_ON_TERMINAL]))
        note(f"botwire: cut here for display; {plural(len(text) - _ON_TERMINAL, 'more character')}. `botwire get ... > file` has them all")
    else:
        out(safe(text))


def _indented(value: Any, text: str) -> str:
    import json

    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except ValueError:  # an integer of more digits than Python prints by default
        return text


# ---------------------------------------------------------------------------------------------- set


def set_(
    options: Options,
    key: Key,
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE|-", help="The value; - or nothing: from standard input.", show_default=False)
    ] = None,
    as_text: Annotated[bool, typer.Option("--text", help="Store it as text, even if it looks like JSON.")] = False,
    as_json_value: Annotated[bool, typer.Option("--json-value", help="Refuse it unless it is JSON.")] = False,
    ttl: Annotated[float | None, typer.Option("--ttl", metavar="SECONDS", help="Let it expire after so many seconds.")] = None,
    if_version: Annotated[
        int | None, typer.Option("--if-version", metavar="N", help="Only if the entry is at this version; 0: only if there is none.")
    ] = None,
) -> int:
    """Store a value under a key. It is durable when the command returns.

    The value is JSON if it parses as JSON, otherwise text. Of standard input, one line end at the very end is left out.

        botwire set plan '{"step": 1}'
        botwire set name Alice
        botwire set zip 01234 --text
        curl -s https://example.com/a.json | botwire set page --ttl 3600
        botwire set plan '{"step": 2}' --if-version 1       else exits with 3
    """
    if as_text and as_json_value:
        raise typer.BadParameter("--text and --json-value exclude each other")
    for given in (key, value):
        if given is not None and given.startswith("-") and len(given) > 1 and not _NEGATIVE(given) and "--" not in sys.argv:
            raise typer.BadParameter(f"no such option: {given} (if it is the key or value itself, put -- before it)")
    text = _standard_input() if value is None or value == "-" else _argument(value)
    stored = text if as_text else _parsed(text, strict=as_json_value)
    version = options.memory().set(key, stored, ttl=ttl, if_version=if_version)
    if options.json:
        out_json({"namespace": options.name, "key": key, "version": version})
    elif sys.stderr.isatty():
        note(f"stored {_kind(stored)} under {key!r} in namespace {options.name!r}, version {version}")
    return _exit.OK


def _argument(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:  # Python turns bytes that are no text into surrogates
        raise InvalidValue(f"the value is not UTF-8 text (character {error.start}); encode it, with base64 for example") from error
    return value


def _standard_input() -> str:
    if sys.stdin.isatty():
        note("botwire: reading the value from standard input; end it with Ctrl-D")
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidValue(f"standard input is not UTF-8 text (byte {error.start}); encode it, with base64 for example") from error
    return text.removesuffix("\n").removesuffix("\r")


def _parsed(text: str, *, strict: bool) -> Any:
    try:
        return parse(text, "the value")
    except InvalidValue:
        if strict:
            raise
        return text


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return f"text of {plural(len(value), 'character')}"
    kind: type = type(cast("object", value))
    return {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}.get(kind, "a number")


# ------------------------------------------------------------------------------------------- delete


def delete(
    options: Options,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY...", help="The keys to delete.", show_default=False)] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", metavar="TEXT", help="Delete every key that starts with this.")] = None,
    if_version: Annotated[int | None, typer.Option("--if-version", metavar="N", help="Only if the entry is at this version.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting by prefix.")] = False,
) -> int:
    """Delete keys.

    Exits with 1 if one of them was not there. Sessions stay.

        botwire delete plan name
        botwire delete --prefix 'cache:' --yes
        botwire delete plan --if-version 3
    """
    if bool(keys) == (prefix is not None):
        raise typer.BadParameter("give keys, or --prefix")
    if prefix is not None:
        return _delete_prefix(options, prefix, yes)
    names = list(dict.fromkeys(keys or []))
    if if_version is not None and len(names) > 1:
        raise typer.BadParameter("--if-version goes with one key")
    memory = options.memory()
    deleted = int(memory.delete(names[0], if_version=if_version)) if len(names) == 1 else memory.delete_many(names)
    if options.json:
        out_json({"namespace": options.name, "deleted": deleted, "missing": len(names) - deleted})
    elif deleted < len(names):
        note(f"botwire: {plural(len(names) - deleted, 'key was', 'keys were')} not there in namespace {options.name!r}")
    return _exit.OK if deleted == len(names) else _exit.PROBLEM


def _delete_prefix(options: Options, prefix: str, yes: bool) -> int:
    memory = options.memory()
    if not yes:
        count = memory.count(prefix)
        what = "ALL keys" if not prefix else f"every key that starts with {prefix!r}"
        if not sys.stdin.isatty():
            raise typer.BadParameter(f"this would delete {what} ({count:,}) in namespace {options.name!r}; say --yes to do it")
        if count and not typer.confirm(safe_line(f"Delete {what} ({count:,}) in namespace {options.name!r}?"), err=True):
            note("botwire: nothing was deleted")
            return _exit.PROBLEM
    deleted = memory.clear(prefix)
    if options.json:
        out_json({"namespace": options.name, "deleted": deleted, "missing": 0})
    else:
        note(f"deleted {plural(deleted, 'key')} in namespace {options.name!r}")
    return _exit.OK


# --------------------------------------------------------------------------------------------- keys

_COLUMNS = (Column("KEY", fold=True), Column("VERSION", right=True), Column("SIZE", right=True), Column("UPDATED (UTC)"), Column("EXPIRES"))


def keys(
    options: Options,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="Only keys that start with this; * stands for any text.", show_default=False)
    ] = "",
    long: Annotated[bool, typer.Option("--long", "-l", help="With version, size, and times.")] = False,
) -> int:
    """List keys.

    One a line, in order of their code points. Keys hold no line breaks.

        botwire keys
        botwire keys user: --long
        botwire keys 'user:*:name'
        botwire keys --json | jq -r '.keys[]'
    """
    from botwire._entry_plans import split_glob

    literal, pattern = split_glob(prefix)
    if long:
        return _keys_long(options, literal, pattern)
    found = (key for key in options.memory().iter_keys(literal) if pattern is None or pattern.fullmatch(key))
    if not options.json:
        for key in found:
            out(safe_line(key))
        return _exit.OK
    _json_list(options, "keys", (_quote(key) for key in found))
    return _exit.OK


def _json_list(options: Options, name: str, items: Any) -> None:
    """One JSON document, printed as its items come."""
    out(f'{{"namespace":{_quote(options.name)},"{name}":[', end="")
    for index, item in enumerate(items):
        out(("," if index else "") + safe_json(item), end="")
    out("]}")


def _keys_long(options: Options, literal: str, pattern: re.Pattern[str] | None) -> int:
    rows = (row for row in _rows(options, literal) if pattern is None or pattern.fullmatch(row.key))
    if options.json:
        _json_list(options, "entries", map(_long_json, rows))
    else:
        out_table(_COLUMNS, map(_long_cells, rows))
    return _exit.OK


def _rows(options: Options, prefix: str) -> Any:
    store, after = options.store(), None
    while page := store.scan(options.name, prefix, after, _PAGE):
        yield from page
        after = page[-1].key


def _size(row: EntryRow) -> int:
    return len(row.value.encode("utf-8", "surrogatepass"))


def _long_json(row: EntryRow) -> str:
    without_value = entry_to_json(row._replace(value="null"), as_text=False).replace('"value":null,', f'"bytes":{_size(row)},', 1)
    return "{" + without_value + "}"


def _long_cells(row: EntryRow) -> tuple[str, ...]:
    expires = None if row.expires_at is None else to_datetime(row.expires_at)
    return row.key, str(row.version), size_text(_size(row)), moment_text(to_datetime(row.updated_at))[:16], until_text(expires)
