"""``forget``, ``retain``: deleting what is no longer to be kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from botwire._errors import InvalidValue
from botwire._forget import delete_namespace, delete_session, delete_sessions
from botwire._names import check_name, check_prefix
from botwire._retention import apply_rules, read_rules
from botwire.cli import _exit
from botwire.cli._figures import figures_of, iter_logs
from botwire.cli._options import Options, command
from botwire.cli._output import Column, note, out_json, out_table, plural, safe_line
from botwire.stores._keeping import Gone
from botwire.stores._protocol import LogInfo


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "forget")(forget)
    command(app, "retain", without=("namespace",))(retain)


# ------------------------------------------------------------------------------------------- forget


def forget(
    options: Options,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="One session, with its agents' transcripts.")] = None,
    sessions: Annotated[str | None, typer.Option("--sessions", metavar="PREFIX", help="Sessions whose ids start with this.")] = None,
    keys: Annotated[str | None, typer.Option("--keys", metavar="PREFIX", help="Keys that start with this.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="All of the namespace, and what is remembered of its requests.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete for good: a session, sessions or keys by prefix, or a whole namespace. Says how much that was.

    Asks first, unless --yes is given. Exits with 1 if there was nothing.

        botwire forget --session user-42
        botwire forget -n support --sessions user-42: --yes
        botwire forget -n support --keys cache:
        botwire forget -n old-project --everything
    """
    chosen = [one for one in (session, sessions, keys) if one is not None]
    if len(chosen) + everything != 1:
        raise typer.BadParameter("give one of --session, --sessions, --keys and --everything")
    if everything and options.namespace is None:
        raise typer.BadParameter("--everything goes with -n NAME, so that it is clear what is meant")
    what, count, delete = _plan(options, session, sessions, keys)
    if not yes and not _agreed(f"{what} in namespace {options.name!r}", count):
        return _exit.PROBLEM
    gone, entirely = delete()
    if options.json:
        out_json({"namespace": options.name, **gone._asdict(), "entirely": entirely})
    else:
        note(f"deleted in namespace {options.name!r}: {_text(gone)}")
        if not entirely:
            note("what this store remembers of requests and counts of writes goes within a day")
    return _exit.OK if any(gone) else _exit.PROBLEM


_Delete = Callable[[], tuple[Gone, bool]]


def _plan(options: Options, session: str | None, sessions: str | None, keys: str | None) -> tuple[str, Callable[[], Gone], _Delete]:
    """What is to be deleted, in words; how much it is; and how."""
    store, namespace = options.store(), check_name(options.name, "namespace")
    if keys is not None:
        prefix = check_prefix(keys)
        count = store.count
        return f"every key that starts with {prefix!r}", lambda: Gone(count(namespace, prefix)), lambda: (_clear(options, prefix), True)
    if sessions is not None:
        prefix = check_prefix(sessions)
        return (
            f"every session whose id starts with {prefix!r}",
            lambda: _sessions(options, lambda log: log.session.startswith(prefix)),
            lambda: (delete_sessions(store, namespace, prefix), True),
        )
    if session is not None:
        name = check_name(session, "session id")
        return f"session {name!r}", lambda: _sessions(options, lambda log: log.session == name), lambda: (_one(options, name), True)
    figures = figures_of(store, namespace)
    held = Gone(figures.entries, figures.sessions, figures.messages)
    return "EVERYTHING", lambda: held, lambda: delete_namespace(store, namespace)


def _clear(options: Options, prefix: str) -> Gone:
    return Gone(entries=options.memory().clear(prefix))


def _one(options: Options, name: str) -> Gone:
    gone = _sessions(options, lambda log: log.session == name)
    return gone if delete_session(options.store(), options.name, name) else Gone()


def _sessions(options: Options, wanted: Callable[[LogInfo], bool]) -> Gone:
    logs = [(log.session, log.count) for log in iter_logs(options.store(), options.name) if wanted(log)]
    return Gone(0, len({name for name, _ in logs}), sum(count for _, count in logs))


def _agreed(what: str, count: Callable[[], Gone]) -> bool:
    held = count()
    if not any(held):
        note("there is nothing to delete")
        return False
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"this would delete {what} ({_text(held)}); say --yes to do it")
    if not typer.confirm(safe_line(f"Delete {what} ({_text(held)})?"), err=True):
        note("botwire: nothing was deleted")
        return False
    return True


def _text(gone: Gone) -> str:
    kinds = (plural(gone.entries, "entry", "entries"), plural(gone.sessions, "session"), plural(gone.messages, "message"))
    return ", ".join(kinds)


# ------------------------------------------------------------------------------------------- retain

_COLUMNS = (Column("NAMESPACE", fold=True), Column("ENTRIES", right=True), Column("SESSIONS", right=True), Column("MESSAGES", right=True))


def retain(
    options: Options,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="A TOML file with [[retention]] rules.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> int:
    """Apply retention rules now: remove what is older than they say, and nothing that is newer.

    `botwire serve --config FILE` does it by itself.

        botwire retain --config operator.toml --dry-run
        botwire retain --config operator.toml
    """
    retention = read_rules(config)
    if retention is None:
        raise InvalidValue(f"{config} has no [[retention]] rules")
    found = dict(apply_rules(options.store(), retention, dry_run=dry_run))
    if options.json:
        records = [{"namespace": namespace, **gone._asdict()} for namespace, gone in found.items()]
        out_json({"dry_run": dry_run, "removed": records})
        return _exit.OK
    rows = [(namespace, f"{gone.entries:,}", f"{gone.sessions:,}", f"{gone.messages:,}") for namespace, gone in found.items()]
    if out_table(_COLUMNS, rows):
        note("nothing was removed: this was a dry run" if dry_run else "removed")
    else:
        note("nothing is older than the rules allow")
    return _exit.OK
