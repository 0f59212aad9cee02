"""kill -9 in the middle of writes: what was acknowledged is there, and nothing is broken."""

from __future__ import annotations

import os
import random

from botwire import Memory

ROUNDS = int(os.environ.get("BOTWIRE_TEST_KILLS", "200"))


def test_writers_killed_in_the_middle_of_writes_lose_nothing_that_was_acknowledged(path, run):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    report = run("kill_writers", path, ROUNDS, seed)
    told = report["told"]
    assert report["killed"] >= ROUNDS
    assert len(told) >= ROUNDS

    with Memory("n", url=f"sqlite://{path}") as memory:
        entries = {key: value["number"] for key, value in memory.items() if key != "count"}
        messages = memory.session("shared").messages()
        assert [key for kind, key, _ in told if kind == "entry" and key not in entries] == []
        by_number = {message.seq: message.content for message in messages}
        for kind, key, numbers in told:
            if kind == "messages":
                assert [by_number.get(number) for number in numbers] == [key] * len(numbers)
        assert memory.get("count") >= max(count for kind, _, count in told if kind == "count")
        assert memory.get("count") <= sum(kind == "count" for kind, _, _ in told) + report["killed"]

        assert [message.seq for message in messages] == list(range(1, len(messages) + 1)), "there are holes"
        assert memory.session("shared").count() == len(messages)
        assert memory.store.check()["problems"] == []
