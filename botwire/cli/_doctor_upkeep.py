"""What ``botwire doctor`` looks at besides damage: schema, sizes, what is to be cleared away, settings that endanger data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from botwire.cli._output import plural, size_text

if TYPE_CHECKING:
    from botwire.cli._doctor import Report

MANY_EXPIRED = 10_000
"""Rows that have expired and are still there, from which on sweeping does not keep up."""
LONG_LOG = 256 * 1024 * 1024
"""Bytes of the write-ahead log that normal use does not reach: it is cut at 64 MiB once no reader is in the way."""
MUCH_FREE = 64 * 1024 * 1024


def add_upkeep(report: Report, path: str | None) -> None:
    """Add the findings; a store of another kind tells figures of its own, of which those with these names are looked at."""
    figures = report.figures
    if not figures:
        return
    _schema(report, figures)
    _expired(report, figures)
    _sizes(report, figures, path)
    if path is not None:
        _left_over(report, Path(path))


def _schema(report: Report, figures: dict[str, Any]) -> None:
    if figures.get("schema"):
        report.add("ok", "schema", f"version {figures['schema']}")


def _expired(report: Report, figures: dict[str, Any]) -> None:
    expired = sum(figures.get(f"{kind}_expired", 0) for kind in ("entry", "log"))
    if expired >= MANY_EXPIRED:
        detail = (
            f"{plural(expired, 'row has', 'rows have')} expired and not been removed yet: writers do that on the way, so write something"
        )
        report.add("warning", "expired", detail)
    elif expired:
        report.add("ok", "expired", f"{plural(expired, 'row has', 'rows have')} expired and will be removed by the next writers")


def _sizes(report: Report, figures: dict[str, Any], path: str | None) -> None:
    size, free = figures.get("bytes"), figures.get("free_bytes", 0)
    if not isinstance(size, int):
        return
    log = _size(None if path is None else Path(path + "-wal"))
    detail = f"{size_text(size)}, of which {size_text(free)} unused; log {size_text(log)}"
    if log > LONG_LOG:
        report.add("warning", "size", f"{detail}: a reader that never ends keeps the log from being cut; restart what uses the file")
    elif free > MUCH_FREE and 2 * free > size:
        report.add("warning", "size", f"{detail}; `botwire vacuum` gives it back")
    else:
        report.add("ok", "size", detail)


def _size(file: Path | None) -> int:
    return file.stat().st_size if file is not None and file.exists() else 0


def _left_over(report: Report, path: Path) -> None:
    """Files that an interrupted backup or restore left, and stores that a restore put aside: copies of memory that nobody looks after."""
    if not path.parent.is_dir():
        return
    interrupted = [*path.parent.glob(".botwire-backup-*"), *path.parent.glob(f"{path.name}.restoring-*")]
    if interrupted:
        report.add("warning", "left over", f"{', '.join(map(str, interrupted))}: of an interrupted backup or restore; remove them")
    aside = sorted(path.parent.glob(f"{path.name}.before-restore-*"))
    if aside:
        report.add("warning", "left over", f"{', '.join(map(str, aside))}: put aside by a restore; remove them once they are not needed")
