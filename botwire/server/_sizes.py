"""How much the store holds, counted now and then in the background: a scrape never waits for it, and never causes it often."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from time import monotonic
from typing import Any

from botwire._errors import BotWireError

logger = logging.getLogger("botwire.server")

LEAST = 60.0
"""Seconds between two counts at least."""
SHARE = 20
"""A count that takes a second is not repeated within so many: this much of a thread is the most that it costs."""
_PAGE = 1_000


class Sizes:
    """The figures of one store."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._counted: dict[str, float] = {}
        self._counted_at = 0.0
        self._due = 0.0
        self._lock = threading.Lock()

    def figures(self) -> dict[str, float]:
        """The last ones; a new count is begun if it is time for one."""
        with self._lock:
            if monotonic() >= self._due:
                self._due = float("inf")
                threading.Thread(target=self._count, name="botwire-sizes", daemon=True).start()
        found = dict(self._counted)
        if found:
            found["counted_seconds_ago"] = monotonic() - self._counted_at
        return found | _bytes_of(getattr(self._store, "path", None))

    def _count(self) -> None:
        began = monotonic()
        try:
            self._counted = _totals(self._store)
            self._counted_at = monotonic()
        except (BotWireError, NotImplementedError) as error:
            logger.warning("the store could not be counted: %s", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - metrics without sizes are better than none
            logger.warning("the store could not be counted: %s", type(error).__name__)
        finally:
            took = monotonic() - began
            self._due = monotonic() + max(LEAST, took * SHARE)


def _totals(store: Any) -> dict[str, float]:
    total: dict[str, float] = {"namespaces": 0, "entries": 0, "sessions": 0, "messages": 0, "value_bytes": 0}
    after = None
    while page := store.namespaces(after, _PAGE):
        for namespace in page:
            usage = store.usage(namespace)
            total["namespaces"] += 1
            total["entries"] += usage.entries
            total["sessions"] += usage.sessions
            total["messages"] += usage.messages
            total["value_bytes"] += usage.entry_bytes + usage.message_bytes
        after = page[-1]
    return total


def _bytes_of(path: object) -> dict[str, float]:
    if not isinstance(path, str) or not Path(path).is_absolute():
        return {}
    files = (Path(path), Path(path + "-wal"))
    return {"store_bytes": float(sum(file.stat().st_size for file in files if file.exists()))}
