"""The command line: ``botwire``."""

from botwire.cli._main import main

__all__ = ["main"]
