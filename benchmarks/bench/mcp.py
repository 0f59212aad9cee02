"""`botwire mcp` over standard input and output, against the protocol's own memory server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from bench.measure import Side, interleave, per_call
from bench.peers import PATIENCE, PeerMissing
from bench.settings import VALUE, Settings
from bench.table import Row, absent, time_text

NAME = "mcp"
PEER = "server-memory"
PACKAGE = "@modelcontextprotocol/server-memory@2026.8.31"
AT_ONCE = 50
EACH = 100
"""Writes of each of two processes."""

_BEGIN = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}


class Program(NamedTuple):
    """A memory server: how it is started, and its calls that store and read."""

    command: list[str]
    variables: dict[str, str]

    def write(self, key: str) -> tuple[str, dict[str, Any]]:
        """The tool that stores under a key, and its arguments."""
        if self.variables:
            entity = {"name": key, "entityType": "note", "observations": [json.dumps(VALUE)]}
            return "create_entities", {"entities": [entity]}
        return "memory_set", {"key": key, "value": VALUE}

    def read(self, key: str) -> tuple[str, dict[str, Any]]:
        """The tool that reads it, and its arguments."""
        return ("open_nodes", {"names": [key]}) if self.variables else ("memory_get", {"key": key})

    def keys(self, connection: Connection) -> int:
        """How many are there, by what the server itself says."""
        if self.variables:
            return len(connection.call("read_graph", {})["entities"])
        return connection.call("memory_list", {"limit": 1})["total"]


class Connection:
    """A running server, initialised."""

    def __init__(self, program: Program) -> None:
        environment = {**os.environ, **program.variables}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(program.command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
        self.number = 0
        self.ask("initialize", _BEGIN)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; its id."""
        self.number += 1
        self._send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        return self.number

    def receive(self) -> dict[str, Any]:
        """The next result."""
        assert self.process.stdout is not None
        while True:
            message = json.loads(self.process.stdout.readline())
            if "result" in message:
                return message["result"]

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its result."""
        self.send(method, params)
        return self.receive()

    def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The structured result of a tool."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        assert not result.get("isError"), result
        return result["structuredContent"]


def rows(settings: Settings) -> Iterator[Row]:
    """Start, reading, writing; then what is kept of writes that were all acknowledged."""
    folder = settings.place(NAME)
    ours = _ours(folder / "speed.db")
    try:
        peer_program = _peer(settings)
    except PeerMissing as error:
        yield absent(NAME, "all", PEER, str(error))
        peer_program = None
    theirs = None if peer_program is None else Program(peer_program, {"MEMORY_FILE_PATH": str(folder / "speed.jsonl")})
    yield _row("start to `tools/list`", {"botwire": _start(ours), "peer": theirs and _start(theirs)}, settings.rounds(7), 3.0)
    with Connection(ours) as one:
        if theirs is None:
            yield from _calls(settings, ours, one, None, None)
        else:
            with Connection(theirs) as other:
                yield from _calls(settings, ours, one, theirs, other)
    yield _kept(f"{AT_ONCE} writes at once, kept", AT_ONCE, _at_once, folder / "once", peer_program)
    yield _kept(f"2 processes x {EACH} writes, kept", 2 * EACH, _two_processes, folder / "two", peer_program)


def _ours(file: Path) -> Program:
    return Program([sys.executable, "-m", "botwire", "mcp", "--store", str(file)], {})


def _peer(settings: Settings) -> list[str]:
    """How the peer is started; it is installed into a temporary folder if it is not on the path."""
    if program := shutil.which("mcp-server-memory"):
        return [program]
    npm = shutil.which("npm")
    if npm is None or settings.quick:
        raise PeerMissing("npm is not installed" if npm is None else "--quick installs nothing")
    folder = settings.folder / "npm"
    command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", PACKAGE]
    try:
        subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerMissing(f"npm install: {error}") from error
    return [str(folder / "node_modules" / ".bin" / "mcp-server-memory")]


def _start(program: Program) -> Side:
    def sample() -> float:
        start = time.perf_counter()
        with Connection(program) as connection:
            connection.ask("tools/list", {})
            return time.perf_counter() - start

    return sample


def _calls(settings: Settings, ours: Program, one: Connection, theirs: Program | None, other: Connection | None) -> Iterator[Row]:
    def sides(kind: str, count: int) -> dict[str, Side | None]:
        peer = None
        if theirs is not None and other is not None:
            peer = per_call(_caller(other, theirs, kind), count)
        return {"botwire": per_call(_caller(one, ours, kind), count), "peer": peer}

    yield _row("warm write", sides("write", 5), settings.rounds(20), None)
    yield _row("warm read", sides("read", 20), settings.rounds(20), 5e-3)


def _caller(connection: Connection, program: Program, kind: str) -> Any:
    numbers = iter(range(1_000_000))
    calls = {"write": lambda: program.write(f"key{next(numbers)}"), "read": lambda: program.read("key0")}
    return lambda: connection.call(*calls[kind]())


def _row(what: str, given: dict[str, Side | None], rounds: int, seconds: float | None) -> Row:
    sides = {name: side for name, side in given.items() if side is not None}
    samples = interleave(sides, rounds)
    figure = samples.median("botwire")
    both = "peer" in sides
    return Row(
        NAME,
        what,
        time_text(figure),
        PEER if both else "",
        time_text(samples.median("peer")) if both else "",
        samples.ratio("botwire", "peer") if both else None,
        time_text(seconds) if seconds else "",
        figure < seconds if seconds else None,
        samples.load,
    )


def _kept(what: str, all_of_them: int, write: Any, place: Path, peer_program: list[str] | None) -> Row:
    mine = write(_ours(place.with_suffix(".db")))
    peer = None if peer_program is None else write(Program(peer_program, {"MEMORY_FILE_PATH": str(place.with_suffix(".jsonl"))}))
    return Row(
        NAME, what, str(mine), "" if peer is None else PEER, "" if peer is None else str(peer), None, str(all_of_them), mine == all_of_them
    )


def _at_once(program: Program) -> int:
    with Connection(program) as connection:
        for number in range(AT_ONCE):
            tool, arguments = program.write(f"key{number}")
            connection.send("tools/call", {"name": tool, "arguments": arguments})
        assert not any(connection.receive().get("isError") for _ in range(AT_ONCE))
    return _count(program)


def _two_processes(program: Program) -> int:
    with Connection(program) as first, Connection(program) as second:
        for number in range(EACH):
            for name, connection in (("a", first), ("b", second)):
                tool, arguments = program.write(f"{name}{number}")
                connection.send("tools/call", {"name": tool, "arguments": arguments})
            assert not any(connection.receive().get("isError") for connection in (first, second))
    return _count(program)


def _count(program: Program) -> int:
    with Connection(program) as connection:
        return program.keys(connection)
