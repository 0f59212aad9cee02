"""The four tools on sessions: the same sessions that every other framework reads and writes."""

from __future__ import annotations

import json
import secrets
from typing import Any

from botwire import AsyncSession, Message, SessionInfo
from botwire.integrations.mcp._cursors import make_cursor, read_cursor
from botwire.integrations.mcp._failures import unknown_session
from botwire.integrations.mcp._results import Budget, can_be_sent, moment
from botwire.integrations.mcp._tools import Call, Tool

_TEXT, _COUNT, _LIST = {"type": "string"}, {"type": "integer"}, {"type": "array"}
PAGE = 50


async def _create(call: Call) -> dict[str, Any]:
    session_id = f"ses_{secrets.token_urlsafe(16)}"  # 128 bits: nobody guesses it
    session = call.memory.session(session_id, ttl=call.get("ttl_seconds"))
    label = call.get("label")
    await session.set_metadata({} if label is None else {"label": label})
    return {"session_id": session_id}


async def _append(call: Call) -> dict[str, Any]:
    session = await _existing(call)
    seqs = await session.append(*call.get("messages"), request_id=call.get("dedupe_key"))
    return {"first_seq": seqs[0], "last_seq": seqs[-1]}


async def _existing(call: Call) -> AsyncSession:
    session = _session(call)
    if await session.info() is None:
        raise await _unknown(call)
    return session


def _session(call: Call) -> AsyncSession:
    return call.memory.session(call.get("session_id"), agent=call.get("agent"))


async def _unknown(call: Call) -> Exception:
    """That there is no such session, or that its transcripts are its agents'."""
    session_id = call.get("session_id")
    logs = await call.access.ask(lambda store: store.scan_logs(call.namespace, (session_id, ""), 9))
    agents = [log.agent for log in logs if log.session == session_id]
    named = call.get("agent")
    whose = "" if named is None else f" of the agent {named!r:.80}"
    return unknown_session(
        session_id, f"{whose}; there are transcripts of its agents: pass agent, one of {', '.join(agents)}" if agents else ""
    )


async def _read(call: Call) -> dict[str, Any]:
    last_n, before = call.get("last_n", 20), call.get("before_seq")
    info, messages = await _session(call).snapshot(last=last_n + 1, before=before)
    if info is None:
        raise await _unknown(call)
    window = messages[-last_n:]
    shown = [_item(window[0])] if last_n == 1 and window else _newest(window, call.settings.max_result_bytes)
    result = {"messages": shown, "count": info.count}
    older = len(shown) < len(messages)
    return {**result, "next_before_seq": shown[0]["seq"]} if older and shown else result


def _newest(window: list[Message], most: int) -> list[dict[str, Any]]:
    """The newest messages that fit. One that is too large alone is named in its place, and whole if it is asked for alone."""
    budget, shown = Budget(most), list[dict[str, Any]]()
    for message in reversed(window):
        item = _item(message)
        if not budget.takes(item):
            if shown:
                break
            item = {"seq": message.seq, "role": message.role, "too_large": f"read it alone: last_n 1, before_seq {(message.seq or 0) + 1}"}
            budget.takes(item)
        shown.append(item)
    return shown[::-1]


def _item(message: Message) -> dict[str, Any]:
    about: dict[str, Any] = {"seq": message.seq}
    shape = message.to_dict()
    if not can_be_sent(shape):
        return {**about, "message_json": json.dumps(shape)}
    return {**about, **shape, **({} if message.created_at is None else {"created_at": moment(message.created_at)})}


async def _list(call: Call) -> dict[str, Any]:
    limit, query = call.get("limit", PAGE), ["sessions", call.namespace]
    position = read_cursor(query, call.get("cursor"), str, str)
    after = None if position is None else (str(position[0]), str(position[1]))
    logs = await call.access.ask(lambda store: store.scan_logs(call.namespace, after, limit + 1))
    budget, listed = Budget(call.settings.max_result_bytes - 3_000), list[dict[str, Any]]()
    for log in logs[:limit]:
        item = _about(SessionInfo.from_log(log))
        if not budget.takes(item):
            break
        listed.append(item)
        after = (log.session, log.agent)
    more = {"next_cursor": make_cursor(query, *after)} if after is not None and len(listed) < len(logs) else {}
    return {"sessions": listed, **more}


def _about(info: SessionInfo) -> dict[str, Any]:
    about: dict[str, Any] = {"session_id": info.session_id, "messages": info.count, "updated_at": moment(info.updated_at)}
    label = info.metadata.get("label")
    extra = {
        "agent": info.agent,
        "label": label if isinstance(label, str) and len(label) <= 200 and can_be_sent(label) else None,
        "expires_at": None if info.expires_at is None else moment(info.expires_at),
    }
    return {**about, **{name: value for name, value in extra.items() if value is not None}}


# -------------------------------------------------------------------------------------------- the tools

_MESSAGE = {  # the common chat shape: name, tool_calls, tool_call_id and the rest go with it
    "type": "object",
    "properties": {
        "role": {"enum": ["system", "user", "assistant", "tool"]},
        "content": {"type": ["string", "array", "null"]},
    },
    "required": ["role"],
}

SESSIONS = (
    Tool(
        "session_create",
        "sessions",
        "Begin a log of messages; session_id is the way back to it. Kept until deleted, or for ttl_seconds after the last message.",
        {"label": {"type": "string", "maxLength": 200}, "ttl_seconds": {"type": "number", "exclusiveMinimum": 0}},
        (),
        {"session_id": _TEXT},
        _create,
        writes=True,
        idempotent=False,
        always=("session_id",),
    ),
    Tool(
        "session_append",
        "sessions",
        "Add messages to a session, all or none. Repeated with the same dedupe_key it is applied once.",
        {
            "session_id": _TEXT,
            "messages": {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": 100},
            "agent": _TEXT,
            "dedupe_key": _TEXT,
        },
        ("session_id", "messages"),
        {"first_seq": _COUNT, "last_seq": _COUNT},
        _append,
        writes=True,
        idempotent=False,
        always=("first_seq", "last_seq"),
    ),
    Tool(
        "session_read",
        "sessions",
        "Read the last messages of a session, oldest first. next_before_seq, passed as before_seq, goes further back.",
        {
            "session_id": _TEXT,
            "last_n": {"type": "integer", "minimum": 1, "maximum": 200},
            "before_seq": {"type": "integer", "minimum": 0},
            "agent": _TEXT,
        },
        ("session_id",),
        {"messages": _LIST, "count": _COUNT, "next_before_seq": _COUNT},
        _read,
        always=("messages", "count"),
    ),
    Tool(
        "session_list",
        "sessions",
        "List sessions by id.",
        {"limit": {"type": "integer", "minimum": 1, "maximum": 200}, "cursor": _TEXT},
        (),
        {"sessions": _LIST, "next_cursor": _TEXT},
        _list,
        always=("sessions",),
    ),
)
