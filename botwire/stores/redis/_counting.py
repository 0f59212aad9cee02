"""What a namespace holds, counted for caps: the first one that is asked for counts what is there, and from then on every write keeps count.

So who asks for none pays nothing. Counting goes through the namespace in steps, between which others write: what a write changes
before the place that has been reached, it counts itself. ``lua/usage.lua`` says where the figures are.
"""

from __future__ import annotations

import time

from botwire.stores.redis import _scripts
from botwire.stores.redis._keys import utf8
from botwire.stores.redis._namespaces import Namespaces
from botwire.stores.redis._router import Call

_DONE = b"d"
_ENTER_FIRST = b"N"


def figures_of(mark: bytes | None) -> tuple[int, int, int] | None:
    """Bytes of entries, bytes of messages and sessions as a namespace's mark has them; None if that is not counted, or not yet."""
    parts = (mark or b"").split(b" ")
    return (int(parts[1]), int(parts[2]), int(parts[3])) if len(parts) == 5 and parts[4] == _DONE else None


class Counting(Namespaces):
    """Counting what is there."""

    def tally(self, namespace: str, token: bytes, deadline: float) -> Call[None]:
        """Count what a namespace holds, until it is counted or the time is over; another call goes on from there."""
        keys = self.keys(namespace)
        places = (keys.e, keys.k, keys.s, keys.i, keys.g, keys.g if token else self.listed_at()[0])
        answer: bytes | list[bytes] | None = None
        while answer not in (_DONE, _ENTER_FIRST) and time.monotonic() < deadline:
            answer = yield from self.one(self.script(_scripts.TALLY, keys.slot, places, token, utf8(namespace)))
            if isinstance(answer, list):
                measures = [self.script(_scripts.MEASURE, keys.slot, (keys.s, keys.stream(name)), name) for name in answer]
                yield from self.all_of(measures)
