"""The command in this process, for speed, and as a process of its own, on a terminal if need be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from botwire import Memory
from botwire.cli import main


@dataclass
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs ``botwire`` with these arguments on the default store of this test."""

    def run(*arguments: str, stdin: bytes | None = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin or b""), encoding="utf-8"))
        monkeypatch.setattr(sys, "argv", ["botwire", *arguments])
        capsys.readouterr()
        status = main()
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs ``python -m botwire`` with these arguments."""

    def process(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "botwire", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=100, env={**os.environ, **environment}, check=False)

    return process


@pytest.fixture
def terminal() -> Callable[..., Ran]:
    """Runs ``python -m botwire`` with these arguments on a terminal of 80 columns, as bytes that reach it; answers are typed."""
    pty = pytest.importorskip("pty", reason="not applicable: no pseudo-terminals here")

    def terminal(*arguments: str, answer: str = "") -> Ran:
        import fcntl
        import struct
        import termios

        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
        with subprocess.Popen(
            [sys.executable, "-m", "botwire", *arguments], stdin=follower, stdout=follower, stderr=follower, env=environment
        ) as running:
            os.close(follower)
            os.write(leader, answer.encode())
            screen = bytearray()
            while True:
                try:
                    chunk = os.read(leader, 65_536)
                except OSError:  # the other side is closed
                    break
                if not chunk:
                    break
                screen += chunk
        os.close(leader)
        return Ran(running.returncode, screen.decode(errors="surrogateescape"), "")

    return terminal


@pytest.fixture
def memory() -> Memory:
    """The default namespace of the default store."""
    return Memory()
