"""Clients in several processes, and threads in each, that make random calls on the same entries and sessions.

with Crowd(url, tmp_path) as crowd:
    ...faults...
    lines = crowd.stop()
assert violations(lines) == []
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from botwire import Memory, StoreUnavailable

SLICE = 0.4
"""Seconds after which the clients turn to other entries and sessions: what is checked together stays small."""


class Crowd:
    """The processes. Each writes its part of the history to a file, line by line as it happens."""

    def __init__(self, url: str, folder: Path, *, processes: int = 3, threads: int = 3, timeout: float = 2.0) -> None:
        self._settings = {"url": url, "threads": threads, "timeout": timeout}
        self._folder, self._wanted = folder, processes
        self._names = itertools.count(1)
        self._running: list[subprocess.Popen[str]] = []
        self.killed = 0

    def __enter__(self) -> Self:
        try:
            self._running += [self._start() for _ in range(self._wanted)]
            for process in self._running:
                self._ready(process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
            _close(process)

    def _start(self) -> subprocess.Popen[str]:
        name = f"p{next(self._names)}"
        settings = {**self._settings, "name": name, "file": str(self._folder / f"history-{name}")}
        command = [sys.executable, __file__, json.dumps(settings)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read()

    def kill_one(self) -> None:
        """SIGKILL to the longest running process, in the middle of its calls; another takes its place."""
        process = self._running.pop(0)
        if self.killed >= self._wanted:
            self._ready(process)  # one that took another's place
        process.kill()
        process.wait()
        _close(process)
        self.killed += 1
        self._running.append(self._start())  # and the others go on meanwhile

    def stop(self, seconds: float = 60) -> list[Any]:
        """Let all finish the calls they are in; the history.

        Raises:
            AssertionError: if one raised anything but that the store was not available.
        """
        for process in self._running[max(len(self._running) - self.killed, 0) :]:
            self._ready(process)
        for process in self._running:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._running:
            process.wait(seconds)
            assert process.stderr is not None
            assert process.returncode == 0, process.stderr.read()[-3_000:]
            _close(process)
        self._running = []
        lines: list[Any] = []
        for file in sorted(self._folder.glob("history-*")):
            lines += [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return lines


def _close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


# -------------------------------------------------------------------------------- in such a process


def main(settings: dict[str, Any]) -> None:
    from botwire.testing import Client

    memory = Memory("histories", url=settings["url"], timeout=settings["timeout"])
    _connect(memory)
    file = os.open(settings["file"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stopping = threading.Event()
    failures: list[BaseException] = []

    def tell(line: Any) -> None:
        os.write(file, json.dumps(line).encode() + b"\n")  # at once: what a killed process has not written down was not acknowledged

    def run(name: str) -> None:
        client = Client(memory, name, tell)
        try:
            for number in itertools.count():
                if stopping.is_set():
                    return
                era = int(time.monotonic() / SLICE)
                answered = client.use_entry(f"k{era}") if number % 2 else client.use_session(f"s{era}")
                if not answered:
                    time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(f"{settings['name']}.{number}",)) for number in range(settings["threads"])]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    stopping.set()
    for thread in threads:
        thread.join()
    memory.close()
    if failures:
        raise failures[0]


def _connect(memory: Memory) -> None:
    """Load the driver, and connect, which takes longer than a call may take later, and on a busy machine more so."""
    patient_until = time.monotonic() + 30
    while True:
        try:
            memory.count()
        except StoreUnavailable:
            if time.monotonic() > patient_until:
                raise
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
