"""BotWireMemory: the entries of a namespace, as facts that an agent knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from autogen_core import CancellationToken, Component
from autogen_core.memory import Memory as AutoGenMemory
from autogen_core.memory import MemoryContent, MemoryQueryResult, UpdateContextResult
from autogen_core.model_context import ChatCompletionContext
from autogen_core.models import SystemMessage, UserMessage
from pydantic import BaseModel

from botwire import AsyncMemory, InvalidValue, Memory
from botwire.integrations.autogen._inject import SOURCE, Facts, inject
from botwire.integrations.autogen._place import Place, PlaceConfig
from botwire.integrations.autogen._tools import ACTIONS, BotWireMemoryTool
from botwire.integrations.autogen._values import from_value, key_of, shown, to_value

HEADER = "What is remembered from before:"
PAGE = 1_000
MOST_HITS = 10_000
"""As many as one search over HTTP gives."""


class MemoryConfig(BaseModel):
    """What ``BotWireMemory`` is made of, as data."""

    place: PlaceConfig
    prefix: str = ""
    limit: int = 100
    max_chars: int = 8_000
    role: Literal["user", "system"] = "user"
    header: str = HEADER


class BotWireMemory(AutoGenMemory, Component[MemoryConfig]):
    """Facts that outlive the process: ordinary entries of botwire's memory, whoever set them.

    ``AssistantAgent("assistant", client, memory=[BotWireMemory("app")], tools=BotWireMemory("app").tools())``

    Args:
        namespace: the namespace of memory.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        prefix: only entries whose key begins so, as ``"user-42."``; the keys seen and given here are without it.
        limit: the most entries that the model is shown.
        max_chars: the most characters that these take. A fact of more than an eighth of them is shown cut off, with a
            note that it is; facts that find no room are not shown, with a note that there are more.
        role: the model is shown the facts as a message of the user, whose source is ``memory``. Models that take several
            system messages may be shown them as ``"system"``.
        header: the line above the facts.

    Before each run of an agent the facts are injected into its context: one message at any time, which a changed fact
    replaces. In a ``BotWireChatCompletionContext`` it comes before the conversation and is never stored. In another
    context it is added where the conversation is, as AutoGen's own memories do. Costs no I/O until its first call.

    Raises:
        InvalidName: if the namespace or the prefix cannot be one.
        InvalidValue: if an argument cannot be used.
        StoreUnavailable: from its methods, if the store cannot be reached; a memory is never taken for empty.
    """

    component_config_schema = MemoryConfig
    component_provider_override = "botwire.integrations.autogen.BotWireMemory"

    def __init__(
        self,
        namespace: str = "default",
        *,
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        prefix: str = "",
        limit: int = 100,
        max_chars: int = 8_000,
        role: Literal["user", "system"] = "user",
        header: str = HEADER,
    ) -> None:
        if role not in ("user", "system"):
            raise InvalidValue(f"role must be 'user' or 'system', not {role!r:.80}")
        for name, number, least in (("limit", limit, 1), ("max_chars", max_chars, 1_000)):
            if type(number) is not int or number < least:
                raise InvalidValue(f"{name} must be an int of {least} or more, not {number!r:.80}")
        self._place = Place(namespace, "default", memory, url)
        Memory(self._place.namespace).iter_keys(prefix)  # says now what is wrong with it; costs no I/O
        self._prefix, self._limit, self._max_chars = prefix, limit, max_chars
        self._role: Literal["user", "system"] = role
        self._header = header

    def __repr__(self) -> str:
        prefix = f", prefix={self._prefix!r}" if self._prefix else ""
        return f"<BotWireMemory {self._place.namespace!r}{prefix}>"

    # ---------------------------------------------------------------------------- as AutoGen uses it

    async def update_context(self, model_context: ChatCompletionContext) -> UpdateContextResult:
        """Make the context show the facts as they are now, in one message; none if there are none."""
        mark = f"[memory: {self._place.namespace}{f' {self._prefix}' if self._prefix else ''}]"
        facts = Facts(f"{mark}\n{self._header}", self._max_chars)
        found: list[MemoryContent] = []
        async for key, value in self._place.awaitable.items(self._prefix, page_size=self._limit + 1):
            content = from_value(key.removeprefix(self._prefix), value)
            if len(found) == self._limit or not facts.add(key.removeprefix(self._prefix), shown(content)):
                facts.more = True
                break
            found.append(content)
        text = facts.text if found else None
        await inject(model_context, mark, None if text is None else self._message(text))
        return UpdateContextResult(memories=MemoryQueryResult(results=found))

    async def query(
        self,
        query: str | MemoryContent = "",
        cancellation_token: CancellationToken | None = None,  # noqa: ARG002 - a call takes no longer than the store's timeout
        *,
        limit: int | None = None,
        **kwargs: Any,
    ) -> MemoryQueryResult:
        """The entries that contain every word of ``query``, in any case, best match first; all, by key, if it is empty.

        Lexical: it compares letters, not meaning.

        Args:
            query: the words; of a MemoryContent, its text.
            cancellation_token: not used.
            limit: the most entries to give; by default all.
            kwargs: none are known.

        Raises:
            InvalidValue: if there are other arguments, which would have no effect.
        """
        if kwargs:
            raise InvalidValue(f"query takes no {', '.join(kwargs)}; limit= is the most entries to give")
        words = query if isinstance(query, str) else shown(query)
        found = await self.find(words, limit)
        return MemoryQueryResult(results=[from_value(key, value) for key, value in found.items()])

    async def add(self, content: MemoryContent, cancellation_token: CancellationToken | None = None) -> None:  # noqa: ARG002
        """Store content, durably, under the key that ``content.metadata["key"]`` says, replacing what is there; else under a new one.

        Text and JSON objects become ordinary entries. Everything comes back equal, the mime type too.

        Raises:
            InvalidValue: if it could not come back equal; nothing is stored.
        """
        key = key_of(content)
        await self._place.awaitable.set(self._prefix + key, to_value(key, content))

    async def clear(self) -> None:
        """Remove all entries of the namespace, of those that begin with the prefix; sessions stay."""
        await self._place.awaitable.clear(self._prefix)

    async def close(self) -> None:
        """Give the store back, if it was opened here; the next call opens it again."""
        await self._place.close()

    # ------------------------------------------------------------------------------ for an agent's tools

    def tools(self) -> list[BotWireMemoryTool]:
        """Tools with which an agent itself remembers, recalls, forgets and lists, all within the prefix."""
        return [BotWireMemoryTool(self, action) for action in ACTIONS]

    async def find(self, words: str, limit: int | None = None) -> Mapping[str, Any]:
        """The values of the entries that contain every word, by key; of all, if there is no word."""
        memory, start = self._place.awaitable, self._prefix
        found: dict[str, Any] = {}
        if not words.strip():
            size = PAGE if limit is None else min(limit, PAGE)
            async for key, value in memory.items(start, page_size=size):
                found[key.removeprefix(start)] = value
                if len(found) == limit:
                    break
            return found
        most = MOST_HITS if limit is None or start else limit  # it is the whole namespace that is searched, not the prefix
        hits = await memory.search(words, limit=most)
        if len(hits) == MOST_HITS:
            raise InvalidValue(f"{MOST_HITS} entries or more contain {words!r:.80}; ask for something more special")
        for hit in hits:
            if hit.key.startswith(start) and len(found) != limit:
                found[hit.key.removeprefix(start)] = hit.value
        return found

    async def remember(self, key: str, value: str) -> None:
        """Store text under a key."""
        await self._place.awaitable.set(self._prefix + key, value)

    async def forget(self, key: str) -> bool:
        """Remove what is under a key; returns whether there was anything."""
        return await self._place.awaitable.delete(self._prefix + key)

    # ------------------------------------------------------------------------------------ privately

    def _message(self, text: str) -> UserMessage | SystemMessage:
        return SystemMessage(content=text) if self._role == "system" else UserMessage(content=text, source=SOURCE)

    def _to_config(self) -> MemoryConfig:
        return MemoryConfig(
            place=self._place.config(),
            prefix=self._prefix,
            limit=self._limit,
            max_chars=self._max_chars,
            role=self._role,
            header=self._header,
        )

    @classmethod
    def _from_config(cls, config: MemoryConfig) -> Self:
        place = Place.from_config(config.place)
        given = config.model_dump(exclude={"place"})
        return cls(place.namespace, url=place.url, **given)
