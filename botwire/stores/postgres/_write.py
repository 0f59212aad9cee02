"""How batches become transactions.

- One operation is nearly always one statement, which commits by itself: one round trip.
- Many such batches go in one pipeline and one transaction: one round trip and one commit for all. They are sorted by what
  they lock, as everybody locks, so that no two transactions wait for each other.
- Everything else is a transaction of its own that decides on the way: two round trips, and one more for each Change.

What a fast way cannot deal with (``Again``), it leaves undone; then the last way does it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from botwire._errors import BotWireError
from botwire.stores._protocol import (
    KEEP,
    Append,
    Appended,
    Batch,
    Change,
    Clear,
    ClearLog,
    Delete,
    DeleteLog,
    Operation,
    Pop,
    Restore,
    RestoreLog,
    Result,
    Set,
    SetLog,
    Trim,
)
from botwire.stores._records import results_to_json
from botwire.stores._requests import fingerprint, lifetime_us, recall, scope_of, text_pair
from botwire.stores.postgres import _counting, _entries, _logs
from botwire.stores.postgres._counting import NotCounted
from botwire.stores.postgres._entries import Note, Work
from botwire.stores.postgres._notes import note_of
from botwire.stores.postgres._script import BEGIN, COMMIT, Again, Query, Queue, Rows, Script, Trip, now
from botwire.stores.postgres._terms import add_charge, ceiling_of

MOST_JOINED = 1_000_000
"""The most characters of messages that one statement carries for several batches."""
MOST_TOGETHER = 500
"""The most batches that one transaction carries: what it has locked, others wait for."""


class Context(NamedTuple):
    """What statements need to know besides their operation."""

    schema: str
    moment: int | None  # the time, if it is not the server's


def work_of(  # noqa: C901, PLR0911 - a table
    context: Context, batch: Batch, operation: Operation, note: Note, *, sure: bool = False
) -> Work | None:
    """The statements of an operation; None where what to write depends on what is there. ``sure``: see ``set_work``."""
    namespace, moment = batch.namespace, context.moment
    match operation:
        case Set():
            return _entries.set_work(namespace, operation, moment, note, sure=sure)
        case Append():
            return _logs.append_work(namespace, operation, moment, note)
        case Delete():
            return _entries.delete_work(namespace, operation, moment, note)
        case Clear():
            return _entries.clear_work(namespace, operation, moment)
        case Restore():
            return _entries.restore_work(namespace, operation)
        case Pop():
            return _logs.pop_work(namespace, operation, moment, note)
        case Trim() | ClearLog():
            return _logs.cut_work(namespace, operation, moment, note)
        case DeleteLog():
            return _logs.delete_log_work(namespace, operation, moment, note)
        case SetLog() if not operation.merge or not isinstance(operation.metadata, str):
            return _logs.set_log_work(namespace, operation, moment, note)
        case RestoreLog():
            return _logs.restore_log_work(namespace, operation, moment)
        case _:
            return None


# --------------------------------------------------------------------------------- the fast ways

_TELLS_ITSELF = (Set, Append, Delete, Pop, Trim, ClearLog, DeleteLog, SetLog)


def is_simple(batch: Batch) -> bool:
    """Whether it is one operation that either happens or leaves no trace, without terms."""
    if len(batch.operations) != 1 or batch.terms is not None:
        return False
    operation = batch.operations[0]
    if batch.request_id is not None:
        return isinstance(operation, Append) or (isinstance(operation, Set) and operation.if_version is None)
    return isinstance(operation, _TELLS_ITSELF) and not (isinstance(operation, SetLog) and operation.merge)


def simple_work(context: Context, batch: Batch) -> Work | None:
    """The work of a simple batch; None of another."""
    if not is_simple(batch):
        return None
    operation = batch.operations[0]
    note = note_of(context.schema, batch)
    if batch.request_id is None:
        return work_of(context, batch, operation, note)
    if isinstance(operation, Append):
        return _logs.append_work(batch.namespace, operation, context.moment, note, _request(batch))
    return _entries.set_once_work(batch.namespace, cast("Set", operation), context.moment, note, _request(batch))


def alone(work: Work) -> Script[list[Result]]:
    """One batch of one operation, in one round trip."""
    if len(work.queries) == 1:
        answers = yield Trip(work.queries, commits=True)
    else:
        answers = (yield Trip((BEGIN, *work.queries, COMMIT), commits=True))[1:-1]
    return [work.read(answers)]


def joined(context: Context, batches: Sequence[Batch]) -> Work | None:
    """One Append for several batches that do nothing but append to the same session; None if they are not such. Answers one for each."""
    operations = [batch.operations[0] for batch in batches]
    appends = [operation for operation in operations if isinstance(operation, Append) and operation.ttl is KEEP]
    if len(appends) != len(operations) or any(batch.request_id is not None for batch in batches):
        return None
    bodies = tuple(body for append in appends for body in append.bodies)
    if not all(append.bodies for append in appends) or sum(map(len, bodies)) > MOST_JOINED:
        return None
    first = appends[0]
    work = _logs.append_work(batches[0].namespace, first._replace(bodies=bodies), context.moment, note_of(context.schema, batches[0]))

    def read(answers: list[Rows]) -> list[Appended]:
        epoch, start, _ = work.read(answers)
        ends = list(itertools.accumulate((len(append.bodies) for append in appends), initial=start))
        return [Appended(epoch, begin, end - 1) for begin, end in itertools.pairwise(ends)]

    return Work(work.queries, read)


_IMPATIENT = Query("SET LOCAL lock_timeout = '100ms'")


def together(works: Sequence[Work], *, patient: bool = True) -> Script[list[Any]]:
    """Many of them in one round trip and one commit; for each its results, or what it raised: a BotWireError, or Again.

    Unless it is ``patient``, it gives up, all of it, where somebody holds a lock for long.
    """
    queries = [query for work in works for query in work.queries]
    start = (BEGIN,) if patient else (BEGIN, _IMPATIENT)
    answers = (yield Trip((*start, *queries, COMMIT), commits=True))[len(start) : -1]
    found: list[Any] = []
    for work in works:
        mine, answers = answers[: len(work.queries)], answers[len(work.queries) :]
        try:
            found.append([work.read(mine)])
        except (BotWireError, Again) as error:
            found.append(error)
    return found


def target(batch: Batch, operation: Operation) -> tuple[str, int, str, str]:
    """What an operation locks, in the order in which everybody locks: namespaces, in each entries before logs, by name."""
    if isinstance(operation, Set | Delete | Change):
        return batch.namespace, 0, operation.key, ""
    if isinstance(operation, Restore):
        return batch.namespace, 0, operation.row.key, ""
    if isinstance(operation, RestoreLog):
        return batch.namespace, 1, operation.info.session, operation.info.agent
    if isinstance(operation, Clear):
        return batch.namespace, 0, operation.prefix, ""
    return batch.namespace, 1, operation.session, operation.agent or ""


# ------------------------------------------------------------------------------------ the last way

# $1 namespace, $2 name, $3 the time, $4 lifetime, $5 fingerprint. Writes in any case: who repeats a request must wait
# until the first one's commit is as durable as their own.
_CLAIM = f"""WITH t AS MATERIALIZED (SELECT {now(3)} AS now)
INSERT INTO @.request AS r (namespace, name, expires_at, fingerprint, results)
SELECT $1, $2, now + $4::int8, $5, '' FROM t
ON CONFLICT (namespace, name) DO UPDATE SET
    fingerprint = CASE WHEN r.expires_at <= EXCLUDED.expires_at - $4::int8 THEN EXCLUDED.fingerprint ELSE r.fingerprint END,
    results = CASE WHEN r.expires_at <= EXCLUDED.expires_at - $4::int8 THEN '' ELSE r.results END,
    expires_at = CASE WHEN r.expires_at <= EXCLUDED.expires_at - $4::int8 THEN EXCLUDED.expires_at ELSE r.expires_at END
RETURNING fingerprint, results"""
_KEEP_RESULTS = "UPDATE @.request SET results = $3 WHERE namespace = $1 AND name = $2"

_NOTIFY = f"""WITH t AS MATERIALIZED (SELECT {now(4)} AS now)
SELECT pg_notify($2, $3) FROM @.listener, t WHERE namespace = $1 AND expires_at > t.now LIMIT 1"""

_SPANNING = (Clear, DeleteLog)


class _Replayed(Exception):
    def __init__(self, results: list[Result]) -> None:
        self.results = results


def careful(context: Context, batch: Batch, *, hopeful: bool = True) -> Script[list[Result]]:
    """Any batch, in a transaction of its own.

    ``hopeful``: whether it may be sent with its commit, for that to fail if an entry is not at the version that is wanted.

    Raises:
        BotWireError: what keeps it from happening; whoever runs the script rolls back.
        Again: if that is not known: it is to be begun anew, without hope.
    """
    if hopeful and batch.request_id is None and batch.terms is None and all(map(_happens, batch.operations)):
        return (yield from _at_once(context, batch))
    queue, ceiling = Queue(), ceiling_of(batch, context.moment)
    queue.add((BEGIN,))
    if batch.request_id is not None:
        name, lifetime, digest = _request(batch)
        claim = Query(_CLAIM, (batch.namespace, name, context.moment, lifetime, digest))
        queue.add((claim,), lambda answers: _look_back(batch, answers[0]))
        queue.add((Query("SAVEPOINT fresh"),))
    for charge in sorted(batch.terms.charges if batch.terms is not None else ()):
        add_charge(queue, batch.namespace, charge, context.moment)
    if ceiling is not None:
        ceiling.add_before(queue)
    try:
        found = yield from _apply(queue, context, batch)
        if ceiling is not None:
            ceiling.add_after(queue)
        yield from queue.send()
    except _Replayed as replayed:
        yield Trip((Query("ROLLBACK TO SAVEPOINT fresh"), COMMIT), commits=True)
        return replayed.results
    except NotCounted:
        yield Trip((Query("ROLLBACK"),))
        yield from _counting.begin(batch.namespace)
        return (yield from careful(context, batch, hopeful=False))
    results = [found[index] for index in range(len(batch.operations))]
    if batch.request_id is not None:
        kept = results_to_json(batch.operations, results)
        queue.add((Query(_KEEP_RESULTS, (batch.namespace, _request(batch)[0], kept)),))
    queue.add(_tell(context, batch, note_of(context.schema, batch)))
    yield Trip((*queue.queries, COMMIT), commits=True)
    return results


def _tell(context: Context, batch: Batch, note: Note) -> list[Query]:
    """What tells those who listen, where the operations do not."""
    if all(isinstance(operation, _TELLS_ITSELF) for operation in batch.operations):
        return []
    return [Query(_NOTIFY, (batch.namespace, *note, context.moment))]


def _happens(operation: Operation) -> bool:
    """Whether an operation happens whatever is there, or fails as a statement, so that its commit can be sent with it."""
    if isinstance(operation, Delete):
        return operation.if_version is None
    return isinstance(operation, Set | Clear | Restore | Pop | DeleteLog)


def _at_once(context: Context, batch: Batch) -> Script[list[Result]]:
    """Operations that all happen, in one round trip."""
    note = note_of(context.schema, batch)
    order = _order(batch)
    works = [cast("Work", work_of(context, batch, batch.operations[index], note, sure=True)) for index in order]
    queries = [query for work in works for query in work.queries]
    answers = (yield Trip((BEGIN, *queries, *_tell(context, batch, note), COMMIT), commits=True))[1:]
    results: dict[int, Any] = {}
    for index, work in zip(order, works, strict=True):
        mine, answers = answers[: len(work.queries)], answers[len(work.queries) :]
        results[index] = work.read(mine)
    return [results[index] for index in range(len(order))]


def _order(batch: Batch) -> list[int]:
    """In which order to apply operations: as everybody locks, which leaves those on one target in theirs."""
    order = list(range(len(batch.operations)))
    if not any(isinstance(operation, _SPANNING) for operation in batch.operations):
        order.sort(key=lambda index: target(batch, batch.operations[index]))
    return order


def _apply(queue: Queue, context: Context, batch: Batch) -> Script[dict[int, Result]]:
    """All operations, one after the other; the last ones, and the results of these, when the queue is sent."""
    results: dict[int, Any] = {}
    note = note_of(context.schema, batch)  # the same for each operation: PostgreSQL sends equal ones of a transaction once
    for index in _order(batch):
        operation = batch.operations[index]
        queue.add(_logs.drop_expired(batch.namespace, operation, context.moment))
        work = work_of(context, batch, operation, note)
        if work is not None:
            queue.add(work.queries, lambda answers, index=index, read=work.read: results.__setitem__(index, read(answers)))
            continue
        yield from queue.send()
        if isinstance(operation, Change):
            results[index] = yield from _entries.change(batch.namespace, operation, context.moment, note)
        else:
            results[index] = yield from _logs.merge_log(batch.namespace, cast("SetLog", operation), context.moment, note)
    return results


def _request(batch: Batch) -> tuple[bytes, int, bytes]:
    """A request's name, lifetime and fingerprint, as they are stored. The name is that of a list, as ``json.dumps`` writes it."""
    request_id = cast("str", batch.request_id)
    name = text_pair(scope_of(batch.operations), request_id).encode()
    return hashlib.sha256(name).digest()[:16], lifetime_us(request_id), bytes.fromhex(fingerprint(batch.operations))[:16]


def _look_back(batch: Batch, rows: Rows) -> None:
    digest, results = rows[0]
    if results:
        raise _Replayed(recall(batch, _request(batch)[2].hex(), bytes(digest).hex(), results))
