"""Programs in processes of their own that need not import a framework first: ``with Programs(["crewai"]) as programs: ...``.

A process that has imported the frameworks, and nothing else, waits; each program begins as its fork, with a copy of its memory, instead
of importing for seconds what it needs. It is as much a process of its own as any: with its own pid, its own end, killed on its own. What a
program does is as with ``python -c CODE ARGUMENTS``, also at its end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

DRIVERS = ("apsw", "httpx", "psycopg", "psycopg_pool", "redis.asyncio", "redis.cluster")
"""What botwire imports for its stores; botwire itself each program imports anew, so that it knows of none before."""


class Program:
    """A program that was begun: of ``subprocess.Popen`` what tests need."""

    def __init__(self, pid: int, state: IO[str], pipes: Sequence[IO[str]]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = pipes
        self._state = state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, timeout: float = 60) -> int:
        """How it ended; with a minus the signal that ended it."""
        if self.returncode is None:
            ready, _, _ = select.select([self._state], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired("a program", timeout)
            self.returncode = os.waitstatus_to_exitcode(int(self._state.readline()))
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To it, if it still runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """What it prints until it ends."""
        with suppress(OSError):  # it has ended
            self.stdin.close()
        read: dict[IO[str], str] = {}
        readers = [threading.Thread(target=lambda pipe=pipe: read.update({pipe: pipe.read()})) for pipe in (self.stdout, self.stderr)]
        for reader in readers:
            reader.start()
        try:
            self.wait(timeout)
        finally:
            self.kill()
            for reader in readers:
                reader.join()
        return read[self.stdout], read[self.stderr]

    def close(self) -> None:
        """End it, and leave nothing of it."""
        self.kill()
        self.wait()
        for pipe in (self.stdin, self.stdout, self.stderr, self._state):
            with suppress(OSError):
                pipe.close()


class Programs:
    """The waiting process, started when the first program is to begin."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._lock = threading.Lock()
        self._waiting: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._control is not None and self._waiting is not None:
            self._control.close()
            self._waiting.wait(60)

    def run(self, code: str, *arguments: str, timeout: float = 60) -> str:
        """What a program prints, which must end well."""
        with self.begin(code, *arguments) as program:
            printed, errors = program.communicate(timeout)
        assert program.returncode == 0, errors
        return printed

    def tell(self, script: Path, *arguments: str) -> tuple[int, Any]:
        """How a script ended, and what it printed as JSON behind ``TOLD``: nothing if it was killed."""
        with self.begin(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", *arguments) as program:
            printed, errors = program.communicate(timeout=90)
        told = [json.loads(line.removeprefix("TOLD ")) for line in printed.splitlines() if line.startswith("TOLD ")]
        assert told or program.wait() < 0, errors
        return program.wait(), told[0] if told else None

    def begin(self, code: str, *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Program:
        """Begin a program in a folder and with environment variables; without them in those that this process has now."""
        ends = [os.pipe() for _ in range(4)]
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr), (from_state, state) = ends
        begun = {"code": code, "arguments": arguments, "folder": str(folder or Path.cwd()), "environment": dict(environment or os.environ)}
        with self._lock:
            control = self._control or self._start()
            data = json.dumps(begun).encode()
            socket.send_fds(control, [len(data).to_bytes(8, "big")], [stdin, stdout, stderr, state])
            control.sendall(data)
        for end in (stdin, stdout, stderr, state):
            os.close(end)
        told = os.fdopen(from_state)
        pid = told.readline()
        assert pid, "the process that imports frameworks has ended"
        return Program(int(pid), told, [os.fdopen(to_stdin, "w"), os.fdopen(from_stdout), os.fdopen(from_stderr)])

    def _start(self) -> socket.socket:
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *self._modules]
            self._waiting = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        return self._control


# -------------------------------------------------------------------------- in the waiting process


def wait_for_one(control: socket.socket) -> str:
    """The code of a program, in its process; the waiting process never returns from here."""
    waker, woken = socket.socketpair()
    for end in (waker, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    states: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if control in ready:
            header, ends, _, _ = socket.recv_fds(control, 8, 4)
            if not header:
                sys.exit()
            begun = json.loads(_exactly(control, int.from_bytes(header, "big")))
            pid = os.fork()
            if pid == 0:
                for mine in (control, waker, woken, *states.values()):
                    os.close(mine) if isinstance(mine, int) else mine.close()
                return _become(begun, ends)
            states[pid] = ends.pop()
            os.write(states[pid], f"{pid}\n".encode())
            for end in ends:
                os.close(end)
        with suppress(BlockingIOError):
            woken.recv(1024)
        _tell_of_ended(states)


def _exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += control.recv(size - len(data))
    return data


def _tell_of_ended(states: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            state = states.pop(ended[0])
            with suppress(BrokenPipeError):  # nobody wants to know
                os.write(state, f"{ended[1]}\n".encode())
            os.close(state)


def _become(begun: dict[str, Any], ends: list[int]) -> str:
    """Make this process what ``python -c`` would have begun."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, end in enumerate(ends[:3]):
        os.dup2(end, number)
    for end in ends:
        os.close(end)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(begun["folder"])
    os.environ.clear()
    os.environ.update(begun["environment"])
    sys.argv = ["-c", *begun["arguments"]]
    sys.path[:1] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return begun["code"]


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the frameworks' own
        for name in sys.argv[2:]:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here stays, and pages that nobody counts in stay shared
    exec(compile(wait_for_one(socket.socket(fileno=int(sys.argv[1]))), "<string>", "exec"))
