"""``sessions``, ``show``, ``search``."""

from __future__ import annotations

import json
from datetime import UTC
from enum import StrEnum
from typing import Annotated, Any

import typer

from botwire._codec import encode
from botwire._message import Message, ToolCall
from botwire._names import check_name
from botwire._records import MessageHit, SearchHit, SessionInfo, to_us
from botwire._wire import info_to_json, time_to_iso
from botwire.cli import _exit
from botwire.cli._figures import iter_logs
from botwire.cli._options import Options, command
from botwire.cli._output import (
    Column,
    complain,
    console,
    moment_text,
    note,
    out,
    out_indented,
    out_json,
    out_table,
    plural,
    safe,
    safe_json,
    safe_line,
    styled,
    until_text,
)
from botwire.stores._protocol import LogInfo

_STYLES = {"system": "magenta", "user": "bold cyan", "assistant": "bold green", "tool": "yellow"}
_MOST_OF_MESSAGE = 4_000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "sessions")(sessions)
    command(app, "show")(show)
    command(app, "search")(search)


# ----------------------------------------------------------------------------------------- sessions

_COLUMNS = (
    Column("SESSION", fold=True),
    Column("AGENT", fold=True),
    Column("MESSAGES", right=True),
    Column("UPDATED (UTC)"),
    Column("EXPIRES"),
)


def sessions(options: Options) -> int:
    """List sessions.

    By id, and within each session its agents' transcripts.

        botwire sessions
        botwire sessions -n support --json | jq -r '.sessions[].session'
    """
    if options.json:
        out(f'{{"namespace":{json.dumps(options.name, ensure_ascii=False)},"sessions":[', end="")
        for index, info in enumerate(iter_logs(options.store(), options.name)):
            out(("," if index else "") + safe_json(info_to_json(info, as_text=False)), end="")
        out("]}")
    elif not out_table(_COLUMNS, map(_cells, iter_logs(options.store(), options.name))):
        note(f"no sessions in namespace {options.name!r}")
    return _exit.OK


def _cells(log: LogInfo) -> tuple[str, ...]:
    info = SessionInfo.from_log(log._replace(metadata="{}"))
    updated = moment_text(info.updated_at)[:16]
    return info.session_id, info.agent or "-", f"{info.count:,}", updated, until_text(info.expires_at)


# --------------------------------------------------------------------------------------------- show


def show(
    options: Options,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.", show_default=False)],
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the last so many messages.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="One agent's own transcript in the session.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Long messages whole, not cut for display.")] = False,
) -> int:
    """Show a session as a transcript.

    Exits with 1 if there is none.

        botwire show user-42 --last 20
        botwire show crew-7 --agent writer
        botwire show user-42 --json | jq -r '.messages[].message.content'
    """
    info, messages = options.memory().session(session, agent=agent).snapshot(last)
    if info is None:
        complain(_not_there(options, session, agent), "not_found", as_json=options.json)
        return _exit.PROBLEM
    if options.json:
        records = [message_record(message) for message in messages]
        about = {"session": info.session_id, "agent": info.agent or "", "epoch": info.epoch, "head": info.head, "count": info.count}
        out(safe_json(_encode({"namespace": options.name, **about, "metadata": info.metadata, "messages": records})))
        return _exit.OK
    _show_head(options, info, len(messages))
    for message in messages:
        show_message(message, full)
    return _exit.OK


def _encode(record: Any) -> str:
    return encode(record, "the session", max_bytes=1 << 62)


def message_record(message: Message) -> dict[str, Any]:
    created_at = None if message.created_at is None else time_to_iso(to_us(message.created_at))
    record = {"seq": message.seq, "created_at": created_at, "message": message.to_dict()}
    return {**record, "metadata": message.metadata} if message.metadata else record


def _not_there(options: Options, session: str, agent: str | None) -> str:
    check_name(session, "session id")
    agents = [info.agent for info in options.store().scan_logs(options.name, (session, ""), 20) if info.session == session]
    named = f"session {session!r} in namespace {options.name!r}"
    if agents:
        missing = f"agent {agent!r}" if agent else "transcript of its own"
        return f"{named} has no {missing}; its agents are: {', '.join(agents)} (--agent NAME)"
    return f"no {named}; `botwire sessions` lists them"


def _show_head(options: Options, info: SessionInfo, shown: int) -> None:
    agent = f" · agent {info.agent}" if info.agent else ""
    which = plural(info.count, "message") if shown == info.count else f"the last {shown:,} of {plural(info.count, 'message')}"
    expires = "" if info.expires_at is None else f" · expires {until_text(info.expires_at)}"
    console().print(styled((safe_line(f"{options.name} / {info.session_id}{agent} · {which}{expires}"), "dim")))


def show_message(message: Message, full: bool) -> None:
    when = "" if message.created_at is None else f" · {moment_text(message.created_at.astimezone(UTC))} UTC"
    name = f" ({message.name})" if message.name else ""
    heading = styled((safe_line(message.role + name), _STYLES.get(message.role, "bold")), (f"  #{message.seq}{when}", "dim"))
    console().print(styled(""), heading, sep="\n")
    out_indented(_body(message, full))


def _body(message: Message, full: bool) -> str:
    parts: list[str] = []
    if message.tool_call_id is not None:
        parts.append(f"(answers call {message.tool_call_id})")
    parts += [message.content] if isinstance(message.content, str) else map(_part, message.content or [])
    parts += map(_call, message.tool_calls)
    text = safe("\n".join(parts))
    if full or len(text) <= _MOST_OF_MESSAGE:
        return text
    return f"{text[:_MOST_OF_MESSAGE]}\n… {plural(len(text) - _MOST_OF_MESSAGE, 'more character')}; --full shows them"


def _call(call: ToolCall) -> str:
    return f"→ {call.name}({call.arguments if isinstance(call.arguments, str) else _encode(call.arguments)})"


def _part(part: dict[str, Any]) -> str:
    if isinstance(text := part.get("text"), str):
        return text
    return f"[{part.get('type')}: {_encode(part)}]"


# ------------------------------------------------------------------------------------------- search


class Where(StrEnum):
    """Where to search."""

    EVERYTHING = "all"
    ENTRIES = "entries"
    MESSAGES = "messages"


def search(
    options: Options,
    query: Annotated[list[str], typer.Argument(metavar="QUERY...", help="Words that must all be there, in any case.", show_default=False)],
    where: Annotated[Where, typer.Option("--in", help="Where to search.")] = Where.EVERYTHING,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="Only messages of the session of that id.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="The most hits of each kind.")] = 20,
) -> int:
    """Search keys, values and messages for words, best match first. Exits with 1 if nothing is found.

    It compares letters, not meaning.

        botwire search pizza
        botwire search dark theme --in entries
        botwire search refund --session user-42
    """
    memory, text = options.memory(), " ".join(query)
    if session is not None and where is Where.ENTRIES:
        raise typer.BadParameter("--session goes with messages")
    entries = [] if where is Where.MESSAGES or session is not None else memory.search(text, limit)
    messages = [] if where is Where.ENTRIES else _search_messages(options, text, session, limit)
    if options.json:
        out_json({"namespace": options.name, "entries": list(map(_entry_record, entries)), "messages": list(map(_hit_record, messages))})
    else:
        _show_hits(entries, messages)
    if entries or messages:
        return _exit.OK
    if not options.json:
        note(f"nothing found in namespace {options.name!r}")
    return _exit.PROBLEM


def _search_messages(options: Options, text: str, session: str | None, limit: int) -> list[MessageHit]:
    from botwire._session_plans import SessionPlans
    from botwire.stores._search import query_words

    session = None if session is None else check_name(session, "session id")
    hits = options.store().search_log(options.name, query_words(text), limit, session)
    found: list[MessageHit] = []
    for hit in hits:
        plans = SessionPlans(options.name, hit.session, hit.agent or None, None)
        found += [MessageHit(hit.session, hit.agent or None, message, hit.score, hit.snippet) for message in plans.readable([hit.row])]
    return found


def _entry_record(hit: SearchHit) -> dict[str, Any]:
    return {"key": hit.key, "version": hit.entry.version, "score": hit.score, "snippet": hit.snippet}


def _hit_record(hit: MessageHit) -> dict[str, Any]:
    return {"session": hit.session_id, "agent": hit.agent or "", "score": hit.score, "snippet": hit.snippet, **message_record(hit.message)}


def _show_hits(entries: list[SearchHit], messages: list[MessageHit]) -> None:
    screen = console()
    for hit in entries:
        screen.print(styled((safe_line(hit.key), "bold cyan")))
        out(f"  {safe_line(hit.snippet)}")
    for found in messages:
        who = f" ({found.agent})" if found.agent else ""
        place = f"  #{found.message.seq} {found.message.role}"
        screen.print(styled((safe_line(found.session_id + who), "bold green"), (safe_line(place), "dim")))
        out(f"  {safe_line(found.snippet)}")
