"""Routes for those who watch: hints of what changed, as server-sent events, and the stamps to find out by."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from botwire import _wire
from botwire._errors import BotWireError
from botwire._jsontext import encode_utf8, quote
from botwire._names import check_name, check_prefix
from botwire.server._entries import page_limit
from botwire.server._hub import Waiter
from botwire.server._problems import HTTPProblem, Reply, json_reply
from botwire.server._request import Call, Receive, Send, query_number
from botwire.stores._protocol import EntryStamp

logger = logging.getLogger("botwire.server")

MOST_QUIET = 60
"""Seconds that a client may ask a silent stream to wait before it shows that it is alive, at most."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that gathers before it passes on would keep hints for itself
]


async def list_stamps(call: Call) -> Reply:
    """``GET /stamps/{namespace}``: entries without their values."""
    namespace = call.namespace("read")
    query = call.query("prefix", "limit", "cursor")
    prefix, limit = check_prefix(query.get("prefix", "")), page_limit(query)
    stamps: list[EntryStamp] = await call.service.run(call.service.store.scan_stamps, namespace, prefix, query.get("cursor"), limit + 1)
    page = stamps[:limit]
    next_cursor = quote(page[-1].key) if len(stamps) > limit else "null"
    inner = ",".join([_wire.stamp_to_json(stamp) for stamp in page])
    body = f'{{"namespace":{quote(namespace)},"count":{len(page)},"stamps":[{inner}],"next_cursor":{next_cursor}}}'
    return json_reply(encode_utf8(body))


async def watch(call: Call) -> Reply | Stream:
    """``GET /watch/{namespace}``: what may have changed, from the event ``ready`` on."""
    namespace = call.namespace("read")
    query = call.query("session", "keep_alive")
    session = check_name(query["session"], "session id") if "session" in query else None
    quiet = cast("int", query_number(query, "keep_alive", _wire.KEEP_ALIVE_SECONDS, 1, MOST_QUIET))
    if call.method == "HEAD":
        return 200, _HEADERS, b""
    return Stream(call, namespace, session, quiet, await call.service.hub.join(namespace, session))


class Stream:
    """An answer that goes on until the client goes away, may no longer read, or the server stops."""

    def __init__(self, call: Call, namespace: str, session: str | None, quiet: int, waiter: Waiter) -> None:
        self._call = call
        self._namespace = namespace
        self._session = session
        self._quiet = quiet
        self._waiter = waiter

    async def send(self, receive: Receive, send: Send) -> None:
        """Send all of it."""
        watching = asyncio.ensure_future(_until_gone(receive))
        sending = asyncio.ensure_future(self._send_events(send))
        watching.add_done_callback(lambda _: self._waiter.end())
        try:
            await asyncio.wait((watching, sending), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():  # it may wait for a client that reads no more
                await asyncio.wait((sending,), timeout=1.0)
        finally:
            watching.cancel()
            sending.cancel()
            self._call.service.hub.leave(self._namespace, self._session, self._waiter)
            await asyncio.gather(watching, sending, return_exceptions=True)

    async def _send_events(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await _send_text(send, f'retry: 1000\nevent: ready\ndata: {{"keep_alive":{self._quiet}}}\n\n')
        while not self._waiter.ended:
            heard = await self._waiter.next(self._quiet)
            if heard is not None:
                await _send_text(send, f"event: change\ndata: {_wire.heard_to_json(heard)}\n\n")
            elif not self._waiter.ended:
                await _send_text(send, ": alive\n\n")
            if not self._is_still_allowed():
                break
        await send({"type": "http.response.body", "body": b""})

    def _is_still_allowed(self) -> bool:
        """Tokens are withdrawn while streams are open."""
        try:
            self._call.service.authorize(self._call.headers, self._namespace, "read")
        except (BotWireError, HTTPProblem) as error:
            logger.info("a stream is ended: %s", error)
            return False
        return True


async def _send_text(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": encode_utf8(text), "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
