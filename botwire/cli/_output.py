"""What the command prints: text that cannot act on the terminal, JSON that stays the same, tables that fit.

Stored text comes from anywhere, a web page that an agent read for instance. Characters that move the cursor, change colours or
turn the direction of writing are shown as escapes. Nothing stored is ever taken as markup.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_ACTING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb"
_acting = re.compile(f"[{_ACTING}]")
_acting_or_break = re.compile(f"[\t\n{_ACTING}]")
_acting_in_json = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb]")

ROWS_AT_A_TIME = 500
"""Rows of one table: its columns are as wide as these need, and they are printed before more are read."""
MOST_IN_CELL = 300
"""Characters of one text in a table; what is cut says so."""


def safe(text: str) -> str:
    """A text of several lines, with what could act on a terminal as visible escapes."""
    return _acting.sub(_escape, text)


def safe_line(text: str) -> str:
    """The same in one line: line breaks and tabs are escapes too."""
    return _acting_or_break.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def safe_json(text: str) -> str:
    """The same for JSON, which stays equal: such characters stand in strings only, and JSON has escapes for them."""
    return _acting_in_json.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut(text: str, most: int = MOST_IN_CELL) -> str:
    """A text cut for display, with a mark that says how much is missing."""
    return text if len(text) <= most else f"{text[:most]}… (+{len(text) - most:,} characters)"


def stdout_is_terminal() -> bool:
    """Whether people read what is printed, rather than a program."""
    return sys.stdout.isatty()


def out(text: str = "", end: str = "\n") -> None:
    """Print to standard output."""
    sys.stdout.write(text + end)


def drop_output() -> None:
    """Send what is still to be printed nowhere: nobody reads it any more, and Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Tell people, on standard error, what is no result."""
    sys.stderr.write(safe(text) + "\n")


def complain(message: str, code: str, *, as_json: bool, **extra: Any) -> None:
    """Say what went wrong, on standard error: one line for people, or a JSON object with a stable ``code``."""
    if as_json:
        sys.stderr.write(safe_json(json.dumps({"error": {"code": code, "message": message, **extra}}, ensure_ascii=False)) + "\n")
    else:
        sys.stderr.write(f"botwire: {safe_line(message)}\n")


def out_json(record: Any) -> None:
    """Print a JSON document."""
    out(safe_json(json.dumps(record, ensure_ascii=False)))


def console() -> Console:
    """A console for styled text, on standard output. Without a terminal, or with NO_COLOR, nothing is styled."""
    from rich.console import Console  # late: most calls do without

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def styled(*parts: str | tuple[str, str]) -> Text:
    """One text of plain parts and (part, style), none of them taken as markup."""
    from rich.text import Text

    return Text.assemble(*parts)


def out_indented(text: str) -> None:
    """Print a text, already made safe, two spaces in; on a terminal its lines are broken between words."""
    if not stdout_is_terminal():
        for line in text.split("\n"):
            out(f"  {line}".rstrip())
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    Console(highlight=False, markup=False, emoji=False).print(Padding(Text(text), (0, 0, 0, 2), expand=False))


# -------------------------------------------------------------------------------------------- tables


class Column(NamedTuple):
    """A column: ``right`` for numbers, ``fold`` for texts that may take several lines rather than be cut."""

    title: str
    right: bool = False
    fold: bool = False


def out_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> int:
    """Print a table as its rows come; returns how many there were. On a terminal it keeps to its width."""
    remaining = iter(rows)
    count = 0
    while page := [[safe_line(cell) for cell in row] for row in islice(remaining, ROWS_AT_A_TIME)]:
        if stdout_is_terminal():
            _out_rich(columns, page)
        else:
            _out_plain(columns, page, header=not count)
        count += len(page)
    return count


def _out_rich(columns: Sequence[Column], page: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        justify = "right" if column.right else "left"
        table.add_column(Text(column.title), justify=justify, overflow="fold", no_wrap=not column.fold)
    for row in page:
        table.add_row(*(Text(cut(cell)) for cell in row))
    Console(highlight=False, markup=False, emoji=False).print(table)


def _out_plain(columns: Sequence[Column], page: list[list[str]], header: bool) -> None:
    """Columns two spaces apart, nothing cut or folded: for a file, a pager or grep."""
    titles = [column.title for column in columns]
    lines = [titles, *page] if header else page
    widths = [max(len(line[index]) for line in [titles, *page]) for index in range(len(columns))]
    for line in lines:
        places = zip(line, widths, columns, strict=True)
        cells = (cell.rjust(width) if column.right else cell.ljust(width) for cell, width, column in places)
        out("  ".join(cells).rstrip())


# ------------------------------------------------------------------------------------------- figures


def size_text(size: int) -> str:
    """A number of bytes for people."""
    if size < 1024:
        return f"{size} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_in_unit = size / 1024 ** (1 + ("KiB", "MiB", "GiB").index(unit))
        if size_in_unit < 1024 or unit == "GiB":
            return f"{size_in_unit:,.1f} {unit}"
    raise AssertionError


def plural(count: int, noun: str, several: str | None = None) -> str:
    """``1 entry``, ``2 entries``."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


def moment_text(moment: datetime) -> str:
    """A time for people, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def until_text(moment: datetime | None) -> str:
    """How long until an expiry, for people."""
    if moment is None:
        return "-"
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if seconds <= 0:
        return "expired"
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"in {seconds / length:.0f} {unit}"
    return f"in {seconds:.0f} s"
