"""Fetching a backup: piece by piece into a file, compared with the digest that the server sends."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botwire._errors import BotWireError, StoreUnavailable
from botwire.stores._http_calls import Answer, Request, failure


def download(client: Any, url: str, headers: Mapping[str, str], timeout: float, file: str) -> None:
    """Write the server's backup to a new file, for its owner alone; nothing is left if that fails.

    Raises:
        BotWireError: as the server says, or if what came is not whole.
        OSError: if the file is there, or cannot be written.
    """
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as target:
            _fetch(client, url, headers, timeout, target)
            target.flush()
            os.fsync(target.fileno())
    except BaseException:
        Path(file).unlink(missing_ok=True)
        raise


def _fetch(client: Any, url: str, headers: Mapping[str, str], timeout: float, target: Any) -> None:
    request = Request("GET", "/admin/backup")
    try:
        with client.stream(request.method, url + request.target, headers=dict(headers), timeout=timeout) as response:
            _receive(response, request, url, target)
    except (BotWireError, OSError):
        raise
    except Exception as error:
        if "RequestError" not in {kind.__name__ for kind in type(error).__mro__}:  # by name, for clients of httpx2
            raise
        raise StoreUnavailable(f"the backup from {url} broke off: {type(error).__name__}; try again") from error


def _receive(response: Any, request: Request, url: str, target: Any) -> None:
    found = {name.lower(): value for name, value in response.headers.items()}
    if response.status_code != 200:
        raise failure(request, Answer(response.status_code, found, response.read()), url)
    digest = hashlib.sha256()
    for chunk in response.iter_bytes():
        target.write(chunk)
        digest.update(chunk)
    if found.get("content-digest") != f"sha-256=:{base64.b64encode(digest.digest()).decode()}:":
        raise StoreUnavailable(f"what came from {url} is not the whole backup; try again")
