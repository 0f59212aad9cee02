"""The counts of several processes of one server, put together through files in a folder of their own."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from botwire.server._metrics import Samples

EVERY = 1.0
"""Seconds between two times that a process puts its counts there: so much older may be what others tell of it."""


class Sharing:
    """One process's part.

    Args:
        folder: where the files are; made for the owner alone.
        samples: what this process has counted.
    """

    def __init__(self, folder: Path, samples: Callable[[], Samples]) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._samples = samples
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish_now_and_then, name="botwire-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Put the last counts there."""
        self._ended.set()
        self._thread.join()

    def _publish_now_and_then(self) -> None:
        while True:
            over = self._ended.wait(EVERY)
            self._publish()
            if over:
                return

    def _publish(self) -> None:
        rows = [[name, labels, _to_json(sample)] for (name, labels), sample in self._samples().items()]
        part = self._file.with_suffix(".part")
        try:
            part.write_text(json.dumps(rows), encoding="utf-8")
            part.replace(self._file)
        except OSError:  # the folder was removed, or the disk is full: the next time may do better
            part.unlink(missing_ok=True)

    def together(self, own: Samples, family_of: Callable[[str], Any]) -> tuple[Samples, int]:
        """The counts of this process and of all others; how many processes are alive. What shows the present, only of the living."""
        total: Samples = dict(own)
        alive = 1
        for file in sorted(self._file.parent.glob("*.json")):
            if file == self._file:
                continue
            lives = _is_alive(int(file.name.partition("-")[0]))
            alive += lives
            for name, labels, sample in _read(file):
                if lives or family_of(name).kind != "gauge":
                    place = (name, tuple(labels))
                    total[place] = _sum(total.get(place), sample, family_of(name).bounds)
        return total, alive


def _read(file: Path) -> list[Any]:
    try:
        return cast("list[Any]", json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def _to_json(sample: Any) -> Any:
    return sample if isinstance(sample, int | float) else [list(sample.counts), sample.sum]


def _sum(one: Any, other: Any, bounds: tuple[float, ...]) -> Any:
    from botwire.server._metrics import Histogram

    if isinstance(other, int | float):
        return other + (one or 0)
    both = Histogram(bounds)
    both.counts, both.sum = list(other[0]), other[1]
    if one is not None:
        both.counts = [mine + theirs for mine, theirs in zip(one.counts, both.counts, strict=True)]
        both.sum += one.sum
    return both


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True
