"""``backup``, ``restore``, ``vacuum``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botwire._errors import InvalidValue, Unsupported
from botwire.cli import _exit
from botwire.cli._figures import file_of
from botwire.cli._options import Options, command
from botwire.cli._output import note, out_json, plural, size_text
from botwire.stores._open import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from botwire.stores import Store
    from botwire.stores._keeping import Copied

File = Annotated[str, typer.Argument(metavar="FILE", help="The backup.", show_default=False)]
_OTHERS = {
    "postgresql": "PostgreSQL has backups of its own: pg_dump, or pg_basebackup with its log archived",
    "postgres": "PostgreSQL has backups of its own: pg_dump, or pg_basebackup with its log archived",
    "redis": "Redis has backups of its own: copies of its RDB and AOF files",
    "rediss": "Redis has backups of its own: copies of its RDB and AOF files",
}
_READS_ANY = "`botwire export` reads any store, though not all of it at one moment"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "backup", without=("namespace",))(backup)
    command(app, "restore", without=("namespace",))(restore)
    command(app, "vacuum", without=("namespace",))(vacuum)


# ------------------------------------------------------------------------------------------- backup


def backup(
    options: Options,
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Replace the file, once the new backup is complete.")] = False,
) -> int:
    """Copy the whole store, as it is at one moment, while others write to it. The copy is verified.

    Of a server the copy comes over HTTP; where it has tokens, it needs one with the scope admin.

        botwire backup memory-2026-11-22.db
        botwire backup memory.db --force --url http://127.0.0.1:8377
    """
    store, target, began = options.store(), Path(file), monotonic()
    own: Callable[[str], Any] | None = getattr(store, "backup", None)
    if own is None:
        raise Unsupported(f"{_OTHERS.get(_scheme(store), 'this store has no backup')}; {_READS_ANY}")
    _refuse_existing(target, force)
    part = target.with_name(f"{target.name}.part-{secrets.token_hex(4)}")
    try:
        own(str(part))
        counts = _verified(part)
        _publish(part, target, force)
    finally:
        part.unlink(missing_ok=True)
    size = target.stat().st_size
    if options.json:
        out_json({"file": file, "store": store.url, "bytes": size, **counts._asdict()})
    else:
        note(f"backed up {store.url} to {file}: {_text(counts)}; {size_text(size)}, verified, in {monotonic() - began:.1f} s")
    return _exit.OK


def _scheme(store: Store) -> str:
    return store.url.partition(":")[0].partition("+")[0]


def _verified(part: Path) -> Copied:
    from botwire.stores.sqlite.copies import verify  # late: SQLite is loaded where it is used

    return verify(str(part))


def _refuse_existing(target: Path, force: bool) -> None:
    if os.path.lexists(target) and not force:
        raise InvalidValue(f"{target} is there already; --force replaces it")


def _publish(part: Path, target: Path, force: bool) -> None:
    """Give the backup its name. Without ``force`` nothing that came there meanwhile is replaced."""
    if force:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)
    except FileExistsError:
        _refuse_existing(target, force)
        raise
    except OSError:  # a file system without links
        _refuse_existing(target, force)
        part.replace(target)


def _text(counts: Copied) -> str:
    kinds = (plural(counts.entries, "entry", "entries"), plural(counts.sessions, "session"), plural(counts.messages, "message"))
    return ", ".join(kinds)


# ------------------------------------------------------------------------------------------ restore


def restore(
    options: Options,
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Replace the store that is there. Its file is kept under another name.")] = False,
) -> int:
    """Make a backup the store. It is verified first; a store that is there is replaced with --force alone, and kept beside.

    Processes that use the store find the backup at their next call. For a server, run this where its file lies.

        botwire restore memory-2026-11-22.db --url sqlite:///srv/memory.db
        botwire restore memory-2026-11-22.db --force
    """
    store = options.store()
    path = _file_of(store, "restore", "a backup is restored where the file lies; `botwire import` writes to any store")
    from botwire.stores.sqlite.copies import restore as run

    counts, kept = run(path, file, force=force, timeout=DEFAULT_TIMEOUT if options.timeout is None else options.timeout)
    if options.json:
        out_json({"store": store.url, "kept": kept, **counts._asdict()})
        return _exit.OK
    note(f"restored {file} to {store.url}: {_text(counts)}")
    if kept is not None:
        note(f"the former file is kept as {kept}")
    return _exit.OK


def _file_of(store: Store, what: str, advice: str) -> str:
    path = file_of(store)
    if path is None:
        raise Unsupported(f"{store.url} is no file of this machine, so there is nothing to {what} here: {advice}")
    return path


# ------------------------------------------------------------------------------------------- vacuum


def vacuum(
    options: Options,
    full: Annotated[
        bool, typer.Option("--full", help="Write the file anew without gaps. Others wait to write meanwhile; needs as much space again.")
    ] = False,
) -> int:
    """Give space that deleted data took back to the file system, while others read and write.

    botwire vacuum
    botwire vacuum --full
    """
    store: Any = options.store()
    _file_of(store, "vacuum", "run it where the file lies; other databases give space back by themselves")
    freed = store.vacuum(full=full)
    if options.json:
        out_json({"store": store.url, "bytes_before": freed.before, "bytes_after": freed.after})
    else:
        note(f"{store.url}: {size_text(freed.before)} before, {size_text(freed.after)} now")
    return _exit.OK
