"""What an operator sets, besides what the service can take: logs, metrics, retention. And what runs beside the requests."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import start_http_server

from botwire._errors import BotWireError
from botwire._retention import Retention
from botwire.server._logs import LogFormat, set_up
from botwire.server._retention import Keeper

if TYPE_CHECKING:
    from botwire.server._service import Service


def _folder() -> Path | None:
    folder = os.environ.get("BOTWIRE_METRICS_DIR")
    return Path(folder) if folder else None


@dataclass(frozen=True)
class Operating:
    """An operator's settings.

    Args:
        log_level: the least level that is logged: ``debug``, ``info`` (a line for each request), ``warning``, ``error``.
        log_format: ``plain``, or ``json`` for JSON lines.
        metrics_port: a port that serves ``/metrics`` alone and asks for no token; None for none.
        metrics_host: the address of that port.
        metrics_folder: where several processes put their counts together; by default ``BOTWIRE_METRICS_DIR``.
        drain: seconds between the signal to end and the end, in which ``/ready`` sends load balancers elsewhere.
        retention: rules that the server applies; None for none.
    """

    log_level: str = "warning"
    log_format: LogFormat = "plain"
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    metrics_folder: Path | None = field(default_factory=_folder)
    drain: float = 0.0
    retention: Retention | None = None

    def set_up_logs(self) -> None:
        """Let the process log as these settings say."""
        set_up(self.log_format, self.log_level)


@asynccontextmanager
async def upkeep(service: Service) -> AsyncGenerator[None]:
    """What runs as long as the app does."""
    operating = service.operating
    served = None if operating.metrics_port is None else _serve_metrics(service, operating.metrics_host, operating.metrics_port)
    keeper = None if operating.retention is None else Keeper(service.store, operating.retention, service.observer.metrics)
    try:
        yield
    finally:
        if keeper is not None:
            await service.run(keeper.close)
        if served is not None:
            await service.run(served.shutdown)
            served.server_close()


def _serve_metrics(service: Service, host: str, port: int) -> Any:
    try:
        server, _ = start_http_server(port, host, service.observer.metrics.registry)
    except OSError as error:
        if service.operating.metrics_folder is not None:  # one of the processes has it, and tells the counts of all
            return None
        reason = error.strerror or error
        raise BotWireError(f"cannot listen at {host}:{port} for metrics: {reason}; choose another --metrics-port") from error
    return server
