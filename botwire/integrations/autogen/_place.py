"""Where a component's memory lies: opened when it is first used, again after ``close``, and dumped without a password."""

from __future__ import annotations

import os
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel

from botwire import AsyncMemory, InvalidValue, Memory

_SECRET_WORDS = ("auth", "key", "pass", "secret", "token")
"""A parameter of a URL whose name holds one of these is taken for a secret."""


class PlaceConfig(BaseModel):
    """Namespace and URL, as a component's configuration has them."""

    namespace: str = "default"
    url: str | None = None
    secret_left_out: bool = False
    """Whether the URL had a password, which then has to come from ``BOTWIRE_URL`` where the component is loaded."""


class Place:
    """A namespace of a store, to be called and to be awaited.

    What was made here is closed by ``close`` and made anew by the next call; a memory that was handed in stays its owner's.
    """

    def __init__(self, namespace: str, default: str, memory: Memory | AsyncMemory | None, url: str | None) -> None:
        if memory is not None and (url is not None or namespace not in (default, memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._given = memory
        self.url = url
        self.namespace = Memory(namespace).namespace if memory is None else memory.namespace
        self._sync: Memory | None = memory if isinstance(memory, Memory) else None
        self._async: AsyncMemory | None = memory if isinstance(memory, AsyncMemory) else None

    @property
    def sync(self) -> Memory:
        """The memory for calls that are not awaited."""
        if self._sync is None:
            given = self._given
            self._sync = Memory(self.namespace, url=self.url) if given is None else Memory(self.namespace, store=given.store)
        return self._sync

    @property
    def awaitable(self) -> AsyncMemory:
        """The memory for calls that are awaited."""
        if self._async is None:
            given = self._given
            self._async = AsyncMemory(self.namespace, url=self.url) if given is None else AsyncMemory(self.namespace, store=given.store)
        return self._async

    def beside(self, name: str) -> AsyncMemory:
        """Another namespace in the same store, whose name continues that of this one."""
        namespace = f"{self.namespace}.{name}"
        return AsyncMemory(namespace, url=self.url) if self._given is None else AsyncMemory(namespace, store=self._given.store)

    def transcript(self, session_id: str, agent: str | None) -> tuple[Any, ...]:
        """What tells a session, and an agent's transcript in it, from any other in this process."""
        return (self.url, None if self._given is None else id(self._given.store), self.namespace, session_id, agent)

    async def close(self) -> None:
        """Close what was opened here."""
        if self._given is not None:
            return
        awaitable, self._async = self._async, None
        sync, self._sync = self._sync, None
        if awaitable is not None:
            await awaitable.close()
        if sync is not None:
            sync.close()

    def config(self) -> PlaceConfig:
        """What ``from_config`` makes this place of again.

        Raises:
            InvalidValue: if a memory was handed in, which no configuration can describe.
        """
        if self._given is not None:
            raise InvalidValue("made with memory=, this cannot be dumped; give namespace= and url= instead")
        public = None if self.url is None else _without_secrets(self.url)
        return PlaceConfig(namespace=self.namespace, url=public, secret_left_out=public != self.url)

    @classmethod
    def from_config(cls, config: PlaceConfig) -> Self:
        """The place that was dumped.

        Raises:
            InvalidValue: if its URL had a password, and ``BOTWIRE_URL`` does not hold that URL.
        """
        url = config.url
        if url is not None and config.secret_left_out:
            url = os.environ.get("BOTWIRE_URL", "")
            if _without_secrets(url) != config.url:
                raise InvalidValue(f"the password of {config.url} is not in the dump: set BOTWIRE_URL to the whole URL, then load it")
        return cls(config.namespace, config.namespace, None, url)


def _without_secrets(url: str) -> str:
    """``url`` without passwords; as it was, to the letter, if it has none."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    fields = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in fields if not any(word in name.lower() for word in _SECRET_WORDS)]
    if ":" not in user and len(kept) == len(fields):
        return url
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=urlencode(kept)))
