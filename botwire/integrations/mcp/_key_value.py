"""BotWireKeyValue: what FastMCP and others take as a store of theirs, by py-key-value's protocol, on botwire's memory.

An entry lies under ``kv/<collection>/<key>``, both escaped. A collection or key too long for that is replaced by a
digest, and the entry's value then holds both names as they were:

    kv/oauth-clients/4f2a                    {"redirect_uris": [...]}
    kv/=9c56cc51b374c3ba189210d5b6d4bf57...  {"collection": "...", "key": "...", "value": {...}}

Neither fastmcp nor py-key-value is imported: the protocol is one of methods alone.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, SupportsFloat, cast

from botwire import AsyncMemory, Entry, InvalidValue, Memory, StoreCorrupt, VersionConflict
from botwire.integrations.mcp._names import part, readable

ROOT = "kv/"
LONGEST_COLLECTION = 180
LONGEST_KEY = 300
"""Bytes that the parts of an entry's key may take, of the 512 that there are."""


class BotWireKeyValue:
    """A store by py-key-value's protocol (``AsyncKeyValue``), kept in a namespace of botwire's memory.

    One object fits ``FastMCP(session_state_store=)``, ``ResponseCachingMiddleware(cache_storage=)``,
    ``OAuthProxy(client_storage=)``, a client's ``OAuth(token_storage=)`` and ``EventStore(storage=)``.

    Args:
        namespace: where the entries lie; all that know it see them.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        default_collection: which collection a call without one means.

    Values are dicts of JSON, and come back equal, of the same types. Collections and keys are any text of any length.
    What is put stays until it is deleted or its ``ttl`` is over; nothing is evicted. Any number of tasks and processes
    may share the store.

    Raises:
        InvalidName: if the namespace cannot be one.
    """

    DEFAULT_NAMESPACE = "mcp-key-value"
    DEFAULT_COLLECTION = "default_collection"

    def __init__(
        self,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        default_collection: str = DEFAULT_COLLECTION,
    ) -> None:
        if memory is not None and (url is not None or namespace not in (self.DEFAULT_NAMESPACE, memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._given = AsyncMemory(namespace, url=url) if memory is None else memory
        self._owned = memory is None
        self._awaitable = self._given if isinstance(self._given, AsyncMemory) else None
        self._default_collection = default_collection

    def __repr__(self) -> str:
        return f"<BotWireKeyValue in {self._given!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back what this object opened; a memory that was given stays open."""
        if self._awaitable is not None and (self._owned or self._awaitable is not self._given):
            await self._awaitable.close()

    async def setup(self) -> None:
        """Nothing: the store is opened by the first call."""

    async def cull(self) -> None:
        """Nothing: what has expired is not visible, and the store removes it by itself."""

    # ------------------------------------------------------------------------------------ one key

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        """The value under ``key``; None if there is none.

        Raises:
            StoreCorrupt: if what lies there is not what this class wrote.
        """
        place = self._place(collection, key)
        return _value(place, await self._memory.get(place))

    async def ttl(self, key: str, *, collection: str | None = None) -> tuple[dict[str, Any] | None, float | None]:
        """The value under ``key`` and the seconds until it expires (None: never); ``(None, None)`` if there is none."""
        return _value_and_ttl(await self._memory.get_entry(self._place(collection, key)))

    async def put(self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: SupportsFloat | None = None) -> None:
        """Store ``value`` under ``key``; durable when it returns.

        Args:
            key: any text.
            value: a dict of JSON.
            collection: which collection of keys; the default one if None.
            ttl: seconds until the entry expires; over zero. None: it stays.

        Raises:
            InvalidValue: if the value would not come back equal, or the ttl cannot be one. Where py-key-value is imported,
                they are its ``SerializationError`` and ``InvalidTTLError`` too.
        """
        place, seconds = self._place(collection, key), _seconds(ttl)
        with _Serializing():
            await self._memory.set(place, self._stored(collection, key, place, value), ttl=seconds)

    async def put_if_absent(
        self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: SupportsFloat | None = None
    ) -> bool:
        """Store ``value`` under ``key`` only if nothing is there, in one step; returns whether it was stored."""
        place, seconds = self._place(collection, key), _seconds(ttl)
        try:
            with _Serializing():
                await self._memory.set(place, self._stored(collection, key, place, value), ttl=seconds, if_version=0)
        except VersionConflict:
            return False
        return True

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        """Remove what is under ``key``; returns whether there was anything."""
        return await self._memory.delete(self._place(collection, key))

    # ---------------------------------------------------------------------------------- many keys

    async def get_many(self, keys: Sequence[str], *, collection: str | None = None) -> list[dict[str, Any] | None]:
        """The value under each key, as they were at one moment; None where there is none."""
        places = self._places(collection, keys)
        found = await self._memory.get_many(places)
        return [_value(place, found.get(place)) for place in places]

    async def ttl_many(self, keys: Sequence[str], *, collection: str | None = None) -> list[tuple[dict[str, Any] | None, float | None]]:
        """``ttl`` for each key; each is read on its own."""
        entries = await asyncio.gather(*(self._memory.get_entry(place) for place in self._places(collection, keys)))
        return [_value_and_ttl(entry) for entry in entries]

    async def put_many(
        self,
        keys: Sequence[str],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store each value under the key at its place, all of them or none.

        Raises:
            InvalidValue: as for ``put``, and if there are not as many values as keys.
        """
        if len(keys) != len(values):
            raise InvalidValue(f"{len(keys)} keys and {len(values)} values: put_many needs one value for each key")
        triples = zip(keys, self._places(collection, keys), values, strict=True)
        seconds = _seconds(ttl)
        with _Serializing():
            await self._memory.set_many({place: self._stored(collection, key, place, value) for key, place, value in triples}, ttl=seconds)

    async def delete_many(self, keys: Sequence[str], *, collection: str | None = None) -> int:
        """Remove what is under the keys, in one transaction; returns how many there were."""
        return await self._memory.delete_many(self._places(collection, keys))

    # ---------------------------------------------------------------------------------- what there is

    async def keys(self, collection: str | None = None, *, limit: int | None = None) -> list[str]:
        """The keys of a collection: all, or ``limit`` of them."""
        return await self._names(self._prefix(collection), 2, "key", limit)

    async def collections(self, *, limit: int | None = None) -> list[str]:
        """The collections that hold anything: all, or ``limit`` of them. Every key is read."""
        return await self._names(ROOT, 1, "collection", limit)

    async def destroy(self) -> bool:
        """Remove all that this class stored in the namespace."""
        await self._memory.clear(ROOT)
        return True

    async def destroy_collection(self, collection: str) -> bool:
        """Remove a collection; returns whether it held anything."""
        return await self._memory.clear(self._prefix(collection)) > 0

    # -------------------------------------------------------------------------------------- inside

    @property
    def _memory(self) -> AsyncMemory:
        if self._awaitable is None:
            self._awaitable = AsyncMemory(self._given.namespace, store=self._given.store)
        return self._awaitable

    def _prefix(self, collection: str | None) -> str:
        return f"{ROOT}{part(collection or self._default_collection, LONGEST_COLLECTION)}/"

    def _place(self, collection: str | None, key: str) -> str:
        return self._prefix(collection) + part(key, LONGEST_KEY)

    def _places(self, collection: str | None, keys: Iterable[str]) -> list[str]:
        prefix = self._prefix(collection)
        return [prefix + part(key, LONGEST_KEY) for key in keys]

    def _stored(self, collection: str | None, key: str, place: str, value: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise InvalidValue(f"the value of {key!r:.80} must be a dict, not {type(value).__name__}")
        if _is_digested(place):
            return {"collection": collection or self._default_collection, "key": key, "value": dict(value)}
        return dict(value)

    async def _names(self, prefix: str, index: int, what: str, limit: int | None) -> list[str]:
        """The distinct names at one index of the entries' keys, in their order."""
        names: dict[str, None] = {}
        seen = ""
        async for place in self._until(prefix, limit, names):
            text = place.split("/")[index]
            if text == seen:
                continue
            seen, name = text, readable(text)
            if name is None:
                name = (await self._memory.get(place, {})).get(what)  # gone meanwhile: it need not be listed
            if name is not None:
                names[name] = None
        return list(names)

    async def _until(self, prefix: str, limit: int | None, names: dict[str, None]) -> AsyncIterator[str]:
        if limit is not None and limit <= 0:
            return
        async for place in self._memory.iter_keys(prefix):
            yield place
            if limit is not None and len(names) >= limit:
                return


def _is_digested(place: str) -> bool:
    return "/=" in place


def _value(place: str, stored: Any) -> dict[str, Any] | None:
    if stored is None:
        return None
    value: Any = stored
    if _is_digested(place) and isinstance(stored, dict):
        value = cast("dict[str, Any]", stored).get("value")
    if not isinstance(value, dict):
        raise StoreCorrupt(f"the entry {place!r} is not one that BotWireKeyValue wrote: it holds no dict")
    return cast("dict[str, Any]", value)


def _value_and_ttl(entry: Entry | None) -> tuple[dict[str, Any] | None, float | None]:
    if entry is None:
        return None, None
    value = _value(entry.key, entry.value)
    return value, None if entry.expires_at is None else max(0.0, (entry.expires_at - datetime.now(UTC)).total_seconds())


# ------------------------------------------------------------------------------------------- errors


def _seconds(ttl: SupportsFloat | None) -> float | None:
    if ttl is None:
        return None
    try:
        seconds = float("nan") if isinstance(ttl, (bool, str, bytes)) else float(ttl)
    except (TypeError, ValueError):
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        raise _as_theirs("InvalidTTLError", InvalidValue(f"ttl must be a number of seconds over zero, not {ttl!r:.80}; None means forever"))
    return seconds


class _Serializing:
    """Around a write: a value that cannot be stored is py-key-value's ``SerializationError`` too."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, InvalidValue):
            name = "InvalidTTLError" if str(error).startswith("ttl ") else "SerializationError"
            raise _as_theirs(name, error) from error


def _as_theirs(name: str, error: InvalidValue) -> InvalidValue:
    """The error as one that is both ours and py-key-value's, if whoever called may know that."""
    theirs = getattr(sys.modules.get("key_value.aio.errors"), name, None)
    if not isinstance(theirs, type):
        return error

    def reduce(_: InvalidValue) -> tuple[Any, ...]:
        return type(error), (str(error),)

    both: Any = type(name, (type(error), theirs), {"message": str(error), "__reduce__": reduce})
    return both(str(error))
