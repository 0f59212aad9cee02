"""Costs that must not grow with what lies in the store. Bounds are loose: benchmarks/ measures, these tests notice a scan."""

from __future__ import annotations

import os
import statistics
import time

import pytest

from botwire import Memory
from botwire.stores import Append, Batch, Set

pytestmark = pytest.mark.alone

KEYS = int(os.environ.get("BOTWIRE_TEST_KEYS", "100000"))
BODY = '{"role":"user","content":"%s"}' % ("x" * 150)


def milliseconds(call, times=50):
    """The median time of a call."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return statistics.median(found) * 1000


@pytest.fixture
def memory(path, open_at):
    return Memory("n", store=open_at(path, "?durability=normal"))  # the disk's own time would hide what is looked for


def test_an_append_and_the_last_messages_cost_the_same_in_a_long_session(memory):
    short, long = memory.session("short"), memory.session("long")
    memory.store.write([Batch("n", (Append("short", "", (BODY,) * 10),)), Batch("n", (Append("long", "", (BODY,) * 5000),))])
    rounds = []
    for _ in range(5):
        times = [milliseconds(lambda session=session: session.append(("user", "x" * 150)), 40) for session in (short, long)]
        rounds.append(times[1] / times[0])
    last = milliseconds(lambda: long.messages(last=20))
    print(f"append at 5,000 over append at 10: {statistics.median(rounds):.2f}; last 20 of 5,000: {last:.3f} ms")
    assert statistics.median(rounds) < 1.5
    assert last < 2


def test_pages_counts_and_searches_of_many_keys(memory):
    for start in range(0, KEYS, 10_000):
        sets = (Set(f"user:{number:07}", f'"word{number % 997} and some more text"') for number in range(start, min(KEYS, start + 10_000)))
        memory.store.write([Batch("n", tuple(sets))])
    first = milliseconds(lambda: memory.store.scan_keys("n", "", None, 100))
    middle = milliseconds(lambda: memory.store.scan_keys("n", "user:", f"user:{KEYS // 2:07}", 100))
    count = milliseconds(memory.count, 5)
    rare, common = milliseconds(lambda: memory.search("word996"), 3), milliseconds(lambda: memory.search("more text"), 1)
    namespaces = milliseconds(lambda: memory.store.namespaces(None, 10))
    print(
        f"{KEYS} keys: first 100 {first:.2f} ms, 100 from the middle {middle:.2f} ms, count {count:.1f} ms,"
        f" search rare {rare:.0f} ms, common {common:.0f} ms, namespaces {namespaces:.3f} ms"
    )
    assert first < 5
    assert middle < 5
    assert namespaces < 5
    assert count < 500
    assert rare < 5_000
