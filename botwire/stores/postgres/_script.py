"""What goes over a connection, apart from how it is waited for.

A script is a generator: it yields trips, is sent their rows, and returns its result. It is the same for threads and for
event loops; ``_drive`` has the two that run it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

Rows: TypeAlias = "list[tuple[Any, ...]]"


class Query(NamedTuple):
    """One statement: ``@.`` in its text stands for the schema, ``$1`` and so on for its parameters."""

    text: str
    parameters: tuple[Any, ...] = ()


class Trip(NamedTuple):
    """Statements that are sent together, in one round trip. The answer is a list of rows for each.

    ``commits``: what they do may be there for good once they were sent.
    """

    queries: Sequence[Query]
    commits: bool = False


Script: TypeAlias = Generator[Trip, "list[Rows]", T]


class Again(Exception):
    """What a fast statement did nothing about: the script that copes with everything is to be run."""


NOT_AS_WANTED = "botwire: the entry is not at the version that was wanted"
"""What the server complains of where a write that was sent together with its commit is not to happen."""
BEGIN = Query("BEGIN ISOLATION LEVEL READ COMMITTED")
COMMIT = Query("COMMIT")
ROW_BY_ROW = Query(
    "SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_hashjoin', 'off', true),"
    " set_config('enable_mergejoin', 'off', true)"
)
"""For the rest of a transaction, whose statements choose some rows and look for each by its key. Other plans read whole tables, and a
connection may keep one that was made while there was little to read; so they are planned anew, by the size that tables have now.
"""


class Queue:
    """Statements to be sent with the next trip, and who reads their answers."""

    def __init__(self) -> None:
        self.queries: list[Query] = []
        self._readers: list[tuple[int, int, Callable[[list[Rows]], None]]] = []

    def add(self, queries: Sequence[Query], read: Callable[[list[Rows]], None] = lambda _: None) -> None:
        """Add statements; ``read`` is given the rows of each, and may raise what keeps the rest from happening."""
        start = len(self.queries)
        self.queries += queries
        self._readers.append((start, len(self.queries), read))

    def send(self) -> Script[None]:
        """Send what is there, and have the answers read in its order."""
        queries, readers = self.queries, self._readers
        self.queries, self._readers = [], []
        if queries:
            answers = yield Trip(queries)
            for start, end, read in readers:
                read(answers[start:end])


def now(place: int) -> str:
    """SQL for the time: microseconds since 1970 by the server's clock, unless the parameter at ``place`` says otherwise.

    ``date_part`` gives a double, exact to the microsecond until the year 2255, and in half the time of ``extract``.
    """
    return f"coalesce(${place}::int8, (date_part('epoch', clock_timestamp()) * 1000000)::int8)"


def one(query: Query, *, commits: bool = False) -> Script[Rows]:
    """The rows of a single statement."""
    return (yield Trip((query,), commits))[0]
