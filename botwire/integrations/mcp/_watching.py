"""The namespaces in which somebody wants to hear of changes: each is watched as long as anybody does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botwire import AsyncMemory, BotWireError, Closed, EntryChange

logger = logging.getLogger("botwire")

Seen = Callable[[str, EntryChange, bool], None]
"""Told of a namespace, a change in it, and whether a key came or went."""

NEW = timedelta(minutes=1)
"""How old an entry may be whose first change is heard of late, and still counts as one that came."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LONGEST_START = 5.0
"""Seconds that a subscription waits for the store at most; it is acknowledged all the same."""


@dataclass
class _Watched:
    """One namespace."""

    task: asyncio.Task[None]
    begun: asyncio.Event
    holders: int = 0


class Watching:
    """Watches for changes by whomever.

    Args:
        memory_of: the memory of a namespace.
        seen: called on the event loop for each change.
    """

    def __init__(self, memory_of: Callable[[str], Awaitable[AsyncMemory]], seen: Seen) -> None:
        self._memory_of = memory_of
        self._seen = seen
        self._watched: dict[str, _Watched] = {}

    def watches(self, namespace: str) -> bool:
        """Whether changes there are heard of."""
        watched = self._watched.get(namespace)
        return watched is not None and watched.begun.is_set()

    async def hold(self, namespaces: set[str]) -> Callable[[], None]:
        """Watch these; what is written once this returns is told of. Returns what ends it."""
        held = [self._hold(namespace) for namespace in sorted(namespaces)]

        def release() -> None:
            while held:
                self._release(held.pop())

        waiting = [asyncio.ensure_future(self._watched[namespace].begun.wait()) for namespace in held]
        try:
            if waiting:
                await asyncio.wait(waiting, timeout=LONGEST_START)
        except BaseException:
            release()
            raise
        finally:
            for each in waiting:
                each.cancel()
        return release

    def _hold(self, namespace: str) -> str:
        watched = self._watched.get(namespace)
        if watched is None:
            begun = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._watch(namespace, begun), name="botwire-mcp-watch")
            watched = self._watched[namespace] = _Watched(task, begun)
        watched.holders += 1
        return namespace

    def _release(self, namespace: str) -> None:
        watched = self._watched[namespace]
        watched.holders -= 1
        if not watched.holders:
            del self._watched[namespace]
            watched.task.cancel()

    async def _watch(self, namespace: str, begun: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                memory = await self._memory_of(namespace)
                async with memory.watch() as changes:
                    begun.set()
                    pause = FIRST_PAUSE
                    async for change in changes:
                        self._seen(namespace, change, _came_or_went(change))
            except Closed:
                return
            except BotWireError as error:
                logger.warning("what other processes change in %r is not heard until the store answers again: %s", namespace, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _came_or_went(change: EntryChange) -> bool:
    entry = change.entry
    return entry is None or entry.version == 1 or datetime.now(UTC) - entry.created_at < NEW
