"""What all calls of a store share: the keys of a namespace, and how one thing is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botwire._errors import BotWireError
from botwire.stores.redis._keys import Keys
from botwire.stores.redis._router import Call, Router
from botwire.stores.redis._scripts import Script
from botwire.stores.redis._wire import Command, packed_all


class Asking:
    """The keys and the router of a store."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._keys: dict[str, Keys] = {}

    def keys(self, namespace: str) -> Keys:
        """The keys of a namespace."""
        found = self._keys.get(namespace)
        if found is None:
            if len(self._keys) >= 10_000:
                self._keys.clear()
            found = self._keys[namespace] = Keys(self._router.settings.prefix, namespace)
        return found

    def one(self, command: Command) -> Call[Any]:
        """The answer to one command.

        Raises:
            BotWireError: if there is none.
        """
        yield from self._router.ready()
        (answer,) = yield from self._router.ask((command,))
        if isinstance(answer, BotWireError):
            raise answer
        return answer

    def script(self, script: Script, slot: int, keys: Sequence[bytes], *arguments: bytes) -> Command:
        """A call of a script."""
        return Command(slot, packed_all((b"EVALSHA", script.digest, b"%d" % len(keys), *keys, *arguments)))

    def clock(self) -> bytes:
        """What a script takes for the time: nothing, if it is to ask its server."""
        return b"" if self._router.clock is None else b"%d" % self._router.clock()

    def publishing(self) -> bytes:
        """The command by which listeners are told."""
        greeting = self._router.greeting
        return b"SPUBLISH" if greeting is not None and greeting.publishes_to_shards else b"PUBLISH"

    def all_of(self, commands: Sequence[Command]) -> Call[list[Any]]:
        """The answers to several commands.

        Raises:
            BotWireError: if one of them has none.
        """
        answers = yield from self._router.ask(commands)
        for answer in answers:
            if isinstance(answer, BotWireError):
                raise answer
        return answers
