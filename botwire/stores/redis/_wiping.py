"""Deleting a namespace for good: what others write to it meanwhile goes too, until it is empty at one moment."""

from __future__ import annotations

from typing import Any

from botwire._errors import BotWireError
from botwire.stores._keeping import Gone
from botwire.stores.redis import _scripts
from botwire.stores.redis._keys import Keys, split_log_name
from botwire.stores.redis._router import Call
from botwire.stores.redis._wire import Command, packed
from botwire.stores.redis._writing import Writing

_STEP = 500
"""Sessions, and remembered requests, that one step removes: about a millisecond, in which a server does nothing else."""


class Wiping(Writing):
    """Deleting."""

    def delete_namespace(self, namespace: str) -> Call[Gone]:
        """Remove all that is kept of a namespace: entries, sessions, remembered requests, meters. What has expired is not counted apart."""
        yield from self._router.ready()
        keys, entries, messages = self.keys(namespace), 0, 0
        sessions: set[str] = set()
        done = 0
        while not done:
            _, done, more_entries, more_messages, names = yield from self._wipe(keys)
            entries, messages = entries + more_entries, messages + more_messages
            sessions.update(split_log_name(name)[0] for name in names)
        yield from self.leave(namespace)
        return Gone(entries, len(sessions), messages)

    def _wipe(self, keys: Keys) -> Call[Any]:
        """A step: what there is now of logs and requests, or all if that is all."""
        logs = packed(b"ZRANGEBYLEX", keys.i, b"-", b"+", b"LIMIT", b"0", b"%d" % _STEP)
        requests = packed(b"ZRANGE", keys.q, b"0", b"%d" % (_STEP - 1))
        names, remembered = yield from self.all_of([Command(keys.slot, logs), Command(keys.slot, requests)])
        places = (*keys.fixed, *(keys.stream(name) for name in names), *remembered)
        command = self.script(_scripts.WIPE, keys.slot, places, self.publishing(), keys.channel, b"%d" % len(names), *names)
        (answer,) = yield from self._router.ask((command._replace(writes=True),))
        if isinstance(answer, BotWireError):
            raise answer
        return answer
