"""The hot path: one entry read, written or deleted, straight on ASGI. Everything else goes on to the inner app.

The stored value is JSON text already, so it is copied into the answer, never decoded and encoded again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from botwire import _wire
from botwire._jsontext import decode_utf8, encode_utf8, quote
from botwire._names import check_name
from botwire.server._fields import Fields
from botwire.server._observe import Seen
from botwire.server._problems import Disconnected, Hidden, Reply, json_reply, not_found, reply_to
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
    refuse_twice,
    request_id_of,
)
from botwire.server._service import Service
from botwire.stores._protocol import Delete, EntryRow, Set

Inner = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[Service, Scope, HeaderMap, Receive, str, str], Awaitable[Reply]]


ENTRY = "/memory/{namespace}/{key}"


ASKED_OF_NOBODY = frozenset(("/health", "/ready"))
"""Paths that answer without a look at tokens, also while the store is away."""


class HotPath:
    """An ASGI app around another one."""

    def __init__(self, service: Service, inner: Inner) -> None:
        self._service = service
        self._inner = inner
        self._handlers: dict[str, Handler] = {"GET": _get, "HEAD": _get, "PUT": _put, "DELETE": _delete}

    def stop(self) -> float:
        """The server is about to end: no longer ready. How many seconds it is to go on answering before."""
        self._service.stopping = True
        return self._service.operating.drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._inner(scope, receive, send)
        headers, service = dict(scope["headers"]), self._service
        observer = service.observer
        seen = observer.begin(scope["method"], headers)
        try:
            if len(headers) < len(scope["headers"]):
                refuse_twice(scope["headers"])
            await _admit(service, scope, headers, seen)
            path = raw_path(scope)
            if path.startswith(b"/memory/") and scope["method"] in self._handlers:
                parts = path.split(b"/")
                if len(parts) == 4:
                    handler = self._handlers[scope["method"]]
                    seen.route = ENTRY
                    namespace = check_name(_wire.decode_part(parts[2], "namespace"), "namespace")
                    key = check_name(_wire.decode_part(parts[3], "key"), "key")
                    try:
                        answer = await handler(service, scope, headers, receive, namespace, key)
                    except Hidden:
                        answer = await handler(service.of_nothing, scope, headers, receive, namespace, key)
                    await reply(send, seen.mark(answer))
                    return None
            inner = {**scope, "path": path.decode("latin-1"), "root_path": "", "botwire.headers": headers, "botwire.seen": seen}
            return await self._inner(inner, receive, seen.watching(send))
        except Disconnected:
            return None
        except Exception as error:
            if seen.status:  # the answer had begun: it ends here, and whoever reads it sees that it is not whole
                raise
            return await reply(send, seen.mark(reply_to(error, seen.request_id)))
        finally:
            observer.end(seen)

    def end_streams(self) -> None:
        """End the answers that would go on for ever; a server waits for all answers before it stops."""
        self._service.end_streams()


async def _admit(service: Service, scope: Scope, headers: HeaderMap, seen: Seen) -> None:
    """Let a request in.

    Raises:
        HTTPProblem, QuotaExceeded: if it is not let in.
    """
    service.guard(headers)
    gate = service.gate
    if gate is not None and not service.reads_are_fast and not gate.is_fresh(headers) and scope["path"] not in ASKED_OF_NOBODY:
        await service.run(gate.warm_up, headers)
    if service.rate_limit is not None:
        seen.limits = service.rate_limit.admit(service.caller(scope, headers))


async def _get(service: Service, scope: Scope, headers: HeaderMap, _: Receive, namespace: str, key: str) -> Reply:
    service.authorize(headers, namespace, "read")
    query = scope["query_string"]
    as_text = bool(query) and (query == b"as=text" or query_as_text(parse_query(query, "as")))
    row: EntryRow | None
    row = service.store.get(namespace, key) if service.reads_are_fast else await service.run(service.store.get, namespace, key)
    if row is None:
        raise not_found(f"there is no entry {key!r} in namespace {namespace!r}")
    tag = (b"etag", _wire.etag(row.version).encode())
    if is_unchanged(headers, row.version):
        return 304, [tag], b""
    return json_reply(encode_utf8(f'{{"namespace":{quote(namespace)},{_wire.entry_to_json(row, as_text)}}}'), tag)


async def _put(service: Service, scope: Scope, headers: HeaderMap, receive: Receive, namespace: str, key: str) -> Reply:
    service.authorize(headers, namespace, "write")
    if scope["query_string"]:
        parse_query(scope["query_string"])
    request_id = request_id_of(headers)
    body = await read_body(headers, receive, service.max_body_bytes)
    operation = (
        _set(key, body, service.max_value_bytes)
        if len(body) <= INLINE_CHARS
        else await service.run(_set, key, body, service.max_value_bytes)
    )
    if (if_version := if_version_of(headers)) is not None:
        operation = operation._replace(if_version=if_version)
    version = (await service.write(namespace, operation, request_id=request_id))[0]
    answer = f'{{"namespace":{quote(namespace)},"key":{quote(key)},"stored":true,"version":{version}}}'
    return json_reply(answer.encode(), (b"etag", f'"{version}"'.encode()))


def _set(key: str, body: bytes, max_bytes: int) -> Set:
    fields = Fields(decode_utf8(body, "body"), max_bytes=max_bytes)
    operation = Set(key, fields.json("value"), None, fields.ttl(None))
    fields.done()
    return operation


async def _delete(service: Service, scope: Scope, headers: HeaderMap, _: Receive, namespace: str, key: str) -> Reply:
    service.authorize(headers, namespace, "write")
    if scope["query_string"]:
        parse_query(scope["query_string"])
    operation = Delete(key, if_version_of(headers))
    deleted = (await service.write(namespace, operation, request_id=request_id_of(headers)))[0]
    if not deleted:
        raise not_found(f"there is no entry {key!r} in namespace {namespace!r}")
    return json_reply(f'{{"namespace":{quote(namespace)},"key":{quote(key)},"deleted":true}}'.encode())


async def reply(send: Send, answer: Reply) -> None:
    """Send an answer."""
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
