"""``botwire mcp config``, ``rules`` and ``doctor``: what makes a client use the memory server."""

from __future__ import annotations

import typer


def register(group: typer.Typer) -> None:
    """Add the commands to ``botwire mcp``."""
