"""Outages: CrewAI swallows what a storage raises, so it is said in the log, once until it works again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from botwire import BotWireError, StoreIncompatible, StoreUnavailable, Unsupported

logger = logging.getLogger("botwire")


class Outages:
    """What is known to be wrong with one storage. ``what`` names it in the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._down: set[str] = set()
        self._said: set[str] = set()
        self._mutex = threading.Lock()

    @contextmanager
    def watch(self, doing: Literal["read", "written"]) -> Generator[None]:
        """Log what goes wrong inside, and that it works again.

        Raises:
            BotWireError: what was raised inside; a RuntimeError as another one, since CrewAI drops the save of a process
                that is ending, and takes every RuntimeError for a sign of that.
        """
        try:
            yield
        except RuntimeError as error:
            self._failed(doing, error)
            raise _other(error) from error
        except Exception as error:
            self._failed(doing, error)
            raise
        self._succeeded(doing)

    def _failed(self, doing: str, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            with self._mutex:
                is_known = bool(self._down)
                self._down.add(doing)
            text = "%s cannot be %s: %s. Crews go on without it; this is not repeated until it works again."
        else:
            with self._mutex:
                is_known = str(error) in self._said
                self._said.add(str(error))
            text = "%s was to be %s, which failed: %s. CrewAI goes on; this is not repeated until something was written."
        if not is_known:
            logger.error(text, self._what, doing, error)

    def _succeeded(self, doing: str) -> None:
        if not self._down and not self._said:  # nearly always; a failure this very moment is told by the next call
            return
        with self._mutex:
            was_down = bool(self._down)
            self._down.discard(doing)
            is_over = was_down and not self._down
            if doing == "written":
                self._said.clear()
        if is_over:
            logger.info("%s can be used again", self._what)


def _other(error: RuntimeError) -> BotWireError:
    if isinstance(error, Unsupported):
        return StoreIncompatible(f"this store cannot hold CrewAI's records: {error}")
    return StoreUnavailable(f"the store cannot be used now: {error}")
