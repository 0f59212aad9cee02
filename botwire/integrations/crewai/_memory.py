"""BotWireMemory: a CrewAI memory that needs no key, no network and no settings."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal, TypeAlias, cast

from crewai import BaseLLM
from crewai import Memory as CrewMemory
from crewai.memory.types import MemoryMatch
from pydantic import PrivateAttr, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from botwire import InvalidValue, Memory
from botwire.integrations.crewai._analyst import LocalAnalyst
from botwire.integrations.crewai._embedder import HashEmbedder
from botwire.integrations.crewai._storage import BotWireStorage

Depth: TypeAlias = Literal["shallow", "deep"]
Embedder: TypeAlias = "Callable[[list[str]], Sequence[Any]] | dict[str, Any]"


class BotWireMemory(CrewMemory):
    """A CrewAI ``Memory`` on botwire, for ``Crew(memory=...)`` and ``Agent(memory=...)``. Made by ``botwire_memory``.

    It recalls in one search (``depth="shallow"``) unless it is told otherwise: CrewAI's own default looks only into the first
    twenty child scopes, and not at what lies in the scope itself. What ``remember_many`` has begun is finished before the
    interpreter ends.
    """

    _depth: Depth = PrivateAttr(default="shallow")

    def model_post_init(self, context: Any, /) -> None:
        """Make it known to those that look after memories at the end of the process and after a fork."""
        super().model_post_init(context)
        _alive[id(self)] = self

    def drain_writes(self) -> None:
        """Wait for what is being saved in the background.

        What failed is in the log, and not raised: in older CrewAI it ended a kickoff that had its answer.
        """
        with self._pending_lock:
            pending = list(self._pending_saves)
        for future in pending:
            with suppress(CancelledError):
                future.exception()

    @model_serializer(mode="wrap")
    def _to_itself(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        """Itself, unless it is to become JSON: CrewAI copies an agent by dumping it, and made a plain ``Memory`` of its parts."""
        return self if info.mode == "python" else handler(self)

    def recall(
        self,
        query: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        limit: int = 10,
        depth: Depth | None = None,
        source: str | None = None,
        include_private: bool = False,
    ) -> list[MemoryMatch]:
        """The memories that are nearest to ``query``, best first; see CrewAI's ``Memory.recall``."""
        return super().recall(query, scope, categories, limit, depth or self._depth, source, include_private)

    async def arecall(
        self,
        query: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        limit: int = 10,
        depth: Depth | None = None,
        source: str | None = None,
        include_private: bool = False,
    ) -> list[MemoryMatch]:
        """The awaitable ``recall``, which blocks as CrewAI's does."""
        return self.recall(query, scope, categories, limit, depth, source, include_private)


def botwire_memory(
    namespace: str = "crewai",
    *,
    url: str | None = None,
    token: str | None = None,
    memory: Memory | None = None,
    embedder: Embedder | None = None,
    llm: BaseLLM | str | None = None,
    depth: Depth = "shallow",
    **settings: Any,
) -> BotWireMemory:
    """A memory for ``Crew(memory=...)`` and ``Agent(memory=...)`` that works as it is: no key, no network, no settings.

    Args:
        namespace: the namespace of memory in which the records lie; a hard wall.
        url: where memory lies; as for ``botwire.Memory``.
        token: for a server that asks for one.
        memory: a ``botwire.Memory`` to use, in place of ``url`` and ``namespace``; it stays yours to close.
        embedder: a function from texts to vectors, or CrewAI's dict of a provider; by default ``HashEmbedder()``, which
            compares words. All records of a namespace need the same one.
        llm: a model that splits answers into facts, sorts them into scopes and merges similar ones; by default nothing asks
            a model: an answer is remembered as a whole, once.
        depth: how ``recall`` searches when it is not told.
        settings: other fields of CrewAI's ``Memory``, such as ``root_scope`` or ``recency_weight``.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if the arguments contradict each other.
    """
    if depth not in ("shallow", "deep"):
        raise InvalidValue(f"depth must be 'shallow' or 'deep', not {depth!r:.40}")
    if "storage" in settings:
        raise InvalidValue("the storage of a botwire_memory is botwire's: leave storage= out, or make a crewai.Memory with it")
    storage = BotWireStorage(namespace, url=url, token=token, memory=memory)
    chosen: dict[str, Any] = {**settings, "llm": llm}
    if llm is None:
        chosen = {**WITHOUT_MODEL, **settings, "llm": LocalAnalyst(storage.get_record)}
    made = BotWireMemory(storage=storage, embedder=HashEmbedder() if embedder is None else embedder, **chosen)
    made._depth = depth  # noqa: SLF001 - its own; a field of the class would be unknown to the schema of CrewAI's
    return made


WITHOUT_MODEL: dict[str, Any] = {"query_analysis_threshold": 0, "exploration_budget": 0}
"""A deep recall then asks the local analyst where to search, and never what to make of it."""


# ------------------------------------------------------------ the end of the process, and other ones

_alive: weakref.WeakValueDictionary[int, BotWireMemory] = weakref.WeakValueDictionary()


def _drain() -> None:
    for memory in list(_alive.values()):
        memory.drain_writes()


def _before_threads_end(function: Callable[[], None]) -> None:
    """Call the function when the main thread has ended, before executors refuse work: ``atexit`` would be too late.

    ``threading._register_atexit`` is private, but what concurrent.futures itself uses, in every Python since 3.9. Where it is
    missing, ``remember_many`` needs ``close()``, as CrewAI's own memory does everywhere.
    """
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(function)


def _after_fork() -> None:
    """In a child: the threads that save are the parent's, and what they had to do is done there."""
    for memory in list(_alive.values()):
        attributes = cast("dict[str, Any]", memory.__pydantic_private__)
        attributes["_save_pool"] = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memory-save")
        attributes["_pending_saves"] = []
        attributes["_pending_lock"] = threading.Lock()
        attributes["_reset_lock"] = threading.RLock()


_before_threads_end(_drain)
# What pydantic warns of when an agent is copied is what `_to_itself` is for.
warnings.filterwarnings("ignore", message=r"Pydantic serializer warnings:(?s:.*)input_type=BotWireMemory", category=UserWarning)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
