"""What all routes share: the store, the queue of writes, the threads for slow reads, the limits, the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

from botwire._errors import InvalidValue, ValueTooLarge
from botwire.server._problems import HTTPProblem
from botwire.server._queue import WriteQueue
from botwire.stores._protocol import Batch, Operation, Result, Store

Action: TypeAlias = Literal["read", "write"]
Authorize: TypeAlias = Callable[[Mapping[bytes, bytes], "str | None", Action], None]
"""Called with a request's headers, the namespace (None: all of them) and what is to be done there; raises to refuse."""

ENVELOPE_BYTES = 4_096
"""Room in a body beside the value."""


def allow_all(headers: Mapping[bytes, bytes], namespace: str | None, action: Action) -> None:
    """The rule of a server without tokens."""


class Service:
    """The parts that routes work with.

    Args:
        store: where memory lies; closed by ``close`` if ``owns_store``.
        max_value_bytes: largest value, in bytes of JSON text as UTF-8.
        max_batch_bytes: largest body of a request that may hold many values.
        read_threads: threads for reads that may take long.
        authorize: see ``Authorize``.
        allow_hosts: names by which the server may be called (the ``Host`` header); None for any.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_value_bytes: int,
        max_batch_bytes: int,
        read_threads: int,
        authorize: Authorize,
        allow_hosts: Collection[str] | None,
        owns_store: bool,
    ) -> None:
        self.store = store
        self.max_value_bytes = max_value_bytes
        self.max_body_bytes = max_value_bytes + ENVELOPE_BYTES
        self.max_batch_bytes = max(max_batch_bytes, self.max_body_bytes)
        self.authorize = authorize
        self.reads_are_fast = bool(getattr(store, "reads_are_fast", False))
        self._allow_hosts = None if allow_hosts is None else frozenset(host.lower().encode() for host in allow_hosts)
        self._owns_store = owns_store
        self._queue = WriteQueue(store)
        self._threads = ThreadPoolExecutor(read_threads, thread_name_prefix="botwire-reader")

    async def write(self, namespace: str, *operations: Operation, request_id: str | None = None) -> list[Result]:
        """The results of operations that happen together, once they are durable.

        Raises:
            BotWireError: why none of them happened.
        """
        try:
            return await self._queue.write(Batch(namespace, operations, request_id))
        except ValueTooLarge:
            raise
        except InvalidValue as error:  # the request was checked before, so it is the present value that it does not fit
            raise HTTPProblem(409, error.code, str(error)) from error

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what may take long on a thread of the server's own."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def close(self) -> None:
        """Write what was taken on, then give everything back."""
        await self.run(self._queue.close)
        self._threads.shutdown(wait=False)  # nothing runs there any more: all requests were answered before
        if self._owns_store:
            self.store.close()

    def guard(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse what a web page sends behind its reader's back.

        A page of any site can make a browser call a server on the same machine: openly, which the ``Origin`` header
        shows, or under a name of its own that it points to this machine, which the ``Host`` header shows.

        Raises:
            HTTPProblem: 403.
        """
        host = headers.get(b"host", b"").lower()
        origin = headers.get(b"origin")
        if origin is not None and origin.lower().partition(b"://")[2] != host:
            raise HTTPProblem(403, "unauthorized", "requests from web pages of another origin are not taken")
        if self._allow_hosts is not None and _name(host) not in self._allow_hosts:
            raise HTTPProblem(
                403, "unauthorized", "this server is not known by the name in the Host header; allow it when starting the server"
            )


def _name(host: bytes) -> bytes:
    """The name in a Host header, without the port."""
    return host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
