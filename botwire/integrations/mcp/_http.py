"""The server on HTTP: streamable HTTP, without sessions of its own, so that a restart is not noticed."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from botwire import AsyncMemory, BotWireError, InvalidValue
from botwire.integrations.mcp._gate import Gate, caller_of_token
from botwire.integrations.mcp._memory_server import TOOLS, MemoryServer, memory_server
from botwire.integrations.mcp._serving import Address
from botwire.integrations.mcp._tokens import TokenFile
from botwire.integrations.mcp._tools import Settings

MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""The largest request body: a value of 1 MB fits, however it is escaped."""

GRACE_SECONDS = 30
"""How long a shutdown waits for calls that are under way."""


def http_app(
    memory: AsyncMemory,
    settings: Settings,
    *,
    path: str = "/mcp",
    tokens: TokenFile | None = None,
    hosts: Collection[str] | None = None,
    public_url: str | None = None,
) -> tuple[Any, MemoryServer]:
    """The ASGI application of a memory, and the server in it.

    Args:
        memory: what is served; it stays the caller's to close.
        settings: how the server behaves.
        path: where it answers.
        tokens: who is let in; None for everyone.
        hosts: the names by which it may be called, so that no web page that resolves its own name to this machine
            can use it; None for any name.
        public_url: the URL before ``path`` as clients know it, if there is a proxy in between.
    """
    built = memory_server(memory, settings, caller=None if tokens is None else caller_of_token, push=False)
    app: Any = built.server.streamable_http_app(
        streamable_http_path=path,
        stateless_http=True,
        max_request_body_size=MAX_REQUEST_BYTES,
        transport_security=_security(hosts),
    )
    if tokens is not None:
        scopes = {tool.name: tool.scope for tool in TOOLS}
        app = Gate(app, path=path, tokens=tokens, scopes=scopes, public_url=public_url, max_body_bytes=MAX_REQUEST_BYTES)
    return app, built


def _security(hosts: Collection[str] | None) -> TransportSecuritySettings:
    if hosts is None:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = [form for name in sorted(hosts) for form in (name, f"{name}:*")]
    origins = [f"{scheme}://{name}" for scheme in ("http", "https") for name in names]
    return TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=names, allowed_origins=origins)


async def serve_http(memory: AsyncMemory, settings: Settings, address: Address, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; calls that are under way then are answered.

    Args:
        memory: what is served; it stays the caller's to close.
        settings: how the server behaves.
        address: where, and for whom.
        ready: told the URL once requests are answered.

    Raises:
        InvalidValue: if the address is beyond this machine and there are no tokens, or an option cannot be.
        BotWireError: if the port cannot be listened at.
    """
    loopback = _is_loopback(address.host)
    if address.token_file is None and not loopback and not address.no_auth:
        raise InvalidValue(
            f"{address.host} can be reached from other machines, and there are no tokens: anyone there could read and write everything. "
            "Give --token-file, or listen at 127.0.0.1, or say --no-auth if the network itself keeps strangers out"
        )
    if not address.path.startswith("/") or not address.path.strip("/"):
        raise InvalidValue(f"--path must begin with a slash and name something, as /mcp, not {address.path!r:.80}")
    public = _public(address.public_url)
    tokens = None if address.token_file is None else TokenFile(address.token_file, locked=settings.locked)
    hosts = _hosts(address, public) if loopback or address.allow_hosts else None
    listening = _listen(address.host, address.port)
    app, built = http_app(memory, settings, path=address.path, tokens=tokens, hosts=hosts, public_url=public)
    shown = f"[{address.host}]" if ":" in address.host else address.host
    url = f"http://{shown}:{listening.getsockname()[1]}{address.path}"
    try:
        await _Server(app, built, lambda: ready(url)).serve(sockets=[listening])
    finally:
        built.access.close()


def _hosts(address: Address, public: str | None) -> set[str]:
    named = {"localhost", "127.0.0.1", "[::1]", address.host, *address.allow_hosts}
    return named if public is None else {*named, urlsplit(public).netloc}


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, logs nothing of requests, and ends streams that would never end."""

    def __init__(self, app: Any, built: MemoryServer, on_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        super().__init__(config)
        self._built = built
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._built.listeners.close()
        await super().shutdown(sockets)


def _public(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise InvalidValue(f"--public-url must be a scheme and a host, as https://memory.example.org, not {url!r:.120}")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, made here so that an error is one line and port 0 is known."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, OverflowError) as error:
        raise BotWireError(f"cannot listen at {host}:{port}: {error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise BotWireError(f"cannot listen at {host}:{port}: {error.strerror or error}; port 0 takes a free one") from error
    listening.setblocking(False)
    return listening
