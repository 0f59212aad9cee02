"""Tools with which an agent keeps, reads and removes entries of a namespace."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, Literal

from crewai.tools import BaseTool
from crewai.types.callback import SerializableCallable
from pydantic import BaseModel, Field, PrivateAttr, field_serializer

from botwire import BotWireError, InvalidName, InvalidValue, Memory
from botwire.integrations.crewai._outages import Outages
from botwire.integrations.crewai._threads import in_thread
from botwire.stores import encode_value

MOST_CHARACTERS = 16_000
"""What one answer holds of a value or of a list of keys, so that it does not fill the model's context."""

MOST_KEYS = 200
"""The keys in one answer."""

RESERVED = "crewai:"
"""How the keys begin under which botwire keeps what is CrewAI's own, such as the state of a Flow. No tool shows or changes these."""

_LOOKED_AT = 2_000  # keys, for those that are nearly the one that was asked for


def never_cached(_arguments: Any = None, _result: Any = None) -> bool:
    """CrewAI's cache would answer with what memory held before, and leave out a write that it has seen before."""
    return False


class BotWireTool(BaseTool):
    """One tool of ``memory_tools``; its fields say which memory it uses, and hold no secret."""

    name: str = ""
    description: str = ""
    cache_function: SerializableCallable = never_cached
    namespace: str = "default"
    url: str | None = None

    _given: Memory | None = PrivateAttr(default=None)
    _outages: Outages = PrivateAttr(default_factory=lambda: Outages("the memory of an agent's tools"))

    @property
    def memory(self) -> Memory:
        """The memory that the tool uses."""
        if self._given is None:
            self._given = Memory(self.namespace, url=self.url)
        return self._given

    @field_serializer("url")
    def _url_without_secrets(self, url: str | None) -> str | None:
        return None if url is None and self.memory.store is Memory(self.namespace).store else self.memory.store.url

    def _answered(self, doing: Literal["read", "written"], call: Callable[[], dict[str, Any]]) -> str:
        """The call's answer, or what went wrong and what to do, as JSON text: a model reads what a tool returns, not an exception."""
        try:
            with self._outages.watch(doing):
                answer = _done(call)
        except BotWireError as error:
            answer = {"error": f"Memory cannot be used now: {error}. Go on without it, and say that nothing could be looked up or kept."}
        text = json.dumps(answer, ensure_ascii=False)
        return text if _is_utf8(text) else json.dumps(answer)

    def _checked(self, key: str) -> str:
        if key.startswith(RESERVED):
            raise InvalidName(f"keys that begin with {RESERVED!r} are not for tools; choose another key")
        return key

    def _unknown(self, key: str) -> dict[str, Any]:
        """What to say of a key that is not there."""
        keys = [name for name in itertools.islice(self.memory.iter_keys(), _LOOKED_AT) if not name.startswith(RESERVED)]
        folded = key.casefold()
        within = [name for name in keys if folded in name.casefold() or name.casefold() in folded]
        near = list(dict.fromkeys([*difflib.get_close_matches(key, keys, 5, 0.6), *within]))[:5]
        hint = "Did you mean one of the similar keys?" if near else "botwire_list shows the keys there are."
        return {"key": key, "found": False, "similar": near, "hint": f"There is nothing under this key. {hint}"}


class RememberArguments(BaseModel):
    key: str = Field(description="A short name under which to find it again, such as 'user-42/preferences'.")
    value: str = Field(description="What to remember: a text, which comes back exactly as it is given.")
    value_is_json: bool = Field(
        default=False, description="True if value is the text of a JSON value (object, list, number, ...), to be kept as that value."
    )


class RememberTool(BotWireTool):
    """Stores an entry."""

    name: str = "botwire_remember"
    description: str = (
        "Keep a value in long-term memory under a key, over what was there. It is there in later conversations and for other agents."
    )
    args_schema: type[BaseModel] = RememberArguments

    def _run(self, key: str, value: str, value_is_json: bool = False) -> str:
        return self._answered("written", lambda: self._remember(key, value, value_is_json))

    async def _arun(self, key: str, value: str, value_is_json: bool = False) -> str:
        return await in_thread(lambda: self._run(key, value, value_is_json))

    def _remember(self, key: str, value: str, value_is_json: bool) -> dict[str, Any]:
        version = self.memory.set(self._checked(key), _parsed(value) if value_is_json else value)
        return {"stored": True, "key": key, "version": version}


class RecallArguments(BaseModel):
    key: str = Field(description="The key, exactly as it was remembered or as botwire_list shows it.")
    start: int = Field(default=0, ge=0, description="Where to go on in a long value: the number that the answer before gave as next_start.")


class RecallTool(BotWireTool):
    """Reads an entry."""

    name: str = "botwire_recall"
    description: str = "Read what long-term memory holds under a key."
    args_schema: type[BaseModel] = RecallArguments

    def _run(self, key: str, start: int = 0) -> str:
        return self._answered("read", lambda: self._recall(key, start))

    async def _arun(self, key: str, start: int = 0) -> str:
        return await in_thread(lambda: self._run(key, start))

    def _recall(self, key: str, start: int) -> dict[str, Any]:
        entry = self.memory.get_entry(self._checked(key))
        if entry is None:
            return self._unknown(key)
        found = {"key": key, "found": True}
        text = entry.value if isinstance(entry.value, str) else encode_value(entry.value)
        if len(text) <= MOST_CHARACTERS and not start:
            return {**found, "value": entry.value}
        end = start + MOST_CHARACTERS
        part = {**found, "part": text[start:end], "part_of": "text" if text is entry.value else "JSON text", "length": len(text)}
        if end >= len(text):
            return part
        return {**part, "next_start": end, "more": f"This is not all: call botwire_recall again with start={end}."}


class ForgetArguments(BaseModel):
    key: str = Field(description="The key, exactly as it was remembered or as botwire_list shows it.")


class ForgetTool(BotWireTool):
    """Removes an entry."""

    name: str = "botwire_forget"
    description: str = "Remove what long-term memory holds under a key, for good."
    args_schema: type[BaseModel] = ForgetArguments

    def _run(self, key: str) -> str:
        return self._answered("written", lambda: self._forget(key))

    async def _arun(self, key: str) -> str:
        return await in_thread(lambda: self._run(key))

    def _forget(self, key: str) -> dict[str, Any]:
        return {"forgotten": True, "key": key} if self.memory.delete(self._checked(key)) else self._unknown(key)


class ListArguments(BaseModel):
    prefix: str = Field(default="", description="Only keys that begin with this; empty for all.")
    after: str = Field(default="", description="Where to go on in a long list: the key that the answer before gave as next_after.")


class ListTool(BotWireTool):
    """Lists keys."""

    name: str = "botwire_list"
    description: str = "List the keys under which long-term memory holds something."
    args_schema: type[BaseModel] = ListArguments

    def _run(self, prefix: str = "", after: str = "") -> str:
        return self._answered("read", lambda: self._list(prefix, after))

    async def _arun(self, prefix: str = "", after: str = "") -> str:
        return await in_thread(lambda: self._run(prefix, after))

    def _list(self, prefix: str, after: str) -> dict[str, Any]:
        keys: list[str] = []
        room = MOST_CHARACTERS
        for key in self._keys(prefix, after or None):
            room -= len(key)
            if keys and (room < 0 or len(keys) == MOST_KEYS):
                return {
                    "keys": keys,
                    "next_after": keys[-1],
                    "more": f"These are not all: call botwire_list again with after={keys[-1]!r}.",
                }
            keys.append(key)
        return {"keys": keys}

    def _keys(self, prefix: str, after: str | None) -> Iterator[str]:
        self.memory.iter_keys(prefix)  # says what is wrong with a prefix; asks for nothing yet
        while page := self.memory.store.scan_keys(self.namespace, prefix, after, MOST_KEYS + 1):
            yield from (key for key in page if not key.startswith(RESERVED))
            after = page[-1]


def memory_tools(namespace: str = "default", *, memory: Memory | None = None, url: str | None = None) -> list[BaseTool]:
    """Tools for any agent: ``botwire_remember``, ``botwire_recall``, ``botwire_forget`` and ``botwire_list``.

    They work on ordinary entries of the namespace, which ``Memory(namespace)`` and every other framework see. A value is the text
    that the model gave, as it gave it; only if the model says so is it the JSON value that the text stands for. Answers are JSON
    text; of long values and lists they hold a part, and say how to get the next. CrewAI's tool cache never answers for them.

    Args:
        namespace: the namespace of the entries.
        memory: a Memory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if the arguments contradict each other.
    """
    if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
        raise InvalidValue("give memory=, or url= and namespace=, not both")
    shared = Memory(namespace, url=url) if memory is None else memory
    tools: list[BaseTool] = []
    outages = Outages(f"namespace {shared.namespace!r}, which an agent's tools use,")
    for kind in (RememberTool, RecallTool, ForgetTool, ListTool):
        tool = kind(namespace=shared.namespace, url=url)
        tool._given = shared  # noqa: SLF001 - its own, which its JSON does not hold
        tool._outages = outages  # noqa: SLF001 - so that an outage is said once for all four
        tools.append(tool)
    return tools


def _done(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return call()
    except (InvalidName, InvalidValue) as error:
        return {"error": f"{error}. Nothing was done; call the tool again with other arguments."}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except ValueError as error:
        raise InvalidValue(f"value is not JSON ({error}); correct it, or leave value_is_json false to keep it as a text") from error


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("an object names a member twice")
    return found


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no provider could be sent
        return False
    return True
