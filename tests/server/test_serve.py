"""``serve`` as a process of its own: what it says, what it refuses, and how it stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from botwire import BotWireError, InvalidValue
from botwire.server import serve
from botwire.stores import open_store

PROGRAM = "import sys; from botwire.server import serve; serve(sys.argv[1], port=int(sys.argv[2]))"


@contextmanager
def running(store_url: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its URL, once it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, store_url, str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith(f"botwire serving {store_url} at http://127.0.0.1:"), line + process.stdout.read()
        yield process, line.split(" at ")[1].split()[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_is_ready_when_it_says_so(tmp_path: Path) -> None:
    with running(f"sqlite://{tmp_path}/m.db") as (process, url):
        assert httpx.get(f"{url}/health").json()["ok"] is True
        assert httpx.put(f"{url}/memory/ns/k", json={"value": 1}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
    with running(f"sqlite://{tmp_path}/m.db") as (_, url):
        assert httpx.get(f"{url}/memory/ns/k").json()["value"] == 1


def test_a_busy_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BotWireError, match=rf"127\.0\.0\.1:{port}.*in use"):
            serve(f"sqlite://{tmp_path}/m.db", port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_it_does_not_listen_beyond_this_machine_unasked(host: str) -> None:
    with pytest.raises(InvalidValue, match="no_auth"):
        serve("memory://", host=host, port=0)


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path, name: signal.Signals) -> None:
    """Eight clients write as fast as they can; the server is told to stop; every write it answered 200 is in the file."""
    acknowledged: list[str] = []
    begun = threading.Barrier(9)

    def write(worker: int, url: str) -> None:
        with httpx.Client(base_url=url, timeout=20) as client:
            number = 0
            while True:
                key = f"{worker}-{number}"
                try:
                    answer = client.put(f"/memory/ns/{key}", json={"value": key})
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(key)
                if number == 5:
                    begun.wait()
                number += 1

    with running(f"sqlite://{tmp_path}/m.db") as (process, url):
        threads = [threading.Thread(target=write, args=(worker, url)) for worker in range(8)]
        for thread in threads:
            thread.start()
        begun.wait()
        process.send_signal(name)
        assert process.wait(30) in (0, -name)
        for thread in threads:
            thread.join()
    store = open_store(f"sqlite://{tmp_path}/m.db")
    stored = set(store.scan_keys("ns", "", None, 1_000_000))
    store.close()
    assert len(acknowledged) >= 48
    assert set(acknowledged) <= stored


def test_a_killed_server_has_all_that_it_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    enough = threading.Event()

    def write(worker: int, url: str) -> None:
        with httpx.Client(base_url=url, timeout=20) as client:
            for number in range(100_000):
                try:
                    client.put(f"/memory/ns/{worker}-{number}", json={"value": number}).raise_for_status()
                except httpx.HTTPError:
                    return
                acknowledged.append(f"{worker}-{number}")
                if len(acknowledged) > 100:
                    enough.set()

    with running(f"sqlite://{tmp_path}/m.db") as (process, url):
        threads = [threading.Thread(target=write, args=(worker, url)) for worker in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(30)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    store = open_store(f"sqlite://{tmp_path}/m.db")
    stored = set(store.scan_keys("ns", "", None, 1_000_000))
    store.close()
    assert set(acknowledged) <= stored


def test_nothing_of_what_is_stored_gets_into_the_output(tmp_path: Path) -> None:
    with running(f"sqlite://{tmp_path}/m.db") as (process, url):
        headers = {"Authorization": "Bearer very-secret-token"}
        httpx.put(f"{url}/memory/private-ns/private-key", json={"value": "private-value"}, headers=headers)
        httpx.put(f"{url}/memory/private-ns/private-key", content=b'{"value": private-value}', headers=headers)
        httpx.get(f"{url}/memory/private-ns/private-key?as=private", headers=headers)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(b"private-garbage\r\n\r\n")
            connection.recv(1000)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert process.stdout is not None
        rest = process.stdout.read()
    assert "private" not in rest
    assert "very-secret" not in rest


def test_idle_connections_outlive_those_of_the_client() -> None:
    from botwire.server import _serve
    from botwire.stores import http

    assert _serve.KEEPALIVE_SECONDS > 2 * http.KEEPALIVE_SECONDS


def test_a_connection_is_used_again_and_again(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(50):
            connection.sendall(f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_twenty_servers_leave_nothing_behind(store: Any) -> None:
    from botwire.server import serve_in_thread

    def count() -> int:
        folder = Path("/proc/self/fd")
        return len(list(folder.iterdir())) if folder.is_dir() else 0

    with serve_in_thread(store):
        pass
    before, threads_before = count(), threading.active_count()
    for _ in range(20):
        with serve_in_thread(store) as url:
            httpx.put(f"{url}/memory/ns/k", json={"value": 1}).raise_for_status()
            httpx.get(f"{url}/memory/ns").raise_for_status()
    deadline = time.monotonic() + 5
    while (count() > before or threading.active_count() > threads_before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert count() <= before
    assert threading.active_count() <= threads_before
