"""The app: which path goes where."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from starlette.routing import Route, Router

from botwire.server import _admin, _entries, _operator, _sessions, _watch
from botwire.server._gate import Gate
from botwire.server._hot import ENTRY, HotPath, reply
from botwire.server._limits import RateLimit
from botwire.server._operating import Operating, upkeep
from botwire.server._page import page_routes
from botwire.server._problems import Hidden, Reply, json_reply, method_not_allowed, no_route
from botwire.server._quotas import Quotas
from botwire.server._request import Call, Receive, Scope, Send
from botwire.server._service import Authorize, Service
from botwire.stores._protocol import Store

Handler = Callable[[Call], Awaitable[Reply | _watch.Stream | _operator.Download]]


class _Endpoint:
    """The handlers of one path, by method. HEAD is GET without the body, which the server leaves out."""

    def __init__(self, service: Service, path: str, handlers: Mapping[str, Handler], elsewhere: tuple[str, ...] = ()) -> None:
        self._service = service
        self._path = path
        self._handlers = {**handlers, **({"HEAD": handlers["GET"]} if "GET" in handlers else {})}
        self._allowed = ", ".join([*elsewhere, *self._handlers])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = scope["botwire.seen"]
        self._service.observer.enter(seen, self._path)
        try:
            handler = self._handlers.get(scope["method"])
            if handler is None:
                raise method_not_allowed(self._allowed)
            try:
                answer = await handler(Call(self._service, scope, scope["botwire.headers"], receive))
            except Hidden:
                answer = await handler(Call(self._service.of_nothing, scope, scope["botwire.headers"], receive))
            await (reply(send, answer) if isinstance(answer, tuple) else answer.send(receive, send))
        finally:
            self._service.observer.leave(seen)


async def _no_route(*_: object) -> None:
    raise no_route()


def create_app(  # noqa: PLR0913 - one for each setting of a server
    store: Store,
    *,
    max_value_bytes: int = 1_048_576,
    max_batch_bytes: int = 67_108_864,
    read_threads: int = 8,
    authorize: Authorize | None = None,
    allow_hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
    page: bool = True,
    owns_store: bool = False,
    quotas: Quotas | None = None,
    rate_limit: RateLimit | None = None,
    operating: Operating | None = None,
) -> HotPath:
    """The ASGI app that serves a store.

    Args:
        store: what it serves.
        max_value_bytes: largest value, in bytes of JSON text as UTF-8; larger ones are answered 413.
        max_batch_bytes: largest body of a request that may hold many values (batches, messages, lookups).
        read_threads: threads for reads that may take long: listings, searches.
        authorize: called with each request's headers, its namespace and what is to be done there; raises to refuse. Without it
            tokens are asked for as soon as there are some in the store.
        allow_hosts: names by which the server may be called (the ``Host`` header); None for any.
        origins: names under which browsers open the page, where a proxy sends on another ``Host`` header.
        page: whether the page for people is shown at ``/``; without it the documentation is.
        owns_store: whether the store is closed when the app shuts down.
        quotas: what namespaces may hold, and be charged for; None for no limits.
        rate_limit: how often one token, or one address, may call; None for as often as it likes.
        operating: what an operator sets: retention rules, where metrics go; None for the defaults.
    """
    service = Service(
        store,
        max_value_bytes=max_value_bytes,
        max_batch_bytes=max_batch_bytes,
        read_threads=read_threads,
        authorize=Gate(store, open_until_first=True) if authorize is None else authorize,
        allow_hosts=allow_hosts,
        origins=origins,
        owns_store=owns_store,
        quotas=quotas,
        rate_limit=rate_limit,
        operating=operating or Operating(),
    )

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncGenerator[None]:
        async with upkeep(service):
            yield
        await service.close()

    files = page_routes() if page else {}
    routes = [*(Route(path, _Endpoint(service, path, handlers)) for path, handlers in files.items()), *_routes(service)]
    return HotPath(service, Router(routes, redirect_slashes=False, default=_no_route, lifespan=lifespan))


def _routes(service: Service) -> list[Route]:
    session = "/sessions/{namespace}/{session}"
    table: dict[str, dict[str, Handler]] = {
        "/": {"GET": _docs},
        "/docs": {"GET": _docs},
        "/openapi.json": {"GET": _openapi},
        "/health": {"GET": _operator.health},
        "/ready": {"GET": _operator.ready},
        "/metrics": {"GET": _operator.metrics},
        "/check": {"GET": _operator.check},
        "/memory": {"GET": _entries.list_namespaces},
        "/memory/{namespace}": {"GET": _entries.list_entries, "DELETE": _entries.clear_entries},
        ENTRY: {"PATCH": _entries.merge_entry, "POST": _entries.change_entry},
        "/count/{namespace}": {"GET": _entries.count_entries},
        "/usage/{namespace}": {"GET": _operator.read_usage},
        "/batch/{namespace}": {"POST": _entries.write_batch},
        "/records/{namespace}": {"POST": _entries.write_records},
        "/lookup/{namespace}": {"POST": _entries.look_up},
        "/stamps/{namespace}": {"GET": _watch.list_stamps},
        "/watch/{namespace}": {"GET": _watch.watch},
        "/search/{namespace}": {"GET": _entries.search_entries},
        "/search/{namespace}/messages": {"GET": _sessions.search_messages},
        "/sessions/{namespace}": {"GET": _sessions.list_sessions, "DELETE": _operator.remove_sessions},
        "/namespaces/{namespace}": {"DELETE": _operator.remove_namespace},
        "/admin/backup": {"GET": _operator.backup},
        session: {"GET": _sessions.read_session, "PATCH": _sessions.change_session, "DELETE": _sessions.delete_session},
        f"{session}/messages": {
            "GET": _sessions.read_messages,
            "POST": _sessions.append_messages,
            "DELETE": _sessions.clear_session,
        },
        f"{session}/pop": {"POST": _sessions.pop_message},
        f"{session}/trim": {"POST": _sessions.trim_session},
        "/admin/tokens": {"GET": _admin.list_tokens, "POST": _admin.create_token},
        "/admin/tokens/{id}": {"DELETE": _admin.revoke_token},
    }
    hot = {ENTRY: ("GET", "HEAD", "PUT", "DELETE")}
    return [Route(path, _Endpoint(service, path, handlers, hot.get(path, ()))) for path, handlers in table.items()]


async def _openapi(call: Call) -> Reply:
    """``GET /openapi.json``."""
    from botwire.server._openapi import document  # late: building it takes a while, and few servers are asked

    return json_reply(json.dumps(await call.service.run(document, not call.service.is_open())).encode())


async def _docs(call: Call) -> Reply:
    """``GET /docs``: the same for people."""
    from botwire.server._docs import page

    host = call.headers.get(b"host", b"127.0.0.1:8377").decode("latin-1")
    body = (await call.service.run(page, f"{call.scheme}://{host}")).encode()
    policy = b"default-src 'none'; style-src 'unsafe-inline'"
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    return 200, [*headers, (b"content-security-policy", policy)], body
