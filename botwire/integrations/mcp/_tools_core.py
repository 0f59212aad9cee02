"""The seven tools on entries."""

from __future__ import annotations

import json
from typing import Any, cast

from botwire import Entry
from botwire.integrations.mcp._cursors import make_cursor, read_cursor
from botwire.integrations.mcp._failures import invalid
from botwire.integrations.mcp._results import Budget, can_be_sent, moment, moment_of
from botwire.integrations.mcp._searching import search_page
from botwire.integrations.mcp._tools import Call, Tool
from botwire.stores import KEEP, Change, Changed, EntryRow, Set

_KEY = {"type": "string"}  # what a name may be is said by the error of a bad one
_VALUE = {"type": ["object", "array", "string", "number", "boolean", "null"], "description": "any JSON, kept exactly"}
_IF_VERSION = {"type": "integer", "minimum": 0}
_TEXT, _COUNT, _FLAG, _LIST = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "array"}
CHUNK = 50
"""Entries read from the store at a time: their values come along, however large."""


# ------------------------------------------------------------------------------------------- reading


async def _get(call: Call) -> dict[str, Any]:
    key, keys = call.get("key"), call.get("keys")
    if (key is None) == (keys is None):
        raise invalid("give key, or keys, and not both")
    wanted: list[str] = [key] if keys is None else list(dict.fromkeys(keys))
    rows = await call.access.ask(lambda store: store.get_many(call.namespace, wanted))
    found = [_item(call, name, rows.get(name)) for name in wanted]
    if keys is None:
        return {name: member for name, member in found[0].items() if name != "key"}
    return _as_many_as_fit(call, found)


def _item(call: Call, key: str, row: EntryRow | None) -> dict[str, Any]:
    if row is None:
        return {"key": key, "found": False}
    entry = Entry.from_row(row, call.namespace)
    value = {"value": entry.value} if can_be_sent(entry.value) else {"value_json": row.value}
    about = {"version": entry.version, "updated_at": moment(entry.updated_at)}
    expires = {} if entry.expires_at is None else {"expires_at": moment(entry.expires_at)}
    return {"key": key, "found": True, **value, **about, **expires}


def _as_many_as_fit(call: Call, found: list[dict[str, Any]]) -> dict[str, Any]:
    budget = Budget(call.settings.max_result_bytes - sum(2 * len(item["key"].encode()) + 8 for item in found))
    kept = [item for item in found if budget.takes(item)]
    shown = {item["key"] for item in kept}
    omitted = [item["key"] for item in found if item["key"] not in shown]
    return {"items": kept, "omitted": omitted} if omitted else {"items": kept}


async def _list(call: Call) -> dict[str, Any]:
    prefix, limit = call.get("prefix", ""), call.get("limit", CHUNK)
    query = ["list", call.namespace, prefix]
    position = read_cursor(query, call.get("cursor"), str)
    after = None if position is None else position[0]
    budget, listed, more = Budget(call.settings.max_result_bytes - 1_600), list[dict[str, Any]](), True  # a cursor may be long
    while more and len(listed) < limit:
        wanted = min(CHUNK, limit - len(listed))
        rows = await call.access.ask(lambda store, after=after, wanted=wanted: store.scan(call.namespace, prefix, after, wanted))
        more = len(rows) == wanted
        for row in rows:
            item = _key_item(row)
            if not budget.takes(item):
                return _page(listed, make_cursor(query, after))
            listed.append(item)
            after = row.key
    total = {"total": await call.memory.count(prefix)} if position is None else {}
    return {**_page(listed, make_cursor(query, after) if more else None), **total}


def _key_item(row: EntryRow) -> dict[str, Any]:
    return {"key": row.key, "version": row.version, "bytes": len(row.value.encode()), "updated_at": moment_of(row.updated_at)}


def _page(listed: list[dict[str, Any]], cursor: str | None) -> dict[str, Any]:
    return {"keys": listed} if cursor is None else {"keys": listed, "next_cursor": cursor}


async def _search(call: Call) -> dict[str, Any]:
    hits, cursor = await search_page(call, call.get("query"), call.get("limit", 20), call.get("cursor"))
    return {"hits": hits} if cursor is None else {"hits": hits, "next_cursor": cursor}


# ------------------------------------------------------------------------------------------- writing


async def _set(call: Call) -> dict[str, Any]:
    key = call.get("key")
    if ("value" in call.arguments) == ("value_json" in call.arguments):
        raise invalid("give value, or value_json, and not both")
    value = call.arguments["value"] if "value" in call.arguments else _parsed(call.get("value_json"))
    version = await call.memory.set(key, value, ttl=call.get("ttl_seconds"), if_version=call.get("if_version"))
    await call.changes.entry(call.namespace, key, version)
    return {"key": key, "version": version, "created": version == 1}


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"value_json is not JSON: {error}; text as such goes into value") from error
    if not can_be_sent(value):
        raise invalid("value_json holds what MCP cannot carry back: a lone surrogate, a number that is none, or one of thousands of digits")
    return value


async def _update(call: Call) -> dict[str, Any]:
    key, patch, if_version = call.get("key"), call.get("patch"), call.get("if_version")
    if if_version is None:
        version, value = await call.memory.change(key, "merge", patch)
    else:
        version, value = await _update_at(call, key, patch, if_version)
    await call.changes.entry(call.namespace, key, version)
    return {"key": key, "version": version, **({"value": value} if can_be_sent(value) else {})}


async def _update_at(call: Call, key: str, patch: Any, if_version: int) -> tuple[int, Any]:
    """Merge into the version that the caller has seen, in one transaction: whatever came in between is a conflict."""
    row = await call.access.ask(lambda store: store.get(call.namespace, key))
    as_seen = Set(key, "{}" if row is None else row.value, if_version, KEEP)
    results = await call.access.write(call.namespace, as_seen, Change(key, "merge", json.dumps(patch)))
    changed = cast("Changed", results[1])
    return changed.version, json.loads(changed.answer)


async def _append(call: Call) -> dict[str, Any]:
    key, request_id = call.get("key"), call.get("dedupe_key")
    version, length = await call.memory.change(key, "append", call.get("items"), max_items=call.get("max_items"), request_id=request_id)
    await call.changes.entry(call.namespace, key, version)
    return {"key": key, "version": version, "length": length}


async def _delete(call: Call) -> dict[str, Any]:
    key = call.get("key")
    deleted = await call.memory.delete(key, if_version=call.get("if_version"))
    if deleted:
        await call.changes.entry(call.namespace, key, None)
    return {"deleted": deleted}


# -------------------------------------------------------------------------------------------- the tools

_VERSIONED = {"key": _TEXT, "version": _COUNT}

CORE = (
    Tool(
        "memory_get",
        "core",
        "Read the value under a key, or under several. Call it before a change that depends on the value. A missing key is no error: "
        "found is false.",
        {"key": _KEY, "keys": {"type": "array", "items": _KEY, "minItems": 1, "maxItems": 50}},
        (),
        {"found": _FLAG, "value": {}, "version": _COUNT, "updated_at": _TEXT, "expires_at": _TEXT, "items": _LIST, "omitted": _LIST},
        _get,
    ),
    Tool(
        "memory_set",
        "core",
        "Store a JSON value under a key; it survives restarts. Overwrites: pass if_version from memory_get (0: only if absent) to keep "
        "another's change. Instead of value, value_json takes JSON text. Kept until deleted, or for ttl_seconds. No secrets.",
        {
            "key": _KEY,
            "value": _VALUE,
            "value_json": _TEXT,
            "if_version": _IF_VERSION,
            "ttl_seconds": {"type": "number", "exclusiveMinimum": 0},
        },
        ("key",),
        {**_VERSIONED, "created": _FLAG},
        _set,
        writes=True,
        destructive=True,
        always=("key", "version", "created"),
    ),
    Tool(
        "memory_update",
        "core",
        "Change members of a stored object, atomically, by JSON merge patch: null removes a member, lists are replaced. Makes a missing "
        "key; replaces what is no object.",
        {"key": _KEY, "patch": {"type": "object"}, "if_version": _IF_VERSION},
        ("key", "patch"),
        {**_VERSIONED, "value": {}},
        _update,
        writes=True,
        destructive=True,
        always=("key", "version"),
    ),
    Tool(
        "memory_append",
        "core",
        "Add items to the list under a key, atomically, while others do too. Makes a missing list. max_items keeps the last ones. "
        "Repeated with the same dedupe_key it is applied once.",
        {
            "key": _KEY,
            "items": {"type": "array", "minItems": 1},
            "max_items": {"type": "integer", "minimum": 1},
            "dedupe_key": _TEXT,
        },
        ("key", "items"),
        {**_VERSIONED, "length": _COUNT},
        _append,
        writes=True,
        idempotent=False,
        always=("key", "version", "length"),
    ),
    Tool(
        "memory_delete",
        "core",
        "Delete a key and its value for good.",
        {"key": _KEY, "if_version": _IF_VERSION},
        ("key",),
        {"deleted": _FLAG},
        _delete,
        writes=True,
        destructive=True,
        always=("deleted",),
    ),
    Tool(
        "memory_list",
        "core",
        "List keys in order, without values. next_cursor, passed as cursor, goes on.",
        {"prefix": _TEXT, "limit": {"type": "integer", "minimum": 1, "maximum": 200}, "cursor": _TEXT},
        (),
        {"keys": _LIST, "next_cursor": _TEXT, "total": _COUNT},
        _list,
        always=("keys",),
    ),
    Tool(
        "memory_search",
        "core",
        "Find entries that hold every word of the query, in key or value, best first. Letters, not meaning: try other words. Call it "
        "when a task begins.",
        {"query": _TEXT, "limit": {"type": "integer", "minimum": 1, "maximum": 50}, "cursor": _TEXT},
        ("query",),
        {"hits": _LIST, "next_cursor": _TEXT},
        _search,
        always=("hits",),
    ),
)
