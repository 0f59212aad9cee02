"""Many writers at once, each with what it writes by: as threads of one process, or as processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WRITERS = 16

OpenWriter = Callable[[], tuple[Callable[[int], object], Callable[[], object]]]
"""Gives what writes the n-th message, and what closes it."""


def threads(open_writer: OpenWriter, each: int) -> float:
    """Seconds for a message, where sixteen threads share one writer and send ``each`` messages."""
    write, close = open_writer()
    write(0)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
        start = time.perf_counter()
        list(pool.map(lambda writer: [write(writer * each + number) for number in range(each)], range(WRITERS)))
        taken = time.perf_counter() - start
    close()
    return taken / (WRITERS * each)


def processes(open_writer: OpenWriter, each: int) -> float:
    """The same with sixteen processes, each with a writer of its own."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(WRITERS + 1)
    made = [context.Process(target=_process, args=(open_writer, each, name, barrier)) for name in range(WRITERS)]
    for process in made:
        process.start()
    barrier.wait(60)
    start = time.perf_counter()
    barrier.wait(60)
    taken = time.perf_counter() - start  # the end of a process is no write
    for process in made:
        process.join(100)
        assert process.exitcode == 0, process.exitcode
    return taken / (WRITERS * each)


def _process(open_writer: OpenWriter, each: int, name: int, barrier: Any) -> None:
    write, close = open_writer()
    write(0)
    barrier.wait(60)
    for number in range(each):
        write(name * each + number)
    barrier.wait(60)
    close()
