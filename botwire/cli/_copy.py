"""``copy``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from botwire._errors import BotWireError
from botwire._names import check_name
from botwire.cli import _exit
from botwire.cli._options import Options, command
from botwire.cli._output import note, out_json, plural
from botwire.cli._progress import progress
from botwire.cli._transfer import Namespaces

if TYPE_CHECKING:
    from botwire._copy import Copied
    from botwire.stores import Store


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "copy", without=("namespace", "url"))(copy)


def copy(  # noqa: PLR0913, PLR0917 - the command's options
    options: Options,
    source: Annotated[str, typer.Argument(metavar="SRC", help="The URL of the store to copy.", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="DST", help="The URL of the store to copy it into.", show_default=False)],
    namespaces: Namespaces = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Also delete in DST what SRC does not have.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also put what SRC has over what is newer in DST.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Then go on copying what changes, until Ctrl-C.")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not read both stores once more to compare them.")] = False,
    dst_token: Annotated[
        str | None, typer.Option("--dst-token", metavar="TOKEN", help="For DST, if not that of --token; or BOTWIRE_DST_TOKEN.")
    ] = None,
) -> int:
    """Copy a store into another one, exactly: versions, times, expiry, sessions, sequence numbers. Both may be in use.

    What is equal already is passed over: after an interruption simply run it again. What changes meanwhile is caught up with.
    What is newer in DST stays, and so does what SRC does not have. Exits with 1 if DST is not, or would not be, equal for that reason.

        botwire copy sqlite:// http://other-host:8377
        botwire copy sqlite:///old.db sqlite:///new.db --dry-run
        botwire copy http://old-host:8377 http://new-host:8377 --follow --delete
    """
    from botwire._copy import copy_store, follow_store

    chosen = tuple(check_name(name, "namespace") for name in namespaces or ()) or None
    if follow and dry_run:
        raise typer.BadParameter("--follow goes without --dry-run")
    from_store = _open(options, source, options.token)
    to_store = _open(options, target, dst_token or os.environ.get("BOTWIRE_DST_TOKEN") or options.token)
    how: dict[str, Any] = {"namespaces": chosen, "delete": delete, "overwrite": overwrite}
    try:
        with progress("copying", None, in_bytes=False) as step:
            done = copy_store(from_store, to_store, **how, dry_run=dry_run, verify=not no_verify, on_step=step)
    except (BotWireError, KeyboardInterrupt):
        note("botwire: the copy is not complete; once the cause is gone, run it again: what has arrived is passed over")
        raise
    _tell(options, done, dry_run)
    if follow:
        stop = threading.Event()
        before = signal.signal(signal.SIGTERM, lambda _, __: stop.set())
        note(f"botwire: following {from_store.url}; end it with Ctrl-C")
        try:
            with suppress(KeyboardInterrupt):
                follow_store(from_store, to_store, stop, **how, on_pass=lambda found: _tell(options, found, dry_run=False))
        finally:
            signal.signal(signal.SIGTERM, before)
    return _exit.OK if done.ok else _exit.PROBLEM


def _open(options: Options, url: str, token: str | None) -> Store:
    return Options(url, token, None, options.timeout).store()


def _tell(options: Options, done: Copied, dry_run: bool) -> None:
    if options.json:
        out_json({"ok": done.ok, "dry_run": dry_run, **vars(done)})
        sys.stdout.flush()  # who follows waits for the line, also at the end of a pipe
        return
    verb = "would be copied" if dry_run else "copied"
    kinds = (plural(done.entries, "entry", "entries"), plural(done.sessions, "session"), plural(done.messages, "message"))
    note(f"{verb}: {', '.join(kinds)}; equal already: {done.same:,}")
    if done.deleted:
        note(f"{'would be deleted' if dry_run else 'deleted'}: {done.deleted:,}")
    if done.extra:
        note(f"in the destination alone, and left there: {done.extra:,} (--delete removes them)")
    for name in done.names:
        note(f"botwire: {name}")
    if done.newer:
        note(f"newer in the destination, and left as they are: {done.newer:,} (--overwrite replaces them)")
    if done.compared:
        note(f"verified: {done.compared - done.different - done.behind:,} of {done.compared:,} entries and messages are equal")
    if done.behind:
        note(f"changed since they were copied: {done.behind:,}; the source is being written to (--follow keeps up)")
