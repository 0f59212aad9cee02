"""Entries as resources: a list by pages, two templates, reading, and hearing of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from botwire.integrations.mcp._cursors import make_cursor, read_cursor
from botwire.integrations.mcp._desk import Desk
from botwire.integrations.mcp._failures import Refusal
from botwire.integrations.mcp._results import Budget, moment_of, text_of
from botwire.integrations.mcp._uris import INDEX_TEMPLATE, TEMPLATE, Place, index_of, place_of, uri_of
from botwire.stores import EntryRow

PAGE = 50
_MIME = "application/json"
_OLD_NOT_FOUND = -32002

Context = ServerRequestContext[Any, Any]


class Resources:
    """The handlers of ``resources/*`` and of ``completion/complete`` for their URIs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._subscribed: dict[str, Callable[[], object]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def list(self, _: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """The entries of the caller's own namespace."""
        caller = self._desk.reader()
        namespace = caller.namespace(None)
        query = ["resources", namespace]
        position = read_cursor(query, None if params is None else params.cursor, str)
        after = None if position is None else str(position[0])
        rows = await self._desk.access.ask(lambda store: store.scan(namespace, "", after, PAGE + 1))
        budget, listed = Budget(self._desk.settings.max_result_bytes - 1_600), [_index(namespace)] if after is None else []
        shown = 0
        for row in rows[:PAGE]:
            resource = _resource(namespace, row)
            if not budget.takes(resource.model_dump(by_alias=True, exclude_none=True)):
                break
            listed.append(resource)
            shown, after = shown + 1, row.key
        cursor = make_cursor(query, after) if shown < len(rows) else None
        return types.ListResourcesResult(resources=listed, next_cursor=cursor, ttl_ms=0, cache_scope="private")

    async def templates(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        """How URIs are made."""
        entry = types.ResourceTemplate(name="entry", uri_template=TEMPLATE, mime_type=_MIME, description="The value under a key, as JSON.")
        index = types.ResourceTemplate(
            name="namespace", uri_template=INDEX_TEMPLATE, mime_type=_MIME, description="The keys of a namespace."
        )
        return types.ListResourceTemplatesResult(resource_templates=[entry, index], ttl_ms=0, cache_scope="private")

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """An entry's value, or the keys of a namespace.

        Raises:
            MCPError: if there is none, or it is not the caller's: the two are not told apart.
        """
        caller, place = self._desk.reader(), place_of(params.uri)
        text = None
        if caller.sees(place.namespace):
            text = await (self._index_text(place) if place.key is None else self._value_text(place.namespace, place.key))
        if text is None:
            code = types.INVALID_PARAMS if context.protocol_version in MODERN_PROTOCOL_VERSIONS else _OLD_NOT_FOUND
            raise MCPError(code, f"there is no resource {params.uri!r:.200}", {"uri": params.uri})
        contents: list[types.TextResourceContents | types.BlobResourceContents] = [
            types.TextResourceContents(uri=params.uri, mime_type=_MIME, text=text)
        ]
        return types.ReadResourceResult(contents=contents, ttl_ms=0, cache_scope="private")

    async def _value_text(self, namespace: str, key: str) -> str | None:
        row = await self._desk.access.ask(lambda store: store.get(namespace, key))
        return None if row is None else row.value

    async def _index_text(self, place: Place) -> str:
        query = ["index", place.namespace]
        position = read_cursor(query, place.cursor, str)
        after = None if position is None else str(position[0])
        keys = await self._desk.access.ask(lambda store: store.scan_keys(place.namespace, "", after, 1_001))
        budget, listed = Budget(self._desk.settings.max_result_bytes - 3_000), list[str]()
        for key in keys[:1_000]:
            if not budget.takes(key):
                break
            listed.append(key)
        more = len(listed) < len(keys)
        following = {"next": index_of(place.namespace, make_cursor(query, listed[-1]))} if more and listed else {}
        return text_of({"namespace": place.namespace, "keys": listed, **following})

    # ------------------------------------------------------------------- subscriptions of the older protocol

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Tell the one client of this connection when the resource changes."""
        self._desk.reader()
        place = place_of(params.uri)
        uri, session = params.uri, context.session

        def listener(event: ServerEvent) -> None:
            if isinstance(event, ResourceUpdated) and event.uri == uri:
                task = asyncio.get_running_loop().create_task(session.send_resource_updated(uri))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        if uri not in self._subscribed:
            unsubscribe, release = self._desk.changes.subscribe(listener), await self._desk.changes.hold({place.namespace})
            self._subscribed[uri] = lambda: (unsubscribe(), release())
        return types.EmptyResult()

    async def unsubscribe(self, _: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Tell it no more."""
        if unsubscribe := self._subscribed.pop(params.uri, None):
            unsubscribe()
        return types.EmptyResult()


def _index(namespace: str) -> types.Resource:
    return types.Resource(name="index", uri=index_of(namespace), mime_type=_MIME, description=f"The keys of {namespace!r:.200}.")


def _resource(namespace: str, row: EntryRow) -> types.Resource:
    changed = types.Annotations(last_modified=moment_of(row.updated_at))
    size = len(row.value.encode())
    return types.Resource(name=row.key, uri=uri_of(namespace, row.key), mime_type=_MIME, size=size, annotations=changed)


def refused(error: Refusal) -> MCPError:
    """A refusal where the protocol has no result that could tell of it."""
    return MCPError(types.INVALID_PARAMS, str(error), error.details)
