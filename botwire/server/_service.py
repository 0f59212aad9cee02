"""What all routes share: the store, the queue of writes, the threads for slow reads, the limits, the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Literal, TypeAlias

from botwire._errors import InvalidValue, QuotaExceeded, ValueTooLarge
from botwire._names import RESERVED_NAMESPACE
from botwire._tokens import EVERY, Patterns
from botwire.server._gate import Gate
from botwire.server._hub import Hub
from botwire.server._limits import RateLimit
from botwire.server._observe import Observer
from botwire.server._operating import Operating
from botwire.server._problems import Hidden, HTTPProblem
from botwire.server._queue import WriteQueue
from botwire.server._quotas import Quotas
from botwire.stores._open import open_store
from botwire.stores._protocol import Batch, Operation, Result, Store

Action: TypeAlias = Literal["read", "write", "admin"]
Authorize: TypeAlias = Callable[[Mapping[bytes, bytes], "str | None", Action], None]
"""Called with a request's headers, the namespace (None: all of them) and what is to be done there; raises to refuse."""

ENVELOPE_BYTES = 4_096
"""Room in a body beside the value."""


def allow_all(headers: Mapping[bytes, bytes], namespace: str | None, action: Action) -> None:
    """The rule of a server that asks for no tokens, whatever there are."""


def _allow_reading(_headers: Mapping[bytes, bytes], _namespace: str | None, action: Action) -> None:
    """The rule over an empty store: it is asked again, by the same code, what was refused before."""
    if action != "read":
        raise HTTPProblem(403, "unauthorized", "nothing is written here")


class Service:
    """The parts that routes work with.

    Args:
        store: where memory lies; closed by ``close`` if ``owns_store``.
        max_value_bytes: largest value, in bytes of JSON text as UTF-8.
        max_batch_bytes: largest body of a request that may hold many values.
        read_threads: threads for reads that may take long.
        authorize: see ``Authorize``; a ``Gate`` knows tokens.
        allow_hosts: names by which the server may be called (the ``Host`` header); None for any.
        quotas: what namespaces may hold, and be charged for.
        rate_limit: how often one token or address may call.
        operating: what an operator sets.
        origins: names under which pages of this server may be open, besides that in the ``Host`` header.
    """

    def __init__(  # noqa: PLR0913 - one for each setting of a server
        self,
        store: Store,
        *,
        max_value_bytes: int,
        max_batch_bytes: int,
        read_threads: int,
        authorize: Authorize,
        allow_hosts: Collection[str] | None,
        origins: Collection[str] = (),
        owns_store: bool,
        operating: Operating,
        quotas: Quotas | None = None,
        rate_limit: RateLimit | None = None,
    ) -> None:
        self.operating = operating
        self.observer = Observer(store, operating.metrics_folder)
        self.stopping = False
        """Whether the server is about to end: it is no longer ready for more."""
        self.ready_until = 0.0
        """Until when, by the monotonic clock, the store is known to work."""
        self.store: Store = self.observer.around(store)
        self.max_value_bytes = max_value_bytes
        self.max_body_bytes = max_value_bytes + ENVELOPE_BYTES
        self.max_batch_bytes = max(max_batch_bytes, self.max_body_bytes)
        self._authorize = authorize
        self.gate = authorize if isinstance(authorize, Gate) else None
        self.quotas = quotas
        self.rate_limit = rate_limit
        self._of_nothing: Service | None = None
        self.reads_are_fast = bool(getattr(store, "reads_are_fast", False))
        self._allow_hosts = None if allow_hosts is None else frozenset(host.lower().encode() for host in allow_hosts)
        self._origins = frozenset(name.lower().encode() for name in origins)
        self._owns_store = owns_store
        self._queue = WriteQueue(self.store, self.observer.metrics)
        self.hub = Hub(store, self.run)
        self._threads = ThreadPoolExecutor(read_threads, thread_name_prefix="botwire-reader")

    def authorize(self, headers: Mapping[bytes, bytes], namespace: str | None, action: Action) -> None:
        """Let a request do that there, or not: the one place where that is decided. To be called before anything else is read.

        Args:
            headers: of the request.
            namespace: the one that it is about; None if it is about none: ``namespaces_seen`` says which it may then know of.
            action: what is to be done there; ``admin`` where it is about the store as a whole.

        Raises:
            HTTPProblem: 401 or 403.
            Hidden: to be answered as if the namespace did not exist; whoever calls the route does so with ``of_nothing``.
        """
        self._authorize(headers, namespace, action)
        if namespace == RESERVED_NAMESPACE and self._authorize is not _allow_reading:
            if action == "read":
                raise Hidden
            raise HTTPProblem(403, "unauthorized", f"namespace {RESERVED_NAMESPACE!r} is the server's own: nobody writes there")

    def caller(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
        """Whom a rate limit counts: a token's id, or, where there is none that is known, an address."""
        known = None if self.gate is None else self.gate.known(headers)
        if known is not None and known.id:
            return known.id
        client = scope.get("client")
        return f"@{client[0]}" if client else "@"

    def namespaces_seen(self, headers: Mapping[bytes, bytes]) -> Patterns:
        """Which namespaces a request may know of."""
        return EVERY if self.gate is None else self.gate.seen(headers)

    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._authorize is allow_all if self.gate is None else self.gate.is_open()

    @property
    def of_nothing(self) -> Service:
        """The same service over an empty store: what answers whoever may not see what is there, by the same code as what is absent."""
        if self._of_nothing is None:
            self._of_nothing = Service(
                open_store("memory://"),
                max_value_bytes=self.max_value_bytes,
                max_batch_bytes=self.max_batch_bytes,
                read_threads=1,
                authorize=_allow_reading,
                allow_hosts=None,
                owns_store=True,
                operating=Operating(metrics_folder=None),
            )
        return self._of_nothing

    def end_streams(self) -> None:
        """End the answers that would go on for ever, also those about what a caller may not see."""
        self.hub.end()
        if self._of_nothing is not None:
            self._of_nothing.end_streams()

    async def write(self, namespace: str, *operations: Operation, request_id: str | None = None) -> list[Result]:
        """The results of operations that happen together, once they are durable.

        Raises:
            BotWireError: why none of them happened.
        """
        quotas = self.quotas
        batch = Batch(namespace, operations, request_id) if quotas is None else quotas.batch(namespace, operations, request_id)
        try:
            return await self._queue.write(batch)
        except ValueTooLarge:
            raise
        except QuotaExceeded as error:
            raise (error if quotas is None else quotas.explained(error)) from error
        except InvalidValue as error:  # the request was checked before, so it is the present value that it does not fit
            raise HTTPProblem(409, error.code, str(error)) from error

    async def write_own(self, operations: tuple[Operation, ...]) -> list[Result]:
        """Likewise in the namespace that is the server's own, where no quota holds."""
        return await self._queue.write(Batch(RESERVED_NAMESPACE, operations))

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what may take long on a thread of the server's own."""
        if self.observer.tracing:  # so that spans on the thread belong to the request
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(copy_context().run, function, *args))
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def close(self) -> None:
        """Write what was taken on, then give everything back."""
        await self.hub.close()
        self.stopping = True
        await self.run(self._queue.close)
        await self.run(self.observer.close)
        self._threads.shutdown(wait=False)  # nothing runs there any more: all requests were answered before
        if self._of_nothing is not None:
            await self._of_nothing.close()
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
        if origin is not None and (at := origin.lower().partition(b"://")[2]) != host and at not in self._origins:
            raise HTTPProblem(403, "unauthorized", "requests from web pages of another origin are not taken")
        if self._allow_hosts is not None and _name(host) not in self._allow_hosts:
            raise HTTPProblem(
                403, "unauthorized", "this server is not known by the name in the Host header; allow it when starting the server"
            )


def _name(host: bytes) -> bytes:
    """The name in a Host header, without the port."""
    return host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
