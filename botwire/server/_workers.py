"""Several processes that answer at one address. The store keeps them in agreement; here they are started and watched over.

The parent listens and serves nothing; each worker accepts connections from the same socket, with a store of its own. A worker
that dies is started anew. Workers end with their parent, however it ends: they notice that a pipe to it is closed.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

from botwire._errors import BotWireError, InvalidValue
from botwire.stores._open import open_store
from botwire.stores._protocol import Store

Answer = Callable[[Store, Callable[[], object]], None]
"""Serves a store until it is told to stop by a signal; calls the function once requests are answered."""

MOST_WORKERS = 256
PAUSE = 1.0
"""Seconds between two starts in place of workers that die."""
LONGEST_STOP = 40.0
"""Seconds that workers have to finish what they took on; a little more than each gives its clients."""


def check_workers(workers: int, url: str) -> None:
    """Refuse what cannot be served by several processes.

    Raises:
        InvalidValue: if that is so.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise InvalidValue(f"workers must be a number from 1 to {MOST_WORKERS}, not {workers}")
    if url.lower().startswith("memory:"):
        raise InvalidValue(
            f"{url} lies in the memory of one process, so {workers} would each have another one; "
            "use a file (sqlite:///path/to/file.db) or a database, or one worker"
        )
    if not hasattr(os, "fork"):
        raise InvalidValue("several workers need a system that can fork; start several servers on ports of their own instead")


def run_workers(workers: int, store_url: str | None, listening: socket.socket, answer: Answer, ready: Callable[[str], object]) -> None:
    """Serve by several processes until SIGINT or SIGTERM.

    Args:
        workers: how many.
        store_url: what each opens.
        listening: the socket that all accept from; closed at the end.
        answer: what a worker does.
        ready: called with the store's name once all of them answer.

    Raises:
        BotWireError: if the store cannot be opened, or workers die as soon as they are started.
    """
    try:
        _Herd(workers, store_url, answer).run(ready)
    finally:
        listening.close()


class _Herd:
    """The workers of this process."""

    def __init__(self, size: int, store_url: str | None, answer: Answer) -> None:
        self._size = size
        self._store_url = store_url
        self._answer = answer
        self._alive: dict[int, int] = {}  # process id: the end of a pipe by which it says that it is ready
        self._ready: dict[int, str] = {}  # process id: how its store is called
        self._lifeline, self._held = os.pipe()  # nothing is ever written: when the parent ends, the other end is closed
        self._wakeup, self._waker = os.pipe()
        self._asked: int | None = None

    def run(self, ready: Callable[[str], object]) -> None:
        """Keep them running until a signal says to stop."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while len(self._alive) < self._size:
                self._start()
            told = False
            while self._asked is None:
                self._wait(PAUSE)
                died = self._reap()
                if died and not told:
                    raise BotWireError("a worker ended as soon as it was started; what it printed above says why")
                if not told and len(self._ready) == self._size:
                    told = True
                    ready(next(iter(self._ready.values())))
                for _ in range(died):
                    self._start()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
            for pipe in (self._lifeline, self._held, self._wakeup, self._waker):
                os.close(pipe)
        if self._asked == signal.SIGINT:
            raise KeyboardInterrupt

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._asked = self._asked or number
        os.write(self._waker, b"!")

    def _start(self) -> None:
        reading, writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.close(self._held)
            _work(self._store_url, self._answer, self._lifeline, writing)
        os.close(writing)
        self._alive[pid] = reading

    def _wait(self, seconds: float) -> None:
        """Until something may have happened."""
        pipes = {pipe: pid for pid, pipe in self._alive.items() if pid not in self._ready}
        for pipe in select.select([self._wakeup, *pipes], [], [], seconds)[0]:
            if pipe in pipes and (said := os.read(pipe, 65_536)):
                self._ready[pipes[pipe]] = said.decode()
            elif pipe in pipes:
                time.sleep(0.01)  # it has closed the pipe, so it is about to end

    def _reap(self) -> int:
        """Forget those that have ended; returns how many."""
        died = 0
        for pid, pipe in list(self._alive.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                os.close(pipe)
                del self._alive[pid]
                self._ready.pop(pid, None)
                died += 1
        return died

    def _end(self) -> None:
        """Tell all to finish, wait for them, and kill those that do not come to an end."""
        deadline = time.monotonic() + LONGEST_STOP
        for pid in self._alive:
            os.kill(pid, signal.SIGTERM)
        while self._alive and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.01)
        for pid, pipe in self._alive.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(pipe)


def _work(store_url: str | None, answer: Answer, lifeline: int, ready: int) -> None:
    """What a worker does, and nothing that its parent would do after it. Never returns."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # while it serves uvicorn's, which sends it once more in the end
        threading.Thread(target=_end_with_parent, args=(lifeline,), name="botwire-lifeline", daemon=True).start()
        store = open_store(store_url)
        answer(store, lambda: os.write(ready, store.url.encode()))
        status = 0
    except BotWireError as error:
        sys.stderr.write(f"botwire: {error}\n")
    except BaseException:  # noqa: BLE001 - nothing of the parent's may go on here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
