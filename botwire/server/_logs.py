"""The server's log: lines for people, or JSON lines for programs. Never a value, key, session or token, unless at level debug.

An error's text may name a key, so of an error that nobody foresaw the lines say its class and where it happened, not its text.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

LogFormat = Literal["plain", "json"]
LEVELS = ("debug", "info", "warning", "error")
LOGGERS = ("botwire", "uvicorn")

_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(form: LogFormat = "plain", level: str = "warning", stream: TextIO | None = None) -> None:
    """Let botwire's and uvicorn's loggers write to ``stream``, standard error by default, and nowhere else.

    Args:
        form: ``plain`` for people, ``json`` for one JSON object a line.
        level: the least level that is written: one of ``LEVELS``. ``info`` has a line for each request.
        stream: where to.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = _Formatters[form]()
    formatter.tells_all = level == "debug"
    handler.setFormatter(formatter)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    if level != "debug":
        quiet = logging.getLogger("uvicorn")
        quiet.setLevel(max(logging.WARNING, quiet.level))  # of its start and end others tell


class _Formatter(logging.Formatter):
    tells_all = False

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - logging's name
        """Where it was raised and what class it has; its text at level debug alone."""
        if self.tells_all:
            return super().formatException(ei)
        return "\n".join(_without_text(ei[1])) if ei[1] is not None else ""


def _without_text(error: BaseException) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _without_text(cause)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    yield f"{type(error).__module__}.{type(error).__qualname__} (its text is shown at --log-level debug)"


class _Plain(_Formatter):
    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {message}", style="{")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """UTC, with milliseconds."""
        return _time(record)


class _JSON(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One object."""
        line: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        fields = getattr(record, "fields", None)
        line |= fields if isinstance(fields, dict) else {}
        line["message"] = record.getMessage()
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_Formatters: dict[LogFormat, type[_Formatter]] = {"plain": _Plain, "json": _JSON}
