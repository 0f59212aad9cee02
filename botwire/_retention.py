"""Retention: an operator's rules on how long what is kept, and how they are applied to any store.

Nothing newer than a rule says is removed, whoever writes meanwhile: an entry goes only at the version and time that it was
seen at, messages only from a session that is still at the place at which it was read. What changed meanwhile is left to the
next time.
"""

from __future__ import annotations

import logging
import re
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from botwire._errors import BotWireError, InvalidValue, VersionConflict, shown
from botwire._names import RESERVED_NAMESPACE, check_name
from botwire.stores._keeping import DeleteLogStale, DeleteStale, Gone, Keeping, TrimStale, plain
from botwire.stores._protocol import Batch, EntryStamp, LogInfo, LogPlace, Operation, Outcome, Store

logger = logging.getLogger("botwire.retention")


_PAGE = 500
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_duration = re.compile(r"([0-9]{1,9})\s*([smhdw])").fullmatch
_AGES = ("entries_max_age", "sessions_max_age", "messages_max_age")
_KNOWN = ("namespace", *_AGES, "keep_last")


class Rule(NamedTuple):
    """What is to go from the namespaces that ``pattern`` names: an exact name, or the beginning of names and ``*``. Ages in seconds."""

    pattern: str
    entries_max_age: int | None = None  # since an entry was last written
    sessions_max_age: int | None = None  # since anything in the session, transcripts of agents included, was last written
    messages_max_age: int | None = None  # since a message was appended
    keep_last: int | None = None  # messages of each transcript

    def fits(self, namespace: str) -> bool:
        """Whether it is about this namespace."""
        return namespace.startswith(self.pattern[:-1]) if self.pattern.endswith("*") else namespace == self.pattern


class Retention(NamedTuple):
    """All rules; each that fits a namespace is applied there. A server applies them every so many seconds."""

    rules: tuple[Rule, ...]
    every: int = 3_600

    def for_namespace(self, namespace: str) -> list[Rule]:
        """The rules that fit."""
        return [rule for rule in self.rules if rule.fits(namespace)]


# ------------------------------------------------------------------------------------------ reading


def read_rules(file: Path) -> Retention | None:
    """The rules in a TOML file; None if it has none. Tables other than ``[[retention]]`` are others' affair.

    Raises:
        InvalidValue: if it is not TOML, or a rule makes no sense: a misspelt one would keep, or remove, what it should not.
        OSError: if it cannot be read.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{file} is not TOML: {error}") from error
    return rules_from(document, str(file))


def rules_from(document: Mapping[str, Any], where: str) -> Retention | None:
    """The same, of a document that was read already."""
    tables: object = document.get("retention")
    every = document.get("retention_every", "1h")
    if tables is None:
        return None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in cast("list[object]", tables)):
        raise InvalidValue(f"{where}: retention rules are written [[retention]], each with a namespace")
    rules = [_rule(table, f"{where}: [[retention]] number {number}") for number, table in enumerate(cast("list[Any]", tables), 1)]
    return Retention(tuple(rules), _seconds(every, f"{where}: retention_every"))


def _rule(table: Mapping[str, object], where: str) -> Rule:
    for name in table:
        if name not in _KNOWN:
            raise InvalidValue(f"{where} has the unknown setting {name!r:.60}; known are: {', '.join(_KNOWN)}")
    if len(table) < 2 or "namespace" not in table:
        raise InvalidValue(f"{where} must have a namespace, such as 'support' or 'team-*', and at least one of: {', '.join(_KNOWN[1:])}")
    ages = {name: _seconds(table[name], f"{name} in {where}") for name in _AGES if name in table}
    return Rule(_pattern(table["namespace"], where), keep_last=_keep_last(table.get("keep_last"), where), **ages)


def _pattern(given: object, where: str) -> str:
    if given == "*":
        return "*"
    if not isinstance(given, str) or "*" in given[:-1]:
        raise InvalidValue(f"{where}: namespace must be a name, or the beginning of names with one * at its end, not {shown(given)}")
    check_name(given.removesuffix("*"), "namespace")
    return given


def _keep_last(given: object, where: str) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
        return given
    raise InvalidValue(f"{where}: keep_last must be a whole number of at least 1, not {shown(given)}")


def _seconds(given: object, what: str) -> int:
    found = _duration(given.strip()) if isinstance(given, str) else None
    if found is None or int(found[1]) < 1:
        raise InvalidValue(f"{what} must be a duration such as '90d', '12h', '30m' or '2w', not {shown(given)}")
    return int(found[1]) * _UNITS[found[2]]


# ----------------------------------------------------------------------------------------- applying


def apply_rules(
    store: Store, retention: Retention, *, dry_run: bool = False, now: int | None = None, go_on: Callable[[], bool] = lambda: True
) -> Iterator[tuple[str, Gone]]:
    """Apply all rules; gives each namespace that something went from, with how much.

    Args:
        store: where.
        retention: the rules.
        dry_run: only count what would go.
        now: microseconds since 1970, from which ages are counted back; the present unless given.
        go_on: asked before each step; False ends it there.

    Raises:
        BotWireError: if the store cannot be read or written; what was removed until then is.
    """
    present = time.time_ns() // 1_000 if now is None else now
    after = None
    while go_on() and (page := store.namespaces(after, _PAGE)):
        for namespace in page:
            rules = retention.for_namespace(namespace) if namespace != RESERVED_NAMESPACE else ()
            steps = [_Sweep(store, namespace, rule, present, dry_run, go_on).run() for rule in rules]
            removed = Gone(*map(sum, zip(*steps, strict=True))) if steps else Gone()
            if any(removed):
                yield namespace, removed
        after = page[-1]


class _Sweep:
    """One rule, applied to one namespace."""

    def __init__(self, store: Store, namespace: str, rule: Rule, now: int, dry_run: bool, go_on: Callable[[], bool]) -> None:
        self._store = store
        self._namespace = namespace
        self._rule = rule
        self._now = now
        self._dry_run = dry_run
        self._go_on = go_on

    def run(self) -> Gone:
        entries = 0 if self._rule.entries_max_age is None else self._entries(self._before(self._rule.entries_max_age))
        sessions = messages = 0
        for session in self._sessions():
            gone, fewer = self._session(session)
            sessions, messages = sessions + gone, messages + fewer
        return Gone(entries, sessions, messages)

    def _before(self, seconds: int) -> int:
        return self._now - seconds * 1_000_000

    def _entries(self, limit: int) -> int:
        removed, after = 0, None
        while self._go_on() and (page := _stamps(self._store, self._namespace, after)):
            removed += self._each([DeleteStale(row.key, row.version, row.updated_at) for row in page if row.updated_at <= limit])
            after = page[-1].key
        return removed

    # ------------------------------------------------------------------------------------- sessions

    def _sessions(self) -> Iterator[list[LogInfo]]:
        """The transcripts of one session after the other."""
        if self._rule[2:] == (None, None, None):
            return
        session: list[LogInfo] = []
        after = None
        while self._go_on() and (page := self._store.scan_logs(self._namespace, after, _PAGE)):
            for info in page:
                if session and session[0].session != info.session:
                    yield session
                    session = []
                session.append(info)
            after = (page[-1].session, page[-1].agent)
        if session:
            yield session

    def _session(self, logs: list[LogInfo]) -> tuple[int, int]:
        """Sessions and messages that went."""
        age = self._rule.sessions_max_age
        if age is not None and all(log.updated_at <= self._before(age) for log in logs):
            gone = self._all_or_none([DeleteLogStale(log.session, log.agent, _place(log), log.updated_at) for log in logs])
            return (1, sum(log.count for log in logs)) if gone else (0, 0)
        return 0, sum(self._trim(log) for log in logs)

    def _trim(self, log: LogInfo) -> int:
        keep = log.count
        if self._rule.keep_last is not None:
            keep = min(keep, self._rule.keep_last)
        if self._rule.messages_max_age is not None:
            keep = min(keep, log.count - self._old_ones(log, log.count, self._before(self._rule.messages_max_age)))
        surplus = log.count - keep
        if surplus <= 0:
            return 0
        return surplus if self._all_or_none([TrimStale(log.session, log.agent, keep, _place(log))]) else 0

    def _old_ones(self, log: LogInfo, most: int, limit: int) -> int:
        """How many messages at the beginning were appended before ``limit``: those up to the first one that is newer."""
        old, after = 0, None
        while old < most:
            rows = self._store.read_log(self._namespace, log.session, log.agent, after=after, limit=_PAGE).rows
            newer = next((index for index, row in enumerate(rows) if row.created_at > limit), None)
            old += len(rows) if newer is None else newer
            if newer is not None or len(rows) < _PAGE:
                break
            after = rows[-1].seq
        return min(old, most)

    # -------------------------------------------------------------------------------------- writing

    def _all_or_none(self, steps: list[Keeping]) -> bool:
        """Whether it happened: a session that somebody wrote to meanwhile stays as it is."""
        return self._dry_run or _happened(self._store.write((self._batch(steps),))[0])

    def _each(self, steps: list[Keeping]) -> int:
        """How many happened, each on its own."""
        if self._dry_run or not steps:
            return len(steps)
        return sum(map(_happened, self._store.write([self._batch([step]) for step in steps])))

    def _batch(self, steps: list[Keeping]) -> Batch:
        if getattr(self._store, "keeps", False):
            return Batch(self._namespace, cast("tuple[Operation, ...]", tuple(steps)))
        return Batch(self._namespace, tuple(operation for step in steps for operation in plain(step)))


def _stamps(store: Store, namespace: str, after: str | None) -> list[EntryStamp]:
    scan: Callable[..., list[Any]] = getattr(store, "scan_stamps", store.scan)  # entries have what stamps have
    return scan(namespace, "", after, _PAGE)


def _happened(outcome: Outcome) -> bool:
    """False if something was changed meanwhile.

    Raises:
        BotWireError: if it failed in another way.
    """
    if isinstance(outcome, VersionConflict):
        return False
    if isinstance(outcome, BotWireError):
        raise outcome
    return True


def _place(log: LogInfo) -> LogPlace:
    return LogPlace(log.epoch, log.head, log.count)
