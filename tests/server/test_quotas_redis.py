"""Quotas of what is held, by several server processes on one Redis: together they accept exactly as much as is allowed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from engines.valkey import Valkey
from engines.valkey_cluster import ValkeyCluster

from botwire import Memory
from botwire.stores import open_store


@pytest.fixture(params=["server", "cluster"])
def redis_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with Valkey(tmp_path) if request.param == "server" else ValkeyCluster(tmp_path, replicas=0) as engine:
        yield engine.url


@pytest.mark.timeout(240)
def test_of_keys_bytes_and_sessions_exactly_what_is_allowed_is_accepted_by_two_servers(serving: Any, redis_url: str) -> None:
    """16 clients write until they are refused; what is taken away makes room, for either server, and no more than that."""
    with Memory("n", url=redis_url) as before:
        before.set_many({f"before{number}": 1 for number in range(50)})
        before.session("before").append(("user", "hi"))
    servers = [serving("--url", redis_url, "--quota", "*:bytes=5000,keys=250,sessions=40", "--log-level", "error") for _ in range(2)]
    accepted: list[dict[str, int]] = [{"keys": 0, "sessions": 0} for _ in range(16)]
    begun = threading.Barrier(16)

    def fill(client: httpx.Client, writer: int, what: str) -> None:
        for number in range(1_000):
            if what == "keys":
                answer = client.put(f"/memory/n/{writer}-{number}", json={"value": 1})
            else:
                answer = client.post(f"/sessions/n/{writer}-{number}/messages", json={"messages": [{"role": "user", "content": "hi"}]})
            if answer.status_code != 200:
                assert (answer.status_code, answer.json()["limit"]) == (507, what)
                return
            accepted[writer][what] += 1

    def write(writer: int) -> None:
        with httpx.Client(base_url=servers[writer % 2].url, timeout=60) as client:
            begun.wait(60)
            for what in ("keys", "sessions"):
                fill(client, writer, what)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each["keys"] for each in accepted) == 200
    assert sum(each["sessions"] for each in accepted) == 39

    one, other = (httpx.Client(base_url=server.url, timeout=60) for server in servers)
    with one, other:
        store = open_store(redis_url)
        held = store.usage("n")
        room = 5_000 - held.entry_bytes - held.message_bytes  # and the byte of the value that is replaced, and two quotes
        assert other.put("/memory/n/before0", json={"value": "x" * room}).status_code == 507
        assert other.put("/memory/n/before0", json={"value": "x" * (room - 1)}).status_code == 200
        assert one.put("/memory/n/before1", json={"value": 10}).json()["limit"] == "bytes"
        assert other.delete("/memory/n/before0").status_code == 200
        assert one.put("/memory/n/more", json={"value": 1}).status_code == 200
        assert other.put("/memory/n/still-more", json={"value": 1}).json()["limit"] == "keys"
        assert other.delete("/namespaces/n").json()["deleted"]["entries"] == 250
        assert one.put("/memory/n/more", json={"value": "x" * 4_998}).status_code == 200
        assert store.check()["problems"] == []
        store.close()
