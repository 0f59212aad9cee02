"""What a watcher knows, what it was told may have changed, and what it reads to find out. No waiting, no threads.

The changes that a watch yields are found by comparing what is there with what was yielded last, so it does not matter how
often, how late or how vaguely a store tells that something may have changed.
"""

from __future__ import annotations

import heapq
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from botwire._errors import BotWireError, InvalidValue, QuotaExceeded, StoreUnavailable
from botwire._message import Message
from botwire._names import check_count
from botwire._plan import Plan
from botwire._records import Entry, EntryChange
from botwire._session_plans import SessionPlans
from botwire.stores._protocol import EntryRow, EntryStamp, Heard, LogPage

T = TypeVar("T")

STAMPS = 2_000
"""Stamps asked for at a time."""
VALUES = 50
"""Entries asked for at a time."""
MESSAGES = 200
"""Messages asked for at a time."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a store that could not be read is asked again: twice as many each time."""
LONGEST_REST = 5.0
"""Seconds that pass at most between two looks at all there is, if each takes long."""

_FOREVER = float("inf")


class Looking(Generic[T]):
    """What all watches do: look when something may have changed, and again later if the store could not be read."""

    namespace: str
    session_id: str | None = None

    def __init__(self) -> None:
        self.found: deque[Any] = deque()
        """What was found and is still to be given out."""
        self.trouble: BotWireError | None = None
        """Why the store could not be read when it was last asked."""
        self._pause = FIRST_PAUSE
        self._not_before = 0.0

    def begin(self) -> Plan[None]:
        """Take in what is there already."""
        raise NotImplementedError

    def hear(self, heard: Heard) -> None:
        """Something may have changed."""
        raise NotImplementedError

    def look(self) -> Plan[None]:
        """Read what may have changed; what did is in ``found`` then."""
        raise NotImplementedError

    def give(self) -> T:
        """The next of what was found.

        Raises:
            StoreCorrupt: if it cannot be read back; the next call gives what comes after it.
        """
        raise NotImplementedError

    def due_in(self) -> float:
        """Seconds until there is something to look at; infinity if there is nothing unless something is heard."""
        due = self._due_in()
        return due if due == _FOREVER else max(due, self._not_before - time.monotonic(), 0.0)

    def _due_in(self) -> float:
        raise NotImplementedError

    def looked(self) -> None:
        """The store could be read."""
        self.trouble, self._pause, self._not_before = None, FIRST_PAUSE, 0.0

    def failed(self, error: BotWireError) -> None:
        """The store could not be read, or not be listened to: what changed meanwhile is not known.

        Raises:
            BotWireError: this one, unless it may pass.
        """
        if not isinstance(error, (StoreUnavailable, QuotaExceeded)):
            raise error
        asked = error.retry_after if isinstance(error, QuotaExceeded) else None
        self.trouble = error
        self._not_before = time.monotonic() + (self._pause if asked is None else asked)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self.hear(Heard(None, None))


class EntryLooking(Looking[EntryChange]):
    """Entries whose key starts with ``prefix`` and, if there is one, matches ``pattern``.

    Args:
        namespace: where they are.
        prefix: how their keys begin.
        pattern: what their whole keys match.
        initial: whether those that are there at the beginning count as changes.
    """

    def __init__(self, namespace: str, prefix: str, pattern: re.Pattern[str] | None, initial: bool) -> None:
        super().__init__()
        self.namespace = namespace
        self._prefix = prefix
        self._pattern = pattern
        self._initial = initial
        self._known: dict[str, tuple[int, int, int | None]] = {}  # version, time of change and of expiry
        self._doubtful: dict[str, None] = {}  # keys to look at, in the order in which they were heard of
        self._all_doubtful = False
        self._rest_until = 0.0
        self._expiries: list[tuple[int, str]] = []  # a heap: when to see whether a key has expired
        self._ahead = 0  # microseconds by which the store's clock is ahead of ours, at least

    def begin(self) -> Plan[None]:
        if self._initial:
            self._all_doubtful = True
        else:
            yield from self._look_at_all(self._learn)

    def hear(self, heard: Heard) -> None:
        if heard.keys is None:
            self._all_doubtful = True
            return
        for key in heard.keys:
            if self._concerns(key):
                self._doubtful[key] = None

    def _concerns(self, key: str) -> bool:
        return key.startswith(self._prefix) and (self._pattern is None or self._pattern.fullmatch(key) is not None)

    def _due_in(self) -> float:
        if self._doubtful:
            return 0.0
        due = self._rest_until - time.monotonic() if self._all_doubtful else _FOREVER
        if self._expiries:
            due = min(due, (self._expiries[0][0] - self._now()) / 1_000_000)
        return due

    def _now(self) -> int:
        return time.time_ns() // 1_000 + self._ahead

    # -------------------------------------------------------------------------------------- looking

    def look(self) -> Plan[None]:
        if self._all_doubtful and time.monotonic() >= self._rest_until:
            yield from self._look_at_all(self._doubt)
        self._doubt_the_expired()
        keys = [key for key, _ in zip(self._doubtful, range(VALUES), strict=False)]
        if keys:
            rows: dict[str, EntryRow] = yield lambda store: store.get_many(self.namespace, keys)
            for key in keys:
                del self._doubtful[key]
                self._compare(key, rows.get(key))

    def _look_at_all(self, compare: Callable[[EntryStamp], None]) -> Plan[None]:
        """Compare all stamps. The time that takes is then given to others: it may be long, and come again and again."""
        begun = time.monotonic()
        there = set[str]()
        page: list[EntryStamp] = yield lambda store: store.scan_stamps(self.namespace, self._prefix, None, STAMPS)
        while page:
            for stamp in page:
                if self._pattern is None or self._pattern.fullmatch(stamp.key):
                    there.add(stamp.key)
                    compare(stamp)
            last, full = page[-1].key, len(page) >= STAMPS
            page = (yield lambda store, last=last: store.scan_stamps(self.namespace, self._prefix, last, STAMPS)) if full else []
        self._doubtful.update(dict.fromkeys(self._known.keys() - there))
        self._all_doubtful = False
        self._rest_until = time.monotonic() + min(time.monotonic() - begun, LONGEST_REST)

    def _doubt(self, stamp: EntryStamp) -> None:
        if self._known.get(stamp.key) != stamp[1:]:
            self._doubtful[stamp.key] = None

    def _learn(self, stamp: EntryStamp) -> None:
        self._known[stamp.key] = stamp[1:]
        self._ahead = max(self._ahead, stamp.updated_at - time.time_ns() // 1_000)
        if stamp.expires_at is not None:
            heapq.heappush(self._expiries, (stamp.expires_at, stamp.key))

    def _compare(self, key: str, row: EntryRow | None) -> None:
        """Tell of an entry that is not as it was, as it is now."""
        known = self._known.get(key)
        if row is None:
            if known is not None:
                del self._known[key]
                self.found.append(key)
        elif known != (stamp := EntryStamp(key, row.version, row.updated_at, row.expires_at))[1:]:
            self._learn(stamp)
            self.found.append(row)
        elif row.expires_at is not None and row.expires_at <= (now := self._now()):  # by our clock, but not yet by the store's
            again = now + min(max(now - row.expires_at, 10_000), 1_000_000)
            heapq.heappush(self._expiries, (again, key))

    def _doubt_the_expired(self) -> None:
        now = self._now()
        while self._expiries and self._expiries[0][0] <= now:
            key = heapq.heappop(self._expiries)[1]
            known = self._known.get(key)
            if known is not None and known[2] is not None and known[2] <= now:
                self._doubtful[key] = None
        if len(self._expiries) > 2 * len(self._known) + 100:  # most are of entries that were written again
            self._expiries = [(known[2], key) for key, known in self._known.items() if known[2] is not None]
            heapq.heapify(self._expiries)

    def give(self) -> EntryChange:
        found: EntryRow | str = self.found.popleft()
        if isinstance(found, str):
            return EntryChange(found, None)
        return EntryChange(found.key, Entry.from_row(found, self.namespace))


class SessionLooking(Looking[Message]):
    """Messages of one session after a place in it.

    Args:
        plans: of the session.
        after: the last sequence number that is known already; None for the last that there is.
        epoch: in which epoch it is known; None for the present one.
    """

    def __init__(self, plans: SessionPlans, after: int | None, epoch: str | None) -> None:
        super().__init__()
        self._after = None if after is None else check_count(after, "after")
        if epoch is not None and (after is None or not isinstance(epoch, str)):
            raise InvalidValue("epoch is the text of that name which a watch had, and goes with after")
        self.namespace, self.session_id = plans.namespace, plans.session_id
        self._plans = plans
        self.epoch = self._read_epoch = epoch
        self.seq: int = self._after or 0
        """Where the message is that was given out last."""
        self._read_seq: int = self.seq
        self._doubtful = after is not None

    def begin(self) -> Plan[None]:
        info = yield from self._plans.log_info()
        head = 0 if info is None else info.head
        epoch = None if info is None else info.epoch
        if self._after is None or info is None:
            self._read_epoch, self._read_seq = epoch, head
        elif self._read_epoch is None and head >= self._after:
            self._read_epoch = epoch
        elif self._read_epoch != epoch:
            self._read_epoch, self._read_seq = epoch, 0
        self.epoch, self.seq = self._read_epoch, self._read_seq

    def hear(self, heard: Heard) -> None:
        if heard.sessions is None or self.session_id in heard.sessions:
            self._doubtful = True

    def _due_in(self) -> float:
        return 0.0 if self._doubtful else _FOREVER

    def look(self) -> Plan[None]:
        page: LogPage = yield from self._plans.page_after(self._read_seq, limit=MESSAGES)
        epoch = None if page.info is None else page.info.epoch
        if epoch != self._read_epoch:
            self._read_epoch, self._read_seq = epoch, 0
            if epoch is not None:
                page = yield from self._plans.page_after(0, limit=MESSAGES)
            if page.info is not None and page.info.epoch != epoch:
                return  # and cleared again: from its beginning, the next time
        if page.rows:
            self._read_seq = page.rows[-1].seq
            self.found.extend((epoch, message) for message in self._plans.readable(page.rows))
        self._doubtful = len(page.rows) >= MESSAGES

    def give(self) -> Message:
        self.epoch, message = self.found.popleft()
        self.seq = message.seq or self.seq
        return message
