"""Removing what has expired: on the way, by writers, a bounded amount at a time, past whatever others have locked."""

from __future__ import annotations

import logging
from time import monotonic

from botwire.stores.postgres import _counting
from botwire.stores.postgres._counting import noted
from botwire.stores.postgres._logs import DEAD
from botwire.stores.postgres._script import BEGIN, COMMIT, ROW_BY_ROW, Query, Script, Trip, now

logger = logging.getLogger("botwire")

EVERY = 30.0
"""Seconds between sweeps; the first is at the first write, as many processes live for less."""
SOON = 0.1
"""Seconds until the next one, if there was more to remove than one takes."""
MOST = 500
"""The most rows of each table that one sweep removes."""

_NOW = now(1)
_KEYS = {"request": "namespace, name", "meter": "namespace, name", "listener": "namespace, id"}


_EXPIRED = "expires_at <= (SELECT now FROM t)"  # compared with a column of a join, the index of what expires may be read from end to end


def _delete(table: str, keys: str, returned: str = "1", more: str = "") -> str:
    chosen = f"SELECT {keys} FROM @.{table} WHERE {_EXPIRED} ORDER BY expires_at LIMIT {MOST} FOR UPDATE SKIP LOCKED"
    return f"""WITH t AS MATERIALIZED (SELECT {_NOW} AS now), gone AS (
DELETE FROM @.{table} WHERE ({keys}) IN ({chosen}) RETURNING {returned}){more} SELECT count(*) FROM gone"""


_ENTRIES = noted(
    "(SELECT namespace, sum(size) AS size, count(*) AS n FROM gone GROUP BY namespace) g", size="-size", keys="-n", namespace="g.namespace"
)
_BODIES = noted("(SELECT namespace, sum(size) AS size FROM gone GROUP BY namespace) g", size="-size", namespace="g.namespace")
_SESSIONS = noted("gone", session="session", logs="-1", namespace="gone.namespace")

# An append which began before a log expired, and comes later, finds it alive. So it is marked first, in a statement of its own: what
# the next one sees is then all there is, and nobody adds to it any more, nor is half of it revived.
_MARK = f"""WITH t AS MATERIALIZED (SELECT {_NOW} AS now), dead AS (
UPDATE @.log SET expires_at = {DEAD} WHERE (namespace, session, agent) IN (
    SELECT namespace, session, agent FROM @.log WHERE {_EXPIRED} AND expires_at <> {DEAD}
    ORDER BY expires_at LIMIT {MOST} FOR UPDATE SKIP LOCKED)
RETURNING 1) SELECT count(*) FROM dead"""

_MESSAGES = f"""WITH
dead AS (SELECT namespace, id FROM @.log WHERE expires_at = {DEAD} LIMIT {MOST} FOR UPDATE SKIP LOCKED),
chosen AS (SELECT m.namespace, m.log, m.seq FROM dead JOIN @.message m ON m.namespace = dead.namespace AND m.log = dead.id LIMIT {MOST}),
gone AS (
    DELETE FROM @.message m USING chosen WHERE m.namespace = chosen.namespace AND m.log = chosen.log AND m.seq = chosen.seq
    RETURNING m.namespace, octet_length(m.body) AS size), {_BODIES}
SELECT count(*) FROM gone"""

# A log goes when its last message has gone, which may take several sweeps.
_LOGS = f"""WITH gone AS (
DELETE FROM @.log WHERE (namespace, session, agent) IN (
    SELECT namespace, session, agent FROM @.log l
    WHERE expires_at = {DEAD} AND NOT EXISTS (SELECT FROM @.message m WHERE m.namespace = l.namespace AND m.log = l.id)
    LIMIT {MOST} FOR UPDATE OF l SKIP LOCKED)
RETURNING namespace, session), {_SESSIONS} SELECT count(*) FROM gone"""

_TIMED = [
    _delete("entry", "namespace, key", "namespace, octet_length(value) AS size", f", {_ENTRIES}"),
    *(_delete(table, keys) for table, keys in _KEYS.items()),
    _MARK,
]


class Sweeper:
    """Knows when to sweep."""

    def __init__(self) -> None:
        self._due = 0.0

    def is_due(self) -> bool:
        """Whether it is time."""
        return monotonic() >= self._due

    def begin(self) -> None:
        """Others need not, meanwhile."""
        self._due = monotonic() + EVERY

    def end(self, *, more: bool) -> None:
        """Say whether there is more to remove."""
        if more:
            self._due = monotonic() + SOON

    def failed(self, where: str, error: BaseException) -> None:
        """What goes wrong is nobody's write, so it is logged, not raised."""
        logger.warning("could not remove what has expired from %s: %s", where, error)

    def sweep(self, moment: int | None) -> Script[bool]:
        """Remove some of what has expired; whether there may be more."""
        queries = [*(Query(text, (moment,)) for text in _TIMED), Query(_MESSAGES), Query(_LOGS)]
        answers = (yield Trip((BEGIN, ROW_BY_ROW, *queries, COMMIT)))[2:-1]
        more = yield from _counting.tidy()
        return more or any(rows[0][0] >= MOST for rows in answers)
