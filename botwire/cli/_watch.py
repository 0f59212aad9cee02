"""``watch``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from botwire._codec import encode
from botwire._message import Message
from botwire._names import check_count
from botwire._records import EntryChange, to_us
from botwire._wire import time_to_iso
from botwire.cli import _exit
from botwire.cli._options import Options, command
from botwire.cli._output import console, cut, out, safe_json, safe_line, styled
from botwire.cli._sessions import message_record, show_message

_ANY_SIZE = 1 << 62


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "watch")(watch)


def watch(
    options: Options,
    prefix: Annotated[
        str, typer.Argument(metavar="[PREFIX]", help="Only keys that start with it; a * in it stands for any text.", show_default=False)
    ] = "",
    initial: Annotated[bool, typer.Option("--initial", help="First print what is there already.")] = False,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="Messages of this session instead of entries.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="One agent's own transcript in the session.")] = None,
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=0, help="First print the last so many messages.")] = None,
    after: Annotated[int | None, typer.Option("--after", metavar="SEQ", min=0, help="Begin after this message; 0: with the first.")] = None,
) -> int:
    """Print changes as they happen, whoever makes them, until Ctrl-C: to entries, or with --session to a conversation.

    Several changes of a key in quick succession may be printed as one; of a session every message is printed once.

        botwire watch 'user:*'
        botwire watch --session user-42 --last 10
        botwire watch --json | jq -r .key
    """
    if session is None and (agent is not None or last is not None or after is not None):
        raise typer.BadParameter("--agent, --last and --after go with --session")
    if session is not None and (prefix or initial):
        raise typer.BadParameter("--session goes without a prefix and --initial")
    if last is not None and after is not None:
        raise typer.BadParameter("--last and --after are two ways to say where to begin; give one of them")
    with suppress(KeyboardInterrupt):
        if session is None:
            _watch_entries(options, prefix, initial)
        else:
            _watch_session(options, session, agent, last, after)
    return _exit.OK


def _watch_entries(options: Options, prefix: str, initial: bool) -> None:
    with options.memory().watch(prefix, initial=initial) as changes:
        for change in changes:
            (_print_json if options.json else _print)(options.name, change)
            sys.stdout.flush()


def _print_json(namespace: str, change: EntryChange) -> None:
    entry = change.entry
    record = {"namespace": namespace, "key": change.key, "deleted": change.deleted}
    if entry is not None:
        until = None if entry.expires_at is None else time_to_iso(to_us(entry.expires_at))
        times = {"created_at": time_to_iso(to_us(entry.created_at)), "updated_at": time_to_iso(to_us(entry.updated_at))}
        record |= {"value": entry.value, "version": entry.version, **times, "expires_at": until}
    out(safe_json(encode(record, "the entry", max_bytes=_ANY_SIZE)))


def _print(_: str, change: EntryChange) -> None:
    if change.entry is None:
        line = styled((safe_line(change.key), "bold cyan"), ("  is gone", "dim"))
    else:
        value = cut(encode(change.entry.value, "the value", max_bytes=_ANY_SIZE))
        line = styled((safe_line(change.key), "bold cyan"), (f"  v{change.entry.version}  ", "dim"), safe_line(value))
    console().print(line)


def _watch_session(options: Options, session_id: str, agent: str | None, last: int | None, after: int | None) -> None:
    session = options.memory().session(session_id, agent=agent)
    epoch = None
    if last is not None:
        info, messages = session.snapshot(last)
        for message in messages:
            _print_message(options, message, None if info is None else info.epoch)
        after, epoch = (0, None) if info is None else (info.head, info.epoch)
    with session.watch(None if after is None else check_count(after, "after"), epoch=epoch) as watched:
        for message in watched:
            _print_message(options, message, watched.epoch)


def _print_message(options: Options, message: Message, epoch: str | None) -> None:
    if options.json:
        record = {"namespace": options.name, "epoch": epoch, **message_record(message)}
        out(safe_json(encode(record, "the message", max_bytes=_ANY_SIZE)))
    else:
        show_message(message, full=False)
    sys.stdout.flush()
