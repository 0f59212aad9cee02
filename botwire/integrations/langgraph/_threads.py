"""Where the awaitable halves run: a few threads of their own, never the loop's default executor.

A checkpoint is serialised and written in one hop, so that a large state does not hold up the loop either.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

WORKER_THREADS = 32
"""The most calls that run at once in one process."""

_workers: ThreadPoolExecutor | None = None


def _forget_workers() -> None:
    global _workers  # noqa: PLW0603 - threads do not survive a fork
    _workers = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """What the function returns.

    A cancellation comes through once its outcome is known, so that nothing is written behind the caller's back.
    """
    global _workers  # noqa: PLW0603 - one pool a process, made when first needed
    if _workers is None:
        _workers = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="botwire-langgraph")
    future = asyncio.get_running_loop().run_in_executor(_workers, function, *arguments)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # marks it as seen: the caller is told of the cancellation instead
        raise cancelled
    return future.result()
