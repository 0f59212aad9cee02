"""A progress bar on standard error, for people only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int | None, *, in_bytes: bool, wanted: bool = True) -> Generator[Callable[[int], None]]:
    """Show a bar while the ``with`` block runs, if standard error is a terminal; gives what moves it on.

    Args:
        what: the words before the bar.
        total: how far it goes; None if that is not known.
        in_bytes: whether that counts bytes, or rows.
        wanted: False for none at all.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    count = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), count, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), expand=False, refresh_per_second=5) as bar:
        task = bar.add_task(what, total=total)
        yield lambda step: bar.advance(task, step)
        bar.update(task, total=bar.tasks[0].completed)  # rows may have come or gone meanwhile: it is done
