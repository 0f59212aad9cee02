"""BotWireByteStore and BotWireCache: bytes by key, and models' answers by what they were asked."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from datetime import timedelta
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from langchain_core.stores import ByteStore

from botwire import AsyncMemory, InvalidValue, Memory, StoreCorrupt
from botwire.integrations.langchain._messages import from_envelope, to_envelope
from botwire.integrations.langchain._tagged import from_json, to_json

logger = logging.getLogger("botwire")


class _Pair:
    """One memory, to be called and to be awaited."""

    def __init__(self, namespace: str, default: str, memory: Memory | AsyncMemory | None, url: str | None) -> None:
        if memory is not None and (url is not None or namespace not in (default, memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._given = Memory(namespace, url=url) if memory is None else memory
        self._sync: Memory | None = self._given if isinstance(self._given, Memory) else None
        self._async: AsyncMemory | None = self._given if isinstance(self._given, AsyncMemory) else None

    @property
    def sync(self) -> Memory:
        if self._sync is None:
            self._sync = Memory(self._given.namespace, store=self._given.store)
        return self._sync

    @property
    def awaitable(self) -> AsyncMemory:
        if self._async is None:
            self._async = AsyncMemory(self._given.namespace, store=self._given.store)
        return self._async


class BotWireByteStore(ByteStore):
    """LangChain's store of bytes by key: for embeddings that are to be computed once, or documents kept beside an index.

    Args:
        namespace: the namespace of memory; the keys are its entries' keys.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after which what is set expires.

    Raises:
        InvalidName: if the namespace cannot be one; from its methods, if a key cannot be one.
    """

    DEFAULT_NAMESPACE = "langchain-bytes"

    def __init__(
        self,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
    ) -> None:
        self._memory = _Pair(namespace, self.DEFAULT_NAMESPACE, memory, url)
        self._ttl = ttl

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The bytes under each key; None where there are none."""
        return _to_bytes(keys, self._memory.sync.get_many(keys))

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Store all pairs, or none.

        Raises:
            InvalidValue: if a value is not bytes.
        """
        self._memory.sync.set_many(_to_texts(key_value_pairs), ttl=self._ttl)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove what is under these keys, where there is anything."""
        self._memory.sync.delete_many(keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """The keys, of those that begin with ``prefix``, in order."""
        yield from self._memory.sync.iter_keys(prefix or "")

    async def amget(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ``mget``."""
        return _to_bytes(keys, await self._memory.awaitable.get_many(keys))

    async def amset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """See ``mset``."""
        await self._memory.awaitable.set_many(_to_texts(key_value_pairs), ttl=self._ttl)

    async def amdelete(self, keys: Sequence[str]) -> None:
        """See ``mdelete``."""
        await self._memory.awaitable.delete_many(keys)

    async def ayield_keys(  # pyright: ignore[reportIncompatibleMethodOverride] - the base forgot that it yields
        self, *, prefix: str | None = None
    ) -> AsyncIterator[str]:
        """See ``yield_keys``."""
        async for key in self._memory.awaitable.iter_keys(prefix or ""):
            yield key


def _to_texts(pairs: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    for key, value in pairs:
        if not isinstance(value, bytes):
            raise InvalidValue(f"the value of {key!r:.80} must be bytes, not {type(value).__name__}")
    return {key: base64.b64encode(value).decode("ascii") for key, value in pairs}


def _to_bytes(keys: Sequence[str], found: dict[str, Any]) -> list[bytes | None]:
    try:
        return [base64.b64decode(found[key], validate=True) if key in found else None for key in keys]
    except (TypeError, ValueError) as error:
        raise StoreCorrupt(f"an entry is not one that BotWireByteStore wrote: {error}") from error


# ------------------------------------------------------------------------------------------- cache

_GENERATIONS: dict[str, type[Generation]] = {
    cls.__name__: cls for cls in (Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk)
}


class BotWireCache(BaseCache):
    """LangChain's cache of models' answers; ``set_llm_cache(BotWireCache())`` makes every model use it.

    Args:
        namespace: the namespace of memory, which ``clear`` empties.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after which an answer is forgotten.

    An answer comes back equal to the one given. One that could not is not kept, with a warning in the log.

    Raises:
        InvalidName: if the namespace cannot be one.
    """

    DEFAULT_NAMESPACE = "langchain-cache"

    def __init__(
        self,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
    ) -> None:
        self._memory = _Pair(namespace, self.DEFAULT_NAMESPACE, memory, url)
        self._ttl = ttl

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answer that this model, so configured, gave to this prompt; None if none is known."""
        return _decode(self._memory.sync.get(_key(prompt, llm_string)))

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Remember an answer."""
        if (value := _encode(return_val)) is not None:
            self._memory.sync.set(_key(prompt, llm_string), value, ttl=self._ttl)

    def clear(self, **kwargs: Any) -> None:  # noqa: ARG002 - other caches take options
        """Forget all answers."""
        self._memory.sync.clear()

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """See ``lookup``."""
        return _decode(await self._memory.awaitable.get(_key(prompt, llm_string)))

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """See ``update``."""
        if (value := _encode(return_val)) is not None:
            await self._memory.awaitable.set(_key(prompt, llm_string), value, ttl=self._ttl)

    async def aclear(self, **kwargs: Any) -> None:  # noqa: ARG002 - other caches take options
        """See ``clear``."""
        await self._memory.awaitable.clear()


def _key(prompt: str, llm_string: str) -> str:
    return hashlib.sha256(json.dumps([prompt, llm_string]).encode()).hexdigest()


def _encode(answer: RETURN_VAL_TYPE) -> list[dict[str, Any]] | None:
    try:
        return [_to_record(generation) for generation in answer]
    except InvalidValue as error:
        logger.warning("an answer is not kept in the cache, since it would not come back equal: %s", error)
        return None


def _to_record(generation: Generation) -> dict[str, Any]:
    name = type(generation).__name__
    if _GENERATIONS.get(name) is not type(generation):
        raise InvalidValue(f"{name} is not one of langchain_core's classes of generations")
    record: dict[str, Any] = {"class": name, "info": to_json(generation.generation_info, f"{name}.generation_info")}
    if isinstance(generation, ChatGeneration):
        return {**record, "message": to_envelope(generation.message)}
    return {**record, "text": generation.text}


def _decode(value: Any) -> RETURN_VAL_TYPE | None:
    try:
        return None if value is None else list(_generations(value))
    except (KeyError, TypeError, ValueError) as error:
        logger.warning("an answer in the cache cannot be read, and is asked for again: %r", error)
        return None


def _generations(records: list[dict[str, Any]]) -> Generator[Generation]:
    for record in records:
        fields: dict[str, Any] = {"generation_info": from_json(record["info"])}
        if "message" in record:
            fields["message"] = from_envelope(record["message"])
        else:
            fields["text"] = record["text"]
        yield _GENERATIONS[record["class"]](**fields)
