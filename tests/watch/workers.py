"""What the tests run in processes of their own: ``python workers.py NAME ARGUMENT...``."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Callable
from typing import Any

from botwire import AsyncMemory, Memory, StoreUnavailable

QUIET = 3.0


def insisting(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call until the store is there; under one request id, so that it happens once."""
    request_id = uuid.uuid4().hex
    while True:
        try:
            return call(*arguments, request_id=request_id, **options)
        except StoreUnavailable:
            continue


def write(url: str, name: str, times: str) -> None:
    """Change entries that others change too, and append to the shared session."""
    memory = Memory("n", url=url, timeout=5)
    session = memory.session("shared")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(times)):
        insisting(memory.set, f"k{number % 17}", [name, number])
        insisting(memory.increment, "count")
        if number % 3 == 0:
            insisting(memory.set, f"fleeting {name}", number, ttl=0.2 + number % 4 / 10)
        insisting(session.append, ("user", f"{name}:{number}"))
    print("done", flush=True)


class Seen:
    """What a watcher knows: a state by key, and messages in the order in which they came."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.messages: list[Any] = []

    def change(self, change: Any) -> None:
        self.state.pop(change.key, None)
        if change.entry is not None:
            self.state[change.key] = change.entry.value

    def message(self, message: Any) -> None:
        self.messages.append([message.seq, message.content])

    def report(self) -> str:
        return json.dumps([dict(sorted(self.state.items())), self.messages])


def watch(url: str) -> None:
    """Watch entries; when told to end, until nothing more comes. Then the session likewise, from the first message on."""
    import threading

    memory, seen = Memory("n", url=url, timeout=5), Seen()
    changes, messages = memory.watch(), memory.session("shared").watch()

    def follow() -> None:
        for message in messages:
            seen.message(message)
            if message.content == "end":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    print("ready", flush=True)
    for change in changes:
        seen.change(change)
        if change.key == "end":
            changes._timeout = QUIET
    thread.join()
    print(seen.report(), flush=True)


def watch_async(url: str) -> None:
    """The same on an event loop."""

    async def main() -> None:
        memory, seen = AsyncMemory("n", url=url, timeout=5), Seen()
        async with memory.watch() as changes, memory.session("shared").watch() as messages:
            print("ready", flush=True)

            async def follow() -> None:
                async for message in messages:
                    seen.message(message)
                    if message.content == "end":
                        return

            task = asyncio.create_task(follow())
            async for change in changes:
                seen.change(change)
                if change.key == "end":
                    changes._timeout = QUIET
            await task
        await memory.close()
        print(seen.report(), flush=True)

    asyncio.run(main())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
