"""Real servers, and a proxy between them and a store that does to its connections what networks do."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from engines.valkey import Valkey

from botwire.stores.redis import RedisStore


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for all tests that do it no harm."""
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Valkey]]:
    """Starts servers that a test may hurt."""
    started: list[Valkey] = []

    def start(name: str = "own", **options: Any) -> Valkey:
        started.append(Valkey(tmp_path / name, **options).start())
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def open_at() -> Iterator[Callable[..., RedisStore]]:
    """Opens stores and closes them when the test is over."""
    stores: list[RedisStore] = []

    def open_at(url: str, **options: Any) -> RedisStore:
        stores.append(RedisStore(url, **options))
        return stores[-1]

    yield open_at
    for store in stores:
        store.close()


@pytest.fixture
def fresh(valkey: Valkey, open_at: Callable[..., RedisStore]) -> RedisStore:
    """A store with a prefix of its own."""
    return open_at(f"{valkey.url}?prefix={secrets.token_hex(4)}:")


class Proxy:
    """Passes bytes on between clients and a server, until it is told otherwise."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.answers_to_drop = 0
        """So many answers to scripts are thrown away, and the connection closed."""
        self.dropped = 0
        self.passing = threading.Event()
        """While it is not set, what clients send is held back; it is passed on later, even if they are gone."""
        self.passing.set()
        self.held = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                last = [b""]
                threading.Thread(target=self._to_server, args=(client, server, last), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client, last), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, last: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 20):
                last[0] = data
                if not self.passing.is_set() and b"EVALSHA" in data:
                    self.held.set()
                    self.passing.wait(60)
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _to_client(self, server: socket.socket, client: socket.socket, last: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 20):
                if self.answers_to_drop and b"EVALSHA" in last[0] and not data.startswith(b"-NOSCRIPT"):
                    self.answers_to_drop -= 1
                    self.dropped += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Close all connections there are."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop."""
        self.passing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for each in self._open:
            each.close()


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[Proxy]:
    made = Proxy(valkey.port)
    yield made
    made.close()
