"""Interpreters for peers: this one if it has the package, or else a temporary environment made for it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from bench.settings import Settings

PATIENCE = 180
"""Seconds that making an environment may take."""


class PeerMissing(Exception):
    """A peer cannot be had; the text says why."""


@cache
def python_with(package: str, settings: Settings) -> str:
    """The path of an interpreter that can import ``package``.

    Raises:
        PeerMissing: if the package is not installed here and no environment can be made for it.
    """
    if importlib.util.find_spec(package) is not None:
        return sys.executable
    if settings.quick:
        raise PeerMissing(f"{package} is not installed, and --quick makes no environments")
    folder = settings.folder / f"environment-{package}"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    for command in _commands(folder, python, package):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PeerMissing(f"{package}: {command[0]} failed: {error}") from error
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise PeerMissing(f"{package}: {' '.join(command[:3])} failed: {last[:120]}")
    return str(python)


def _commands(folder: Path, python: Path, package: str) -> list[list[str]]:
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
        return [make, [uv, "pip", "install", "--quiet", "--python", str(python), package]]
    return [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "--quiet", package]]
