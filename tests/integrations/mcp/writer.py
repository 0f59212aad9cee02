"""One of several processes that write through a memory server of their own: ``writer.py URL NAME``, told on standard input what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from clients import Lines


def set_each(server: Lines, name: str, number: int) -> None:
    server.call("memory_set", key=f"{name}/{number}", value=number)


def append(server: Lines, name: str, number: int) -> None:
    server.call("memory_append", key="log", items=[[name, number]])


def merge(server: Lines, name: str, number: int) -> None:
    server.call("memory_update", key="object", patch={f"{name}-{number}": True})


def count(server: Lines, _: str, __: int) -> None:
    """Compare-and-set: read, add one, write if nobody was faster; else again."""
    while True:
        seen: dict[str, Any] = server.call("memory_get", key="count")
        done = server.call("memory_set", key="count", value=seen.get("value", 0) + 1, if_version=seen.get("version", 0))
        if isinstance(done, dict):
            return
        assert done.startswith("version_conflict: "), done
        assert "is at version" in done, done


def say(server: Lines, name: str, number: int) -> None:
    server.call("session_append", session_id="shared", messages=[{"role": "user", "content": f"{name} {number}"}])


if __name__ == "__main__":
    url, name = sys.argv[1:]
    with Lines("--store", url) as server:
        print("ready", flush=True)
        for line in sys.stdin:
            what, times = line.split()
            for number in range(int(times)):
                globals()[what](server, name, number)
            print("ready", flush=True)
