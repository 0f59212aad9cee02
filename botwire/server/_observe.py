"""What is noticed of each request: counted, logged, traced, and named by an id.

Two calls stand around a request: ``begin`` and ``end``. Between them the route tells its template, and the answer its status.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from time import perf_counter
from typing import Any

from botwire import _trace
from botwire.server._limits import Headers, tells_limit
from botwire.server._metrics import Histogram, Metrics, SharedHistogram
from botwire.server._problems import Reply
from botwire.stores._protocol import Store

logger = logging.getLogger("botwire.access")

UNMATCHED = "unmatched"
"""In place of a route's template: no route, or refused before one was looked for."""
GONE = 499
"""In place of a status: the client went away before there was an answer."""

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
_is_request_id = re.compile(rb"[A-Za-z0-9._:~-]{1,128}").fullmatch
_CALLS = (
    "write", "get", "get_many", "scan", "scan_keys", "scan_stamps", "count", "usage", "namespaces", "read_log", "scan_logs", "search",
    "search_log", "check", "backup", "delete_namespace",
)  # fmt: skip

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Seen:
    """One request on its way. Its id is made when something is to have it: an error, a line of the log, a span."""

    __slots__ = ("_request_id", "began", "limits", "method", "route", "span", "status")

    def __init__(self, method: str, request_id: bytes | None, span: tuple[Any, Any] | None) -> None:
        self.method = method
        self._request_id = request_id
        self.span = span
        self.route = UNMATCHED
        self.status = 0
        self.limits: Headers = ()
        """Headers that tell the caller how often it may still call."""
        self.began = perf_counter()

    @property
    def request_id(self) -> str:
        """What the request is called."""
        if self._request_id is None:
            self._request_id = _PREFIX + b"%x" % next(_numbers)
        return self._request_id.decode()

    def mark(self, answer: Reply) -> Reply:
        """Note the status of an answer, and put into it the request's id and what its caller has left."""
        self.status = status = answer[0]
        if self.limits and not (status == 429 and tells_limit(answer[1])):  # a refusal for another limit tells of that one
            answer[1].extend(self.limits)
        if self._request_id is not None or status >= 400:
            answer[1].append((b"x-request-id", self.request_id.encode()))
        return answer

    def watching(self, send: Send) -> Send:
        """The same for an answer that somebody else sends."""

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer = self.mark((message["status"], list(message.get("headers", ())), b""))
                message["headers"] = answer[1]
            await send(message)

        return sending


_PREFIX = secrets.token_hex(5).encode() + b"-"
_numbers = itertools.count(1)


class Observer:
    """Notices requests and what the store takes for them.

    Args:
        store: what is served.
        folder: where several processes put their counts together; None for one process.
    """

    def __init__(self, store: Store, folder: Path | None = None) -> None:
        self.metrics = Metrics(store, folder)
        self.tracing = _trace.is_on()
        self.names_all = self.tracing or logger.isEnabledFor(logging.INFO)

    def begin(self, method: str, headers: Mapping[bytes, bytes]) -> Seen:
        """A request has arrived."""
        given = headers.get(b"x-request-id")
        if given is not None and not _is_request_id(given):
            given = None
        seen = Seen(method, given, None)
        if self.names_all:
            _ = seen.request_id  # the log or the trace will have it, so the answer is to have it too
        if self.tracing:
            seen.span = _trace.begin_server(_known(method), headers)
        return seen

    def enter(self, seen: Seen, route: str) -> None:
        """It is a request to this route, off the hot path."""
        seen.route = route
        self.metrics.in_progress[route] = self.metrics.in_progress.get(route, 0) + 1

    def leave(self, seen: Seen) -> None:
        """The end of what ``enter`` began."""
        self.metrics.in_progress[seen.route] -= 1

    def end(self, seen: Seen) -> None:
        """It is answered, or given up."""
        took = perf_counter() - seen.began
        status = seen.status or GONE
        try:
            self.metrics.requests[seen.method, seen.route, status].add(took)
        except KeyError:
            self.metrics.requests.setdefault((_known(seen.method), seen.route, status), Histogram()).add(took)
        if seen.span is not None:
            _trace.end_server(*seen.span, _known(seen.method), seen.route, status, seen.request_id)
        if logger.isEnabledFor(logging.INFO):
            _log(seen, status, took)

    def around(self, store: Store) -> Any:
        """The store with its calls timed, and traced if there is OpenTelemetry."""
        return _Timed(store, self)

    def histogram_of(self, call: str) -> SharedHistogram:
        """Where the times of a call of the store go."""
        return self.metrics.store_calls.setdefault(call, SharedHistogram())

    def close(self) -> None:
        """Tell the other processes the last counts."""
        if self.metrics.sharing is not None:
            self.metrics.sharing.close()


def _log(seen: Seen, status: int, took: float) -> None:
    """One line: what was asked for by its template alone, since names are often personal."""
    milliseconds = round(took * 1_000, 2)
    method, route, request_id = _known(seen.method), seen.route, seen.request_id
    fields = {"method": method, "route": route, "status": status, "milliseconds": milliseconds, "request_id": request_id}
    logger.info("%s %s %d %.2f ms %s", method, route, status, milliseconds, request_id, extra={"fields": fields})


def _known(method: str) -> str:
    return method if method in _METHODS else "other"


class _Timed:
    """A store whose calls are timed. All else is the store's own."""

    def __init__(self, store: Store, observer: Observer) -> None:
        self._store = store
        for name in _CALLS:
            if hasattr(store, name):
                wrap = _traced if observer.tracing and name != "write" else _timed
                setattr(self, name, wrap(name, getattr(store, name), observer.histogram_of(name).add))
        if getattr(store, "reads_are_fast", False) and not observer.tracing:
            self.get = _timed_get(store.get, observer.metrics)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _timed(_: str, call: Callable[..., Any], add: Callable[[float], None]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            add(perf_counter() - began)

    return timed


def _timed_get(get: Callable[[str, str], Any], metrics: Metrics) -> Callable[[str, str], Any]:
    """The same for the call that is made most, always by the event loop's thread."""
    add = metrics.fast_get.add

    def timed(namespace: str, key: str) -> Any:
        began = perf_counter()
        row = get(namespace, key)
        add(perf_counter() - began)
        return row

    return timed


def _traced(name: str, call: Callable[..., Any], add: Callable[[float], None]) -> Callable[..., Any]:
    timed = _timed(name, call, add)

    def traced(*args: Any, **kwargs: Any) -> Any:
        with _trace.span(f"store {name}", db__operation__name=name):
            return timed(*args, **kwargs)

    return traced
