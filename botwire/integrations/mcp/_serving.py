"""What the command ``botwire mcp`` runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import anyio

from botwire import AsyncMemory, BotWireError, InvalidValue
from botwire.integrations.mcp._memory_server import memory_server
from botwire.integrations.mcp._stdio import serve_stdio
from botwire.integrations.mcp._tools import Settings


class Address(NamedTuple):
    """Where a server on HTTP listens, and whom it lets in.

    Args:
        host: the address.
        port: 0 for any free one.
        path: where it answers.
        token_file: who is let in.
        no_auth: let everyone in although others can reach the address.
        allow_hosts: other names by which clients call the server.
        public_url: the URL before ``path`` as clients know it.
    """

    host: str
    port: int
    path: str
    token_file: Path | None = None
    no_auth: bool = False
    allow_hosts: tuple[str, ...] = ()
    public_url: str | None = None


def run_stdio(settings: Settings, source: dict[str, Any], say: Callable[[str], None]) -> None:
    """Serve one client over standard input and output, until it closes them.

    Args:
        settings: how the server behaves.
        source: what ``AsyncMemory`` takes besides the namespace.
        say: told in a line for people what is served.
    """

    async def serve() -> None:
        async with AsyncMemory(settings.namespace, **source) as memory:
            built = memory_server(memory, settings)
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(_announce, memory, settings, say)  # meanwhile the client is answered
                    await serve_stdio(built.server)
            finally:
                built.access.close()

    _log_to_stderr()
    _run(serve)


def run_http(settings: Settings, source: dict[str, Any], address: Address, say: Callable[[str], None]) -> None:
    """Serve over HTTP until SIGINT or SIGTERM.

    Args:
        settings: how the server behaves.
        source: what ``AsyncMemory`` takes besides the namespace.
        address: where, and for whom.
        say: told in a line for people what is served where, once requests are answered.
    """
    from botwire.integrations.mcp._http import serve_http

    async def serve() -> None:
        async with AsyncMemory(settings.namespace, **source) as memory:
            store = await anyio.to_thread.run_sync(lambda: memory.store.url)
            await serve_http(memory, settings, address, lambda url: say(f"serving {store} at {url}{_where(settings, address)}"))

    _log_to_stderr()
    _run(serve)


def _run(serve: Callable[[], Any]) -> None:
    """Run it; what ended it is raised alone, also where ending it made other tasks fail."""
    try:
        anyio.run(serve)
    except BaseExceptionGroup as group:
        error: BaseException | None = group.subgroup((BotWireError, OSError))
        if error is None:
            raise
        while isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        raise error from group


async def _announce(memory: AsyncMemory, settings: Settings, say: Callable[[str], None]) -> None:
    """Raises what no later call could cure."""
    try:
        store = await anyio.to_thread.run_sync(lambda: memory.store.url)
    except InvalidValue:
        raise
    except BotWireError as error:
        say(f"the store cannot be used now, calls will try again: {error}")
    else:
        say(f"serving {store} on standard input and output{_where(settings)}")


def _where(settings: Settings, address: Address | None = None) -> str:
    if address is not None and address.token_file is not None:
        return f", to whom {address.token_file} lets in"
    return f", namespace {settings.namespace!r}{' alone' if settings.locked else ''}{', read-only' if settings.read_only else ''}"


def _log_to_stderr() -> None:
    """Warnings and errors, ours and the SDK's: standard output is the protocol's."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="botwire mcp: %(levelname)s: %(message)s")
