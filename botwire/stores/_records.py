"""What stores share about their records: operations and results as JSON text, and which reads of a log fit together.

The texts are for stores that keep what a request id was used for, and what came of it.

Values, bodies and metadata are JSON texts already. They travel as strings inside, so they are neither parsed nor changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from botwire.stores._protocol import KEEP, Append, Appended, Change, Changed, LogInfo, LogRow, Operation, Pop, Result, SetLog

_RESULTS: dict[type, Any] = {Change: Changed, Append: Appended, Pop: LogRow, SetLog: LogInfo}


def removals(info: LogInfo | None) -> tuple[str, int] | None:
    """What stays the same as long as a log is only appended to: reads between which it changed do not fit together."""
    return None if info is None else (info.epoch, info.head - info.count)


def operations_to_json(operations: Sequence[Operation]) -> str:
    """One text for equal operations, another for different ones; plain ASCII."""
    return _ENCODER.encode([[type(operation).__name__, *operation] for operation in operations])


def results_to_json(operations: Sequence[Operation], results: Sequence[Result]) -> str:
    """The results of a batch's operations; plain ASCII."""
    if len(operations) != len(results):
        raise ValueError(f"{len(results)} results for {len(operations)} operations")
    return json.dumps(results, separators=(",", ":"))


def results_from_json(operations: Sequence[Operation], text: str) -> list[Result]:
    """The results that ``results_to_json`` wrote for the same operations.

    Raises:
        ValueError: if the text is not that; the store says where it lay.
    """
    return [_result(operation, record) for operation, record in zip(operations, json.loads(text), strict=True)]


def _result(operation: Operation, record: Any) -> Result:
    rebuild = _RESULTS.get(type(operation))
    return record if rebuild is None or record is None else rebuild(*record)


def _keep(item: object) -> object:
    if item is KEEP:
        return {"keep": True}  # no operation holds an object otherwise
    raise TypeError(f"{type(item).__name__} in an operation")


_ENCODER = json.JSONEncoder(separators=(",", ":"), default=_keep)
"""Made once: ``json.dumps`` makes one with each call, which takes as long as a short operation."""
