"""A TCP proxy on loopback that does wrong when it is told to: cut, freeze, delay, lose or truncate a reply, fall half-open.

with Proxy(("127.0.0.1", 5432)) as proxy:
    store = open_store(f"postgresql://127.0.0.1:{proxy.port}/...")
    proxy.freeze()
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

Address = tuple[str, int]


class Proxy:
    """Passes on what clients and the server send each other. All methods may be called from any thread.

    ``upstream`` may be changed: new connections then go to another server, as those of a moved address would. ``on_client`` and
    ``on_server`` see what passes and may change or hold it; where they answer None, both sides are cut.

    Args:
        upstream: a server's address, or its port on loopback.
    """

    def __init__(self, upstream: Address | int) -> None:
        self.upstream = ("127.0.0.1", upstream) if isinstance(upstream, int) else upstream
        self.on_client: Callable[[bytes], bytes | None] = lambda data: data
        self.on_server: Callable[[bytes], bytes | None] = lambda data: data
        self.accepted = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = self._closed = False
        self._strangers: frozenset[str] = frozenset()
        self._delay = 0.0
        self._budget: int | None = None  # how many bytes of the next reply pass before its connection is cut
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, cutting all connections."""
        self._closed = True
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    # ---------------------------------------------------------------------------------------- faults

    def cut(self) -> int:
        """Reset all connections, on both sides; returns how many there were. New ones are taken."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.reset()
        return len(links)

    def refuse(self, refusing: bool = True) -> None:
        """Reset every new connection at once, or take them again."""
        self._refusing = refusing

    def part_from(self, sources: Iterable[str]) -> None:
        """Keep apart: connections from these addresses are reset, those there are and new ones, until called with others or none."""
        self._strangers = frozenset(sources)
        with self._lock:
            links = [link for link in self._links if link.source in self._strangers]
        for link in links:
            link.reset()

    def freeze(self) -> None:
        """Pass nothing on, either way, until ``thaw``; connections stay open, new ones are accepted and hear nothing."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on what was held back, and all that comes."""
        self._flowing.set()

    def delay(self, seconds: float) -> None:
        """Hold back each piece for so long."""
        self._delay = seconds

    def drop_next_reply(self) -> None:
        """The next thing that the server says is lost with its connection: it acted, and the client cannot know."""
        self.truncate_next_reply(0)

    def truncate_next_reply(self, keep: int) -> None:
        """Of the next thing that the server says ``keep`` bytes arrive, then the connection is cut."""
        with self._lock:
            self._budget = keep

    def half_open(self) -> int:
        """The server's side of each connection ends, and the client is not told; returns how many there were."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.lose_server()
        return len(links)

    # --------------------------------------------------------------------------------------- passing

    def _start(self, function: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        with self._lock:
            self._threads = [*(thread for thread in self._threads if thread.is_alive()), thread]
            thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, (source, _) = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            if self._refusing or source in self._strangers:
                _reset(client)
            else:
                self._start(self._connect, client, source)

    def _connect(self, client: socket.socket, source: str) -> None:
        self._flowing.wait()
        try:
            server = socket.create_connection(self.upstream, 5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server, source)
        with self._lock:
            self._links.add(link)
        if self._closed or source in self._strangers:
            link.reset()
        self._start(self._pass, link, client, server)
        self._pass(link, server, client)

    def _pass(self, link: _Link, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._delay:
                    time.sleep(self._delay)
                self._flowing.wait()
                passed = (self.on_server if source is link.server else self.on_client)(data)
                if passed is None:
                    break
                budget = self._take_budget() if source is link.server else None
                if budget is not None:
                    target.sendall(passed[:budget])
                    link.reset()
                elif not (link.lost and target is link.server):
                    target.sendall(passed)
        self._flowing.wait()  # an end is news too
        if not (link.lost and source is link.server):
            link.end()
        if link.is_over():
            with self._lock:
                self._links.discard(link)

    def _take_budget(self) -> int | None:
        with self._lock:
            budget, self._budget = self._budget, None
        return budget


class _Link:
    """A client's connection and the server's that belongs to it; closed when nobody reads from either any more."""

    def __init__(self, client: socket.socket, server: socket.socket, source: str) -> None:
        self.client, self.server, self.source, self.lost = client, server, source, False
        self._readers, self._lock = 2, threading.Lock()

    def end(self) -> None:
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        for side in (self.client, self.server):
            _reset(side)

    def lose_server(self) -> None:
        self.lost = True
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)

    def is_over(self) -> bool:
        with self._lock:
            self._readers -= 1
            if self._readers:
                return False
        self.client.close()
        self.server.close()
        return True


def _reset(side: socket.socket) -> None:
    """Close with a reset instead of an orderly end, waking whoever reads from it."""
    with contextlib.suppress(OSError):
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RD)
    side.close()
