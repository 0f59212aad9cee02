"""Retention rules, applied now and then by one of the processes that serve a store."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from time import monotonic

from botwire._errors import BotWireError, VersionConflict
from botwire._names import RESERVED_NAMESPACE
from botwire._retention import Retention, apply_rules
from botwire.server._metrics import Metrics
from botwire.stores._keeping import Gone
from botwire.stores._protocol import Batch, Set, Store

logger = logging.getLogger("botwire.retention")

SOON = 5.0
"""Seconds after a server's start at which it looks for the first time whether it is time."""
KEY = "retention"


class Lease:
    """The turn to apply the rules: an entry that only one can create, and that lasts until it is time again.

    Args:
        store: where it lies, and so for all processes that serve it.
        seconds: how long it lasts.
    """

    def __init__(self, store: Store, seconds: int) -> None:
        self._store = store
        self._seconds = seconds
        self._version = 0
        self._renew_at = 0.0

    def take(self) -> bool:
        """Whether it is this process's turn."""
        self._version = 0
        return self._write()

    def keep(self) -> bool:
        """Whether it is still: a run that takes long renews it."""
        return monotonic() < self._renew_at or self._write()

    def _write(self) -> bool:
        holder = json.dumps({"host": socket.gethostname(), "process": os.getpid()})
        outcome = self._store.write((Batch(RESERVED_NAMESPACE, (Set(KEY, holder, self._version, self._seconds * 1_000_000),)),))[0]
        if isinstance(outcome, VersionConflict):
            return False
        if isinstance(outcome, BotWireError):
            raise outcome
        self._version = int(outcome[0])  # type: ignore[arg-type]  # a Set's result is a version
        self._renew_at = monotonic() + self._seconds / 2
        return True


class Keeper:
    """Applies the rules, on a thread of its own, as long as the server runs.

    Args:
        store: what it serves.
        retention: the rules.
        metrics: where runs are counted.
    """

    def __init__(self, store: Store, retention: Retention, metrics: Metrics) -> None:
        self._store = store
        self._retention = retention
        self._metrics = metrics
        self._lease = Lease(store, retention.every)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="botwire-retention", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the step under way."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        wait = min(SOON, self._retention.every)
        while not self._ended.wait(wait):
            wait = min(60.0, self._retention.every)  # the lease says whether it is time; whoever had it may have ended
            try:
                if self._lease.take():
                    self._run()
            except BotWireError as error:
                self._metrics.count("botwire_retention_runs", "failed")
                logger.warning("the retention rules could not be applied: %s; tried again later", error.code)

    def _run(self) -> None:
        began, total = monotonic(), Gone()
        for _, gone in apply_rules(self._store, self._retention, go_on=self._may_go_on):
            total = Gone(*map(sum, zip(total, gone, strict=True)))
            for kind, count in gone._asdict().items():
                self._metrics.count("botwire_retention_removed", kind, by=count)
        self._metrics.count("botwire_retention_runs", "done")
        logger.info("retention removed %d entries, %d sessions, %d messages in %.1f s", *total, monotonic() - began)

    def _may_go_on(self) -> bool:
        return not self._ended.is_set() and self._lease.keep()
