"""Listening to a botwire server: one answer that goes on (server-sent events), and another one when it ends.

The format is that of the HTML standard, section 9.2.6. What happens while there is no connection is made up for by saying
that anything may have changed, once there is one again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from botwire import _wire
from botwire._errors import BotWireError, QuotaExceeded, StoreBusy, StoreUnavailable
from botwire.stores._hearing import ANYTHING, Hearing, merge
from botwire.stores._http_calls import Answer, Request, failure
from botwire.stores._protocol import Heard

logger = logging.getLogger("botwire")

KEEP_ALIVE = 10
"""Seconds of silence after which the server is to show that it is alive."""
PATIENCE = 2.5
"""So many times that without a byte, and the connection is taken for dead."""
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
"""Seconds before connecting again, at most: twice as many after each failure."""
LASTING = 5.0
"""Seconds after which a connection counts as good, so that the waits begin small again."""
POLL_EVERY = 2.0
"""Seconds between two looks at a service that cannot tell of changes."""
MAX_LINE = 4 * 1024 * 1024


class Service(Protocol):
    """What a listener needs to know of the service."""

    url: str
    timeout: float


class Events:
    """Events out of the bytes of a stream."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[tuple[str, str]]:
        """The events, name and data, that are complete with this chunk.

        Raises:
            StoreUnavailable: if it cannot be such a stream.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise StoreUnavailable("the server sends a line without end in place of events")
        found: list[tuple[str, str]] = []
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._name = value
            elif field == "data":
                self._data.append(value)
            elif not line:
                if self._data:
                    found.append((self._name, "\n".join(self._data)))
                self._name, self._data = "", []
        return found


class _Course:
    """What both kinds of listener go by: what an event means, when to connect again, when to give up."""

    def __init__(self, hear: Callable[[Heard], None], where: str, timeout: float) -> None:
        self._hear = hear
        self._where = where
        self._deadline = monotonic() + timeout
        self._delay = FIRST_DELAY
        self._events = Events()
        self._connected_at = 0.0
        self.is_ready = False
        patience = KEEP_ALIVE * PATIENCE
        self.timeouts = (min(timeout, patience), patience, patience, patience)  # to connect, read, write, get a connection

    def connected(self) -> None:
        """An answer came."""
        self._events, self._connected_at = Events(), monotonic()

    def take(self, chunk: bytes) -> bool:
        """Bytes came; returns whether this is the first time that it is known to listen."""
        first = False
        for name, data in self._events.feed(chunk):
            if name == "change":
                self._hear(_wire.heard_from_json(data))
            elif name == "ready":
                first = first or not self.is_ready
                if self.is_ready:
                    self._hear(ANYTHING)
                self.is_ready = True
        return first

    def refused(self, request: Request, status: int, headers: dict[str, str], body: bytes) -> Exception:
        """The error that an answer other than a stream means."""
        return failure(request, Answer(status, headers, body), self._where)

    def after(self, error: Exception | None) -> float:
        """Seconds until the next attempt.

        Raises:
            BotWireError: if there is to be none.
        """
        known = isinstance(error, BotWireError)
        if known and not isinstance(error, (StoreUnavailable, QuotaExceeded)):
            raise error
        if not self.is_ready and monotonic() >= self._deadline:
            if known:
                raise error
            raise StoreUnavailable(
                f"cannot reach {self._where}: {error or 'it ends every answer at once'}; is the server running?"
            ) from error
        if self._connected_at and monotonic() - self._connected_at > LASTING:
            self._delay = FIRST_DELAY
        asked = error.retry_after if isinstance(error, QuotaExceeded) else None
        delay = random.uniform(0, self._delay) if asked is None else asked
        self._delay, self._connected_at = min(2 * self._delay, LONGEST_DELAY), 0.0
        logger.debug("connecting to %s again in %.1f s: %s", self._where, delay, error)
        return delay


def _is_stream(response: Any) -> bool:
    kind: str = response.headers.get("content-type", "")
    return response.status_code == 200 and kind.startswith("text/event-stream")


def _headers(response: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


class HTTPListener(Hearing):
    """A listener with a connection, and a thread that reads from it.

    Args:
        open_stream: sends the request with these timeouts and gives the response, not yet read.
        request: what it sends.
        service: of which the URL is for messages, and the timeout is what the first connection may take, in seconds.
    """

    def __init__(self, open_stream: Callable[[Any], Any], request: Request, service: Service) -> None:
        super().__init__()
        self._open_stream = open_stream
        self._request = request
        self._where, self._timeout = service.url, service.timeout
        self._reader = _Reader(self)

    def start(self) -> HTTPListener:
        """Return once the server listens.

        Raises:
            BotWireError: if it does not within the timeout, or refuses.
        """
        self._reader.thread.start()
        if not self._reader.ready.wait(self._timeout + 1):
            self.close()
            raise StoreBusy(f"{self._where} did not answer within {self._timeout:g} s; it may be overloaded or out of reach")
        if self._error is not None:
            raise self._error
        return self

    def wait(self, timeout: float) -> Heard | None:
        """See ``Listener.wait``."""
        if self._reader.ended and not self._closed and self._error is None:  # in the child of a fork
            self._reader = _Reader(self, again=True)
            self._reader.thread.start()
        return super().wait(timeout)

    def begin_anew(self) -> None:
        """In the child of a fork: the connection is the parent's, and no thread reads."""
        super().begin_anew()
        self._reader.ended = True
        self._reader.socket = None

    def end(self, error: BotWireError) -> None:
        """The store is closed."""
        self.fail(error)
        self._reader.stop()

    def close(self) -> None:
        """See ``Listener.close``."""
        super().close()
        self._reader.stop()


class _Reader:
    """The thread of a listener. It ends with it, also if it is forgotten without being closed."""

    def __init__(self, listener: HTTPListener, *, again: bool = False) -> None:
        self._listener = weakref.ref(listener)
        self._open_stream = listener._open_stream  # noqa: SLF001  # of this module
        self._request = listener._request  # noqa: SLF001
        self._course = _Course(self._hear, listener._where, listener._timeout)  # noqa: SLF001
        self._course.is_ready = again
        self._stopped = threading.Event()
        self.socket: socket.socket | None = None
        self.ready = threading.Event()
        self.ended = False
        self.thread = threading.Thread(target=self._run, name="botwire-listener", daemon=True)

    def _hear(self, heard: Heard) -> None:
        listener = self._listener()
        if listener is None:
            self._stopped.set()
        else:
            listener.hear(heard)

    def stop(self) -> None:
        self._stopped.set()
        with suppress(OSError, AttributeError):
            self.socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # pyright: ignore - None is an AttributeError

    def _run(self) -> None:
        try:
            while not self._stopped.is_set() and self._listener() is not None:
                error: Exception | None = None
                try:
                    self._read()
                except Exception as caught:  # noqa: BLE001 - the course sorts them: connections break in many ways
                    error = caught
                if not self._stopped.is_set():
                    self._stopped.wait(self._course.after(error))
        except BotWireError as error:
            listener = self._listener()
            if listener is not None:
                listener.fail(error)
        finally:
            self.ready.set()
            self.socket = None

    def _read(self) -> None:
        response = self._open_stream(self._course.timeouts)
        try:
            if not _is_stream(response):
                raise self._course.refused(self._request, response.status_code, _headers(response), response.read())
            self._course.connected()
            self.socket = _socket_of(response)
            if not self._stopped.is_set():
                self._take_all(response.iter_bytes())
        finally:
            response.close()

    def _take_all(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            if self._course.take(chunk):
                self.ready.set()
            if self._stopped.is_set() or self._listener() is None:
                return


def _socket_of(response: Any) -> Any:
    """The connection under a response: to wake who reads from it. None if the client does not show it."""
    stream = response.extensions.get("network_stream")
    return None if stream is None else stream.get_extra_info("socket")


class AsyncHTTPListener:
    """``HTTPListener`` for one event loop: a task reads, ``wait`` and ``close`` are awaited."""

    def __init__(self, open_stream: Callable[[Any], Awaitable[Any]], request: Request, service: Service) -> None:
        self._open_stream = open_stream
        self._request = request
        self._where, self._timeout = service.url, service.timeout
        self._course = _Course(self._hear, service.url, service.timeout)
        self._pending: Heard | None = None
        self._changed = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: BotWireError | None = None
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> AsyncHTTPListener:
        """See ``HTTPListener.start``."""
        self._task = asyncio.create_task(self._run(), name="botwire-listener")
        try:
            async with asyncio.timeout(self._timeout + 1):
                await self._ready
        except TimeoutError as error:
            await self.close()
            raise StoreBusy(f"{self._where} did not answer within {self._timeout:g} s; it may be overloaded or out of reach") from error
        except BaseException:
            await self.close()
            raise
        return self

    def _hear(self, heard: Heard) -> None:
        self._pending = merge(self._pending, heard)
        self._changed.set()

    async def wait(self, timeout: float) -> Heard | None:  # noqa: ASYNC109 - as the protocol has it
        """See ``Listener.wait``."""
        if self._pending is None and self._error is None and not self._closed:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
        heard, self._pending = self._pending, None
        if heard is None and self._error is not None and not self._closed:
            raise self._error
        return heard

    async def end(self, error: BotWireError) -> None:
        """The store is closed."""
        self._error = self._error or error
        await self._stop()

    async def close(self) -> None:
        """See ``Listener.close``."""
        self._closed = True
        await self._stop()

    async def _stop(self) -> None:
        self._changed.set()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        try:
            while True:
                error: Exception | None = None
                try:
                    await self._read()
                except Exception as caught:  # noqa: BLE001 - the course sorts them: connections break in many ways
                    error = caught
                await asyncio.sleep(self._course.after(error))
        except BotWireError as error:
            self._error = error
            self._changed.set()
            if not self._ready.done():
                self._ready.set_exception(error)

    async def _read(self) -> None:
        async with asyncio.timeout(self._course.timeouts[1]):
            response = await self._open_stream(self._course.timeouts)
        try:
            if not _is_stream(response):
                raise self._course.refused(self._request, response.status_code, _headers(response), await response.aread())
            self._course.connected()
            await self._take_all(response.aiter_bytes())
        finally:
            await response.aclose()

    async def _take_all(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            if self._course.take(chunk) and not self._ready.done():
                self._ready.set_result(None)
