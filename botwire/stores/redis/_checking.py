"""What ``check`` looks at: the servers' settings, and whether every index and counter is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botwire.stores._protocol import LogInfo
from botwire.stores.redis._counting import figures_of
from botwire.stores.redis._greeting import Greeting
from botwire.stores.redis._keys import log_name
from botwire.stores.redis._router import Call, Router
from botwire.stores.redis._wire import Command, packed

if TYPE_CHECKING:
    from botwire.stores.redis._calls import Calls

_PAGE = 500
_MOST_PROBLEMS = 20


def check(calls: Calls, router: Router) -> Call[dict[str, Any]]:
    """The figures of all namespaces, what is wrong with them, and what the settings may lose."""
    greeting = yield from router.ready()
    totals = {"namespaces": 0, "entry_rows": 0, "log_rows": 0, "message_rows": 0}
    problems: list[str] = []
    after: str | None = None
    while page := (yield from calls.namespaces(after, _PAGE)):
        for name in page:
            yield from _namespace(calls, name, totals, problems)
            yield from _figures(calls, router, name, problems)
        totals["namespaces"] += len(page)
        after = page[-1]
    return {
        "store": router.settings.shown,
        "server": greeting.facts.get("valkey_version") or greeting.version,
        "ok": not problems,
        "problems": problems[:_MOST_PROBLEMS],
        "advice": [("warning", "settings", text) for text in _warnings(greeting, router)],
        "bytes": int(greeting.facts.get("used_memory", "0")),
        **totals,
    }


def _warnings(greeting: Greeting, router: Router) -> list[str]:
    found = greeting.warnings(router.settings)
    if hidden := greeting.unknowns():
        found.append(
            f"the server does not let {', '.join(hidden)} be read, so it could not be checked whether acknowledged writes may be lost"
        )
    return found


def _namespace(calls: Calls, name: str, totals: dict[str, int], problems: list[str]) -> Call[None]:
    keys = calls.keys(name)
    commands = [packed(b"HLEN", keys.e), packed(b"ZCARD", keys.k), packed(b"HLEN", keys.s), packed(b"ZCARD", keys.i)]
    values, names, states, logs = yield from calls.all_of([Command(keys.slot, command) for command in commands])
    totals["entry_rows"] += values
    totals["log_rows"] += states
    if values != names:
        problems.append(f"namespace {name!r} has {values} values under {names} keys")
    if states != logs:
        problems.append(f"namespace {name!r} has {states} sessions under {logs} names")
    infos: list[LogInfo] = []
    yield from calls.all_logs(name, infos.append)
    for start in range(0, len(infos), _PAGE):
        some = infos[start : start + _PAGE]
        lengths = yield from calls.all_of(
            [Command(keys.slot, packed(b"XLEN", keys.stream(log_name(info.session, info.agent)))) for info in some]
        )
        for info, length in zip(some, lengths, strict=True):
            totals["message_rows"] += length
            if length != info.count:
                problems.append(f"session {info.session!r} in namespace {name!r} has {length} messages and counts {info.count}")


def _figures(calls: Calls, router: Router, name: str, problems: list[str]) -> Call[None]:
    """What is counted for caps must be what is there. Said only where nobody wrote meanwhile, and nothing expired is left to be removed."""
    keys = calls.keys(name)
    mark = Command(keys.slot, packed(b"GET", keys.g))
    before = yield from calls.one(mark)
    counted = figures_of(before)
    if counted is None:
        return
    usage = yield from calls.usage(name)
    now = b"%d" % (yield from router.server_time())
    expired = [Command(keys.slot, packed(b"ZCOUNT", place, b"-inf", now)) for place in (keys.x, keys.y)]
    after, *some = yield from calls.all_of([mark, *expired])
    found = (usage.entry_bytes, usage.message_bytes, usage.sessions)
    if after == before and not any(some) and counted != found:
        problems.append(f"namespace {name!r} counts bytes of values, bytes of messages and sessions as {counted}, and holds {found}")
