"""A server that does wrong on purpose, alone or as a proxy before a real one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from botwire.server import serve_in_thread
from botwire.stores import Store, open_store

Fault = Callable[["FaultyServer", socket.socket, bytes], None]
HEALTH = b'{"service":"botwire","version":"1","protocol":1,"store":"x","ok":true}'


class FaultyServer:
    """Reads whole requests and meets each with the next fault of its list; with none left it does as it should.

    What it should do is to pass the request on to ``upstream``, or without one to answer ``/health`` alone.
    """

    def __init__(self, upstream: str | None = None) -> None:
        self.faults: list[Fault] = []
        self.requests: list[bytes] = []
        self.upstream = None if upstream is None else ("127.0.0.1", int(upstream.rpartition(":")[2]))
        self.stopping = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self.stopping.set()
        for opened in (self._listening, *self._open):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(client)
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            while request := read_message(client):
                if request.startswith(b"GET /health") and self.upstream is None and not self.faults_at_health():
                    client.sendall(answer(200, HEALTH))
                    continue
                self.requests.append(request)
                fault = self.faults.pop(0) if self.faults else pass_on
                fault(self, client, request)

    def faults_at_health(self) -> bool:
        return bool(self.faults) and getattr(self.faults[0], "at_health", False)


def read_message(connection: socket.socket) -> bytes:
    """One HTTP message with a Content-Length or without a body; nothing at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65_536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while len(body) < (lengths or [0])[0]:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def answer(status: int, body: bytes = b"", *headers: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} Said So", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def forward(server: FaultyServer, request: bytes) -> bytes:
    assert server.upstream is not None
    with socket.create_connection(server.upstream) as upstream:
        upstream.sendall(request)
        return read_message(upstream)


# -------------------------------------------------------------------------------------------- faults


def pass_on(server: FaultyServer, client: socket.socket, request: bytes) -> None:
    client.sendall(forward(server, request))


def close_before(server: FaultyServer, client: socket.socket, request: bytes) -> None:
    """The request is lost: nobody acted on it."""
    client.shutdown(socket.SHUT_RDWR)


def close_after(server: FaultyServer, client: socket.socket, request: bytes) -> None:
    """The answer is lost: the server acted on the request."""
    forward(server, request)
    client.shutdown(socket.SHUT_RDWR)


def truncate(server: FaultyServer, client: socket.socket, request: bytes) -> None:
    """The server acted, and half of its answer arrives."""
    whole = forward(server, request)
    client.sendall(whole[:-5])
    client.shutdown(socket.SHUT_RDWR)


def hang(server: FaultyServer, client: socket.socket, request: bytes) -> None:
    """No answer ever, on a connection that stays open."""
    server.stopping.wait(60)


def drip_body(server: FaultyServer, client: socket.socket, request: bytes) -> None:
    """The body comes a byte at a time, each well within any timeout for one read."""
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    while not server.stopping.wait(0.05):
        client.sendall(b" ")


def drip_head(server: FaultyServer, client: socket.socket, request: bytes) -> None:
    """The head itself comes a byte at a time."""
    client.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not server.stopping.wait(0.05):
        client.sendall(b"x")


def say(status: int, body: bytes = b"", *headers: str, kind: str = "application/json") -> Fault:
    """A fixed answer."""
    return lambda server, client, request: client.sendall(answer(status, body, *headers, kind=kind))


def at_health(fault: Fault) -> Fault:
    """The fault meets the question what kind of service it is, too."""

    def marked(server: FaultyServer, client: socket.socket, request: bytes) -> None:
        fault(server, client, request)

    marked.at_health = True  # type: ignore[attr-defined]
    return marked


FAULTS = {
    name: fault
    for name, fault in globals().items()
    if name in ("pass_on", "close_before", "close_after", "truncate", "hang", "drip_body", "drip_head", "say", "at_health", "answer")
}


@pytest.fixture(scope="session")
def fault() -> dict[str, Fault]:
    """The faults by name: test modules cannot import from each other."""
    return FAULTS


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store("memory://")
    yield store
    store.close()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serve_in_thread(store) as url:
        yield url


@pytest.fixture
def proxy(url: str) -> Iterator[FaultyServer]:
    """A faulty proxy before a real server."""
    server = FaultyServer(url)
    yield server
    server.close()


@pytest.fixture
def elapsed() -> Callable[[], float]:
    """Seconds since the test began."""
    started = time.monotonic()
    return lambda: time.monotonic() - started
