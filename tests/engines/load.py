"""Writers that never give up, and a count of what became of their writes: acknowledged and lost, doubled, out of order.

with Load(memory) as load:
    ...a fault...
report = load.report(memory)
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Self

from botwire import Memory, OutcomeUnknown, StoreUnavailable

REPORT = "BOTWIRE_TEST_REPORT"
"""The environment variable that names a file to which each report is added as a line of JSON."""


class Load:
    """Threads that append, set and increment for as long as the ``with`` block runs.

    Each repeats a call with the same request id until it is answered, as a careful program would.
    """

    def __init__(self, memory: Memory, *, writers: int = 8, sessions: int = 4, patience: float = 60.0, retries: bool = True) -> None:
        self.memory, self.patience, self.retries = memory, patience, retries
        self.sessions = [f"s{number}" for number in range(sessions)]
        self.acked: list[tuple[float, str, str, int]] = []  # when, session, text, number
        self.values: dict[str, int] = {}
        self.increments = 0
        self.errors: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._unknown: set[str] = set()
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(writers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every writer finish what it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(self.patience + 30)
            assert not thread.is_alive(), "a writer hangs"
        if self.failures:
            raise self.failures[0]

    def wait_for(self, acknowledged: int, seconds: float = 60) -> None:
        """Until so many more appends were acknowledged."""
        target, deadline = len(self.acked) + acknowledged, time.monotonic() + seconds
        while len(self.acked) < target:
            assert time.monotonic() < deadline, f"{len(self.acked)} of {target} acknowledged; errors: {dict(self.errors)}"
            assert not self.failures, self.failures
            time.sleep(0.005)

    # --------------------------------------------------------------------------------------- writing

    def _run(self, lane: int) -> None:
        number = 0
        try:
            while not self._stopping.is_set():
                number += 1
                self._append(lane, number)
                self._set(lane, number)
                self._increment(lane, number)
        except BaseException as error:  # noqa: BLE001 - raised again by stop(), in the test's thread
            self.failures.append(error)

    def _append(self, lane: int, number: int) -> None:
        session, text = self.sessions[(lane + number) % len(self.sessions)], f"{lane}:{number}"
        numbers = self._insist(text, lambda: self.memory.session(session).append(("user", text), request_id=f"append {text}"))
        if numbers is not None:
            with self._lock:
                self.acked.append((time.monotonic(), session, text, numbers[0]))

    def _set(self, lane: int, number: int) -> None:
        if self._insist("", lambda: self.memory.set(f"value of {lane}", number)) is not None:
            self.values[f"value of {lane}"] = number

    def _increment(self, lane: int, number: int) -> None:
        answer = self._insist("increment", lambda: self.memory.increment("count", request_id=f"increment {lane}:{number}"))
        if answer is not None:
            with self._lock:
                self.increments += 1

    def _insist(self, name: str, call: Any) -> Any:
        """The call's answer; None if there was none in time, so that what became of it is not known."""
        deadline = time.monotonic() + self.patience
        uncertain = False
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                with self._lock:
                    self.errors[type(error).__name__] += 1
                uncertain |= isinstance(error, OutcomeUnknown)
                over = time.monotonic() > deadline or (self._stopping.is_set() and time.monotonic() > deadline - self.patience + 20)
                if over or not self.retries:
                    if uncertain and name:
                        with self._lock:
                            self._unknown.add(name)
                    return None
                time.sleep(0.02)

    # -------------------------------------------------------------------------------------- counting

    def report(self, memory: Memory, name: str, **more: Any) -> dict[str, Any]:
        """What became of the writes, as ``memory`` reads them; also printed, as a line of JSON."""
        there = {session: memory.session(session).messages() for session in self.sessions}
        found = Counter((session, message.content) for session, messages in there.items() for message in messages)
        at = {(session, message.seq): message.content for session, messages in there.items() for message in messages}
        given = Counter((session, number) for _, session, _, number in self.acked)
        times = sorted(moment for moment, *_ in self.acked)
        count = memory.get("count", 0)
        report = {
            "test": name,
            "acknowledged": len(self.acked),
            "lost": sum((session, text) not in found for _, session, text, _ in self.acked),
            "moved": sum((session, text) in found and at.get((session, number)) != text for _, session, text, number in self.acked),
            "duplicates": sum(times - 1 for times in found.values()),
            "numbers_given_twice": sum(times - 1 for times in given.values()),
            "gaps": sum((messages[-1].seq if messages else 0) - len(messages) for messages in there.values()),
            "entries_lost": sum((memory.get(key) or 0) < value for key, value in self.values.items()),
            "increments_lost": max(0, self.increments - count),
            "increments_doubled": 0 if "increment" in self._unknown else max(0, count - self.increments),
            "unavailable_s": round(max((later - earlier for earlier, later in itertools.pairwise(times)), default=0), 2),
            "errors": dict(self.errors),
            **more,
        }
        tell(report)
        return report


GOOD = dict.fromkeys(
    ("lost", "moved", "duplicates", "numbers_given_twice", "gaps", "entries_lost", "increments_lost", "increments_doubled"), 0
)
"""What a report says if nothing acknowledged was lost and nothing happened twice."""


def harm(report: dict[str, Any]) -> dict[str, int]:
    """The part of a report that should be ``GOOD``."""
    return {name: report[name] for name in GOOD}


def tell(report: dict[str, Any]) -> None:
    """Print a report, and add it to the file that the environment names."""
    line = json.dumps(report)
    print(line)
    if file := os.environ.get(REPORT):
        with Path(file).open("a") as reports:
            reports.write(line + "\n")
