"""The options of ``serve`` that say how it is watched and kept in order."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from botwire.server import Operating

_PANEL = "Operation"


class Level(StrEnum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Form(StrEnum):
    """How a line of the log looks."""

    PLAIN = "plain"
    JSON = "json"


LogLevel = Annotated[
    Level,
    typer.Option(
        "--log-level", rich_help_panel=_PANEL, help="What is logged, on standard error; info: each request, without names and values."
    ),
]
LogFormat = Annotated[Form, typer.Option("--log-format", rich_help_panel=_PANEL, help="Lines for people, or JSON lines.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port", metavar="PORT", min=1, max=65_535, rich_help_panel=_PANEL, help="A port for Prometheus alone, without a token."
    ),
]
MetricsHost = Annotated[str, typer.Option("--metrics-host", metavar="ADDRESS", rich_help_panel=_PANEL, help="The address of that port.")]
Drain = Annotated[
    float,
    typer.Option(
        "--drain",
        metavar="SECONDS",
        min=0.0,
        max=600.0,
        rich_help_panel=_PANEL,
        help="When told to stop: how long to go on answering while /ready says no.",
    ),
]


def operating(
    log_level: Level, log_format: Form, metrics_port: int | None, metrics_host: str, drain: float, config: str | None
) -> Operating:
    """The server's settings."""
    from botwire._retention import read_rules
    from botwire.server import Operating

    return Operating(
        log_level=log_level.value,
        log_format=log_format.value,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        drain=drain,
        retention=None if config is None else read_rules(Path(config)),
    )
