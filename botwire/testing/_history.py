"""Clients that do random things to one entry or session, and write down what they saw, for ``violation`` to judge."""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from botwire._errors import OutcomeUnknown, StoreUnavailable, VersionConflict
from botwire._memory import Memory
from botwire.testing._linear import Call, violation

Line = list[Any]
"""One line of a history, which JSON can hold: what began, or how it ended."""


class Client:
    """One client of a store, for one thread.

    ``tell`` takes each line: a list's ``append``, or something that writes it to a file or pipe, so that the history of a process
    that is killed in the middle of a call ends with that call's beginning.
    """

    def __init__(self, memory: Memory, name: str, tell: Callable[[Line], object]) -> None:
        self.memory, self.name, self._tell = memory, name, tell
        self._numbers = itertools.count(1)
        self._dice = random.Random(name)
        self._versions: dict[str, int] = {}

    def use_entry(self, key: str) -> bool:
        """One random call on an entry; whether it was answered."""
        value, dice = next(self._numbers), self._dice.random()
        unique = f"{self.name}:{value}"
        if dice < 0.35:
            return self._did("entry", key, "get", (), lambda: self._get(key))
        if dice < 0.6:
            return self._did("entry", key, "set", (unique,), lambda: self.memory.set(key, unique))
        if dice < 0.9:
            version = self._versions.get(key, 0)
            return self._did("entry", key, "set", (unique, version), lambda: self._compare_and_set(key, unique, version))
        return self._did("entry", key, "delete", (), lambda: self.memory.delete(key))

    def use_session(self, name: str) -> bool:
        """One random call on a session; whether it was answered."""
        number, dice = next(self._numbers), self._dice.random()
        session = self.memory.session(name)
        if dice < 0.5:
            texts = [f"{self.name}:{number}.{part}" for part in range(1 + number % 3)]
            return self._did("session", name, "append", tuple(texts), lambda: session.append(*[("user", text) for text in texts]))
        if dice < 0.9:
            return self._did("session", name, "read", (5,), lambda: self._read(name))
        if dice < 0.97:
            return self._did("session", name, "pop", (), lambda: _plain(session.pop()))
        return self._did("session", name, "clear", (), session.clear)

    def _get(self, key: str) -> Any:
        entry = self.memory.get_entry(key)
        self._versions[key] = 0 if entry is None else entry.version
        return None if entry is None else [entry.version, entry.value]

    def _compare_and_set(self, key: str, value: str, version: int) -> Any:
        try:
            self._versions[key] = self.memory.set(key, value, if_version=version)
        except VersionConflict as conflict:
            self._versions[key] = conflict.current
            return ["conflict", conflict.current]
        return self._versions[key]

    def _read(self, name: str) -> Any:
        info, messages = self.memory.session(name).snapshot(last=5)
        return [info.head if info else 0, info.count if info else 0, [_plain(message) for message in messages]]

    def _did(self, kind: str, subject: str, name: str, arguments: tuple[Any, ...], call: Callable[[], Any]) -> bool:
        number = f"{self.name}/{next(self._numbers)}"
        self._tell(["began", number, kind, subject, self.name, name, list(arguments), time.monotonic_ns()])
        try:
            answer = call()
        except OutcomeUnknown:
            return False
        except StoreUnavailable:  # which promises that nothing was written: history is checked as if the call had not been
            self._tell(["refused", number])
            return False
        self._tell(["ended", number, answer, time.monotonic_ns()])
        return True


def _plain(message: Any) -> Any:
    return None if message is None else [message.seq, message.content]


def histories(lines: Iterable[Line]) -> dict[tuple[str, str], list[Call]]:
    """The calls on each subject, by (kind, name), out of the lines of all clients."""
    began: dict[str, tuple[tuple[str, str], Call]] = {}
    for line in lines:
        if line[0] == "began":
            _, number, kind, subject, client, name, arguments, at = line
            began[number] = (kind, subject), Call(client, name, tuple(arguments), at)
        elif line[0] == "refused":
            del began[line[1]]
        else:
            _, number, answer, at = line
            subject, call = began[number]
            began[number] = subject, call._replace(ended=at, answer=answer)
    found: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for subject, call in began.values():
        found[subject].append(call)
    return found


def violations(lines: Iterable[Line]) -> list[str]:
    """What the histories of all subjects hold that no order of calls explains; nothing, if all is well."""
    found: list[str] = []
    for (kind, subject), calls in histories(lines).items():
        complaint = violation(kind, calls)
        if complaint is not None:
            found.append(f"{kind} {subject!r}: {complaint}")
    return found
