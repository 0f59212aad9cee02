"""BotWireCacheStore: models' answers by what they were asked, for AutoGen's ChatCompletionCache."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, Self, TypeVar, cast

from autogen_core import CacheStore, Component
from autogen_core.models import CreateResult
from pydantic import BaseModel, ValidationError

from botwire import AsyncMemory, InvalidValue, Memory
from botwire.integrations.autogen._place import Place, PlaceConfig

logger = logging.getLogger("botwire")

T = TypeVar("T")
_TAG = "$CreateResult"


class CacheConfig(BaseModel):
    """What ``BotWireCacheStore`` is made of, as data."""

    place: PlaceConfig
    ttl: float | None = None


class BotWireCacheStore(CacheStore[T], Component[CacheConfig]):
    """A store for ``ChatCompletionCache``: an answer that was given once is given again, after a restart too.

    ``ChatCompletionCache(client, BotWireCacheStore())``

    Args:
        namespace: the namespace of memory; the keys are its entries' keys.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after which an answer is forgotten.

    Keeps JSON values and ``CreateResult``, alone or in lists, as whole answers and streams are. What would not come back
    equal is not kept, with a warning in the log. autogen-ext before 0.7.4 hands no stream to any store, so none is kept.

    Raises:
        InvalidName: if the namespace cannot be one.
        StoreUnavailable: from its methods, if the store cannot be reached.
    """

    component_config_schema = CacheConfig
    component_provider_override = "botwire.integrations.autogen.BotWireCacheStore"
    DEFAULT_NAMESPACE = "autogen-cache"

    def __init__(
        self,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
    ) -> None:
        self._place = Place(namespace, self.DEFAULT_NAMESPACE, memory, url)
        self._ttl = ttl

    def get(self, key: str, default: T | None = None) -> T | None:
        """What was set under ``key``; ``default`` if nothing was, or if it cannot be read."""
        missing = object()
        value = self._place.sync.get(key, missing)
        if value is missing:
            return default
        try:
            return cast("T", _decode(value))
        except ValidationError as error:
            logger.warning("an answer in the cache cannot be read, and is asked for again: %r", error)
            return default

    def set(self, key: str, value: T) -> None:
        """Store ``value``, durably."""
        if value == []:  # as autogen-ext before 0.7.4 sets before a stream begins, to fill it later: read back, it would be an empty answer
            return
        try:
            self._place.sync.set(key, _encode(value), ttl=self._ttl)
        except InvalidValue as error:
            logger.warning("an answer is not kept in the cache, since it would not come back equal: %s", error)

    def _to_config(self) -> CacheConfig:
        return CacheConfig(place=self._place.config(), ttl=self._ttl.total_seconds() if isinstance(self._ttl, timedelta) else self._ttl)

    @classmethod
    def _from_config(cls, config: CacheConfig) -> Self:
        place = Place.from_config(config.place)
        return cls(place.namespace, url=place.url, ttl=config.ttl)


def _encode(value: Any) -> Any:
    if type(value) is CreateResult:
        return {_TAG: value.model_dump(mode="python")}
    if isinstance(value, list):
        return [_encode(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict) and _TAG in value:
        raise InvalidValue(f"a dict with a member {_TAG} would be read as an answer")
    return cast("Any", value)


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict) and _TAG in value:
        return CreateResult.model_validate(value[_TAG])
    return cast("Any", value)
