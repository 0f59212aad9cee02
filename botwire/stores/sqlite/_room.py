"""Room in the write-ahead log, made before commits need it.

A commit that overwrites a part of the log waits for the disk once. One that makes the file longer also waits for the file
system's own journal, which has the new length to keep: on ext4 a commit of two pages then took 193 microseconds
in place of 114, one of four 240 in place of 140. Left to itself SQLite lengthens the log with every commit until the first
checkpoint, after some four megabytes, and takes the file away when the last connection closes: most agents write all
their lives at the end of a growing file. So a writer lengthens the log by zeros now and then, by as much as it holds.

Zeros are no frames. A frame bears the salt of the log's header and a checksum over all frames before it, and whoever recovers a log stops
at the first one that does not fit: https://www.sqlite.org/fileformat2.html#walformat. Who lengthens holds SQLite's write lock, so
that nobody else writes frames, begins the log anew or shortens it meanwhile.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from contextlib import suppress

import apsw

logger = logging.getLogger("botwire")

AHEAD = 64 << 10
"""Bytes beyond the last frame that a commit finds, at least; one that needs more lengthens the file itself."""
LEAST, MOST = 128 << 10, 1 << 20
"""Bytes of zeros added at once: as many as the log holds, within these bounds."""
CHECKPOINT = 1_000
"""Frames from which on a commit brings the log into the database: SQLite's own rule, which a hook takes the place of."""

_HEADER, _FRAME_HEADER = 32, 24


class Room:
    """Knows how far one connection's log is filled, and how long its file is.

    Args:
        path: of the log.
        inode: device and inode of the log that the connection has open.
        page_size: of the database, in bytes.
    """

    def __init__(self, path: str, inode: tuple[int, int], page_size: int) -> None:
        self._path = path
        self._inode = inode
        self._frame = page_size + _FRAME_HEADER
        self._frames = 0
        self._length = 0
        self._useful = sys.platform == "linux"  # elsewhere nobody has measured it

    def committed(self, connection: apsw.Connection, _schema: str, frames: int) -> int:
        """SQLite's hook after each commit: so many frames are in the log now."""
        if frames < self._frames:
            self._length = 0  # begun anew: whoever emptied it may have shortened it too, so it is looked at
        self._frames = frames
        if frames >= CHECKPOINT:
            with suppress(apsw.Error):  # as SQLite does: the commit is done, and a later one tries again
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        return apsw.SQLITE_OK

    def make(self) -> None:
        """Lengthen the log if a commit might have to. To be called in a transaction that holds the write lock."""
        filled = _HEADER + self._frames * self._frame
        if self._useful and self._frames and filled + AHEAD > self._length:
            try:
                self._lengthen(filled)
            except OSError as error:  # the commit itself may well succeed
                logger.debug("no room could be made in %s: %s", self._path, error)
                self._useful = False

    def _lengthen(self, filled: int) -> None:
        with open(self._path, "r+b", buffering=0) as file:  # never the database: closing that would give up SQLite's locks on it
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) != self._inode:
                raise FileNotFoundError("another log has taken its place")
            self._length = status.st_size
            if filled + AHEAD <= status.st_size:
                return
            goal = filled + min(max(filled, LEAST), MOST)
            _add_zeros(file, status.st_size, goal)
            self._length = goal


def _add_zeros(file: io.FileIO, length: int, goal: int) -> None:
    """All, or none: where the disk is full, what is left of it is for frames."""
    written = 0
    try:
        file.seek(length)
        written = file.write(bytes(goal - length))
    finally:
        if written < goal - length:
            file.truncate(length)
    if written < goal - length:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
