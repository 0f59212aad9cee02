"""What the tests run in processes of its own: ``python workers.py NAME ARGUMENT...``, the last line printed being a report in JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import select
import signal
import sqlite3
import sys
import threading
import time
from typing import Any

from botwire import Memory
from botwire.stores.sqlite import SQLiteStore

WORKERS: dict[str, Any] = {}


def worker(function: Any) -> Any:
    WORKERS[function.__name__] = function
    return function


def memory_at(path: str, namespace: str = "n", timeout: float = 30) -> Memory:
    return Memory(namespace, url=f"sqlite://{path}", timeout=timeout)


# ------------------------------------------------------------------------------------------ kill -9


def write_for_ever(path: str, name: str, acknowledge: int) -> None:
    """Write, and say so only after each write has returned."""
    memory = memory_at(path)
    session = memory.session("shared")
    for number in range(1_000_000):
        key = f"{name}:{number}"
        if number % 3 == 0:
            told = ["entry", key, memory.set(key, {"number": number, "fill": "x" * random.randrange(3000)})]
        elif number % 3 == 1:
            told = ["messages", key, session.append(*({"role": "user", "content": key} for _ in range(1 + number % 4)))]
        else:
            told = ["count", key, memory.increment("count")]
        os.write(acknowledge, json.dumps(told).encode() + b"\n")


@worker
def kill_writers(path: str, rounds: str, seed: str, at_once: str = "4") -> Any:
    """Start writers, kill each at some moment, ``rounds`` times in all; report what was acknowledged."""
    dice = random.Random(int(seed))
    told: list[Any] = []
    killed = 0
    while killed < int(rounds):
        writers = [start_writer(path, f"{killed}-{lane}") for lane in range(int(at_once))]
        for _, pipe in writers:
            select.select([pipe], [], [], 30)
        for pid, _ in dice.sample(writers, len(writers)):
            time.sleep(dice.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            killed += 1
        for pid, pipe in writers:
            assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
            with open(pipe, "rb") as lines:
                told += [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {"killed": killed, "told": told}


def start_writer(path: str, name: str) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            random.seed(name)
            write_for_ever(path, name, writing)
        finally:
            os._exit(1)
    os.close(writing)
    return pid, reading


# --------------------------------------------------------------------------------- many processes


@worker
def append_many(path: str, name: str, times: str) -> Any:
    """Append to the shared session as soon as standard input is closed; report the numbers given out and the waits."""
    session = memory_at(path).session("shared")
    session.count()
    print("ready", flush=True)
    sys.stdin.read()
    given: list[int] = []
    for number in range(int(times)):
        given += session.append({"role": "user", "content": f"{name}:{number}"})
    return given


@worker
def append_for(path: str, seconds: str) -> Any:
    """Append for some time; report how often, and the longest wait."""
    session = memory_at(path).session("shared")
    session.append({"role": "user", "content": "first"})
    print("ready", flush=True)
    sys.stdin.read()
    times, longest = 0, 0.0
    begin = last = time.perf_counter()
    while last - begin < float(seconds):
        session.append({"role": "user", "content": "x" * 150})
        now = time.perf_counter()
        times, longest, last = times + 1, max(longest, now - last), now
    return [times, longest]


# -------------------------------------------------------------------------------------------- forks


@worker
def fork_and_outlive(path: str, how: str) -> Any:
    """The child of a fork writes, and goes on when its parent has closed the store and is gone."""
    memory = memory_at(path)
    memory.set("before", 1)
    memory.get("before")
    to_child, from_child = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        memory.set("in the child", 1)
        os.write(from_child[1], b".")
        os.read(to_child[0], 1)
        memory.set("in the child, later", 1)
        os.write(from_child[1], b".")
        os._exit(0) if how == "_exit" else sys.exit(0)
    os.read(from_child[0], 1)
    memory.set("in the parent", 1)
    log_was_there = os.path.exists(path + "-wal")
    memory.close()
    os.write(to_child[1], b".")
    status = os.waitpid(pid, 0)[1]
    return {"status": status, "log_was_there": log_was_there, "keys": memory_at(path).list_keys()}


@worker
def fork_while_writing(path: str, forks: str) -> Any:
    """Fork while four threads write and two read; every child writes too."""
    memory, stop, written = memory_at(path), threading.Event(), [0] * 4
    session = memory.session("shared")
    session.append({"role": "user", "content": "first"})

    def write(lane: int) -> None:
        while not stop.is_set():
            session.append({"role": "user", "content": f"thread {lane}"})
            written[lane] += 1

    def read() -> None:
        while not stop.is_set():
            session.messages(last=50)

    threads = [threading.Thread(target=write, args=(lane,)) for lane in range(4)] + [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(int(forks)):
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            for _ in range(5):
                session.append({"role": "user", "content": f"child {number}"})
            assert session.messages(last=1)
            memory.close()
            os._exit(0)
        children.append(pid)
        time.sleep(0.005)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    stop.set()
    for thread in threads:
        thread.join()
    return {"statuses": statuses, "threads": sum(written), "check": memory.store.check()["ok"]}


def _append_in_pool(path: str, number: int) -> list[int]:
    return memory_at(path).session("shared").append({"role": "user", "content": f"task {number}"})


@worker
def fork_by_multiprocessing(path: str, tasks: str) -> Any:
    memory = memory_at(path)
    memory.session("shared").append({"role": "user", "content": "first"})
    with multiprocessing.get_context("fork").Pool(4) as pool:
        numbers = pool.starmap(_append_in_pool, [(path, number) for number in range(int(tasks))])
        memory.session("shared").append({"role": "user", "content": "between"})
        pool.close()
        pool.join()
    return numbers


@worker
def fork_ram() -> Any:
    memory = Memory("n", url="memory://")
    memory.set("a", 1)
    reading, writing = os.pipe()
    if os.fork() == 0:
        memory.set("b", 2)
        os.write(writing, json.dumps(memory.list_keys()).encode())
        os._exit(0)
    in_child = json.loads(os.read(reading, 1000))
    os.wait()
    return {"child": in_child, "parent": memory.list_keys()}


# ----------------------------------------------------------------------------------- other programs


@worker
def hold_lock(path: str) -> Any:
    """Another program that keeps the database to itself until standard input is closed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    print("ready", flush=True)
    sys.stdin.read()
    connection.execute("ROLLBACK")
    connection.close()
    return None


@worker
def hold_file_lock(path: str) -> Any:
    """A botwire process that stopped in the middle of a write."""
    from botwire.stores.sqlite._filelock import FileLock

    lock = FileLock(path)
    lock.acquire(time.monotonic() + 5)
    print("ready", flush=True)
    sys.stdin.read()
    lock.release()
    return None


@worker
def set_and_wait(path: str, key: str) -> Any:
    """Write an entry, and keep the store open until standard input is closed."""
    memory = memory_at(path)
    memory.set(key, key)
    print("ready", flush=True)
    sys.stdin.read()
    memory.set(key + " later", key)
    memory.close()
    return None


@worker
def set_numbers_and_wait(path: str, times: str) -> Any:
    """Write entries one by one, and keep the store open until standard input is closed."""
    memory = memory_at(path)
    for number in range(int(times)):
        memory.set(f"key {number}", number)
    print("ready", flush=True)
    sys.stdin.read()


@worker
def set_keys(path: str, *keys: str) -> Any:
    with memory_at(path) as memory:
        for key in keys:
            memory.set(key, key)
        return memory.list_keys()


@worker
def list_keys(path: str) -> Any:
    with memory_at(path) as memory:
        return memory.list_keys()


@worker
def as_nobody(path: str, action: str) -> Any:
    """Read or write without root's privilege to ignore permissions."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    memory = memory_at(path, timeout=2)
    try:
        return memory.set("key", 1) if action == "write" else memory.get("key")
    except Exception as error:  # noqa: BLE001 - the report
        return f"{type(error).__name__}: {error}"


@worker
def migrate_and_die(path: str) -> Any:
    """Begin to migrate the file, and be killed in the middle."""
    from botwire.stores.sqlite import _schema

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Deadly(dict[int, str]):
        def __getitem__(self, version: int) -> str:
            if version == 3:
                die()
            return super().__getitem__(version)

    _schema.VERSION = 4
    _schema.MIGRATIONS = Deadly({2: "ALTER TABLE entry ADD COLUMN colour TEXT; UPDATE entry SET colour = 'red'", 3: ""})
    SQLiteStore(f"sqlite://{path}").get("n", "key")
    return None


if __name__ == "__main__":
    print(json.dumps(WORKERS[sys.argv[1]](*sys.argv[2:])), flush=True)
