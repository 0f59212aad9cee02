"""An SQLite VFS over real files that remembers what was not yet synced, and fails when told to.

A power cut leaves of the writes since the last sync of a file any subset, and of a write any of its sectors. As
the files of the running store stay whole, one run can be photographed as often as one likes: each photo is what
a machine would find that lost its power at this moment.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


class HurtfulVFS(apsw.VFS):
    """Register by making one; ``name`` goes to ``SQLiteStore(vfs=)``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.durable: dict[str, bytearray] = {}
        self.unsynced: dict[str, list[tuple[int, bytes | None]]] = {}  # (offset, data), or (size, None) for a truncation
        self.calls = 0
        self.before_call: Callable[[int], None] = lambda number: None
        self.fail: Callable[[int, str], str | None] = lambda number, kind: None
        super().__init__(name, base="unix")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _File(self, name, flags, path)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.call("delete")
        super().xDelete(filename, syncdir)
        self.durable.pop(filename, None)
        self.unsynced.pop(filename, None)

    def call(self, kind: str) -> str | None:
        """Count a call that changes something; says how it is to fail, if it is."""
        self.calls += 1
        self.before_call(self.calls)
        return self.fail(self.calls, kind)

    def photograph(self, folder: Path, dice: random.Random) -> None:
        """Write to ``folder`` what the disk could hold if the power went now."""
        folder.mkdir()
        for path, durable in self.durable.items():
            image = bytearray(durable)
            for offset, data in self.unsynced[path]:
                if data is None:
                    if dice.random() < 0.5:
                        del image[offset:]
                    continue
                fate = dice.random()
                if fate < 0.4:
                    _put(image, offset, data)
                elif fate < 0.7:
                    for start in range(0, len(data), SECTOR):
                        if dice.random() < 0.5:
                            _put(image, offset + start, data[start : start + SECTOR])
            image += _behind(path, len(image), dice)
            (folder / os.path.basename(path)).write_bytes(image)


def _behind(path: str, length: int, dice: random.Random) -> bytes:
    """What the store itself added to the file, past SQLite: as written, a part of it, nothing, or its length alone, over old bytes."""
    added = max(0, os.path.getsize(path) - length)
    return dice.choice((bytes(added), bytes(dice.randint(0, added)), b"", dice.randbytes(added)))


def _put(image: bytearray, offset: int, data: bytes) -> None:
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


class _File(apsw.VFSFile):
    def __init__(self, vfs: HurtfulVFS, name: Any, flags: list[int], path: str) -> None:
        self.vfs, self.path = vfs, path
        super().__init__("unix", name, flags)
        if path not in vfs.durable:
            vfs.durable[path], vfs.unsynced[path] = bytearray(Path(path).read_bytes()), []

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        failure = self.vfs.call("write")
        if failure == "io":
            raise apsw.IOError("disk I/O error, as ordered")
        if failure in ("short", "full"):
            data = data[: len(data) // 2] if failure == "short" else b""
        if data:
            super().xWrite(data, offset)
            self.vfs.unsynced[self.path].append((offset, bytes(data)))
        if failure:
            raise apsw.FullError("disk full, as ordered")

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        if self.vfs.call("truncate"):
            raise apsw.IOError("truncate failed, as ordered")
        super().xTruncate(newsize)
        self.vfs.unsynced[self.path].append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self.vfs.call("sync"):
            raise apsw.IOError("sync failed, as ordered")
        super().xSync(flags)
        durable = self.vfs.durable[self.path]
        for offset, data in self.vfs.unsynced[self.path]:
            if data is None:
                del durable[offset:]
            else:
                _put(durable, offset, data)
        self.vfs.unsynced[self.path] = []
