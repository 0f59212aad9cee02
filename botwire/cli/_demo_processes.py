"""The demo's processes: started, listened to, killed; none is left behind."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from botwire._errors import BotWireError

PATIENCE = 60.0
"""Seconds that a process may stay silent: many, for slow machines."""

_START = "import sys; sys.path.append(sys.argv.pop(1)); from botwire.cli._demo_worker import main; main()"


class DemoFailed(BotWireError):
    """A process of the demo did not do its part."""


class Worker:
    """One process, and the lines that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.pid = process.pid

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, timeout: float = PATIENCE) -> str:
        """The next line.

        Raises:
            DemoFailed: if the process ends, or stays silent for too long.
        """
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise DemoFailed(f"process {self.pid} printed nothing for {timeout:.0f} seconds") from None
        if line is None:
            raise DemoFailed(f"process {self.pid} ended too early: {self._last_words()}")
        return line

    def tell(self, line: str) -> None:
        """Send it a line."""
        if self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def kill(self) -> list[str]:
        """End it with SIGKILL, which no process can prepare for; returns what it had printed by then."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        lines: list[str] = []
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                lines.append(line)
        return lines

    def close(self) -> None:
        """Kill it if it still runs, and give back its pipes."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what it was to be told last, it no longer hears
                    pipe.close()

    def _last_words(self) -> str:
        self._process.wait(PATIENCE)
        lines = (self._process.stderr.read() if self._process.stderr is not None else "").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"


class Processes:
    """Starts workers; at the end of the ``with`` block none is left."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in self._workers:
            worker.close()

    def start(self, role: str, *arguments: str) -> Worker:
        """A process of the same Python in that role."""
        library = str(Path(__file__).parents[2])  # at the end of the path: nothing in it may hide the standard library
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BOTWIRE_")}
        process = subprocess.Popen(  # noqa: S603 - this Python, these modules
            [sys.executable, "-c", _START, library, role, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        worker = Worker(process)
        self._workers.append(worker)
        return worker


class Watch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return round(time.monotonic() - self._began, 2)
