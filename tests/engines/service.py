"""``botwire serve`` as a process of its own, which tests kill, freeze and start again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import Self

PROGRAM = "import sys; from botwire.server import serve; serve(sys.argv[1], port=int(sys.argv[2]))"


class Service:
    """A server of a store, at a port that stays its own."""

    def __init__(self, store_url: str) -> None:
        self.store_url = store_url
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start it, and wait until it is ready."""
        command = [sys.executable, "-P", "-c", PROGRAM, self.store_url, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("botwire serving"), line + self.process.stdout.read()
        return self

    def kill(self) -> None:
        """SIGKILL: no request is finished."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop it where it is; its connections stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
