"""The four tools for whoever looks after the memory, shown only where the server is told to."""

from __future__ import annotations

from typing import Any

from botwire import Entry, __version__
from botwire.integrations.mcp._cursors import make_cursor, read_cursor
from botwire.integrations.mcp._failures import invalid
from botwire.integrations.mcp._results import Budget, can_be_sent, moment, moment_of
from botwire.integrations.mcp._tools import Call, Tool
from botwire.stores import EntryRow

_TEXT = {"type": "string"}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 200}
CHUNK = 50


async def _namespaces(call: Call) -> dict[str, Any]:
    limit, query = call.get("limit", 50), ["namespaces"]
    position = read_cursor(query, call.get("cursor"), str)
    after = None if position is None else str(position[0])
    budget, listed = Budget(call.settings.max_result_bytes - 1_600), list[str]()
    while names := await call.access.ask(lambda store, after=after: store.namespaces(after, CHUNK)):
        for name in names:
            if call.caller.sees(name):
                if len(listed) == limit or not budget.takes(name):
                    return {"namespaces": listed, "next_cursor": make_cursor(query, listed[-1])}  # not of what is hidden
                listed.append(name)
            after = name
    return {"namespaces": listed}


async def _info(call: Call) -> dict[str, Any]:
    about: dict[str, Any] = {"namespace": call.namespace, "entries": await call.memory.count(), "version": __version__}
    if call.caller.local:
        about["store"] = await call.access.ask(lambda store: store.url)
    return {**about, "read_only": call.settings.read_only, "max_result_bytes": call.settings.max_result_bytes}


async def _export(call: Call) -> dict[str, Any]:
    limit, query = call.get("limit", 50), ["export", call.namespace]
    position = read_cursor(query, call.get("cursor"), str)
    after = None if position is None else str(position[0])
    rows = await call.access.ask(lambda store: store.scan(call.namespace, "", after, limit + 1))
    budget, listed = Budget(call.settings.max_result_bytes - 1_600), list[dict[str, Any]]()
    for row in rows[:limit]:
        item = _whole(row, call.namespace)
        if not budget.takes(item):
            if listed:
                break
            item = {"key": row.key, "version": row.version, "too_large": "read it alone, with memory_get"}
            budget.takes(item)
        listed.append(item)
        after = row.key
    more = {"next_cursor": make_cursor(query, after)} if len(listed) < len(rows) else {}
    return {"entries": listed, **more}


def _whole(row: EntryRow, namespace: str) -> dict[str, Any]:
    entry = Entry.from_row(row, namespace)
    value = {"value": entry.value} if can_be_sent(entry.value) else {"value_json": row.value}
    times = {"created_at": moment_of(row.created_at), "updated_at": moment_of(row.updated_at)}
    expires = {} if entry.expires_at is None else {"expires_at": moment(entry.expires_at)}
    return {"key": row.key, **value, "version": row.version, **times, **expires}


async def _clear(call: Call) -> dict[str, Any]:
    if call.get("confirm") != call.namespace:
        raise invalid(f"confirm must be the name of the namespace to empty, {call.namespace!r}")
    removed = await call.memory.clear()
    await call.changes.listing(call.namespace)
    return {"removed": removed}


ADMIN = (
    Tool(
        "namespace_list",
        "admin",
        "List namespaces that hold anything.",
        {"limit": _LIMIT, "cursor": _TEXT},
        (),
        {},
        _namespaces,
        names_namespace=False,
    ),
    Tool("memory_info", "admin", "Where memory lies, and how much it holds.", {}, (), {}, _info),
    Tool(
        "memory_export",
        "admin",
        "Read all entries, a page at a time.",
        {"limit": _LIMIT, "cursor": _TEXT},
        (),
        {},
        _export,
    ),
    Tool(
        "memory_clear",
        "admin",
        "Delete every entry of a namespace for good; sessions stay. confirm: its name.",
        {"confirm": _TEXT},
        ("confirm",),
        {},
        _clear,
        writes=True,
        destructive=True,
    ),
)
