"""The page for people at ``/``: its files, served from memory and by exact name alone.

The files hold nothing of what is stored. The page fetches that from the routes that everyone else uses, with the token
that its reader typed in, so the files need no token and each request for data does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from botwire.server._problems import Headers, Reply
from botwire.server._request import Call, HeaderMap

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What a browser lets the page do: run its own files and talk to its own server. With Trusted Types no text becomes markup."""

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "mjs": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
    "txt": b"text/plain; charset=utf-8",
}
_HEADERS: Headers = [
    (b"cache-control", b"no-cache"),  # kept, but asked after each time: a newer server brings a newer page
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class _File(NamedTuple):
    body: bytes
    kind: bytes
    etag: bytes


def page_routes() -> dict[str, dict[str, Callable[[Call], Awaitable[Reply]]]]:
    """The handler of each file, by its path."""
    return {path: {"GET": _handler(file)} for path, file in _files().items()}


@cache
def _files() -> dict[str, _File]:
    found = _below(files("botwire.server").joinpath("page"), "/page/")
    return {"/": found.pop("/page/index.html"), **found}


def _below(folder: Traversable, path: str) -> dict[str, _File]:
    found: dict[str, _File] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        kind = entry.name.rpartition(".")[2]
        if entry.is_dir():
            found |= _below(entry, f"{path}{entry.name}/")
        elif kind in _TYPES:
            body = entry.read_bytes()
            found[path + entry.name] = _File(body, _TYPES[kind], f'"{hashlib.sha256(body).hexdigest()[:20]}"'.encode())
    return found


def _handler(file: _File) -> Callable[[Call], Awaitable[Reply]]:
    about = [(b"etag", file.etag), *_HEADERS]
    whole = [(b"content-type", file.kind), (b"content-length", str(len(file.body)).encode()), *about]

    async def answer(call: Call) -> Reply:
        return (304, about, b"") if _has(call.headers, file.etag) else (200, whole, file.body)

    return answer


def _has(headers: HeaderMap, etag: bytes) -> bool:
    """Whether the browser has the file already (``If-None-Match``, RFC 9110 section 13.1.2)."""
    tags = headers.get(b"if-none-match", b"").split(b",")
    return any(tag.strip().removeprefix(b"W/") in (etag, b"*") for tag in tags)
