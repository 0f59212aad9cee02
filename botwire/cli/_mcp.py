"""``botwire mcp``: the memory server for MCP clients."""

from __future__ import annotations

import typer

from botwire.cli._mcp_setup import register as register_setup

group = typer.Typer(name="mcp", help="Serve memory to MCP clients, and set them up.", no_args_is_help=True, rich_markup_mode="rich")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    register_setup(group)
    app.add_typer(group)
