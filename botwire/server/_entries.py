"""Routes on entries, off the hot path: listings, changes in place, batches, search."""

from __future__ import annotations

from typing import cast

from botwire import _wire
from botwire._errors import InvalidValue, ValueTooLarge
from botwire._jsontext import check_text, encode_utf8, quote
from botwire._names import check_name, check_prefix
from botwire._tokens import namespaces_seen
from botwire.server._operations import MAX_DIGITS, is_number, operations_from_body, results_to_body
from botwire.server._pages import entry_page
from botwire.server._problems import Reply, json_reply
from botwire.server._request import Call, query_as_text, query_number, refuse_conditions
from botwire.stores._protocol import KEEP, Change, Changed, Clear, EntryRow, Operation
from botwire.stores._search import query_words

MAX_KEYS = 10_000
"""Keys in one lookup at most."""


async def list_entries(call: Call) -> Reply:
    """``GET /memory/{namespace}``: keys, or entries with ``values=true``."""
    namespace = call.namespace("read")
    query = call.query("prefix", "limit", "cursor", "values", "as")
    prefix, cursor = check_prefix(query.get("prefix", "")), query.get("cursor")
    limit = page_limit(query)
    as_text = query_as_text(query)
    if query.get("values", "false") not in ("true", "false"):
        raise InvalidValue("values must be true or false")
    if query.get("values") == "true":
        body = await call.service.run(_entries_body, call, namespace, prefix, cursor, limit, as_text)
        return json_reply(body)
    keys = await call.service.run(call.service.store.scan_keys, namespace, prefix, cursor, limit + 1)
    return json_reply(encode_utf8(_name_page(f'"namespace":{quote(namespace)},', "keys", keys, limit)))


def _entries_body(call: Call, namespace: str, prefix: str, cursor: str | None, limit: int, as_text: bool) -> bytes:
    rows, more = entry_page(call.service.store, namespace, prefix, cursor, limit)
    next_cursor = quote(rows[-1].key) if more else "null"
    inner = ",".join([f"{{{_readable(namespace, row, as_text)}}}" for row in rows])
    return encode_utf8(f'{{"namespace":{quote(namespace)},"count":{len(rows)},"entries":[{inner}],"next_cursor":{next_cursor}}}')


def _readable(namespace: str, row: EntryRow, as_text: bool) -> str:
    if not as_text:
        _wire.check_readable(row.value, f"the value of {row.key!r} in namespace {namespace!r}")
    return _wire.entry_to_json(row, as_text)


def _name_page(head: str, member: str, names: list[str], limit: int) -> str:
    """A page of names, of which one more than ``limit`` was fetched if there are more."""
    page = names[:limit]
    next_cursor = quote(page[-1]) if len(names) > limit else "null"
    return f'{{{head}"count":{len(page)},"{member}":[{",".join(map(quote, page))}],"next_cursor":{next_cursor}}}'


def page_limit(query: dict[str, str]) -> int:
    """How many rows a page is to have."""
    return cast("int", query_number(query, "limit", _wire.DEFAULT_LIMIT, 1, _wire.MAX_LIMIT))


async def list_namespaces(call: Call) -> Reply:
    """``GET /memory``."""
    call.service.authorize(call.headers, None, "read")
    query = call.query("limit", "cursor")
    limit = page_limit(query)
    seen = call.service.namespaces_seen(call.headers)
    names = await call.service.run(namespaces_seen, call.service.store, seen, query.get("cursor"), limit + 1)
    return json_reply(encode_utf8(_name_page("", "namespaces", names, limit)))


async def count_entries(call: Call) -> Reply:
    """``GET /count/{namespace}``."""
    namespace = call.namespace("read")
    prefix = check_prefix(call.query("prefix").get("prefix", ""))
    count = await call.service.run(call.service.store.count, namespace, prefix)
    return json_reply(f'{{"namespace":{quote(namespace)},"count":{count}}}'.encode())


async def clear_entries(call: Call) -> Reply:
    """``DELETE /memory/{namespace}``."""
    namespace = call.namespace("write")
    refuse_conditions(call.headers)
    operation = Clear(check_prefix(call.query("prefix").get("prefix", "")))
    count = (await call.service.write(namespace, operation, request_id=call.request_id))[0]
    return json_reply(f'{{"namespace":{quote(namespace)},"deleted":{count}}}'.encode())


async def merge_entry(call: Call) -> Reply:
    """``PATCH /memory/{namespace}/{key}`` with a merge patch (RFC 7396)."""
    namespace, key = call.namespace("write"), call.name("key")
    call.query()
    refuse_conditions(call.headers)
    text = await call.body()
    await call.parsed(text, lambda: check_text(text, "body"))
    if len(text.encode()) > (limit := call.service.max_value_bytes):
        raise ValueTooLarge(f"the patch is over this server's limit of {limit:,} bytes")
    return await _change(call, namespace, Change(key, "merge", text, None, limit, KEEP), "value")


async def change_entry(call: Call) -> Reply:
    """``POST /memory/{namespace}/{key}`` with ``increment`` or ``append``."""
    namespace, key = call.namespace("write"), call.name("key")
    call.query()
    refuse_conditions(call.headers)
    fields = await call.fields()
    limit = call.service.max_value_bytes
    if "increment" in fields:
        by = fields.json("increment")
        if not is_number(by):
            raise InvalidValue(f"increment must be a number of at most {MAX_DIGITS} digits")
        operation = Change(key, "increment", by, None, limit, fields.ttl(KEEP))
    elif "append" in fields:
        items = fields.json("append")
        if not items.startswith("["):
            raise InvalidValue("append must be a list of items")
        operation = Change(key, "append", items, fields.count("max_items", 1, None), limit, fields.ttl(KEEP))
    else:
        raise InvalidValue("the body must have a member increment or append; PUT sets a value, PATCH merges into it")
    fields.done()
    return await _change(call, namespace, operation, "value" if operation.rule == "increment" else "length")


async def _change(call: Call, namespace: str, operation: Change, answer: str) -> Reply:
    changed = cast("Changed", (await call.service.write(namespace, operation, request_id=call.request_id))[0])
    head = f'{{"namespace":{quote(namespace)},"key":{quote(operation.key)},"{answer}":{changed.answer}'
    return json_reply(encode_utf8(f'{head},"version":{changed.version}}}'), (b"etag", _wire.etag(changed.version).encode()))


async def write_batch(call: Call) -> Reply:
    """``POST /batch/{namespace}``: operations that happen together or not at all."""
    return await _write_batch(call, as_text=False)


async def write_records(call: Call) -> Reply:
    """``POST /records/{namespace}``: a batch whose values, messages and metadata are their stored JSON texts, in strings."""
    return await _write_batch(call, as_text=True)


async def _write_batch(call: Call, as_text: bool) -> Reply:
    namespace = call.namespace("write")
    call.query()
    refuse_conditions(call.headers)
    text = await call.body(call.service.max_batch_bytes)
    limit = call.service.max_value_bytes
    operations: tuple[Operation, ...]
    operations, request_id = await call.parsed(text, lambda: operations_from_body(text, as_text=as_text, max_bytes=limit))
    results = await call.service.write(namespace, *operations, request_id=request_id or call.request_id)
    return json_reply(await call.parsed(text, lambda: results_to_body(namespace, results, as_text)))


async def look_up(call: Call) -> Reply:
    """``POST /lookup/{namespace}``: the entries there are among many keys, as they are at one moment."""
    namespace = call.namespace("read")
    as_text = query_as_text(call.query("as"))
    fields = await call.fields(limit=call.service.max_batch_bytes)
    keys = fields.plain("keys")
    fields.done()
    if not isinstance(keys, list) or len(cast("list[object]", keys)) > MAX_KEYS:
        raise InvalidValue(f"keys must be a list of at most {MAX_KEYS:,} keys")
    checked = [check_name(key, "key") for key in cast("list[object]", keys)]
    return json_reply(await call.service.run(_lookup_body, call, namespace, checked, as_text))


def _lookup_body(call: Call, namespace: str, keys: list[str], as_text: bool) -> bytes:
    rows = call.service.store.get_many(namespace, keys).values()
    inner = ",".join([f"{{{_readable(namespace, row, as_text)}}}" for row in rows])
    return encode_utf8(f'{{"namespace":{quote(namespace)},"count":{len(rows)},"entries":[{inner}]}}')


async def search_entries(call: Call) -> Reply:
    """``GET /search/{namespace}``."""
    namespace = call.namespace("read")
    query = call.query("q", "limit", "as")
    words, limit, as_text = query_words(query.get("q", "")), search_limit(query), query_as_text(query)
    return json_reply(await call.service.run(_hits_body, call, namespace, words, limit, as_text))


def search_limit(query: dict[str, str]) -> int:
    """How many hits a search is to give at most."""
    return cast("int", query_number(query, "limit", 20, 1, _wire.MAX_LIMIT))


def _hits_body(call: Call, namespace: str, words: list[str], limit: int, as_text: bool) -> bytes:
    hits = call.service.store.search(namespace, words, limit)
    inner = ",".join([_wire.entry_hit_to_json(hit, as_text) for hit in hits])
    return encode_utf8(f'{{"namespace":{quote(namespace)},"count":{len(hits)},"hits":[{inner}]}}')
