"""Traces, in a process of their own: a process has one provider of traces for good, which another test may have set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_traces_join_client_server_and_store() -> None:
    file = Path(__file__).with_name("traces.py")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(file)]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}  # some switch traces off
    ended = subprocess.run(command, cwd=file.parent.parent.parent, env=settings, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stdout
