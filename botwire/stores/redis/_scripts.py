"""The Lua scripts: put together from their files once, called by their digest."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import Final

from botwire.stores.redis._wire import packed

_FOLDER = files("botwire.stores.redis") / "lua"


_INCLUDE = re.compile(r"^ *--([A-Z]+)$", re.MULTILINE)
"""A line that stands for a file: the functions of a script see each other's variables only within one text."""


def _text(name: str) -> str:
    text = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: _text(found[1].lower()), text)


class Script:
    """A script, whole and by its digest."""

    def __init__(self, *names: str) -> None:
        self.text = "\n".join(_text(name) for name in names).encode()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()
        self.load = packed(b"SCRIPT", b"LOAD", self.text)


WRITE: Final = Script("common", "write")
APPEND: Final = Script("append")
SCAN: Final = Script("common", "scan")
COUNT: Final = Script("common", "count")
SCAN_LOGS: Final = Script("common", "logs_page")
READ_LOG: Final = Script("common", "read_log")
HOLDS: Final = Script("common", "holds")
PRUNE: Final = Script("common", "prune")
FORGET: Final = Script("common", "forget")
TALLY: Final = Script("common", "tally")
MEASURE: Final = Script("common", "measure")
WIPE: Final = Script("common", "wipe")
ALL: Final = (WRITE, APPEND, SCAN, COUNT, SCAN_LOGS, READ_LOG, HOLDS, PRUNE, FORGET, TALLY, MEASURE, WIPE)
