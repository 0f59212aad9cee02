"""Who listens to a file: told at once of what this process writes, and by one polling thread of what others do."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence

import apsw

from botwire._errors import BotWireError, Closed
from botwire.stores._hearing import ANYTHING, Hearing, touched
from botwire.stores._protocol import Batch, Heard, Outcome

logger = logging.getLogger("botwire")

SHORTEST = 0.01
LONGEST = 0.1
"""Seconds between two looks at the file: few after a change, more and more while nothing changes."""
AFTER_TROUBLE = 1.0


class SQLiteListener(Hearing):
    """What is written to entries and sessions of one namespace, or to one session of it."""

    def __init__(self, owner: Listeners, namespace: str, session: str | None) -> None:
        super().__init__()
        self._owner = owner
        self.namespace = namespace
        self.session = session

    def tell(self, heard: Heard) -> None:
        """Hear of it, if it is of any concern here."""
        if self.session is None or heard.sessions is None or self.session in heard.sessions:
            self.hear(heard)

    def wait(self, timeout: float) -> Heard | None:
        """See ``Listener.wait``."""
        self._owner.poll()  # after a fork, the child has no such thread
        return super().wait(timeout)

    def close(self) -> None:
        """See ``Listener.close``."""
        super().close()
        self._owner.remove(self)


class Listeners:
    """All that listen to one store; who is forgotten without being closed listens no more.

    Args:
        changed: whether others may have written since it was last called; None where there are no others.
    """

    def __init__(self, changed: Callable[[], bool] | None) -> None:
        self._changed = changed
        self._guard = threading.RLock()  # held but for a moment: whoever collects garbage may need it
        self._starting = threading.Lock()
        self._by_namespace: dict[str, weakref.WeakSet[SQLiteListener]] = {}
        self._prune_at = 64
        self._poller: threading.Thread | None = None
        self._stop = threading.Event()

    def __bool__(self) -> bool:
        return any(map(len, list(self._by_namespace.values())))

    def listen(self, namespace: str, session: str | None) -> SQLiteListener:
        """A new listener, who hears of all that is written once this returns."""
        listener = SQLiteListener(self, namespace, session)
        with self._guard:
            if len(self._by_namespace) >= self._prune_at:
                self._by_namespace = {name: there for name, there in self._by_namespace.items() if there}
                self._prune_at = 2 * len(self._by_namespace) + 64
            self._by_namespace.setdefault(namespace, weakref.WeakSet()).add(listener)
        self.poll()
        return listener

    def remove(self, listener: SQLiteListener) -> None:
        """It listens no more."""
        with self._guard:
            there = self._by_namespace.get(listener.namespace)
            if there is not None:
                there.discard(listener)
                if not there:
                    del self._by_namespace[listener.namespace]
            if not self:
                self._stop.set()

    def tell_of(self, batches: Sequence[Batch], outcomes: Sequence[Outcome] | None) -> None:
        """Tell of writes of this store; without ``outcomes`` it is not known what became of them."""
        for index, batch in enumerate(batches):
            there = self._by_namespace.get(batch.namespace)
            if there and (heard := touched(batch, None if outcomes is None else outcomes[index])) is not None:
                for listener in list(there):
                    listener.tell(heard)

    def close(self, error: BotWireError) -> None:
        """Let every listener, and whoever waits, know that nothing will be heard any more."""
        self._stop.set()
        for listener in self._all():
            listener.fail(error)

    def begin_anew(self) -> None:
        """In the child of a fork: what has changed meanwhile is not known, and no thread looks."""
        self._guard, self._starting = threading.RLock(), threading.Lock()
        self._poller, self._stop = None, threading.Event()
        for listener in self._all():
            listener.begin_anew()

    def _all(self) -> list[SQLiteListener]:
        return [listener for there in list(self._by_namespace.values()) for listener in list(there)]

    # -------------------------------------------------------------------------------------- polling

    def poll(self) -> None:
        """See to it that somebody looks for what others write, as long as anybody listens."""
        if self._changed is None or self._is_polling():
            return
        with self._starting:
            if self._is_polling() or not self:
                return
            _look(self._changed)  # what was before is for whoever listens to read
            stop = self._stop = threading.Event()
            self._poller = threading.Thread(target=self._keep_looking, args=(stop,), name="botwire-poller", daemon=True)
            self._poller.start()

    def _is_polling(self) -> bool:
        return self._poller is not None and not self._stop.is_set()

    def _keep_looking(self, stop: threading.Event) -> None:
        pause, found = SHORTEST, False
        while not stop.wait(pause):
            if self._nobody_listens(stop):
                return
            was_in_trouble, found = found is None, _look(self._changed)
            if found or (was_in_trouble and found is False):
                for listener in self._all():
                    listener.hear(ANYTHING)
            pause = AFTER_TROUBLE if found is None else SHORTEST if found else min(1.5 * pause, LONGEST)

    def _nobody_listens(self, stop: threading.Event) -> bool:
        """Whether all were forgotten without being closed; then the next one starts another thread."""
        with self._guard:
            if not self:
                stop.set()
            return stop.is_set()


def _look(changed: Callable[[], bool] | None) -> bool | None:
    """Whether others have written; None if that cannot be told just now."""
    try:
        return changed is not None and changed()
    except Closed:
        return False
    except (BotWireError, apsw.Error) as error:
        logger.debug("looking for changes failed: %s", error)
        return None
