"""The list of namespaces. A namespace enters it before its first write is done, and leaves it some time after it is empty.

On one server the script that writes does it. On a Cluster the list lies in a slot of its own, so it takes three steps: the
namespace is given a mark that says that somebody is entering it, it is entered, and the write makes the mark a lasting one;
a write that finds no mark, or another one, is refused and begins anew. Whoever takes out an empty namespace takes the mark away
first, and then removes the name from the list only if nobody has entered it since. So no step may be forgotten by a crash,
and no namespace that holds anything is ever missing.
"""

from __future__ import annotations

import secrets
from typing import Any

from redis.crc import key_slot

from botwire.stores.redis import _scripts
from botwire.stores.redis._asking import Asking
from botwire.stores.redis._keys import Keys, utf8
from botwire.stores.redis._router import Call
from botwire.stores.redis._wire import Command, packed

_PAGE = 200


class Namespaces(Asking):
    """Listing, entering and leaving."""

    def listed_at(self) -> tuple[bytes, bytes, int]:
        """The list, who entered each name last, and their slot. No namespace's key begins like these."""
        base = self._router.settings.prefix.encode() + b"#{list}"
        return base + b"names", base + b"entrances", key_slot(base)

    def enter(self, namespace: str) -> Call[bytes]:
        """On a Cluster, before the first write to a namespace: put it into the list. The write must show what this returns."""
        keys, (names, entrances, slot) = self.keys(namespace), self.listed_at()
        token = secrets.token_hex(8).encode()
        mark = Command(keys.slot, packed(b"SET", keys.g, token, b"NX")), Command(keys.slot, packed(b"GET", keys.g))
        answers = yield from self.all_of(mark)
        name = utf8(namespace)
        entries = packed(b"HSET", entrances, name, secrets.token_hex(8).encode()), packed(b"ZADD", names, b"0", name)
        yield from self.all_of([Command(slot, entry) for entry in entries])
        return answers[1] or token

    def namespaces(self, after: str | None, limit: int) -> Call[list[str]]:
        """See ``Store.namespaces``. What it finds empty it takes out."""
        names, _, slot = self.listed_at()
        found: list[str] = []
        lowest = b"-" if after is None else b"(" + utf8(after)
        while len(found) < limit:
            page: list[bytes] = yield from self.one(
                Command(slot, packed(b"ZRANGEBYLEX", names, lowest, b"+", b"LIMIT", b"0", b"%d" % _PAGE))
            )
            if not page:
                break
            lowest = b"(" + page[-1]
            held = yield from self._holdings([name.decode() for name in page])
            for name, number in held:
                if number:
                    found.append(name)
                else:
                    yield from self.leave(name)
        return found[:limit]

    def _holdings(self, names: list[str]) -> Call[list[tuple[str, int]]]:
        commands: list[Command] = []
        for name in names:
            keys = self.keys(name)
            commands.append(self.script(_scripts.HOLDS, keys.slot, (keys.k, keys.x, keys.i, keys.y), self.clock()))
        answers = yield from self.all_of(commands)
        return list(zip(names, answers, strict=True))

    def leave(self, namespace: str) -> Call[None]:
        """Take an empty namespace out of the list. That it cannot be done now is no matter."""
        keys, (names, entrances, slot) = self.keys(namespace), self.listed_at()
        on_cluster = self._router.settings.kind == "cluster"
        entrance: Any = None
        if on_cluster:
            (entrance,) = yield from self._router.ask((Command(slot, packed(b"HGET", entrances, utf8(namespace))),))
        pruned = yield from self._prune(keys, b"" if on_cluster else utf8(namespace), keys.g if on_cluster else names)
        if on_cluster and pruned == 1 and isinstance(entrance, bytes):
            forget = self.script(_scripts.FORGET, slot, (names, entrances), utf8(namespace), entrance)
            yield from self._router.ask((forget,))

    def _prune(self, keys: Keys, namespace: bytes, names: bytes) -> Call[Any]:
        places = (keys.e, keys.k, keys.x, keys.s, keys.i, keys.y, keys.m, keys.g, names)
        answers = yield from self._router.ask((self.script(_scripts.PRUNE, keys.slot, places, self.clock(), namespace),))
        return answers[0]
