"""The hot path: one entry read, written or deleted, straight on ASGI. Everything else goes on to the inner app.

The stored value is JSON text already, so it is copied into the answer, never decoded and encoded again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from botwire import _wire
from botwire._jsontext import decode_utf8, encode_utf8, quote
from botwire._names import check_name
from botwire.server._fields import Fields
from botwire.server._problems import Disconnected, Reply, json_reply, not_found, reply_to
from botwire.server._request import (
    INLINE_CHARS,
    HeaderMap,
    Receive,
    Scope,
    Send,
    if_version_of,
    is_unchanged,
    parse_query,
    query_as_text,
    raw_path,
    read_body,
    request_id_of,
)
from botwire.server._service import Service
from botwire.stores._protocol import Delete, EntryRow, Set

Inner = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[Scope, HeaderMap, Receive, str, str], Awaitable[Reply]]


class HotPath:
    """An ASGI app around another one."""

    def __init__(self, service: Service, inner: Inner) -> None:
        self._service = service
        self._inner = inner
        self._handlers: dict[str, Handler] = {"GET": self._get, "HEAD": self._get, "PUT": self._put, "DELETE": self._delete}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._inner(scope, receive, send)
        headers = dict(scope["headers"])
        try:
            self._service.guard(headers)
            path = raw_path(scope)
            if path.startswith(b"/memory/") and scope["method"] in self._handlers:
                parts = path.split(b"/")
                if len(parts) == 4:
                    handler = self._handlers[scope["method"]]
                    namespace = check_name(_wire.decode_part(parts[2], "namespace"), "namespace")
                    key = check_name(_wire.decode_part(parts[3], "key"), "key")
                    await reply(send, await handler(scope, headers, receive, namespace, key))
                    return None
            return await self._inner({**scope, "path": path.decode("latin-1"), "root_path": "", "botwire.headers": headers}, receive, send)
        except Disconnected:
            return None
        except Exception as error:  # noqa: BLE001 - each becomes an answer; what is unknown is logged there
            return await reply(send, reply_to(error))

    async def _get(self, scope: Scope, headers: HeaderMap, _: Receive, namespace: str, key: str) -> Reply:
        query = scope["query_string"]
        as_text = bool(query) and (query == b"as=text" or query_as_text(parse_query(query, "as")))
        service = self._service
        service.authorize(headers, namespace, "read")
        row: EntryRow | None
        row = service.store.get(namespace, key) if service.reads_are_fast else await service.run(service.store.get, namespace, key)
        if row is None:
            raise not_found(f"there is no entry {key!r} in namespace {namespace!r}")
        tag = (b"etag", _wire.etag(row.version).encode())
        if is_unchanged(headers, row.version):
            return 304, [tag], b""
        return json_reply(encode_utf8(f'{{"namespace":{quote(namespace)},{_wire.entry_to_json(row, as_text)}}}'), tag)

    async def _put(self, scope: Scope, headers: HeaderMap, receive: Receive, namespace: str, key: str) -> Reply:
        service = self._service
        service.authorize(headers, namespace, "write")
        if scope["query_string"]:
            parse_query(scope["query_string"])
        request_id = request_id_of(headers)
        body = await read_body(headers, receive, service.max_body_bytes)
        operation = self._set(key, body) if len(body) <= INLINE_CHARS else await service.run(self._set, key, body)
        operation = operation._replace(if_version=if_version_of(headers))
        version = (await service.write(namespace, operation, request_id=request_id))[0]
        answer = f'{{"namespace":{quote(namespace)},"key":{quote(key)},"stored":true,"version":{version}}}'
        return json_reply(answer.encode(), (b"etag", f'"{version}"'.encode()))

    def _set(self, key: str, body: bytes) -> Set:
        fields = Fields(decode_utf8(body, "body"), max_bytes=self._service.max_value_bytes)
        operation = Set(key, fields.json("value"), None, fields.ttl(None))
        fields.done()
        return operation

    async def _delete(self, scope: Scope, headers: HeaderMap, _: Receive, namespace: str, key: str) -> Reply:
        self._service.authorize(headers, namespace, "write")
        if scope["query_string"]:
            parse_query(scope["query_string"])
        operation = Delete(key, if_version_of(headers))
        deleted = (await self._service.write(namespace, operation, request_id=request_id_of(headers)))[0]
        if not deleted:
            raise not_found(f"there is no entry {key!r} in namespace {namespace!r}")
        return json_reply(f'{{"namespace":{quote(namespace)},"key":{quote(key)},"deleted":true}}'.encode())


async def reply(send: Send, answer: Reply) -> None:
    """Send an answer."""
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
