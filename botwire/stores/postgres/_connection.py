"""Connections that keep to a deadline, and that remember a warning which came with a commit."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.errors import Diagnostic
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.types.numeric import Int8Dumper

from botwire.stores.postgres._errors import Late, Unreplicated
from botwire.stores.postgres._kept import PREPARE_AFTER, Kept
from botwire.stores.postgres._script import Query, Rows

T = TypeVar("T")

GRACE = 2.0
"""Seconds within which a server that is asked to cancel a statement answers; without an answer the connection is given up."""
INTERVAL = 0.1
"""Seconds after which whoever waits looks whether the time is up."""


def in_time(wait: Generator[Any, Any, T], until: float) -> Generator[Any, Any, T]:
    """What the driver waits for, until a time of the monotonic clock.

    Raises:
        Late: after that; the driver's generator can be waited for once more.
    """
    try:
        wanted = next(wait)
        while True:
            ready = yield wanted
            if not ready and monotonic() >= until:
                raise Late
            wanted = wait.send(ready)
    except StopIteration as stop:
        return stop.value


class _Watched:
    """What both kinds of connection have in common."""

    until = float("inf")
    """When a call must be over, by the monotonic clock."""
    direct: bool | None = None
    """Whether the server is at the other end itself, rather than a pooler that deals out its connections; None: not known yet."""
    warning: str | None = None
    """What the server said while it committed, if that makes the commit doubtful."""
    _kept: Kept | None = None
    _probe: Any = None
    _cursor: Any = None
    """For single statements: to make a cursor takes a third as long as to have it execute one."""

    def watch(self: Any) -> None:
        """Begin to look at notices."""
        self.add_notice_handler(self._notice)
        self.adapters.register_dumper(int, Int8Dumper)  # else each size of a number is another statement

    def _notice(self, notice: Diagnostic) -> None:
        severity = notice.severity_nonlocalized or notice.severity
        if severity == "WARNING" and notice.sqlstate in ("01000", "57P01"):
            # "canceling wait for synchronous replication", which the server says in its own language and calls a success
            self.warning = f"{notice.message_primary}"

    def _own_cursor(self: Any) -> Any:
        if self._cursor is None:
            self._cursor = self.cursor()
        return self._cursor

    def begin(self, until: float) -> None:
        """A call begins."""
        self.until, self.warning = until, None

    def check_warning(self) -> None:
        """Raise ``Unreplicated`` if a commit was answered with a warning."""
        if self.warning is not None:
            raise Unreplicated(self.warning)

    def is_stale(self: Any) -> bool:
        """Whether an idle connection has something to say, which can only be its end; asked of the kernel, not of the server."""
        if self.closed or self.pgconn.status != ConnStatus.OK:
            return True
        if self._probe is None:
            self._probe = select.poll()
            self._probe.register(self.pgconn.socket, select.POLLIN)
        return bool(self._probe.poll(0))

    def is_idle(self: Any) -> bool:
        """Whether no transaction is open."""
        return bool(self.pgconn.transaction_status == TransactionStatus.IDLE)

    def learn(self: Any, pid: int) -> bool:
        """Whether the server is at the other end itself: a pooler makes up the process number that it tells its clients."""
        self.direct = self.pgconn.backend_pid == pid
        # A statement that was prepared on one of a pooler's connections is unknown on the next.
        self.prepare_threshold = PREPARE_AFTER if self.direct else None
        return bool(self.direct)

    def keep_statements(self: Any) -> None:
        """Send by itself what is sent often. Not for one that listens: what it hears would stay unread."""
        self._kept = Kept(self)


WHO = Query("SELECT pg_backend_pid()")
SETTINGS = Query(
    "SELECT set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),"
    " set_config('jit', 'off', false), set_config('idle_in_transaction_session_timeout', '10s', false)"
)
"""For a connection that is all ours.

Plans are kept. Made while a table has one page, the best one reads it all, and nobody makes that plan anew when the table has grown,
until it is analyzed. A page is read in the order of its index; a planner that takes a large namespace for a small one, by what it
knows of all, would rather fetch and sort the whole of it. And a process that is stopped in the middle of a transaction, or a machine
that is cut off, does not keep its locks: others would wait for them until the system gives up the connection, which takes hours.
"""


def _has_rows(cursor: Any) -> bool:
    """Whether a statement answers with rows; ``cursor.description`` would say so too, and look up the type of each column."""
    return cursor.pgresult is not None and cursor.pgresult.nfields > 0


@contextlib.contextmanager
def _first_error() -> Generator[contextlib.AbstractContextManager[None]]:
    """For a pipeline, in which a statement may fail while others are still sent: what is given out holds that error back until its end.

    The driver would go on to end the pipeline, and write a warning for every one that had an error already.
    """
    found: list[psycopg.Error] = []

    @contextlib.contextmanager
    def held_back() -> Generator[None]:
        try:
            yield
        except psycopg.Error as error:
            found.append(error)

    try:
        yield held_back()
    except psycopg.Error as error:
        raise (found[0] if found else error) from None
    if found:
        raise found[0]


class SyncConnection(_Watched, Connection[Any]):
    """A connection for threads."""

    @classmethod
    def connect(cls, conninfo: str = "", *, report: Callable[[BaseException | None], None], **options: Any) -> Self:
        """Connect; ``report`` is told how that went, which the pool keeps to itself."""
        try:
            connection = super().connect(conninfo, **options)
        except BaseException as error:
            report(error)
            raise
        report(None)
        connection.watch()
        return connection

    def wait(self, gen: Any, interval: float = INTERVAL, **options: Any) -> Any:
        """Wait as the driver does, but not for ever; see ``in_time``."""
        try:
            return super().wait(in_time(gen, self.until), min(interval, INTERVAL), **options)
        except Late:
            self._give_up_waiting()
            try:
                return super().wait(in_time(gen, monotonic() + GRACE), min(interval, INTERVAL), **options)
            except Late:
                self.pgconn.finish()
                raise

    def _give_up_waiting(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):  # then no answer will come either
            self.cancel_safe(timeout=GRACE)

    def perform(self, queries: list[tuple[Any, Any]]) -> list[Rows]:
        """The rows of some statements, all sent at once."""
        if len(queries) == 1:
            ((text, parameters),) = queries
            if parameters is not None and self._kept is not None and self._kept.wants(text):
                return [self._perform_kept(self._kept, text, parameters)]
            cursor = self._own_cursor()
            cursor.execute(text, parameters)
            return [cursor.fetchall() if _has_rows(cursor) else []]
        cursors: list[Any] = []
        with _first_error() as first, self.pipeline(), first:
            cursors += [self.execute(*query) for query in queries]
        return [cursor.fetchall() if _has_rows(cursor) else [] for cursor in cursors]

    def _perform_kept(self, kept: Kept, text: str, parameters: Any) -> Rows:
        if not kept.load(text, parameters):
            self.wait(kept.prepare())
        kept.send()
        try:
            if not kept.has_answered(INTERVAL):
                self.wait(kept.finish())
        except BaseException:  # an interrupt
            if kept.is_pending:
                self._abandon(kept)
            raise
        return kept.rows()

    def _abandon(self, kept: Kept) -> None:
        """Have the server give up what it does, and wait for that; else the connection is given up."""
        self._give_up_waiting()
        with contextlib.suppress(psycopg.Error, Late):
            super().wait(in_time(kept.finish(), monotonic() + GRACE), INTERVAL)
        if kept.is_pending:
            self.pgconn.finish()


@contextlib.contextmanager
def ending() -> Generator[None]:
    """For what a pool's worker does to connect: a cancellation ends the worker.

    The pool takes it for a failure to connect, and its worker would go on; a loop that ends waits for that for ever.
    """
    try:
        yield
    except asyncio.CancelledError:
        if (worker := asyncio.current_task()) is not None:
            asyncio.get_running_loop().call_soon(worker.cancel)
        raise


class LoopConnection(_Watched, AsyncConnection[Any]):
    """A connection for an event loop, made by a pool."""

    @classmethod
    async def connect(cls, conninfo: str = "", *, report: Callable[[BaseException | None], None], **options: Any) -> Self:
        """Connect; ``report`` is told how that went, which the pool keeps to itself."""
        try:
            with ending():
                connection = await super().connect(conninfo, **options)
        except BaseException as error:
            report(error)
            raise
        report(None)
        connection.watch()
        return connection

    async def wait(self, gen: Any, interval: float = INTERVAL, **options: Any) -> Any:
        """Wait as the driver does, but not for ever; see ``in_time``."""
        try:
            return await super().wait(in_time(gen, self.until), min(interval, INTERVAL), **options)
        except Late:
            await self._give_up_waiting()
            try:
                return await super().wait(in_time(gen, monotonic() + GRACE), min(interval, INTERVAL), **options)
            except Late:
                self.pgconn.finish()
                raise

    async def _give_up_waiting(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):  # then no answer will come either
            await self.cancel_safe(timeout=GRACE)

    async def perform(self, queries: list[tuple[Any, Any]]) -> list[Rows]:
        """The rows of some statements, all sent at once."""
        if len(queries) == 1:
            ((text, parameters),) = queries
            if parameters is not None and self._kept is not None and self._kept.wants(text):
                return [await self._perform_kept(self._kept, text, parameters)]
            cursor = self._own_cursor()
            await cursor.execute(text, parameters)
            return [await cursor.fetchall() if _has_rows(cursor) else []]
        cursors: list[Any] = []
        with _first_error() as first:
            async with self.pipeline():
                with first:
                    cursors += [await self.execute(*query) for query in queries]
        return [await cursor.fetchall() if _has_rows(cursor) else [] for cursor in cursors]

    async def _perform_kept(self, kept: Kept, text: str, parameters: Any) -> Rows:
        if not kept.load(text, parameters):
            await self.wait(kept.prepare())
        kept.send()
        await self.wait(kept.finish())
        return kept.rows()
