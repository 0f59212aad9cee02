"""Routes for who runs the service: what a namespace holds, whether the service works, backups, deletion."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

from botwire import _wire
from botwire._codec import encode
from botwire._errors import BotWireError, StoreBusy, Unsupported
from botwire._forget import delete_namespace, delete_sessions
from botwire._jsontext import encode_utf8, quote
from botwire._names import RESERVED_NAMESPACE, check_prefix
from botwire._version import __version__
from botwire._wire import PROTOCOL, SERVICE
from botwire.server._problems import HTTPProblem, Reply, json_reply
from botwire.server._request import Call, Receive, Send, refuse_conditions
from botwire.server._service import Service
from botwire.stores._protocol import Delete

PATIENCE = 5.0
"""Seconds within which a store must answer to count as working."""
BACKUP = "application/vnd.sqlite3"
_CHUNK = 256 * 1024


async def health(call: Call) -> Reply:
    """``GET /health``: what this is. It answers as long as the process does; ``ok`` says whether its store can be read."""
    call.query()
    service = call.service
    try:
        await asyncio.wait_for(service.run(service.store.namespaces, None, 1), PATIENCE)
        works = True
    except (BotWireError, TimeoutError):
        works = False
    about = {"service": SERVICE, "version": __version__, "protocol": PROTOCOL, **await _store_of(call, works), "ok": works}
    return json_reply(json.dumps(about).encode())


async def _store_of(call: Call, works: bool) -> dict[str, str]:
    """Which store is served, unless a stranger asks: paths and hosts are for who has a token, where tokens are asked for."""
    service = call.service
    if service.gate is not None:
        try:  # a token cannot be looked up while the store is away, and then nobody is known
            known = works and await asyncio.wait_for(service.run(service.gate.known, call.headers), PATIENCE)
        except (BotWireError, TimeoutError):
            known = None
        if not known:
            return {}
    return {"store": service.store.url}


async def ready(call: Call) -> Reply:
    """``GET /ready``: whether requests should be sent here. 503 with a problem document if not."""
    call.query()
    service = call.service
    if service.stopping:
        raise HTTPProblem(503, "stopping", "this server is shutting down; send requests elsewhere")
    try:
        await asyncio.wait_for(_try_out(service), PATIENCE)
    except TimeoutError as error:
        raise StoreBusy(f"the store did not answer within {PATIENCE:g} s") from error
    return json_reply(json.dumps({"ready": True, **await _store_of(call, works=True)}).encode())


async def _try_out(service: Service) -> None:
    """Read, and go through a write that changes nothing: it takes all the way but the wait for the disk."""
    if monotonic() < service.ready_until:
        return
    await service.run(service.store.namespaces, None, 1)
    await service.write(RESERVED_NAMESPACE, Delete("ready"))
    service.ready_until = monotonic() + 1  # whoever asks all the time is no burden


async def metrics(call: Call) -> Reply:
    """``GET /metrics``: for Prometheus."""
    call.service.authorize(call.headers, None, "admin")
    call.query()
    accept = call.headers.get(b"accept", b"").decode("latin-1")
    body, kind = await call.service.run(call.service.observer.metrics.text, accept)
    return 200, [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())], body


async def check(call: Call) -> Reply:
    """``GET /check``: the store examined from end to end."""
    call.service.authorize(call.headers, None, "admin")
    call.query()
    return json_reply(encode(await call.service.run(call.service.store.check)).encode())


async def read_usage(call: Call) -> Reply:
    """``GET /usage/{namespace}``."""
    namespace = call.namespace("read")
    call.query()
    usage = await call.service.run(call.service.store.usage, namespace)
    return json_reply(encode_utf8(_wire.usage_to_json(namespace, usage)))


# ------------------------------------------------------------------------------------------- backup


async def backup(call: Call) -> Download:
    """``GET /admin/backup``: a copy of the store at one moment, which others may go on writing to."""
    call.service.authorize(call.headers, None, "admin")
    call.query()
    file, digest = await call.service.run(_back_up, call.service.store)
    return Download(call.service, file, digest)


def _back_up(store: Any) -> tuple[BinaryIO, bytes]:
    """A copy as an open file that has no name any more, so that nothing of it can be left behind; and its SHA-256."""
    own = getattr(store, "backup", None)
    if own is None:
        raise Unsupported(f"{store.url.partition('://')[0]} has backups of its own; or use `botwire export`, which reads any store")
    path = getattr(store, "path", "")
    folder = os.path.dirname(path) if os.path.isabs(path) else tempfile.gettempdir()  # noqa: PTH120, PTH117 - a store's path is text
    name = Path(folder, f".botwire-backup-{secrets.token_hex(8)}")
    own(str(name))
    try:
        file = name.open("rb")
    finally:
        name.unlink()
    digest = hashlib.file_digest(file, "sha256").digest()
    file.seek(0)
    return file, digest


class Download:
    """An answer that is an open file, sent piece by piece and closed at the end."""

    def __init__(self, service: Service, file: BinaryIO, digest: bytes) -> None:
        self._service = service
        self._file = file
        self._digest = digest

    async def send(self, _: Receive, send: Send) -> None:
        """Send it; ``Content-Digest`` (RFC 9530) lets the other side know whether it is whole."""
        try:
            size = os.fstat(self._file.fileno()).st_size
            headers = [
                (b"content-type", BACKUP.encode()),
                (b"content-length", str(size).encode()),
                (b"content-disposition", b'attachment; filename="botwire-backup.db"'),
                (b"content-digest", b"sha-256=:" + base64.b64encode(self._digest) + b":"),
                (b"cache-control", b"no-store"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while chunk := await self._service.run(self._file.read, _CHUNK):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()


# ----------------------------------------------------------------------------------------- deletion


async def remove_namespace(call: Call) -> Reply:
    """``DELETE /namespaces/{namespace}``: all that is kept of it. For admins, since what counts its writes goes too."""
    namespace = call.namespace("admin")
    call.query()
    refuse_conditions(call.headers)
    gone, entirely = await call.service.run(delete_namespace, call.service.store, namespace)
    return _gone_reply(namespace, {**gone._asdict(), "entirely": entirely})


async def remove_sessions(call: Call) -> Reply:
    """``DELETE /sessions/{namespace}``: those whose ids begin with ``prefix``."""
    namespace = call.namespace("write")
    prefix = check_prefix(call.query("prefix").get("prefix", ""))
    refuse_conditions(call.headers)
    gone = await call.service.run(delete_sessions, call.service.store, namespace, prefix)
    return _gone_reply(namespace, {"sessions": gone.sessions, "messages": gone.messages})


def _gone_reply(namespace: str, figures: dict[str, Any]) -> Reply:
    return json_reply(encode_utf8(f'{{"namespace":{quote(namespace)},"deleted":{json.dumps(figures)}}}'))
