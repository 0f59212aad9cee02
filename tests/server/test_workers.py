"""Several server processes on one file, by ``--workers`` and behind a balancer: sessions, retries and watches as with one."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest

from botwire import InvalidValue, Memory
from botwire.server import serve
from botwire.stores import open_store

PATIENCE = 30.0


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``botwire serve`` and its URL, once it says that it is ready; with all of its processes."""
    command = [sys.executable, "-m", "botwire", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        line = process.stdout.readline()
        assert " at http://" in line, line + process.stderr.read()
        yield process, re.search(r"http://[\d.:]+", line)[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def children(process: subprocess.Popen[str]) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}


class Balancer:
    """Hands each new connection to the next of its servers, as a round-robin proxy does."""

    def __init__(self, *urls: str) -> None:
        self._targets = cycle([("127.0.0.1", int(url.rpartition(":")[2])) for url in urls])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(next(self._targets))
            self._open += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            for each in (one, other):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def close(self) -> None:
        self._listening.close()
        for each in self._open:
            each.close()


@pytest.fixture(params=["one process", "two servers", "three servers", "three workers"])
def front(request, tmp_path):
    """The URLs at which one file is served: that of the front, and those behind it."""
    store = ("--store", f"sqlite://{tmp_path}/memory.db")
    with ExitStack() as stack:
        if request.param == "three workers":
            url = stack.enter_context(running(*store, "--workers", "3"))[1]
            yield url, [url] * 3
            return
        count = {"one process": 1, "two servers": 2, "three servers": 3}[request.param]
        urls = [stack.enter_context(running(*store))[1] for _ in range(count)]
        balancer = Balancer(*urls)
        yield balancer.url, urls
        balancer.close()


def together(*calls: Any) -> None:
    barrier, errors = threading.Barrier(len(calls)), []

    def run(call: Any) -> None:
        try:
            barrier.wait(PATIENCE)
            call()
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors, errors


def test_sixteen_writers_append_without_gaps_and_a_watch_has_each_message_once(front):
    url, _ = front
    stores = [open_store(url) for _ in range(16)]  # a connection each, so to other processes
    given: list[int] = []
    with Memory("n", url=url) as memory, memory.session("s").watch(timeout=PATIENCE) as messages:

        def write(name: int) -> None:
            session = Memory("n", store=stores[name]).session("s")
            for number in range(15):
                given.extend(session.append(("user", f"{name}:{number}")))

        together(*[lambda name=name: write(name) for name in range(16)])
        assert sorted(given) == list(range(1, 241))
        assert [next(messages).seq for _ in range(240)] == list(range(1, 241))
        texts = [message.content for message in memory.session("s").messages()]
        for name in range(16):
            assert [text for text in texts if text.startswith(f"{name}:")] == [f"{name}:{number}" for number in range(15)]
    for store in stores:
        store.close()


def test_an_append_that_is_repeated_at_another_process_is_applied_once(front):
    _, urls = front
    answers = []
    for _ in range(4):
        for url in urls:
            body = {"messages": [{"role": "user", "content": "once"}]}
            answers.append(httpx.post(f"{url}/sessions/n/s/messages", json=body, headers={"Idempotency-Key": "retry-1"}).json())
    assert all(answer == answers[0] for answer in answers)
    assert len(httpx.get(f"{urls[0]}/sessions/n/s/messages").json()["messages"]) == 1


def test_a_watch_at_each_process_hears_of_writes_at_every_other(front):
    _, urls = front
    stores = [open_store(url) for url in urls]
    memories = [Memory("n", store=store) for store in stores]
    watches = [memory.watch(timeout=PATIENCE) for memory in memories]
    for number, memory in enumerate(memories):
        memory.set("k", number)
        for watch in watches:
            change = next(watch)
            while change.entry.value != number:
                change = next(watch)
    for watch in watches:
        watch.close()
    for store in stores:
        store.close()


def test_a_stop_of_several_workers_loses_nothing_that_was_acknowledged(tmp_path):
    acknowledged: list[str] = []
    begun = threading.Barrier(9)
    store_url = f"sqlite://{tmp_path}/memory.db"

    def write(worker: int, url: str) -> None:
        with httpx.Client(base_url=url, timeout=20) as client:
            for number in range(100_000):
                key = f"{worker}-{number}"
                try:
                    answer = client.put(f"/memory/n/{key}", json={"value": key})
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(key)
                if number == 5:
                    begun.wait(PATIENCE)

    with running("--store", store_url, "--workers", "3") as (process, url):
        workers = children(process)
        assert len(workers) == 3
        threads = [threading.Thread(target=write, args=(worker, url)) for worker in range(8)]
        for thread in threads:
            thread.start()
        with Memory("n", url=url) as memory, memory.watch():  # a stream that never ends must not keep it from stopping
            begun.wait(PATIENCE)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        for thread in threads:
            thread.join()
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    store = open_store(store_url)
    stored = set(store.scan_keys("n", "", None, 1_000_000))
    store.close()
    assert len(acknowledged) >= 48
    assert set(acknowledged) <= stored


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_dies_is_started_anew(tmp_path):
    with running("--store", f"sqlite://{tmp_path}/memory.db", "--workers", "2") as (process, url):
        before = children(process)
        Memory("n", url=url).set("k", 1)
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(children(process) - before) == 1 and len(children(process)) == 2)
        assert Memory("n", url=url).get("k") == 1


def test_workers_end_with_their_parent_however_it_ends(tmp_path):
    with running("--store", f"sqlite://{tmp_path}/memory.db", "--workers", "2") as (process, _):
        workers = children(process)
        process.kill()
        process.wait()
        until(lambda: not any(is_running(pid) for pid in workers))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ram_is_not_served_by_several_processes():
    with pytest.raises(InvalidValue, match="memory of one process"):
        serve("memory://", port=0, workers=2)
    with pytest.raises(InvalidValue, match="1 to 256"):
        serve("sqlite://", port=0, workers=0)


def test_a_store_that_cannot_be_opened_is_said_once_and_ends_it(tmp_path):
    command = [sys.executable, "-m", "botwire", "serve", "--port", "0", "--store", "nothing://x", "--workers", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "no store for the URL 'nothing://x'" in ended.stderr
