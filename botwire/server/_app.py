"""The app: which path goes where."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from starlette.routing import Route, Router

from botwire._codec import encode
from botwire._version import __version__
from botwire._wire import PROTOCOL, SERVICE
from botwire.server import _entries, _sessions
from botwire.server._hot import HotPath, reply
from botwire.server._problems import Reply, json_reply, method_not_allowed, no_route
from botwire.server._request import Call, Receive, Scope, Send
from botwire.server._service import Authorize, Service, allow_all
from botwire.stores._protocol import Store

Handler = Callable[[Call], Awaitable[Reply]]


class _Endpoint:
    """The handlers of one path, by method. HEAD is GET without the body, which the server leaves out."""

    def __init__(self, service: Service, handlers: dict[str, Handler], elsewhere: tuple[str, ...] = ()) -> None:
        self._service = service
        self._handlers = {**handlers, **({"HEAD": handlers["GET"]} if "GET" in handlers else {})}
        self._allowed = ", ".join([*elsewhere, *self._handlers])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        if handler is None:
            raise method_not_allowed(self._allowed)
        await reply(send, await handler(Call(self._service, scope, scope["botwire.headers"], receive)))


async def _no_route(*_: object) -> None:
    raise no_route()


def create_app(
    store: Store,
    *,
    max_value_bytes: int = 1_048_576,
    max_batch_bytes: int = 67_108_864,
    read_threads: int = 8,
    authorize: Authorize = allow_all,
    allow_hosts: Collection[str] | None = None,
    owns_store: bool = False,
) -> HotPath:
    """The ASGI app that serves a store.

    Args:
        store: what it serves.
        max_value_bytes: largest value, in bytes of JSON text as UTF-8; larger ones are answered 413.
        max_batch_bytes: largest body of a request that may hold many values (batches, messages, lookups).
        read_threads: threads for reads that may take long: listings, searches.
        authorize: called with each request's headers, its namespace and what is to be done there; raises to refuse.
        allow_hosts: names by which the server may be called (the ``Host`` header); None for any.
        owns_store: whether the store is closed when the app shuts down.
    """
    service = Service(
        store,
        max_value_bytes=max_value_bytes,
        max_batch_bytes=max_batch_bytes,
        read_threads=read_threads,
        authorize=authorize,
        allow_hosts=allow_hosts,
        owns_store=owns_store,
    )

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncGenerator[None]:
        yield
        await service.close()

    return HotPath(service, Router(_routes(service), redirect_slashes=False, default=_no_route, lifespan=lifespan))


def _routes(service: Service) -> list[Route]:
    session = "/sessions/{namespace}/{session}"
    table: dict[str, dict[str, Handler]] = {
        "/": {"GET": _docs},
        "/docs": {"GET": _docs},
        "/openapi.json": {"GET": _openapi},
        "/health": {"GET": _health},
        "/check": {"GET": _check},
        "/memory": {"GET": _entries.list_namespaces},
        "/memory/{namespace}": {"GET": _entries.list_entries, "DELETE": _entries.clear_entries},
        "/memory/{namespace}/{key}": {"PATCH": _entries.merge_entry, "POST": _entries.change_entry},
        "/count/{namespace}": {"GET": _entries.count_entries},
        "/batch/{namespace}": {"POST": _entries.write_batch},
        "/records/{namespace}": {"POST": _entries.write_records},
        "/lookup/{namespace}": {"POST": _entries.look_up},
        "/search/{namespace}": {"GET": _entries.search_entries},
        "/search/{namespace}/messages": {"GET": _sessions.search_messages},
        "/sessions/{namespace}": {"GET": _sessions.list_sessions},
        session: {"GET": _sessions.read_session, "PATCH": _sessions.change_session, "DELETE": _sessions.delete_session},
        f"{session}/messages": {
            "GET": _sessions.read_messages,
            "POST": _sessions.append_messages,
            "DELETE": _sessions.clear_session,
        },
        f"{session}/pop": {"POST": _sessions.pop_message},
        f"{session}/trim": {"POST": _sessions.trim_session},
    }
    hot = {"/memory/{namespace}/{key}": ("GET", "HEAD", "PUT", "DELETE")}
    return [Route(path, _Endpoint(service, handlers, hot.get(path, ()))) for path, handlers in table.items()]


async def _health(call: Call) -> Reply:
    """``GET /health``: what this is; a problem document if its store cannot be read."""
    call.query()
    store = call.service.store
    await call.service.run(store.namespaces, None, 1)
    return json_reply(
        json.dumps({"service": SERVICE, "version": __version__, "protocol": PROTOCOL, "store": store.url, "ok": True}).encode()
    )


async def _check(call: Call) -> Reply:
    """``GET /check``: the store examined from end to end."""
    call.query()
    call.service.authorize(call.headers, None, "read")
    return json_reply(encode(await call.service.run(call.service.store.check)).encode())


async def _openapi(call: Call) -> Reply:
    """``GET /openapi.json``."""
    from botwire.server._openapi import document  # late: building it takes a while, and few servers are asked

    return json_reply(json.dumps(await call.service.run(document)).encode())


async def _docs(call: Call) -> Reply:
    """``GET /docs``: the same for people."""
    from botwire.server._docs import page

    host = call.headers.get(b"host", b"127.0.0.1:8377").decode("latin-1")
    body = (await call.service.run(page, f"http://{host}")).encode()
    policy = b"default-src 'none'; style-src 'unsafe-inline'"
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    return 200, [*headers, (b"content-security-policy", policy)], body
