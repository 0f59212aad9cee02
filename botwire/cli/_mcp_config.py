"""What ``botwire mcp config`` prints, and writes into a client's settings."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from botwire.cli import _exit
from botwire.cli._mcp_clients import CLIENTS, Client
from botwire.cli._mcp_merge import Refused, merged, read_settings

MOST_BYTES = 16 * 1024 * 1024


class Written(NamedTuple):
    """What became of a file: whether it changed, and where the old one is kept."""

    changed: bool
    backup: Path | None


def entry_of(arguments: Sequence[str], *, portable: bool, uvx: bool = False) -> dict[str, Any]:
    """How a client starts the server.

    Args:
        arguments: what follows ``botwire mcp``.
        portable: whether others read the file too, so that it must not name this machine's folders.
        uvx: whether uv installs botwire when the client starts.
    """
    if uvx:
        return {"command": "uvx", "args": ["--from", "botwire[mcp]", "botwire", "mcp", *arguments]}
    if portable:
        return {"command": "botwire", "args": ["mcp", *arguments]}
    program = _program()
    if program is None:
        return {"command": sys.executable, "args": ["-m", "botwire", "mcp", *arguments]}
    return {"command": program, "args": ["mcp", *arguments]}


def _program() -> str | None:
    """The whole path of the ``botwire`` of this environment: programs with windows do not know the shell's PATH."""
    return shutil.which("botwire", path=str(Path(sys.executable).parent)) or None


def file_of(client: Client, folder: Path, *, project: bool) -> Path:
    """The file that lists the client's servers.

    Raises:
        Refused: if the client has none of that kind.
    """
    if project or client.user is None:
        if client.project is None:
            raise Refused(f"{client.title} has no file for a project; leave out --project", _exit.USAGE)
        return folder / client.project
    return client.user()


def snippet(client: Client, name: str, entry: dict[str, Any]) -> str:
    """What a file that held nothing else would say."""
    return merged("", client.form, client.key, name, entry, replace=False)


def write(path: Path, client: Client, name: str, entry: dict[str, Any], *, replace: bool) -> Written:
    """Put the server into the file. The old file is kept beside it; whatever goes wrong, the file is the old or the new one.

    Raises:
        Refused: naming the file, which stays as it is.
    """
    try:
        real = path.resolve()  # a link stays one
        old = _bytes_of(real)
        text = merged(old.decode(), client.form, client.key, name, entry, replace=replace)
        new = text.encode()
        if new == old:
            return Written(changed=False, backup=None)
        real.parent.mkdir(parents=True, exist_ok=True)
        backup = _keep(real, old) if real.exists() else None
        _replace(real, old, new)
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is left as it is: it is not text in UTF-8 ({error})") from error
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror or error}", _exit.USAGE) from error
    except Refused as error:
        raise Refused(f"{path} is left as it is: {error}", error.status) from error
    return Written(changed=True, backup=backup)


def _bytes_of(path: Path) -> bytes:
    if not path.exists():
        return b""
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise Refused("it is not a file of settings")
    return path.read_bytes()


def _keep(path: Path, old: bytes) -> Path:
    """A copy of the old file, under a name that is not taken."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for number in range(1_000):
        backup = path.with_name(f"{path.name}.{stamp}{f'-{number}' if number else ''}.bak")
        try:
            with os.fdopen(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(old)
        except FileExistsError:
            continue
        shutil.copymode(path, backup)
        return backup
    raise Refused("there are too many backups beside it")


def _replace(path: Path, old: bytes, new: bytes) -> None:
    """The new file in place of the old one, in one step, if it still is the old one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        _check_unchanged(path, old)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _check_unchanged(path: Path, old: bytes) -> None:
    if _bytes_of(path) != old:
        raise Refused("something else changed it at the same moment; try again", _exit.CONFLICT)


def configured(path: Path, client: Client, name: str) -> dict[str, Any]:
    """What the client's file says of the server.

    Raises:
        Refused: if there is no such file or server, or it cannot be read.
    """
    try:
        settings = read_settings(_bytes_of(path.resolve()).decode(), client.form)
    except (OSError, UnicodeDecodeError, Refused) as error:
        raise Refused(f"{path}: {error}") from error
    try:
        entry: dict[str, Any] = dict(settings[client.key][name])
        if isinstance(entry["command"], str):
            return entry
    except (KeyError, TypeError, ValueError):
        pass
    how = f"botwire mcp config --client {client_name(client)} --write"
    raise Refused(f"{path} has no server {name!r} that is started by a command; `{how}` adds it", _exit.PROBLEM)


def client_name(client: Client) -> str:
    """By what the command line calls a client."""
    return next(name for name, one in CLIENTS.items() if one is client)
