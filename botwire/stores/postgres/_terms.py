"""The terms of a batch: charges on meters, and caps on what a namespace holds. Statements of its transaction.

What a charge or a cap goes by is locked first, so that batches of one namespace with terms come one after the other, in any number
of processes; and in one order: the request, meters by name, the count of what the namespace holds, then what the batch writes.
"""

from __future__ import annotations

import time

from botwire._errors import QuotaExceeded
from botwire.stores._protocol import Append, Batch, Cap, Change, Charge, Restore, RestoreLog, Set, SetLog
from botwire.stores.postgres import _counting
from botwire.stores.postgres._counting import Held
from botwire.stores.postgres._script import Query, Queue, Rows, now

# $1 namespace, $2 meter, $3 the time, $4 amount, $5 limit, $6 expires_at
_CHARGE = f"""WITH t AS MATERIALIZED (SELECT {now(3)} AS now)
INSERT INTO @.meter AS m (namespace, name, amount, expires_at)
SELECT $1, $2, $4::int8, $6::int8 FROM t WHERE $4::int8 <= $5::int8
ON CONFLICT (namespace, name) DO UPDATE SET expires_at = EXCLUDED.expires_at,
    amount = EXCLUDED.amount + CASE WHEN m.expires_at <= (SELECT now FROM t) THEN 0 ELSE m.amount END
WHERE EXCLUDED.amount + CASE WHEN m.expires_at <= (SELECT now FROM t) THEN 0 ELSE m.amount END <= $5::int8
RETURNING (SELECT now FROM t)"""

# After a charge that did not fit, whose row stays locked. $1 namespace, $2 meter, $3 the time
_USED = f"""WITH t AS MATERIALIZED (SELECT {now(3)} AS now)
SELECT CASE WHEN m.expires_at > t.now THEN m.amount ELSE 0 END FROM @.meter m, t WHERE m.namespace = $1 AND m.name = $2"""

_GROWS = (Set, Change, Restore, Append, SetLog, RestoreLog)


def add_charge(queue: Queue, namespace: str, charge: Charge, moment: int | None) -> None:
    """Have a meter charged; its reader raises QuotaExceeded where that would bring it over its limit."""
    meter, amount, limit, expires_at = charge
    wait = max(0.0, (expires_at - (moment or time.time_ns() // 1_000)) / 1_000_000)

    def read(answers: list[Rows]) -> None:
        if not answers[0]:
            current = answers[1][0][0] if answers[1] else 0
            text = f"{meter} of namespace {namespace!r}: {current:,} of {limit:,} are used, this needs {amount:,}"
            raise QuotaExceeded(text, wait, limit=meter, current=current, allowed=limit)

    charged = Query(_CHARGE, (namespace, meter, moment, amount, limit, expires_at))
    queue.add((charged, Query(_USED, (namespace, meter, moment))), read)


class Ceiling:
    """The cap of one batch, and what its namespace held before."""

    def __init__(self, namespace: str, cap: Cap, moment: int | None) -> None:
        self._namespace = namespace
        self._cap = cap
        self._moment = moment
        self._before = Held(0, 0, 0)

    def add_before(self, queue: Queue) -> None:
        """Have it looked up what the namespace holds, and keep others with a cap from changing that; before the batch's operations."""

        def read(answers: list[Rows]) -> None:
            self._before = _counting.found(answers)

        queue.add(_counting.look(self._namespace, self._cap, self._moment), read)

    def add_after(self, queue: Queue) -> None:
        """Have it looked whether the namespace keeps within its cap, or holds no more than before; after the batch's operations.

        The reader raises QuotaExceeded if not.
        """
        queue.add(_counting.settle(self._namespace, self._cap, self._moment), lambda answers: self._check(_counting.found(answers)))

    def _check(self, after: Held) -> None:
        for name, allowed in self._cap._asdict().items():
            current, wanted = getattr(self._before, name), getattr(after, name)
            if allowed is not None and wanted > allowed and wanted > current:
                text = f"{name} of namespace {self._namespace!r}: {current:,} of {allowed:,} are used, this would make it {wanted:,}; "
                raise QuotaExceeded(text + "remove something", limit=name, current=current, allowed=allowed)


def ceiling_of(batch: Batch, moment: int | None) -> Ceiling | None:
    """What a batch may not pass; None where there is nothing to pass, as for a batch that only takes away."""
    cap = None if batch.terms is None else batch.terms.cap
    if cap is None or cap == Cap() or not any(isinstance(operation, _GROWS) for operation in batch.operations):
        return None
    return Ceiling(batch.namespace, cap, moment)
