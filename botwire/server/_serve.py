"""Running the app: as a process of its own, or on a thread of this one."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

from botwire._errors import BotWireError, InvalidValue
from botwire.server._app import create_app
from botwire.server._hot import HotPath
from botwire.stores._open import open_store
from botwire.stores._protocol import Store

DEFAULT_PORT = 8377
KEEPALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than clients keep theirs, so that none sends into one that just closed."""

GRACE_SECONDS = 30
"""How long a shutdown waits for requests that are being answered."""


def serve(
    store_url: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    no_auth: bool = False,
    allow_hosts: Collection[str] = (),
    ready: Callable[[str], None] | None = None,
    **options: Any,
) -> None:
    """Serve a store until SIGINT or SIGTERM; what was acknowledged by then is durable.

    Args:
        store_url: as in ``open_store``; None for ``BOTWIRE_URL`` or else the default file.
        host: the address to listen at.
        port: the port; 0 for any free one.
        no_auth: listen beyond this machine although everyone who can reach the port can read and write everything.
        allow_hosts: names besides the address itself by which clients may call a server on the loopback address,
            such as that of a reverse proxy before it.
        ready: called with a line of text once requests are answered; without it the line is printed.
        options: of ``create_app``.

    Raises:
        InvalidValue: if ``host`` is beyond this machine and ``no_auth`` is not given.
        BotWireError: if the port cannot be listened at, or the store not be opened.
    """
    loopback = _is_loopback(host)
    if not loopback and not no_auth:
        raise InvalidValue(
            f"{host} can be reached from other machines, and there are no tokens: anyone there could read and write everything. "
            "Listen at 127.0.0.1, or say no_auth=True (--no-auth) if the network itself keeps strangers out"
        )
    listening = _listen(host, port)
    try:
        store = open_store(store_url)
    except BaseException:
        listening.close()
        raise
    allowed = {"localhost", "127.0.0.1", "[::1]", host, *allow_hosts} if loopback else None
    app = create_app(store, owns_store=True, allow_hosts=allowed, **options)
    url = _url(listening, host)
    line = f"botwire serving {store.url} at {url} (docs: {url}/docs)"
    _Server(app, lambda: (ready or _print)(line)).run(sockets=[listening])


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - at once: whoever started the server waits for this line


@contextmanager
def serve_in_thread(store: Store, *, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Generator[str]:
    """Serve a store from a thread of this process for as long as the ``with`` block runs; gives the URL.

    Args:
        store: what is served; it stays open afterwards.
        host: the address to listen at.
        port: the port; 0 for any free one.
        options: of ``create_app``.
    """
    listening = _listen(host, port)
    started = threading.Event()
    server = _Server(create_app(store, **options), started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="botwire-server", daemon=True)
    thread.start()
    started.wait(30)
    try:
        yield _url(listening, host)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, and logs nothing of requests."""

    def __init__(self, app: HotPath, on_ready: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                http="httptools",
                loop="auto",  # uvloop, where there is one
                lifespan="on",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEPALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=2048,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, OverflowError) as error:
        raise BotWireError(f"cannot listen at {host}:{port}: {error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise BotWireError(
            f"cannot listen at {host}:{port}: {reason}; is a server running there already? Port 0 takes a free one"
        ) from error
    listening.setblocking(False)
    return listening


def _url(listening: socket.socket, host: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
