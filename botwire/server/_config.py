"""The operator's file of settings: quotas and limits, in TOML.

public_terms = true                  # 1,000 writes a day and 50 MB for each namespace

[limits]
requests_per_second = 50             # of each token, or address
burst = 100

[[quota]]
namespace = "*"
writes_per_day = 1000
bytes = "50 MB"

[[quota]]
namespace = "team-a*"
bytes = "none"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from botwire._errors import InvalidValue, shown
from botwire._tokens import check_patterns
from botwire.server._limits import RateLimit
from botwire.server._quotas import PUBLIC_TERMS, Quotas, limits_from, rule_from_text

Rule = tuple[str, Mapping[str, int | None]]


class Limits(NamedTuple):
    """What ``create_app`` takes of it."""

    quotas: Quotas | None
    rate_limit: RateLimit | None


def read_limits(
    file: str | None = None,
    *,
    public_terms: bool = False,
    rules: Sequence[str] = (),
    requests_per_second: float | None = None,
    burst: int | None = None,
) -> Limits:
    """The limits of a file and of the command line, which goes first.

    Args:
        file: a TOML file.
        public_terms: whether the terms of the public service hold where nothing else is said.
        rules: as ``rule_from_text`` takes them.
        requests_per_second: of each token, or address.
        burst: how many of them at once.

    Raises:
        InvalidValue, InvalidName: if something in there is not what it should be; names it.
    """
    document = {} if file is None else _load(file)
    where = f"the settings {file!r}"
    _expect_members(document, {"public_terms", "limits", "quota", "retention"}, where)
    found: list[Rule] = []
    if public_terms or _flag(document.get("public_terms", False), f"public_terms in {where}"):
        found.append(("*", PUBLIC_TERMS))
    found += _rules(document.get("quota", []), where)
    found += [rule_from_text(text) for text in rules]
    limits = _table(document.get("limits", {}), f"[limits] in {where}")
    _expect_members(limits, {"requests_per_second", "burst"}, f"[limits] in {where}")
    rate = limits.get("requests_per_second") if requests_per_second is None else requests_per_second
    most = limits.get("burst") if burst is None else burst
    if rate is None and most is not None:
        raise InvalidValue("burst says how many of requests_per_second may come at once: set that too")
    return Limits(Quotas(_merged(found)) if found else None, None if rate is None else _rate_limit(rate, most))


def _load(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidValue(f"the settings {file!r} cannot be read: {error}") from error


def _rules(tables: object, where: str) -> list[Rule]:
    if not isinstance(tables, list):
        raise InvalidValue(f"quotas in {where} are tables, each begun by [[quota]]")
    found: list[Rule] = []
    for number, table in enumerate(cast("list[object]", tables), 1):
        what = f"[[quota]] {number} in {where}"
        settings = dict(_table(table, what))
        pattern = settings.pop("namespace", None)
        if pattern is None:
            raise InvalidValue(f"{what} does not say for which namespace it is: namespace = 'team-*', or '*' for all")
        found.append((check_patterns([pattern])[0], limits_from(settings, what)))
    return found


def _merged(rules: Iterable[Rule]) -> list[Rule]:
    """One rule for each pattern; what comes later goes first."""
    merged: dict[str, dict[str, int | None]] = {}
    for pattern, limits in rules:
        merged.setdefault(pattern, {}).update(limits)
    return list(merged.items())


def _rate_limit(rate: object, burst: object) -> RateLimit:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise InvalidValue(f"requests_per_second must be a number over zero, not {shown(rate)}")
    if burst is not None and type(burst) is not int:
        raise InvalidValue(f"burst must be a whole number of requests, not {shown(burst)}")
    return RateLimit(rate, burst)


def _table(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue(f"{what} must be a table, not {shown(value)}")
    return cast("dict[str, Any]", value)


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue(f"{what} must be true or false, not {shown(value)}")
    return value


def _expect_members(table: Mapping[str, Any], known: set[str], what: str) -> None:
    for name in table:
        if name not in known:
            raise InvalidValue(f"{what}: there is no setting {name!r:.60}; there are {', '.join(sorted(known))}")
