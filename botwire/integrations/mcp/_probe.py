"""A client that tries a memory server over stdio, as ``botwire mcp doctor`` does."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mcp import Client, MCPError, StdioServerParameters, stdio_client

from botwire import InvalidValue

PROBE = {"text": '{"null": null}', "number": 2**53 + 1, "float": 1.0, "nothing": None, "letter": "é🌍"}
"""What must come back equal."""


def probe(command: str, arguments: Sequence[str], environment: Mapping[str, str], era: str, timeout: float = 30.0) -> dict[str, Any]:
    """Start a server, list its tools, write an entry, read it back and delete it.

    Args:
        command: what starts it.
        arguments: of the command.
        environment: variables that it gets besides this process's.
        era: of the protocol: ``legacy``, or a revision.
        timeout: seconds until it is given up.

    Returns:
        ``tools``: their names; ``version``: of the protocol; ``seconds``: from the start until they were listed; ``wrote``:
        whether the entry was written; ``problem``: what was wrong with it. Or ``failure``: ``not_found``, ``ended``,
        ``silent`` or ``protocol``; and ``said``: the last that the server wrote to standard error.

    Raises:
        InvalidValue: if the command cannot be one.
    """
    if "\x00" in "".join((command, *arguments)):
        raise InvalidValue("a command cannot hold NUL")
    parameters = StdioServerParameters(command=command, args=list(arguments), env={**os.environ, **environment})
    return asyncio.run(_probe(parameters, era, timeout))


async def _probe(parameters: StdioServerParameters, era: str, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        try:
            async with asyncio.timeout(seconds), Client(stdio_client(parameters, errlog=said), mode=era) as client:
                return await _use(client, began)
        except* FileNotFoundError:
            failure = "not_found"
        except* PermissionError:
            failure = "not_found"
        except* TimeoutError:
            failure = "silent"
        except* MCPError:
            failure = "ended"
        except* (OSError, ValueError, RuntimeError):
            failure = "protocol"
        return {"failure": failure, "said": _last_line(said)}


def _last_line(file: Any) -> str:
    file.seek(0)
    lines = [line.strip() for line in file.read().splitlines() if line.strip()]
    return lines[-1] if lines else ""


async def _use(client: Client, began: float) -> dict[str, Any]:
    names = [tool.name for tool in (await client.list_tools()).tools]
    seconds = round(time.monotonic() - began, 2)
    found: dict[str, Any] = {"tools": names, "version": client.protocol_version, "seconds": seconds, "wrote": False}
    if "memory_get" not in names or "memory_set" not in names:
        return found
    key = f"botwire-doctor/{secrets.token_hex(8)}"
    stored = await client.call_tool("memory_set", {"key": key, "value": PROBE, "ttl_seconds": 60})
    if stored.is_error:
        return {**found, "problem": f"memory_set failed: {_text(stored)}"}
    try:
        read = await client.call_tool("memory_get", {"key": key})
        value = None if read.is_error or read.structured_content is None else read.structured_content.get("value")
    finally:
        deleted = await client.call_tool("memory_delete", {"key": key})
    if repr(value) != repr(PROBE):
        return {**found, "problem": f"what memory_set stored, memory_get did not give back: {_text(read)}"}
    if deleted.is_error:
        return {**found, "problem": f"memory_delete failed, and {key} expires in a minute: {_text(deleted)}"}
    return {**found, "wrote": True}


def _text(result: Any) -> str:
    return " ".join(getattr(part, "text", "") for part in result.content)[:500]
