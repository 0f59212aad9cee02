"""Runs one app under uvicorn, in a process of its own: `python -m bench.app VARIANT FILE BODY`.

All variants run under the same settings, those of `botwire serve`. It prints its port when it answers, and ends when its
input does.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from botwire.server import create_app
from botwire.server._gate import Gate
from botwire.server._limits import RateLimit
from botwire.server._quotas import Quotas
from botwire.server._service import allow_all
from botwire.stores import Batch, Outcome, Store, open_store

NAMES = ("localhost", "127.0.0.1")


class OneCommitEach:
    """A store whose every batch is a transaction of its own: what the server would be without group commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = threading.Lock()  # else the store would group what several threads write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, batches: Sequence[Batch]) -> list[Outcome]:
        """As ``Store.write``, one after the other."""
        with self._turn:
            return [self._store.write((batch,))[0] for batch in batches]


def starlette_constant(body: bytes) -> Starlette:
    """The bare framework: one route, one constant answer."""

    async def answer(_: Request) -> Response:
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route("/memory/{namespace}/{key}", answer)])


def asgi_constant(body: bytes) -> Callable[..., Awaitable[None]]:
    """No framework at all."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def guarded(store: Store) -> Any:
    """All that can be asked of a server: tokens, charges, caps, sizes, and a rate that is not reached."""
    limits = {"writes_per_day": 10**12, "bytes": 10**12, "value_bytes": 10**6, "keys": 10**9, "sessions": 10**9}
    return create_app(
        store, allow_hosts=NAMES, authorize=Gate(store), quotas=Quotas([("*", limits)]), rate_limit=RateLimit(500_000, 500_000)
    )


def make(variant: str, url: str, body: bytes) -> Any:
    """The app of that name."""
    if variant == "starlette":
        return starlette_constant(body)
    if variant == "asgi":
        return asgi_constant(body)
    store = open_store(url)
    if variant == "tokens and quotas":
        return guarded(store)
    # Without a gate: it is what the other variant is measured against.
    served = store if variant == "botwire" else OneCommitEach(store)
    return create_app(served, allow_hosts=NAMES, authorize=allow_all)  # type: ignore[arg-type]


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def main() -> None:
    """Serve until the input ends."""
    variant, url, body = sys.argv[1:]
    lifespan = "on" if variant in ("botwire", "one commit per request", "tokens and quotas") else "off"
    server = _Server(
        uvicorn.Config(
            make(variant, url, body.encode()),
            port=0,
            http="httptools",
            loop="uvloop",
            lifespan=lifespan,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            backlog=2048,
        )
    )

    def stop() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=stop, daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
