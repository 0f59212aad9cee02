"""Where what blocks runs for those who await it: a few threads of their own, never the loop's default executor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")

WORKER_THREADS = 16
"""The most calls that run at once in one process."""


@cache
def _workers(_process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="botwire-crewai")


async def in_thread(function: Callable[[], T]) -> T:
    """What the function returns. A cancellation comes through once that is known: nothing is written behind the caller's back."""
    running = asyncio.wrap_future(_workers(os.getpid()).submit(function))  # a forked child has none of its parent's threads
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # marks it as seen: the caller is told of the cancellation instead
        raise
