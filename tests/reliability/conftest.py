"""Means to hurt a store: other processes, small and read-only file systems, a VFS that fails or forgets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from botwire.stores.sqlite import SQLiteStore

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for hurtful_vfs and workers, which are no tests

Run = Callable[..., Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest.fixture
def open_at() -> Iterator[Callable[..., SQLiteStore]]:
    """Opens stores and closes them when the test is over."""
    stores: list[SQLiteStore] = []

    def open_at(path: Path, options: str = "", **more: Any) -> SQLiteStore:
        url = "sqlite://" + str(path).replace("%", "%25").replace("?", "%3F")
        stores.append(SQLiteStore(url + options, **more))
        return stores[-1]

    yield open_at
    for store in stores:
        store.close()


@pytest.fixture
def run() -> Run:
    """Runs a worker in a process of its own and returns what it reports."""

    def run(worker: str, *arguments: object, timeout: float = 100) -> Any:
        command = [sys.executable, "-W", "error::ResourceWarning", str(HERE / "workers.py"), worker, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Warning" not in done.stderr.replace("DeprecationWarning", ""), done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def start() -> Iterator[Run]:
    """Starts a worker that says ``ready`` and then waits for its standard input to be closed."""
    started: list[subprocess.Popen[str]] = []

    def start(worker: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "workers.py"), worker, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=2m,mode=700", "botwire-test", str(place))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def mount(*arguments: str) -> None:
    """Mount, or skip the test."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("not applicable: only root can mount, on Linux")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"not applicable: mounting is not allowed here: {done.stderr.strip()}")
