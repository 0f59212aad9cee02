"""MCP clients: where each keeps its list of servers, and in which form."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

Form = Literal["json", "toml"]


class Client(NamedTuple):
    """One client.

    ``user`` gives the file that holds for all projects, ``project`` names one for a project, relative to its folder; None: there is
    none that is meant to be edited. ``key`` is the member or table under which servers stand.
    """

    title: str
    key: str
    user: Callable[[], Path] | None
    project: str | None
    rules: str
    form: Form = "json"
    then: str = "restart it"


def _settings() -> Path:
    """Where this user's programs keep settings."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if os.name == "nt":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _codex() -> Path:
    return Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex") / "config.toml"


CLIENTS = {
    "claude-desktop": Client(
        "Claude Desktop",
        "mcpServers",
        lambda: _settings() / "Claude" / "claude_desktop_config.json",
        None,
        "Settings > Profile, as your preferences",
        then="quit it altogether and start it again",
    ),
    "claude-code": Client(
        "Claude Code", "mcpServers", None, ".mcp.json", "CLAUDE.md", then="start a new conversation and agree to the server; /mcp shows it"
    ),
    "cursor": Client(
        "Cursor", "mcpServers", lambda: Path.home() / ".cursor" / "mcp.json", ".cursor/mcp.json", ".cursor/rules/botwire-memory.mdc"
    ),
    "vscode": Client(
        "VS Code",
        "servers",
        lambda: _settings() / "Code" / "User" / "mcp.json",
        ".vscode/mcp.json",
        ".github/copilot-instructions.md",
        then="run `MCP: List Servers` and start it",
    ),
    "windsurf": Client(
        "Windsurf",
        "mcpServers",
        lambda: Path.home() / ".codeium" / "windsurf" / "mcp_config.json",
        None,
        ".windsurf/rules/botwire-memory.md",
        then="press Refresh in its MCP settings",
    ),
    "codex": Client("Codex", "mcp_servers", _codex, None, "AGENTS.md", form="toml", then="start a new conversation"),
}
