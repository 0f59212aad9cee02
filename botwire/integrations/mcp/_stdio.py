"""The server on standard input and output.

The SDK's own transport drops a message that it cannot parse without an answer, ends the process on a result that it
cannot write, and forgets calls that are under way when the input ends. This one answers all of them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage

logger = logging.getLogger("botwire")

LAST_ANSWERS_SECONDS = 30
"""How long the end of the input waits for calls that are under way."""

MAX_DIGITS = 4_300
"""Python's own bound, up to which it turns digits into an integer."""

_ENDLESS = "subscriptions/listen"


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client until its end of the pipe is closed and what it asked for is answered."""
    with _pipes() as (source, sink):
        await _Connection(source, sink).run(server)


@contextmanager
def _pipes() -> Generator[tuple[BinaryIO, BinaryIO]]:
    """Standard input and output for the protocol alone: whatever else prints goes to standard error."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    try:
        # Not closed: a thread may still be reading.
        yield os.fdopen(source, "rb", closefd=False), os.fdopen(sink, "wb", buffering=0, closefd=False)
    finally:
        os.dup2(source, 0)
        os.dup2(sink, 1)


class _Connection:
    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._open: set[types.RequestId] = set()
        """Requests that are not answered yet."""
        self._answered = anyio.Event()
        self._writing = anyio.Lock()

    async def run(self, server: Server[Any]) -> None:
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as group:
            group.start_soon(self._write_all, from_server, group.cancel_scope)
            group.start_soon(self._read_all, to_server)
            await server.run(from_client, to_client, server.create_initialization_options())

    # ----------------------------------------------------------------------------------------- reading

    async def _read_all(self, to_server: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        lines_in, lines = anyio.create_memory_object_stream[bytes](0)
        loop_calls = anyio.from_thread.BlockingPortal()
        async with loop_calls, to_server:
            threading.Thread(target=_pump, args=(self._source, lines_in, loop_calls), name="botwire-mcp-stdin", daemon=True).start()
            async with lines:
                async for line in lines:
                    if line.strip():
                        await self._take(line, to_server)
            await self._drain()

    async def _take(self, line: bytes, to_server: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        message = _message_of(line)
        if isinstance(message, types.JSONRPCError):
            await self._write(message)
            return
        if isinstance(message, types.JSONRPCRequest) and message.method != _ENDLESS:
            self._open.add(message.id)
        if isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._open.discard((message.params or {}).get("requestId", ""))
        await to_server.send(SessionMessage(message))

    async def _drain(self) -> None:
        with anyio.move_on_after(LAST_ANSWERS_SECONDS):
            while self._open:
                self._answered = anyio.Event()
                await self._answered.wait()

    # ----------------------------------------------------------------------------------------- writing

    async def _write_all(self, from_server: MemoryObjectReceiveStream[SessionMessage], scope: anyio.CancelScope) -> None:
        async with from_server:
            async for envelope in from_server:
                try:
                    await self._write(envelope.message)
                except OSError:  # the client is gone
                    scope.cancel()
                    return

    async def _write(self, message: types.JSONRPCMessage) -> None:
        try:
            text = message.model_dump_json(by_alias=True, exclude_unset=True)
        except ValueError:
            logger.exception("an answer cannot be written")
            text = _error(getattr(message, "id", None), types.INTERNAL_ERROR, "the answer cannot be written as JSON").model_dump_json()
        data = text.encode() + b"\n"
        async with self._writing:
            await anyio.to_thread.run_sync(_write_whole, self._sink, data)
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            self._open.discard(message.id)  # type: ignore[arg-type]
            self._answered.set()


def _pump(source: BinaryIO, lines: MemoryObjectSendStream[bytes], loop: anyio.from_thread.BlockingPortal) -> None:
    """On a thread of its own, which may be left waiting for a client that says nothing."""
    send: Callable[[bytes], Any] = lines.send
    try:
        for line in source:
            loop.call(send, line)
        loop.call(lines.aclose)
    except (RuntimeError, OSError, anyio.BrokenResourceError):
        return  # the server has ended


def _write_whole(sink: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[sink.write(view) :]


def _message_of(line: bytes) -> types.JSONRPCMessage:
    """The message of a line, or the error that answers a line which is none."""
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return _unusual(line)


def _unusual(line: bytes) -> types.JSONRPCMessage:
    """Python's own parser takes more than the SDK's: a lone surrogate, deep nesting. What is refused, a tool can say why."""
    long: list[str] = []

    def number_of(digits: str) -> int:
        if len(digits) <= MAX_DIGITS:
            return int(digits)
        long.append(digits)
        return 0

    try:
        record: Any = json.loads(line, parse_int=number_of)
    except (ValueError, RecursionError) as error:
        return _error(None, types.PARSE_ERROR, f"this is not JSON that can be read: {error}")
    number = cast("dict[str, Any]", record).get("id") if isinstance(record, dict) else None
    if long:
        text = f"invalid_argument: a number of {len(long[0])} digits; over {MAX_DIGITS} it cannot be carried, send it as text"
        return _error(number, types.INVALID_PARAMS, text)
    try:
        return types.jsonrpc_message_adapter.validate_python(record, by_name=False)
    except ValueError:
        return _error(number, types.INVALID_REQUEST, "this is no JSON-RPC message")


def _error(number: Any, code: int, text: str) -> types.JSONRPCError:
    known = number if isinstance(number, str | int) and not isinstance(number, bool) else None
    return types.JSONRPCError(jsonrpc="2.0", id=known, error=types.ErrorData(code=code, message=text))
