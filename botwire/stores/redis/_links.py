"""Connections for threads: an idle one is used again, a new one is made when there is none."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from redis import exceptions as driver
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from botwire.stores.redis._replies import PIECE, Replies
from botwire.stores.redis._router import REFUSED, TRANSPORT, Call, Exchange, Pause, UnsentError
from botwire.stores.redis._settings import Address, Settings

# Not telling the server the library's name saves two round trips a connection. Driver 8 has another argument for that.
_has_driver_info = "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
_NAMELESS: dict[str, None] = {"driver_info": None} if _has_driver_info else {"lib_name": None, "lib_version": None}

LONGEST_CONNECT = 5.0
"""Seconds that a connection may take to be made."""

MOST_IDLE = 64
"""Idle connections that are kept to one server."""


def connection_options(settings: Settings, address: Address, *, sentinel: bool, timeout: float) -> dict[str, Any]:
    """What the driver's connection takes. It never repeats a command: the router does, knowing what may be repeated."""
    return {
        "host": address[0],
        "port": address[1],
        "db": 0 if sentinel else settings.database,
        **(settings.sentinel_credentials if sentinel else settings.credentials),
        **(settings.tls or {}),
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout,
        "socket_connect_timeout": min(timeout, LONGEST_CONNECT),
        **_NAMELESS,
    }


def patience(deadline: float, timeout: float) -> float:
    """How long to wait for the next bytes: a part of the timeout, so that a frozen server leaves time to ask another.

    Raises:
        TimeoutError: if no time is left.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time left")
    return min(left, max(timeout / 4, 1.0))


def error_maker(connection: Any) -> Callable[[str], Exception]:
    """What makes the driver's errors of what a server says: which class stands for which code is the driver's matter."""
    return connection._parser.parse_error  # noqa: SLF001 - there is no public way to the same table


def _be_patient(socket: Any, seconds: float) -> None:
    if socket.gettimeout() != seconds:  # which is a system call each time
        socket.settimeout(seconds)


class Links:
    """The connections of one store to its servers."""

    def __init__(self, settings: Settings, suspects: set[Address]) -> None:
        self._settings = settings
        self._suspects = suspects
        self._idle: dict[tuple[Address, bool], list[Any]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def run(self, call: Call[Any]) -> Any:
        """Drive a call to its end."""
        answer: Any = None
        error: Exception | None = None
        while True:
            try:
                step = call.send(answer) if error is None else call.throw(error)
            except StopIteration as stop:
                return stop.value
            answer, error = None, None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            try:
                answer = self.exchange(step)
            except (*TRANSPORT, REFUSED) as caught:
                error = caught

    def exchange(self, step: Exchange) -> list[Any]:
        """Send, and read the answers; the connection is given up if anything goes wrong."""
        connection = self._take(step)
        try:
            answers = self._talk(connection, step)
        except BaseException:
            connection.disconnect()
            raise
        self._give((step.address, step.sentinel), connection)
        return answers

    def _talk(self, connection: Any, step: Exchange) -> list[Any]:
        socket, replies = connection._sock, Replies(step.answers, error_maker(connection))  # noqa: SLF001 - the driver has no other way
        _be_patient(socket, patience(step.deadline, self._settings.timeout))
        socket.sendall(step.data)
        while not replies.feed(socket.recv(PIECE)):
            _be_patient(socket, patience(step.deadline, self._settings.timeout))
        return replies.answers

    def connect(self, address: Address, deadline: float, *, sentinel: bool = False) -> Any:
        """A new connection.

        Raises:
            UnsentError: if it cannot be made; the cause says why.
        """
        left = patience(deadline, self._settings.timeout)
        options = connection_options(self._settings, address, sentinel=sentinel, timeout=left)
        make: Callable[..., Any] = redis.Connection if self._settings.tls is None else redis.SSLConnection
        connection: Any = make(**options)
        try:
            connection.connect()
        except driver.AuthenticationError:
            connection.disconnect()
            raise
        except TRANSPORT as error:
            connection.disconnect()
            raise UnsentError from error
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _take(self, step: Exchange) -> Any:
        if step.address in self._suspects:
            self._drop(step.address)
        idle = self._idle.get((step.address, step.sentinel))
        if idle:
            try:
                return idle.pop()
            except IndexError:  # another thread was faster
                pass
        return self.connect(step.address, step.deadline, sentinel=step.sentinel)

    def _give(self, where: tuple[Address, bool], connection: Any) -> None:
        with self._lock:
            idle = self._idle.setdefault(where, [])
            if not self._closed and len(idle) < MOST_IDLE:
                idle.append(connection)
                return
        connection.disconnect()

    def _drop(self, address: Address) -> None:
        with self._lock:
            self._suspects.discard(address)
            dropped = [*self._idle.pop((address, False), []), *self._idle.pop((address, True), [])]
        for connection in dropped:
            connection.disconnect()

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.disconnect()

    def abandon(self) -> list[Any]:
        """In a child after a fork: leave the connections to the parent. They are returned, to be kept from being collected."""
        self._lock = threading.Lock()
        abandoned = [connection for connections in self._idle.values() for connection in connections]
        self._idle = {}
        return abandoned
