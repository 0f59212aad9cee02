"""Running the app: as a process of its own, or on a thread of this one."""

from __future__ import annotations

import functools
import ipaddress
import socket
import threading
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from botwire._errors import BotWireError
from botwire.server._app import create_app
from botwire.server._hot import HotPath
from botwire.server._operating import Operating
from botwire.server._service import Authorize
from botwire.server._start import TLS, rule_for, tokens_asked
from botwire.server._workers import check_workers, run_workers
from botwire.stores._open import open_store, resolve_url
from botwire.stores._protocol import Store

DEFAULT_PORT = 8377
KEEPALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than clients keep theirs, so that none sends into one that just closed."""

GRACE_SECONDS = 30
"""How long a shutdown waits for requests that are being answered."""


def serve(  # noqa: PLR0913 - what an operator may set
    store_url: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    no_auth: bool = False,
    allow_hosts: Collection[str] = (),
    workers: int = 1,
    ready: Callable[[str], None] | None = None,
    tls: TLS | None = None,
    forwarded_allow_ips: str | None = None,
    operating: Operating | None = None,
    **options: Any,
) -> None:
    """Serve a store until SIGINT or SIGTERM; what was acknowledged by then is durable.

    Args:
        store_url: as in ``open_store``; None for ``BOTWIRE_URL`` or else the default file.
        host: the address to listen at.
        port: the port; 0 for any free one.
        no_auth: ask for no tokens, whatever there are: everyone who can reach the port can read and write everything.
        allow_hosts: names besides the address itself by which clients may call a server on the loopback address,
            such as that of a reverse proxy before it; the page may be opened under them.
        workers: processes that answer requests, all at the same address; one that dies is started anew.
        ready: called with a line of text once requests are answered; without it the line is printed.
        tls: the certificate with which to serve https.
        forwarded_allow_ips: addresses of reverse proxies, by commas, whose ``X-Forwarded-For`` and ``-Proto`` are believed; ``*`` for all.
        operating: what an operator sets: logs, metrics, retention.
        options: of ``create_app``.

    Raises:
        InvalidValue: if ``host`` is beyond this machine, the store has no tokens, and ``no_auth`` is not given; if the certificate
            cannot be used; or if the store cannot be served by several processes.
        BotWireError: if the port cannot be listened at, or the store not be opened, or if it cannot keep the quotas.
    """
    if workers != 1:
        check_workers(workers, resolve_url(store_url)[0])
    loopback = _is_loopback(host)
    settings: dict[str, Any] = {} if tls is None else tls.settings()
    if forwarded_allow_ips is not None:
        settings |= {"proxy_headers": True, "forwarded_allow_ips": forwarded_allow_ips}
    options["operating"] = operating or Operating()
    options["operating"].set_up_logs()
    store = open_store(store_url)
    try:
        authorize = rule_for(store, host=host, loopback=loopback, no_auth=no_auth)
        if (quotas := options.get("quotas")) is not None:
            quotas.probe(store)
        listening = _listen(host, port)
    except BaseException:
        store.close()
        raise
    options["origins"] = allow_hosts
    options["allow_hosts"] = {"localhost", "127.0.0.1", "[::1]", host, *allow_hosts} if loopback else None
    line = _ready_line(store.url, _url(listening, host, "http" if tls is None else "https"), workers, tokens_asked(authorize))
    tell = lambda: (ready or _print)(line)  # noqa: E731 - said once everything answers

    def answer(store: Store, authorize: Authorize, on_ready: Callable[[], object]) -> None:
        _Server(create_app(store, owns_store=True, authorize=authorize, **options), on_ready, **settings).run(sockets=[listening])

    if workers == 1:
        answer(store, authorize, tell)
        return
    store.close()  # each worker opens its own
    rule = functools.partial(rule_for, host=host, loopback=loopback, no_auth=no_auth)
    run_workers(workers, store_url, listening, lambda store, on_ready: answer(store, rule(store), on_ready), lambda _: tell())


def _ready_line(where: str, url: str, workers: int, tokens: str) -> str:
    how = f" by {workers} processes" if workers > 1 else ""
    return f"botwire serving {where} at {url}{how} (docs: {url}/docs{tokens})"


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

    def __init__(self, app: HotPath, on_ready: Callable[[], object], **settings: Any) -> None:
        settings = {"proxy_headers": False, **settings}  # uvicorn's default believes everybody on this machine
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                **settings,
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
        self._app = app
        self._draining = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to end: ``/ready`` says so from now on; where a drain is set, the rest happens that many seconds later."""
        drain = self._app.stop()
        if drain and not self._draining:
            self._draining = True
            threading.Timer(drain, super().handle_exit, (sig, frame)).start()
        else:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.end_streams()
        await super().shutdown(sockets)


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


def _url(listening: socket.socket, host: str, scheme: str = "http") -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{listening.getsockname()[1]}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
