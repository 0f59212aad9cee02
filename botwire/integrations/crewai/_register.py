"""register and unregister: every memory that CrewAI makes by itself becomes botwire's."""

from __future__ import annotations

import sys
import threading
from typing import Any

from crewai import Memory as CrewMemory
from crewai.memory.storage import factory as crewai_factory
from crewai.memory.storage.backend import StorageBackend

from botwire import Memory
from botwire.integrations.crewai._analyst import LocalAnalyst
from botwire.integrations.crewai._embedder import HashEmbedder
from botwire.integrations.crewai._memory import WITHOUT_MODEL, Embedder
from botwire.integrations.crewai._storage import BotWireStorage

SCHEME = "botwire:"
DEFAULT_SPEC = "lancedb"
"""What a memory asks for that nobody gave a storage."""


def register(namespace: str = "crewai", *, url: str | None = None, token: str | None = None, embedder: Embedder | None = None) -> None:
    """Let the memories that CrewAI makes by itself lie in botwire: ``Crew(memory=True)``, ``Agent(memory=True)``, a Flow's.

    ``Memory(storage="botwire:name")`` lies in the namespace of that name. A storage that is given, or named otherwise, stays
    what it is; a factory that was set before is asked for what is not botwire's. Calling again changes the settings. Memories
    that were made before are not changed.

    Args:
        namespace: the namespace of memories that nobody gave a storage.
        url: where memory lies; as for ``botwire.Memory``.
        token: for a server that asks for one.
        embedder: for memories that nobody gave one; by default ``HashEmbedder()``, so that no key is needed.

    Raises:
        InvalidName: if the namespace cannot be one.
    """
    Memory(namespace, url=url, token=token)  # says now what is wrong with it
    with _mutex:
        current = _present()
        previous = current.previous if isinstance(current, _Factory) else current
        crewai_factory.set_memory_storage_factory(_Factory(namespace, url, token, embedder, previous))


def unregister() -> None:
    """Undo ``register``: memories made from now on lie where they did before. Calling again does nothing."""
    with _mutex:
        current = _present()
        if isinstance(current, _Factory):
            crewai_factory.set_memory_storage_factory(current.previous)
        for made in _made:
            made.is_active = False  # one that was set later may still ask it


def _present() -> Any:
    return crewai_factory._factory  # noqa: SLF001 - it can be set in public, but not asked for


_mutex = threading.Lock()
_made: list[_Factory] = []


class _Factory:
    """What CrewAI asks for a storage, by the text that a memory has for it."""

    def __init__(self, namespace: str, url: str | None, token: str | None, embedder: Embedder | None, previous: Any) -> None:
        self.previous = previous
        self.is_active = True
        self._namespace = namespace
        self._url, self._token = url, token
        self._embedder = embedder
        self._storages: dict[str, BotWireStorage] = {}
        self._mutex = threading.Lock()
        _made.append(self)

    def __call__(self, spec: str) -> StorageBackend | None:
        if not self.is_active or not (spec == DEFAULT_SPEC or spec.startswith(SCHEME)):
            return None if self.previous is None else self.previous(spec)
        namespace = self._namespace if spec == DEFAULT_SPEC else spec.removeprefix(SCHEME)
        with self._mutex:
            if namespace not in self._storages:
                self._storages[namespace] = BotWireStorage(namespace, url=self._url, token=self._token)
            storage = self._storages[namespace]
        memory = _being_made()
        if memory is not None:
            self._complete(memory, storage)
        return storage

    def _complete(self, memory: CrewMemory, storage: BotWireStorage) -> None:
        """Give a memory what nobody gave it, and what CrewAI would ask a provider with a key for."""
        private: Any = memory.__pydantic_private__  # made already from the fields, so both are set
        if memory.embedder is None:
            memory.embedder = HashEmbedder() if self._embedder is None else self._embedder
            private["_embedder_instance"] = None if isinstance(memory.embedder, dict) else memory.embedder
        if "llm" not in memory.model_fields_set:
            analyst: Any = LocalAnalyst(storage.get_record)
            memory.llm = private["_llm_instance"] = analyst
            for name, value in WITHOUT_MODEL.items():
                setattr(memory, name, value)
                setattr(private["_config"], name, value)


def _being_made() -> CrewMemory | None:
    """The memory in whose making the factory is called. CrewAI tells the factory a text only, so the callers are looked at.

    If it is not to be found there, the memory has botwire's storage all the same, and CrewAI's default embedder.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - as inspect.currentframe, which is slower
    for _ in range(6):
        if frame.f_back is None:
            break
        frame = frame.f_back
        candidate = frame.f_locals.get("self")
        if isinstance(candidate, CrewMemory):
            return candidate
    return None
