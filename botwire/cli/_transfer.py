"""``export`` and ``import``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from botwire._errors import BotWireError, InvalidValue
from botwire._names import check_namespace, check_prefix
from botwire.cli import _exit
from botwire.cli._options import Options, command
from botwire.cli._output import note, out_json, plural, safe_json
from botwire.cli._progress import progress

if TYPE_CHECKING:
    from botwire._transfer import Compared, Imported
    from botwire.stores import Store

Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Only this namespace; may be given several times. All, by default."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "export", without=("namespace",))(export)
    command(app, "import", without=("namespace",))(import_)


def _chosen(options: Options, namespaces: list[str] | None) -> tuple[str, ...] | None:
    names = namespaces or ([options.namespace] if options.namespace is not None else [])
    return tuple(check_namespace(name) for name in names) or None


# ------------------------------------------------------------------------------------------- export


def export(
    options: Options,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Where to write; - or nothing: standard output.", show_default=False)] = "-",
    namespaces: Namespaces = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only keys and session ids that start with this.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a file that an interrupted export left.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file, once the new export is complete.")] = False,
) -> int:
    """Write everything as JSON Lines: entries with versions, times and expiry, sessions with their messages.

    Needs little memory however much there is. `botwire import` puts it back without loss, into any store.

        botwire export backup.jsonl
        botwire export backup.jsonl --resume        after an interruption
        botwire export -n default --prefix user: | gzip > users.jsonl.gz
        botwire export | botwire import - --url http://other-host:8377
    """
    from botwire._transfer import export_store

    chosen, prefix = _chosen(options, namespaces), check_prefix(prefix)
    if resume and (force or file == "-"):
        raise typer.BadParameter("--resume goes with a file, and without --force")
    store = options.store()
    with _target(file, resume, force) as target:
        wanted = sys.stderr.isatty() and not (file == "-" and sys.stdout.isatty())  # a bar amid the lines helps nobody
        total = _count(store, chosen, prefix) if wanted else None
        with progress("exporting", total, in_bytes=False, wanted=wanted) as step:
            done = export_store(store, target, namespaces=chosen, prefix=prefix, resume=resume, on_line=lambda _: step(1))
    counts = {"entries": done.entries, "sessions": done.sessions, "messages": done.messages}
    if options.json and file != "-":
        out_json({"file": file, **counts})
    elif not options.json:
        note(f"{f'{file} was complete already:' if done.already else f'exported from {store.url}:'} {_counts_text(counts)}")
    return _exit.OK


@contextmanager
def _target(file: str, resume: bool, force: bool) -> Generator[BinaryIO]:
    """The file to write to; it is for its owner alone, since memory is private."""
    if file == "-":
        yield cast("BinaryIO", _Escaping(sys.stdout.buffer)) if sys.stdout.isatty() else sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    there = os.path.lexists(file)
    if there and not resume and not force:
        raise InvalidValue(f"{file} is there already; --resume goes on with it, --force replaces it")
    path = Path(f"{file}.part" if there and force else file)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | (os.O_TRUNC if force else 0)
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as target:
        try:
            yield target
        except BaseException:
            target.flush()
            _tell_of_rest(path, Path(file))
            raise
        target.flush()
        os.fsync(target.fileno())
    if path != Path(file):
        path.replace(file)


def _tell_of_rest(path: Path, file: Path) -> None:
    if path != file:
        path.unlink(missing_ok=True)
        note(f"botwire: the export is not complete; {file} was left as it was")
    elif path.stat().st_size == 0:
        path.unlink()
    else:
        note(f"botwire: the export is not complete; go on with: botwire export {file} --resume")


class _Escaping:
    """Standard output that is a terminal: nothing in a stored text may act on it. The JSON stays equal."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, raw: bytes) -> None:
        self._stream.write(safe_json(raw.decode()).encode())

    def flush(self) -> None:
        self._stream.flush()


def _count(store: Store, chosen: tuple[str, ...] | None, prefix: str) -> int:
    """About how many lines there will be."""
    from botwire.cli._figures import iter_logs, iter_namespaces

    total = 0
    for namespace in iter_namespaces(store) if chosen is None else chosen:
        total += store.count(namespace, prefix)
        total += sum(1 + log.count for log in iter_logs(store, namespace) if log.session.startswith(prefix))
    return total


def _counts_text(counts: dict[str, int]) -> str:
    kinds = (plural(counts["entries"], "entry", "entries"), plural(counts["sessions"], "session"), plural(counts["messages"], "message"))
    return ", ".join(kinds)


# ------------------------------------------------------------------------------------------- import


def import_(
    options: Options,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="An export; - for standard input.", show_default=False)],
    namespaces: Namespaces = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave entries and sessions as they are that are there already.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Pass over lines that cannot be read or stored, and count them.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Afterwards compare the store with the file.")] = False,
) -> int:
    """Put an export back: exactly, with versions, times, expiry and sessions. Into any store.

    What the file holds takes the place of what the store has under the same key or session; the rest stays.
    After an interruption simply run it again. Exits with 1 if the file is incomplete or was changed, or if lines were skipped.

        botwire import backup.jsonl --verify
        botwire import backup.jsonl --url http://other-host:8377
        gunzip -c users.jsonl.gz | botwire import - --keep
    """
    from botwire._transfer import import_store

    chosen = _chosen(options, namespaces)
    if verify and (file == "-" or keep):
        raise typer.BadParameter("--verify reads the file again and compares all of it: give a file, and not --keep")
    store = options.store()
    try:
        with _reading("importing", file) as (lines, step):
            done = import_store(store, lines, namespaces=chosen, keep=keep, skip_bad=skip_bad, on_line=step)
    except (BotWireError, KeyboardInterrupt):
        note("botwire: the import is not complete; once the cause is gone, it can simply be run again")
        raise
    compared = _verify(store, file, chosen) if verify else None
    (_print_json if options.json else _print_import)(done, compared, store.url)
    return _exit.OK if done.ok and (compared is None or not compared.different) else _exit.PROBLEM


def _verify(store: Store, file: str, chosen: tuple[str, ...] | None) -> Compared:
    from botwire._transfer import compare_store

    with _reading("comparing", file) as (lines, step):
        return compare_store(store, lines, namespaces=chosen, on_line=step)


@contextmanager
def _reading(what: str, file: str) -> Generator[tuple[BinaryIO, Callable[[int], None]]]:
    if file == "-":
        with progress(what, None, in_bytes=True) as step:
            yield sys.stdin.buffer, step
        return
    path = Path(file)
    with path.open("rb") as lines, progress(what, path.stat().st_size, in_bytes=True) as step:
        yield lines, step


def _print_json(done: Imported, compared: Compared | None, where: str) -> None:
    record: dict[str, Any] = {"store": where, "ok": done.ok}
    for name in ("entries", "sessions", "messages", "expired", "kept", "bad", "bad_lines", "problems"):
        record[name] = getattr(done, name)
    if compared is not None:
        record["ok"] = done.ok and not compared.different
        record["verify"] = {name: getattr(compared, name) for name in ("compared", "expired", "different", "differences")}
    out_json(record)


def _print_import(done: Imported, compared: Compared | None, where: str) -> None:
    note(f"imported {_counts_text({'entries': done.entries, 'sessions': done.sessions, 'messages': done.messages})} into {where}")
    if done.expired:
        note(f"left out as expired: {done.expired:,}")
    if done.kept:
        note(f"left as they were: {done.kept:,}")
    for message in done.bad_lines:
        note(f"skipped: {message}")
    if done.bad > len(done.bad_lines):
        note(f"skipped: {done.bad - len(done.bad_lines):,} more")
    for problem in done.problems:
        note(f"botwire: {problem}")
    if compared is not None:
        _print_comparison(compared)


def _print_comparison(compared: Compared) -> None:
    for difference in compared.differences:
        note(f"different: {difference}")
    if compared.different > len(compared.differences):
        note(f"different: {compared.different - len(compared.differences):,} more")
    same = compared.compared - compared.different
    note(f"verified: {same:,} of {compared.compared:,} are as in the file")
