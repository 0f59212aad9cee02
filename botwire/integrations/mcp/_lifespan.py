"""memory_lifespan: one memory for as long as a server runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypedDict, Unpack

from botwire import AsyncMemory
from botwire.stores import Store


class MemoryOptions(TypedDict, total=False):
    """What ``AsyncMemory`` takes besides the namespace."""

    url: str | None
    token: str | None
    timeout: float
    store: Store | None


def memory_lifespan(
    namespace: str = "default", **options: Unpack[MemoryOptions]
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, AsyncMemory]]]:
    """A ``lifespan=`` for ``MCPServer``, the low-level ``Server`` or ``FastMCP``: gives tools a memory, and closes it at the end.

    A tool finds it in ``context.request_context.lifespan_context["memory"]``. The memory is made once for a server that
    serves HTTP, and once for a connection over stdio.

    Args:
        namespace: of the memory.
        options: as for ``AsyncMemory``: ``url``, ``token``, ``timeout`` in seconds, ``store``.

    Raises:
        InvalidName, InvalidValue: at once, if there can be no such memory.
    """
    AsyncMemory(namespace, **options)  # a mistake shows here, not when the first client connects

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[dict[str, AsyncMemory]]:
        async with AsyncMemory(namespace, **options) as memory:
            yield {"memory": memory}

    return lifespan
