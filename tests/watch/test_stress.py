"""Writers and watchers in processes of their own, the server killed and started again under them: nothing is missed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from botwire import Memory
from botwire.stores import open_store

WORKERS = Path(__file__).with_name("workers.py")
SERVER = "import sys; from botwire.server import serve; serve(sys.argv[1], port=int(sys.argv[2]))"
WRITES = 120


@contextmanager
def worker(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A worker that has said that it is ready."""
    command = [sys.executable, str(WORKERS), *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def start_server(store_url: str, port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, store_url, str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("botwire serving")
    return process


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def check_all(watchers: list[subprocess.Popen[str]], url: str) -> None:
    """Each watcher has ended up with what is there, and has had every message once, in order."""
    store = open_store(url)
    memory = Memory("n", store=store)
    state = {key: value for key, value in memory.items() if not key.startswith("fleeting")}
    messages = [[message.seq, message.content] for message in memory.session("shared").messages()]
    store.close()
    assert [seq for seq, _ in messages] == list(range(1, 4 * WRITES + 2))
    assert state["count"] == 4 * WRITES
    for watcher in watchers:
        told_state, told_messages = json.loads(watcher.stdout.readline())
        assert told_state == state  # what was to expire has been told of as gone
        assert told_messages == messages


@pytest.mark.timeout(300)
def test_watchers_over_http_miss_nothing_while_the_server_is_killed(tmp_path):
    store_url = f"sqlite://{tmp_path}/memory.db"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = start_server(store_url, port)
    try:
        with ExitStack() as stack:
            watchers = [stack.enter_context(worker(kind, url)) for kind in ("watch", "watch_async", "watch")]
            writers = [stack.enter_context(worker("write", url, name, WRITES)) for name in range(4)]
            for writer in writers:
                writer.stdin.write("go\n")
                writer.stdin.flush()
            memory = Memory("n", url=store_url)
            for wanted in (60, 180, 300):  # kill it in the middle of the work, not before and not after
                deadline = time.monotonic() + 120
                while memory.get("count", 0) < wanted:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                kill(server)
                server = start_server(store_url, port)
            for writer in writers:
                assert writer.stdout.readline() == "done\n"
            memory.session("shared").append(("user", "end"))  # by this process, so that the server hears of it from the file
            memory.set("end", 1)
            check_all(watchers, store_url)
            memory.close()
    finally:
        kill(server)


@pytest.mark.timeout(300)
def test_watchers_of_a_file_miss_nothing(tmp_path):
    url = f"sqlite://{tmp_path}/memory.db"
    with ExitStack() as stack:
        watchers = [stack.enter_context(worker(kind, url)) for kind in ("watch", "watch_async", "watch")]
        writers = [stack.enter_context(worker("write", url, name, WRITES)) for name in range(4)]
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            assert writer.stdout.readline() == "done\n"
        memory = Memory("n", url=url)
        memory.session("shared").append(("user", "end"))
        memory.set("end", 1)
        check_all(watchers, url)
        memory.close()
