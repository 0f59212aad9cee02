"""What ``botwire mcp doctor`` looks at: the server, started as a client starts it, and used as a client uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botwire._errors import BotWireError
from botwire.cli._doctor import Report

SLOW_SECONDS = 5.0
_ADVICE = {
    "not_found": "the command is not where this client would look; `botwire mcp config --client NAME` prints one with its whole path",
    "ended": "the server ended at once; run the command yourself to see why",
    "silent": "the server does not answer in time; run the command yourself: it must print nothing, and wait",
    "protocol": "what answers does not speak MCP: nothing but the server may print to standard output",
}


def examine_server(command: str, arguments: Sequence[str], environment: Mapping[str, str], why: str, timeout: float) -> Report:
    """Start the server once in each era of the protocol, and use it.

    Raises:
        MissingExtra: without ``botwire[mcp]``.
    """
    from botwire.integrations.mcp import probe

    report = Report(" ".join([command, *arguments]), why)
    for era in ("2026-07-28", "legacy"):
        name = "protocol of 2026-07-28" if era != "legacy" else "older protocol"
        try:
            found = probe(command, arguments, environment, era, timeout)
        except BotWireError as error:
            report.add("problem", name, str(error))
            continue
        report.figures[era] = found
        _judge(report, name, found)
    return report


def _judge(report: Report, name: str, found: dict[str, Any]) -> None:
    if failure := found.get("failure"):
        said = f" It said: {found['said']}" if found.get("said") else ""
        report.add("problem", name, f"{_ADVICE.get(failure, failure)}.{said}")
        return
    tools, seconds = found["tools"], found["seconds"]
    if "memory_get" not in tools:
        report.add("problem", name, f"this is not botwire's server: it has the tools {', '.join(tools) or 'none'}")
        return
    report.add("ok", name, f"{len(tools)} tools by revision {found['version']}, {seconds:.1f} s after the start")
    if seconds > SLOW_SECONDS:
        report.add("warning", name, f"{seconds:.1f} s until the tools were listed; some clients give up on slow servers")
    if problem := found.get("problem"):
        report.add("problem", name, problem)
    elif found["wrote"]:
        report.add("ok", name, "an entry was written, read back equal, and deleted")
    else:
        report.add("warning", name, "it shows no memory_set: started with --read-only, nothing can be stored")
