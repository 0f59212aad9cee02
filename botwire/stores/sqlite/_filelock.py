"""One writer at a time among all processes, each in its turn.

SQLite's own waiting is unfair: with four writers, one was seen to write once while another wrote ten
thousand times. So every writer takes this lock first. Who waits holds the queue's place (the first byte of
a turnstile): a writer that has just let go of the lock has to pass the turnstile again, behind whoever
stands in it already.
"""

from __future__ import annotations

import errno
import os
import random
import time

from botwire._errors import StoreBusy, StoreReadOnly, StoreUnavailable

try:
    import fcntl
except ImportError:  # not on Windows: there SQLite's own lock decides, with a random wait between tries
    fcntl = None  # type: ignore[assignment]

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class FileLock:
    """An advisory lock on files beside ``path``, for one thread of a process at a time."""

    def __init__(self, path: str) -> None:
        self._paths = (path + ".queue", path + ".lock")
        self._files: list[int] = []

    def acquire(self, deadline: float) -> None:
        """Take the lock.

        Args:
            deadline: the ``time.monotonic()`` at which to give up.

        Raises:
            StoreBusy: if others held it until then.
            StoreReadOnly, StoreUnavailable: if the lock files cannot be made.
        """
        if fcntl is None:
            return
        if self._files and not all(os.fstat(file).st_nlink for file in self._files):
            self.close()  # somebody removed the folder: others lock other files now
        if not self._files:
            make_folder(self._paths[0])
            self._files = [_open(path) for path in self._paths]
        queue, lock = self._files
        _wait_for(queue, deadline, 0.0005, 0.003)
        try:
            _wait_for(lock, deadline, 0.00002, 0.0002)
        finally:
            fcntl.flock(queue, fcntl.LOCK_UN)

    def release(self) -> None:
        """Let the next one have it."""
        if fcntl is not None and self._files:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files; they stay where they are, since removing them would let two writers in."""
        files, self._files = self._files, []
        for file in files:
            os.close(file)


def make_folder(path: str) -> None:
    """Make the folders above ``path``, for their owner alone.

    Raises:
        StoreReadOnly, StoreUnavailable: if they cannot be made.
    """
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
    except FileExistsError:
        raise StoreUnavailable(f"cannot make the folder {folder}: a file is in the way; choose another path") from None
    except OSError as error:
        if error.errno in READ_ONLY:
            raise StoreReadOnly(f"cannot make the folder {folder}: {error.strerror}; choose another path") from error
        raise StoreUnavailable(f"cannot make the folder {folder}: {error.strerror}; choose another path") from error


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in READ_ONLY:
            raise StoreReadOnly(f"cannot write beside the store: {error}; make its folder writable, or choose another path") from error
        raise StoreUnavailable(f"cannot make the store's lock file: {error}") from error


def _wait_for(file: int, deadline: float, shortest: float, longest: float) -> None:
    """Take the lock of ``file``; asks again after random waits, since a blocking wait could not be bounded."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # pyright: ignore[reportOptionalMemberAccess] - see acquire
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreBusy(
                    "another process has been writing to the store for all of the timeout; is one stuck? (botwire doctor)"
                ) from None
            time.sleep(random.uniform(shortest, longest))
        except InterruptedError:
            continue
        else:
            return
