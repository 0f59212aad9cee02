"""BotWireKnowledgeStore: an agent's knowledge, as entries that every other framework reads too."""

from __future__ import annotations

import json
from typing import Any

from ag2.knowledge import ChangeSubscription, NoopChangeSubscription

from botwire import AsyncMemory, InvalidValue, Memory


class BotWireKnowledgeStore:
    """A KnowledgeStore of botwire entries: ``KnowledgeConfig(store=BotWireKnowledgeStore("app"))``.

    Args:
        namespace: the namespace of the entries. The path ``/user/diet`` is the key ``user/diet``, its content the value.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.

    What is text is read as it is, any other value as its JSON. AG2 writes its event log and working memory to the same
    store, so give agents a namespace of their own unless others are to see these. Costs no I/O until its first call.

    Raises:
        InvalidName: if the namespace cannot be one; from its methods, if a path cannot be a key.
        InvalidValue: if the arguments contradict each other.
        StoreUnavailable: from its methods, if the store cannot be used.
    """

    def __init__(self, namespace: str = "default", *, memory: Memory | AsyncMemory | None = None, url: str | None = None) -> None:
        if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        Memory(namespace)  # says now what is wrong with it; costs no I/O
        if isinstance(memory, Memory):
            memory = AsyncMemory(memory.namespace, store=memory.store)
        self._memory = AsyncMemory(namespace, url=url) if memory is None else memory

    def __repr__(self) -> str:
        return f"<BotWireKnowledgeStore of {self._memory.namespace!r}>"

    async def read(self, path: str) -> str | None:
        """The content at ``path``; None if there is none."""
        if not (key := _key(path)):
            return None
        entry = await self._memory.get_entry(key)
        return None if entry is None else _text(entry.value)

    async def write(self, path: str, content: str) -> None:
        """Put content at ``path``, in place of what was there."""
        await self._memory.set(_key(path), content)

    async def list(self, path: str = "/") -> list[str]:
        """The names right below ``path``; those that have others below them end with ``/``."""
        prefix = _below(path)
        names: set[str] = set()
        async for key in self._memory.iter_keys(prefix):
            name, slash, _ = key.removeprefix(prefix).partition("/")
            names.add(name + slash)
        return sorted(names)

    async def delete(self, path: str) -> None:
        """Remove what is at ``path`` and below it, in one step; nothing happens if there is none.

        Raises:
            InvalidValue: if the path is ``/``, under which lies all that others know too.
        """
        if not (key := _key(path)):
            raise InvalidValue("delete('/') would remove every entry of the namespace; to do that, call Memory(...).clear()")
        await self._memory.delete_many([key] + [below async for below in self._memory.iter_keys(_below(path))])

    async def exists(self, path: str) -> bool:
        """Whether there is anything at ``path`` or below it."""
        if (key := _key(path)) and await self._memory.exists(key):
            return True
        return await self._memory.count(_below(path)) > 0

    async def append(self, path: str, content: str) -> int:
        """Add to the content at ``path``, atomically; returns the offset in bytes of UTF-8 at which it was added.

        Costs as much as writing all of it.

        Raises:
            InvalidValue: if what is there is no text.
        """
        offset = 0

        def add(before: Any) -> str:
            nonlocal offset
            if not isinstance(before, str):
                raise InvalidValue(f"{path!r} holds a {type(before).__name__}, to which no text can be appended")
            offset = len(_bytes(before))
            return before + content

        await self._memory.update(_key(path), add, default="")
        return offset

    async def read_range(self, path: str, start: int, end: int | None = None) -> str:
        """The bytes of UTF-8 from ``start`` to before ``end``, as text; empty if there is nothing at ``path``.

        Raises:
            UnicodeDecodeError: if that cuts a character in two.
        """
        content = await self.read(path)
        return "" if content is None else _bytes(content)[start:end].decode("utf-8", "surrogatepass")

    async def on_change(self, path: str, callback: Any) -> ChangeSubscription:  # noqa: ARG002 - the protocol's
        """Nothing that tells of changes: AG2 then asks from time to time."""
        return NoopChangeSubscription()


def _key(path: str) -> str:
    return "/".join(part for part in path.split("/") if part)


def _below(path: str) -> str:
    key = _key(path)
    return f"{key}/" if key else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
