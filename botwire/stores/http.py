"""The store behind an HTTP service: ``botwire serve``, or the older public service.

httpx is touched only here, and of an answer only what httpx2 has too, so that a client of either can be handed in.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore
import httpx

from botwire import _trace
from botwire._errors import Closed, InvalidValue, StoreIncompatible, Unsupported
from botwire._version import __version__
from botwire._wire import PROTOCOL, SERVICE
from botwire.stores._http_backup import download
from botwire.stores._http_calls import Answer, Call, HTTPCalls, Request, document_of, failure
from botwire.stores._http_effort import Effort
from botwire.stores._http_listen import KEEP_ALIVE, POLL_EVERY, AsyncHTTPListener, HTTPListener
from botwire.stores._methods import StoreMethods
from botwire.stores._polling import AsyncPollingListener, PollingListener

KEEPALIVE_SECONDS = 30.0
"""How long an idle connection is kept: less than servers keep theirs (``botwire serve``: 75 s), or calls get lost."""

MAX_ASYNC_REQUESTS = 8
"""Requests of one async store at a time; httpx's pool gets slower, not faster, with more."""


class _Service:
    """A service as both stores see it: where it is, how to ask it, and what kind it turned out to be."""

    def __init__(self, url: str, token: str | None, timeout: float, retries: int) -> None:
        self.url, authorization = _split_url(url)
        if token is not None:
            if not token.isascii() or not token.isprintable() or not token:
                raise InvalidValue("the token must be printable ASCII; it may have been cut or pasted wrongly")
            authorization = f"Bearer {token}"
        self.headers = {"user-agent": f"botwire/{__version__}", "accept": "application/json"}
        if authorization is not None:
            self.headers["authorization"] = authorization
        self.timeout = timeout
        self.retries = retries
        self.calls: Any = None

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call[Any]:
        if self.calls is None:
            self.calls = yield from self._recognise()
        method: Callable[..., Call[Any]] | None = getattr(self.calls, name, None)
        if method is None:
            raise Unsupported(f"{self.url} is the older service, which cannot {name.replace('_', ' ')}")
        return (yield from method(*args, **kwargs))

    def _recognise(self) -> Call[Any]:
        """Ask once what kind of service this is: botwire's says so at ``/health``, the older one has no such page."""
        request = Request("GET", "/health")
        answer = yield request
        if answer.status in (401, 403, 429) or answer.status >= 500 or 300 <= answer.status < 400:
            raise failure(request, answer, self.url)
        document = document_of(answer)
        if document.get("service") != SERVICE:
            from botwire.stores.legacy import LegacyCalls  # late: few need it

            return LegacyCalls(self.url)
        if document.get("protocol") != PROTOCOL:
            raise StoreIncompatible(
                f"{self.url} speaks protocol {document.get('protocol')!r:.20}, this botwire {__version__} speaks {PROTOCOL}; "
                "use the same version of botwire on both sides"
            )
        return HTTPCalls(self.url)

    def effort(self, request: Request) -> Effort:
        return Effort(request, self.url, self.timeout, self.retries)


class HTTPStore(StoreMethods):
    """A store behind an HTTP service. Makes no connection before its first call, and is safe to use from many threads.

    Args:
        url: ``http://host:port`` or ``https://host``; a path in it is put before every route. A user and password in it
            are sent as Basic authorization and never shown.
        token: sent as a Bearer token; never shown.
        timeout: seconds that one request may take, with its retries and however slowly the answer drips in.
        retries: how often a request is sent again when no answer came, or one that says to try later.
        client: an ``httpx.Client`` (or httpx2's) to use; it is never closed here. With it the timeout holds between the
            chunks of an answer's body only, since its connections are not botwire's.
        async_client: an ``httpx.AsyncClient`` for ``native_async``; likewise.

    Raises:
        InvalidValue: if the URL or token cannot be one.
    """

    reads_are_fast = False

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        client: Any = None,
        async_client: Any = None,
    ) -> None:
        self._service = _Service(url, token, timeout, retries)
        self.url = self._service.url
        self._given = client
        self._own: httpx.Client | None = None
        self._release: weakref.finalize[..., HTTPStore] | None = None
        self._async_client = async_client
        self._natives: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncHTTPStore] = weakref.WeakKeyDictionary()
        self._closed = False
        self._lock = threading.Lock()
        self._listeners: weakref.WeakSet[HTTPListener] = weakref.WeakSet()
        _stores.add(self)

    def __repr__(self) -> str:
        return f"HTTPStore({self.url!r})"

    def native_async(self) -> AsyncHTTPStore:
        """The same store, natively async, for the running event loop: one and the same as long as it is open.

        Whoever calls it closes it: ``await store.native_async().close()``.
        """
        loop = asyncio.get_running_loop()
        native = self._natives.get(loop)
        if native is None or native.closed:
            for ended in [each for each in self._natives if each.is_closed()]:
                del self._natives[ended]  # its connections know the loop, so it would never be collected
            native = self._natives[loop] = AsyncHTTPStore(self._service, self._async_client)
        return native

    def listen(self, namespace: str, session: str | None = None) -> HTTPListener | PollingListener:
        """See ``Store.listen``. Each listener has a connection and a thread; where there is no listening, it polls."""
        request: Request | None = self._call("listening", namespace, session, KEEP_ALIVE)
        if request is None:
            return PollingListener(POLL_EVERY)
        listener = HTTPListener(lambda timeouts: _send(self._client(), request, self._service, timeouts), request, self._service)
        self._listeners.add(listener)
        return listener.start()

    def backup(self, file: str) -> None:
        """Let the server copy its store, and write the copy to ``file``, which must not be there; whole and durable on return.

        Needs a token with the scope ``admin``, where the server has tokens.
        """
        _deadline.at = None  # it may take as long as it takes; each piece has the timeout
        download(self._client(), self.url, self._service.headers, self._service.timeout, file)

    def close(self) -> None:
        """Close the connections; a client that was handed in stays open."""
        for listener in list(self._listeners):
            listener.end(Closed(f"the store {self.url} is closed; open a new one"))
        with self._lock:
            self._closed = True
            self._own = None
            if self._release is not None:
                self._release()

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        with _trace.span(f"botwire {name}", "CLIENT", server__address=self.url) as span:
            return _trace.told(span, self._answer_of(name, args, kwargs))

    def _answer_of(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._service.call(name, args, kwargs)
        try:
            request = next(call)
            while True:
                request = call.send(self._exchange(request))
        except StopIteration as stop:
            return stop.value
        finally:
            call.close()

    def _exchange(self, request: Request) -> Answer:
        effort = self._service.effort(request)
        while True:
            client = self._client()
            try:
                answer = self._attempt(client, request, effort)
                delay = effort.answered(answer)
            except Exception as error:  # noqa: BLE001 - sorted by effort, which raises again what it does not know
                delay = effort.failed(error)
            else:
                if delay is None:
                    return answer
            time.sleep(delay)

    def _attempt(self, client: Any, request: Request, effort: Effort) -> Answer:
        _deadline.at = effort.deadline
        response = _send(client, request, self._service, effort.sending())
        try:
            chunks: list[bytes] = []
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                effort.remaining()
            return _answer(response, chunks)
        finally:
            response.close()

    def _client(self) -> Any:
        if self._closed:
            raise Closed(f"the store {self.url} is closed; open a new one")
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                self._own = httpx.Client(transport=_Transport(_tls(self.url)), timeout=None)  # noqa: S113 - each request has its own
                self._release = weakref.finalize(self, self._own.close)  # for who forgets to close the store
            return self._own

    def _after_fork(self) -> None:
        """In a child: leave the connections to the parent, and make others."""
        self._lock = threading.Lock()
        if self._own is not None:
            _inherited.append(self._own)  # kept, since collecting it would warn of sockets that are the parent's
            self._own = None
        if self._release is not None:
            self._release.detach()
        for listener in list(self._listeners):
            listener.begin_anew()


class AsyncHTTPStore(StoreMethods):
    """``HTTPStore`` for one event loop: the same methods, awaited. Made by ``HTTPStore.native_async``."""

    def __init__(self, service: _Service, client: Any = None) -> None:
        self._service = service
        self.url = service.url
        self._given = client
        self._own: httpx.AsyncClient | None = None
        self.closed = False
        self._slots = asyncio.Semaphore(MAX_ASYNC_REQUESTS)
        self._listeners: weakref.WeakSet[AsyncHTTPListener] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"AsyncHTTPStore({self.url!r})"

    async def close(self) -> None:
        """Close the connections; a client that was handed in stays open."""
        own, self._own, self.closed = self._own, None, True
        for listener in list(self._listeners):
            await listener.end(Closed(f"the store {self.url} is closed; open a new one"))
        if own is not None:
            await own.aclose()

    async def listen(self, namespace: str, session: str | None = None) -> AsyncHTTPListener | AsyncPollingListener:
        """See ``Store.listen``; the listener's ``wait`` and ``close`` are awaited. Each has a connection of its own."""
        request: Request | None = await self._call("listening", namespace, session, KEEP_ALIVE)
        if request is None:
            return AsyncPollingListener(POLL_EVERY)
        listener = AsyncHTTPListener(lambda timeouts: _send(self._client(), request, self._service, timeouts), request, self._service)
        self._listeners.add(listener)
        return await listener.start()

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        with _trace.span(f"botwire {name}", "CLIENT", server__address=self.url) as span:
            return _trace.told(span, await self._answer_of(name, args, kwargs))

    async def _answer_of(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._service.call(name, args, kwargs)
        try:
            request = next(call)
            while True:
                request = call.send(await self._exchange(request))
        except StopIteration as stop:
            return stop.value
        finally:
            call.close()

    async def _exchange(self, request: Request) -> Answer:
        effort = self._service.effort(request)
        while True:
            try:
                async with asyncio.timeout(effort.remaining()), self._slots:
                    answer = await self._attempt(self._client(), request, effort)
                delay = effort.answered(answer)
            except Exception as error:  # noqa: BLE001 - sorted by effort, which raises again what it does not know
                delay = effort.failed(error)
            else:
                if delay is None:
                    return answer
            await asyncio.sleep(delay)

    async def _attempt(self, client: Any, request: Request, effort: Effort) -> Answer:
        response = await _send(client, request, self._service, effort.sending())
        try:
            return _answer(response, [chunk async for chunk in response.aiter_bytes()])
        finally:
            await response.aclose()

    def _client(self) -> Any:
        if self.closed:
            raise Closed(f"the store {self.url} is closed; open a new one")
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = httpx.AsyncClient(limits=_limits(), verify=_tls(self.url), timeout=None)  # noqa: S113 - each request has its own
        return self._own


# ------------------------------------------------------------------------------------------- details


def _split_url(url: str) -> tuple[str, str | None]:
    """The URL without credentials, and the Authorization header that they make."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidValue("the URL of the store is malformed; it is written http://host:port") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidValue("the URL of an HTTP store is written http://host:port or https://host, without query or fragment")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
    if parts.username is None:
        return shown, None
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return shown, "Basic " + base64.b64encode(credentials.encode()).decode()


def _send(client: Any, request: Request, service: _Service, timeout: Any) -> Any:
    headers = {**service.headers, **dict(request.headers), **_trace.headers()}
    built = client.build_request(request.method, service.url + request.target, content=request.body, headers=headers, timeout=timeout)
    return client.send(built, stream=True, follow_redirects=False)


def _answer(response: Any, chunks: list[bytes]) -> Answer:
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, b"".join(chunks))


def _limits() -> httpx.Limits:
    return httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_SECONDS)


def _tls(url: str) -> ssl.SSLContext:
    """What checks the server's certificate; without https an empty one, since reading all authorities takes 27 ms."""
    return httpx.create_ssl_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Deadline(threading.local):
    """When the request of this thread must be over, by the monotonic clock."""

    at: float | None = None

    def shorten(self, timeout: float | None) -> float | None:
        if self.at is None:
            return timeout
        left = max(self.at - time.monotonic(), 0.001)
        return left if timeout is None else min(left, timeout)


_deadline = _Deadline()


class _Transport(httpx.HTTPTransport):
    """httpx's transport over streams that keep to a deadline: httpx counts its timeout anew for every read."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        limits = _limits()
        super().__init__(limits=limits, verify=tls)
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Network(),
        )


class _Network(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **kwargs))


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _deadline.shorten(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), 65_536):  # in pieces: the inner stream counts its timeout anew for each send
            self._inner.write(buffer[start : start + 65_536], _deadline.shorten(timeout))

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(*args, **kwargs))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


_stores: weakref.WeakSet[HTTPStore] = weakref.WeakSet()
_inherited: list[Any] = []


def _after_fork() -> None:
    for store in list(_stores):
        store._after_fork()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
