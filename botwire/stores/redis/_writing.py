"""Writing batches: what is read before, the call of the script, and what its answer means."""

from __future__ import annotations

import os
import random
import time
from binascii import b2a_hex
from collections.abc import Sequence
from typing import Any

from botwire._errors import BotWireError, InvalidValue, QuotaExceeded, RequestConflict, StoreBusy, StoreCorrupt
from botwire.stores._protocol import (
    Append,
    Appended,
    Batch,
    Cap,
    Change,
    Clear,
    Delete,
    DeleteLog,
    Operation,
    Outcome,
    Restore,
    Set,
    SetLog,
)
from botwire.stores._requests import fingerprint, lifetime_us, scope_of
from botwire.stores.redis import _scripts
from botwire.stores.redis._batches import NOTHING, Encoded, Present, conflict, results_of, ttl_text, unreadable, wants
from botwire.stores.redis._counting import Counting
from botwire.stores.redis._keys import Keys, log_name, utf8
from botwire.stores.redis._namespaces import Namespaces
from botwire.stores.redis._router import Call, Pause, Router
from botwire.stores.redis._rows import entry_of, info_of
from botwire.stores.redis._wire import Command, bulk, packed, packed_all

MOST_AT_ONCE = 256
"""Batches that are sent before answers are read."""
MOST_BYTES = 512 * 1024 * 1024
"""Largest batch: a server closes the connection of a client that sends more than 1 GiB at a time."""
_OWN_MARGIN_US = 60_000_000
_HEARD_AT_MOST = 100
_LOGS_KNOWN = 1_000
_ON_ENTRIES = frozenset((Set, Delete, Change, Clear, Restore))


def needs_reading(batch: Batch) -> bool:
    """Whether something must be read before the batch can be sent, which others should not have to wait for."""
    return any(isinstance(each, (Change, SetLog, DeleteLog)) for each in batch.operations)


def is_append(batch: Batch) -> bool:
    """Whether it is a single Append on no terms, the write that is most frequent."""
    return len(batch.operations) == 1 and type(batch.operations[0]) is Append and batch.terms is None


class _Work:
    """One batch on its way. Every write has an id; one of our own lives only as long as it may be sent again."""

    __slots__ = ("batch", "encoded", "fingerprint", "keys", "lifetime", "margin_us", "own", "request", "seed", "token")

    def __init__(self, batch: Batch, keys: Keys, router: Router) -> None:
        self.batch = batch
        self.keys = keys
        self.seed = b2a_hex(os.urandom(8))
        """What epochs that the batch begins are called, and its request if it has no id."""
        self.token = b"" if router.settings.kind != "cluster" else b"-"
        self.margin_us = int(router.settings.timeout * 1e6) + _OWN_MARGIN_US
        self.own = batch.request_id is None
        if batch.request_id is None:
            self.request = keys.base + b"r:\x01" + self.seed
            self.fingerprint, lifetime_ms = b"", self.margin_us // 500 + 1
        else:
            self.request = keys.request(scope_of(batch.operations), batch.request_id)
            self.fingerprint = fingerprint(batch.operations).encode()
            lifetime_ms = max(lifetime_us(batch.request_id) // 1_000, self.margin_us // 500) + 1
        self.lifetime = b"%d000" % lifetime_ms
        """Microseconds, in whole milliseconds."""
        self.encoded = Encoded((), NOTHING)

    def command(self, calls: Namespaces, router: Router, present: Present) -> Command:
        """The call of the script.

        Raises:
            InvalidName, InvalidValue, Unsupported: if what the batch holds cannot be sent.
        """
        operations = self.batch.operations
        if is_append(self.batch):
            return self._append(calls, router, operations[0])
        keys, encoded = self.keys, Encoded(operations, present)
        self.encoded = encoded
        names = encoded.names
        listed = keys.g if self.token else calls.listed_at()[0]
        places = (*keys.fixed, self.request, listed, *(keys.stream(name) for name in names))
        not_after = b"" if router.clock is not None else b"%d" % router.not_after(self.margin_us)
        head = (b"EVALSHA", _scripts.WRITE.digest, b"%d" % len(places), *places)
        times = (calls.clock(), not_after, self.fingerprint, self.lifetime)
        news = (calls.publishing(), keys.channel, _news(encoded.heard), self.seed, self.token)
        flags = (b"w" if router.settings.wait else b"") + _parts(operations)
        rest = [self.batch.namespace.encode(), b"%d" % len(names), *names, *_cap(self.batch)]
        rest += [b"%d" % encoded.guards_count(), *encoded.guards]
        rest += [*_charges(self.batch), *encoded.arguments]
        if sum(map(len, encoded.arguments)) > MOST_BYTES:
            raise _too_large()
        data = packed_all((*head, *times, *news, flags, *rest))
        again = (lambda: packed_all((*head, *times, *news, flags + b"a", *rest))) if self.own else None
        return Command(keys.slot, data, again, writes=True)

    def _append(self, calls: Namespaces, router: Router, operation: Any) -> Command:
        """The call of the script for a single Append: put together from parts, since most writes are one."""
        bodies = [utf8(body) for body in operation.bodies]
        if sum(map(len, bodies)) > MOST_BYTES:
            raise _too_large()
        keys = self.keys
        of_log = keys.of_logs.get(operation[:2] + operation[3:])
        if of_log is None:
            of_log = self._of_log(calls, operation)
        not_after = b"" if router.clock is not None else b"%d" % router.not_after(self.margin_us)

        def data(flags: bytes) -> bytes:
            rare = b" ".join((calls.clock(), self.token, flags, self.fingerprint))
            rest = bulk(self.lifetime, not_after, self.seed, b"" if rare == b"   " else rare, *bodies)
            return b"".join((b"*%d\r\n" % (25 + len(bodies)), of_log[0], bulk(self.request), of_log[1], rest))

        waits = b"w" if router.settings.wait else b""
        return Command(keys.slot, data(waits), lambda: data(waits + b"a"), writes=True)

    def _of_log(self, calls: Namespaces, operation: Append) -> tuple[bytes, bytes]:
        """What is the same in every call of the script for a log, before and after the request."""
        keys, name = self.keys, log_name(operation.session, operation.agent)
        places = (keys.s, keys.i, keys.y, keys.g, keys.g if self.token else calls.listed_at()[0], keys.stream(name))
        news = b"s" + utf8(operation.session)
        telling = (calls.publishing(), keys.channel, b"*" if b"\n" in news else news)
        before = bulk(b"EVALSHA", _scripts.APPEND.digest, b"12", *places, keys.m, keys.e, keys.k, keys.x, keys.q)
        if len(keys.of_logs) >= _LOGS_KNOWN:
            keys.of_logs.clear()
        of_log = keys.of_logs[operation[:2] + operation[3:]] = before, bulk(*telling, keys.name, name, ttl_text(operation.ttl))
        return of_log


def _too_large() -> InvalidValue:
    return InvalidValue(f"the batch is larger than {MOST_BYTES:,} bytes, which a Redis server does not take at once; make it several")


def _news(heard: list[bytes]) -> bytes:
    """What listeners are told: a line for each name, or a star for anything."""
    if len(heard) == 1:
        return b"*" if b"\n" in heard[0] else heard[0]
    if not heard or b"*" in heard or len(heard) > _HEARD_AT_MOST or any(b"\n" in name for name in heard):
        return b"*" if heard else b""
    return b"\n".join(dict.fromkeys(heard))


def _parts(operations: Sequence[Operation]) -> bytes:
    """Which parts of the script the operations need: that of entries, that of logs."""
    kinds = set(map(type, operations))
    return b"e" * (not kinds.isdisjoint(_ON_ENTRIES)) + b"l" * (not kinds <= _ON_ENTRIES)


def _cap(batch: Batch) -> list[bytes]:
    cap = None if batch.terms is None else batch.terms.cap
    return [b"0"] if cap is None else [b"1", *(b"" if limit is None else b"%d" % limit for limit in cap)]


def _charges(batch: Batch) -> list[bytes]:
    terms = batch.terms
    if terms is None:
        return [b"0"]
    found = [b"%d" % len(terms.charges)]
    for charge in terms.charges:
        found += (charge.meter.encode(), b"%d" % charge.amount, b"%d" % charge.limit, b"%d" % charge.expires_at)
    return found


class Writing(Counting):
    """The ``write`` of a store."""

    def write(self, batches: Sequence[Batch], deadline: float | None = None) -> Call[list[Outcome]]:
        """See ``Store.write``; a batch whose answer got lost is sent again under its request id, and applied once."""
        yield from self._router.ready()
        deadline = time.monotonic() + self._router.settings.timeout if deadline is None else deadline
        outcomes: list[Any] = [[] for _ in batches]
        if len(batches) == 1 and is_append(batches[0]):
            return [(yield from self._write_append(batches[0], deadline))]
        works = {index: _Work(batch, self.keys(batch.namespace), self._router) for index, batch in enumerate(batches) if batch.operations}
        yield from self._write_all(works, outcomes, deadline)
        return outcomes

    def _write_append(self, batch: Batch, deadline: float) -> Call[Outcome]:
        """What becomes of a single Append, most often at once: in a process of its own a writer has no others to share its steps with."""
        work = _Work(batch, self.keys(batch.namespace), self._router)
        try:
            command = work.command(self, self._router, NOTHING)
        except BotWireError as error:
            return error
        (answer,) = yield from self._router.ask((command,), deadline)
        if isinstance(answer, bytes):
            return _appended(answer)
        outcome = yield from self._outcome(work, answer, {})
        outcomes: list[Any] = [outcome]
        if outcome is None:
            yield from self._write_all({0: work}, outcomes, deadline)
        return outcomes[0]

    def _write_all(self, works: dict[int, _Work], outcomes: list[Any], deadline: float) -> Call[None]:
        """Bring each batch to its outcome."""
        attempt = 0
        while works:
            left: dict[int, _Work] = {}
            for some in _portions(works):
                yield from self._attempt(some, outcomes, left, deadline)
            works = left
            if works and attempt:
                if time.monotonic() > deadline:
                    return self._given_up(outcomes, works)
                yield Pause(random.uniform(0, min(0.02, 0.0005 * 1.3**attempt)))
            attempt += 1
        return None

    def _given_up(self, outcomes: list[Any], works: dict[int, _Work]) -> None:
        for index in works:
            outcomes[index] = StoreBusy(
                f"{self._router.settings.shown}: other writers were faster, or what the namespace holds was being counted, "
                "for the whole timeout; nothing was written"
            )

    def _attempt(self, works: dict[int, _Work], outcomes: list[Any], left: dict[int, _Work], deadline: float) -> Call[None]:
        sent: list[tuple[int, _Work]] = []
        commands: list[Command] = []
        for index, work in works.items():
            try:
                present = yield from self._present(work)
                commands.append(work.command(self, self._router, present))
                sent.append((index, work))
            except BotWireError as error:
                outcomes[index] = error
        answers = (yield from self._router.ask(commands, deadline)) if commands else []
        uncounted: dict[bytes, _Work] = {}
        for (index, work), answer in zip(sent, answers, strict=True):
            outcome = yield from self._outcome(work, answer, uncounted)
            if outcome is None:
                left[index] = work
            else:
                outcomes[index] = outcome
        for work in uncounted.values():
            try:
                yield from self.tally(work.batch.namespace, work.token, deadline)
            except BotWireError as error:  # the outcomes of the others are known
                for index in [index for index, each in left.items() if each.keys is work.keys]:
                    outcomes[index] = error
                    del left[index]

    def _present(self, work: _Work) -> Call[Present]:
        """Read what the operations are computed from."""
        names, logs, sessions = wants(work.batch.operations)
        if not names and not logs and not sessions:
            return NOTHING
        keys, namespace = work.keys, work.batch.namespace
        now = (yield from self._router.server_time()) if self._router.clock is None else self._router.clock()
        commands = [Command(keys.slot, packed(b"HGET", keys.e, name.encode())) for name in names]
        for log in logs:
            commands += (Command(keys.slot, packed(b"HGET", keys.s, log)), Command(keys.slot, packed(b"HGET", keys.m, log)))
        for session in sessions:
            start = log_name(session, "")
            commands.append(Command(keys.slot, packed(b"ZRANGEBYLEX", keys.i, b"[" + start, b"(" + start + b"\xff")))
        answers = yield from self.all_of(commands)
        present = Present(now, {}, {}, {})
        for name in names:
            present.entries[name] = _live_entry(namespace, name, answers.pop(0), now)
        for log in logs:
            state, metadata = answers.pop(0), answers.pop(0)
            info = None if state is None else info_of("", "", state, metadata or b"{}")
            gone = info is None or (info.expires_at is not None and info.expires_at <= now)
            present.metadata[log] = "{}" if gone or info is None else info.metadata
        for session in sessions:
            present.logs[session] = answers.pop(0)
        return present

    def _outcome(self, work: _Work, answer: Any, uncounted: dict[bytes, _Work]) -> Call[Outcome | None]:
        """What became of a batch; None if it is to be tried again, perhaps after its namespace was counted."""
        if isinstance(answer, BotWireError):
            return answer
        if isinstance(answer, bytes):
            return _appended(answer)
        kind = answer[0]
        if kind in (b"+", b"="):
            return _results(work.batch, answer[1])
        if kind == b"N":
            work.token = yield from self.enter(work.batch.namespace)
        elif kind == b"C":
            uncounted[work.keys.base] = work
        elif kind == b"L":  # the server's clock has gone on further than ours
            yield from self._router.server_time()
        return _refusal(work, kind, answer)


def _appended(answer: bytes) -> Outcome:
    """What became of a single Append."""
    first, last, epoch = answer[1:].split(b" ", 2)
    return [Appended(epoch.decode(), int(first), int(last))]


def _results(batch: Batch, answers: list[Any]) -> Outcome:
    try:
        return results_of(batch.operations, answers)
    except (ValueError, TypeError, IndexError) as error:
        return StoreCorrupt(f"what is kept of the request {batch.request_id!r} cannot be read: {error}")


def _refusal(work: _Work, kind: bytes, answer: list[Any]) -> BotWireError | None:
    """Why nothing was done; None if only what the call was computed from has changed."""
    batch = work.batch
    if kind in (b"V", b"P"):
        operation, current = batch.operations[int(answer[1])], answer[2]
        return conflict(batch.namespace, operation, kind, int(current) if current.isdigit() else 0)
    if kind == b"F":
        return work.encoded.failure
    if kind == b"U":
        return unreadable(batch.namespace, answer[2].decode())
    if kind == b"R":
        return RequestConflict(f"the request id {batch.request_id!r} was used before, for another write; give each write its own")
    if kind == b"Q":
        return _over_limit(batch, int(answer[1]), int(answer[2]), int(answer[3]))
    if kind == b"H" and batch.terms is not None and batch.terms.cap is not None:
        return _over_cap(batch.namespace, batch.terms.cap, answer[1].decode(), int(answer[2]), int(answer[3]))
    return None


def _live_entry(namespace: str, name: str, stored: bytes | None, now: int) -> Any:
    """The entry, None if there is none, or why it cannot be read."""
    if stored is None:
        return None
    try:
        row = entry_of(namespace, name, stored)
    except StoreCorrupt as error:
        return error
    return None if row.expires_at is not None and row.expires_at <= now else row


def _over_limit(batch: Batch, number: int, used: int, left_us: int) -> QuotaExceeded:
    charge = batch.terms.charges[number] if batch.terms is not None else None
    if charge is None:
        return QuotaExceeded(f"namespace {batch.namespace!r} is over a limit", left_us / 1e6)
    text = f"{charge.meter} of namespace {batch.namespace!r}: {used:,} of {charge.limit:,} are used, this needs {charge.amount:,}"
    return QuotaExceeded(text, left_us / 1e6, limit=charge.meter, current=used, allowed=charge.limit)


def _over_cap(namespace: str, cap: Cap, name: str, current: int, wanted: int) -> QuotaExceeded:
    allowed: int = getattr(cap, name)
    text = f"{name} of namespace {namespace!r}: {current:,} of {allowed:,} are used, this would make it {wanted:,}; remove something"
    return QuotaExceeded(text, limit=name, current=current, allowed=allowed)


def _portions(works: dict[int, _Work]) -> list[dict[int, _Work]]:
    items = list(works.items())
    return [dict(items[start : start + MOST_AT_ONCE]) for start in range(0, len(items), MOST_AT_ONCE)]
