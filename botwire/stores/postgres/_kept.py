"""Statements of which the server keeps the plan, sent by libpq's wrapper itself.

A cursor of the driver's does for any statement what one of ours need not: to a single short one it adds as much of this process's time
as all the rest of the call to the server takes (20 to 30 of 80 microseconds). What is used once or twice still goes by a cursor.
"""

from __future__ import annotations

import select
from collections.abc import Generator, Sequence
from typing import Any

from psycopg import errors, generators
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

from botwire.stores.postgres._script import Rows

PREPARE_AFTER = 2
"""How often a statement is sent before the server keeps its plan."""
MOST = 100
"""The most statements that are kept for one connection, as with the driver; some have a page's size in their text."""


class Kept:
    """The kept statements of one connection, which no pooler deals out."""

    def __init__(self, connection: Any) -> None:
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._formats: dict[int, list[PyFormat]] = {}
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._uses: dict[str, int] = {}
        self._made = 0
        self._loaded: tuple[str, tuple[int, ...]] = "", ()
        self._values: Sequence[Any] = ()
        self._results: list[Any] = []
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)

    def wants(self, text: str) -> bool:
        """Whether a statement is sent often enough."""
        uses = self._uses.get(text, 0)
        if uses >= PREPARE_AFTER:
            return True
        if len(self._uses) >= MOST:  # those that were used once make room
            self._uses = {each: times for each, times in self._uses.items() if times >= PREPARE_AFTER}
        if len(self._uses) < MOST:
            self._uses[text] = uses + 1
        return False

    def load(self, text: str, parameters: Sequence[Any]) -> bool:
        """Have a statement be the next that is sent; whether the server knows it already."""
        size = len(parameters)
        formats = self._formats.get(size) or self._formats.setdefault(size, [PyFormat.AUTO] * size)
        self._values = self._transformer.dump_sequence(parameters, formats)
        self._loaded = text, self._transformer.types or ()
        return self._loaded in self._names

    def prepare(self) -> Generator[Any, Any, None]:
        """Tell the server of the one that is loaded."""
        self._made += 1
        name, (text, types) = f"botwire_{self._made}".encode(), self._loaded
        self._pgconn.send_prepare(name, text.encode(), types)
        self._check((yield from generators.execute(self._pgconn))[-1])
        self._names[self._loaded] = name

    def send(self) -> None:
        """Send the one that is loaded."""
        self._results = []
        self._pgconn.send_query_prepared(self._names[self._loaded], self._values, self._transformer.formats)

    def has_answered(self, seconds: float) -> bool:
        """Whether the answer comes in short waits; if not, ``finish`` goes on."""
        pgconn, milliseconds = self._pgconn, int(seconds * 1_000)
        if pgconn.flush():
            return False
        while True:
            while pgconn.is_busy():
                if not self._poll.poll(milliseconds):
                    return False
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                return True
            self._results.append(result)

    def finish(self) -> Generator[Any, Any, None]:
        """Wait for what is left of the answer, as the driver does."""
        self._results += yield from generators.execute(self._pgconn)

    @property
    def is_pending(self) -> bool:
        """Whether an answer has still to come."""
        return self._pgconn.status == ConnStatus.OK and self._pgconn.transaction_status == TransactionStatus.ACTIVE

    def rows(self) -> Rows:
        """What the answer says.

        Raises:
            psycopg.Error: if it is one.
        """
        result = self._results[-1]
        self._check(result)
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _check(self, result: Any) -> None:
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            error = errors.error_from_result(result)
            if error.sqlstate == "26000":  # somebody has told the server to forget them
                self._names.clear()
            raise error
