"""What the tests of histories under faults share: the faults of connections, and the judgement."""

from __future__ import annotations

import os
import random
import time
from typing import Any

from engines.crowd import Crowd
from engines.load import tell
from engines.proxy import Proxy

from botwire.testing import histories, violations

SECONDS = float(os.environ.get("BOTWIRE_TEST_SECONDS", "4"))
"""How long each store is used; the environment variable makes long runs."""


def judge(name: str, crowd: Crowd, faults: dict[str, Any], *, once: bool = False) -> dict[str, Any]:
    """Let each fault happen in turn while the crowd works (or each ``once``); what the crowd saw must have an order."""
    dice = random.Random(name)
    ending, happened = time.monotonic() + SECONDS, 0
    while happened < len(faults) or (time.monotonic() < ending and not once):
        time.sleep(dice.uniform(0.1, 0.4))
        list(faults.values())[happened % len(faults)]()
        happened += 1
    time.sleep(max(ending - time.monotonic(), 0.3))
    lines = crowd.stop()
    calls = [call for found in histories(lines).values() for call in found]
    wrong = violations(lines)
    report = {
        "test": name,
        "calls": len(calls),
        "unanswered": sum(call.ended is None for call in calls),
        "faults": happened,
        "violations": len(wrong),
    }
    tell(report)
    assert wrong == []
    assert len(calls) - report["unanswered"] > 10 * SECONDS, "hardly anything was answered"
    return report


def connection_faults(proxy: Proxy, frozen: float = 0.3) -> dict[str, Any]:
    """What can happen to connections, by name."""

    def freeze() -> None:
        proxy.freeze()
        time.sleep(frozen)
        proxy.thaw()

    def freeze_and_cut() -> None:
        proxy.freeze()
        time.sleep(frozen)
        proxy.cut()
        proxy.thaw()

    return {
        "cut": proxy.cut,
        "reply lost": proxy.drop_next_reply,
        "frozen": freeze,
        "reply truncated": lambda: proxy.truncate_next_reply(7),
        "frozen and cut": freeze_and_cut,
        "half-open": proxy.half_open,
    }
