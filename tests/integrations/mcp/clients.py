"""A client that knows nothing of the SDK: lines of JSON to and from a process."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "lines", "version": "1"}}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "lines", "version": "1"},
}


def request(number: int, method: str, params: Any = None, *, modern: bool = False) -> bytes:
    """One request, as a line."""
    given = dict(params or {})
    if modern:
        given["_meta"] = ENVELOPE
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": given}).encode() + b"\n"


def call(number: int, tool: str, arguments: Any, *, modern: bool = False) -> bytes:
    return request(number, "tools/call", {"name": tool, "arguments": arguments}, modern=modern)


def opening() -> bytes:
    """What begins a connection of the older protocol."""
    return request(0, "initialize", INITIALIZE) + b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "botwire", "mcp", *arguments]


class Lines:
    """A running ``botwire mcp``, spoken to by hand."""

    def __init__(self, *arguments: str, modern: bool = False, **options: Any) -> None:
        self.process = subprocess.Popen(
            command(*arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )
        self.modern = modern
        self._number = 0
        self._buffer = b""
        if not modern:
            self.send(opening())
            assert "result" in self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self, seconds: float = 30) -> dict[str, Any]:
        """The next message. Everything on standard output is one."""
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], seconds)
            assert ready, "no answer"
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            assert data, "the server has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def ask(self, method: str, params: Any = None) -> dict[str, Any]:
        self._number += 1
        self.send(request(self._number, method, params, modern=self.modern))
        answer = self.receive()
        assert answer["id"] == self._number
        return answer

    def call(self, tool: str, **arguments: Any) -> Any:
        """The structured result, or the text of the error."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})["result"]
        return result["content"][0]["text"] if result["isError"] else result["structuredContent"]

    def call_all(self, calls: Iterable[tuple[str, dict[str, Any]]]) -> list[Any]:
        """Send all calls before any answer is read; the results in the order of the calls."""
        numbers: list[int] = []
        for tool, arguments in calls:
            self._number += 1
            numbers.append(self._number)
            self.send(call(self._number, tool, arguments, modern=self.modern))
        answers = {answer["id"]: answer["result"] for answer in (self.receive() for _ in numbers)}
        return [answers[number].get("structuredContent", answers[number]["content"][0]["text"]) for number in numbers]

    def end(self) -> tuple[int, bytes]:
        """Close the input; the exit status, and what standard output still held."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        rest = self._buffer + self.process.stdout.read()
        return self.process.wait(30), rest


class HttpServer:
    """A running ``botwire mcp --transport http``, at a free port."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            command("--transport", "http", "--port", "0", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()
        found = re.search(r" at (http://\S+?)[,\s]", self.said)
        assert found, self.said
        self.url = found[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


def make_tokens(folder: Path, *names: str) -> tuple[Path, dict[str, str]]:
    """A token file, and the tokens: ``alice``; or as ``alice=ns1,ns2`` and ``alice=ns1:read`` with more than the name."""
    file, tokens, tables = folder / "tokens.toml", dict[str, str](), list[str]()
    for given in names:
        name, _, rest = given.partition("=")
        namespaces, _, scopes = rest.partition(":")
        options = [option for namespace in namespaces.split(",") if namespace for option in ("--for", namespace)]
        read_only = ["--read-only"] if scopes == "read" else []
        ended = subprocess.run(command("token", name, *options, *read_only), capture_output=True, text=True, timeout=60, check=True)
        tables.append(ended.stdout)
        tokens[name] = ended.stderr.split()[-1]
    file.write_text("\n".join(tables), encoding="utf-8")
    return file, tokens
