"""BotWireChatHistory: a LangChain chat history that is a botwire session."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, get_buffer_string
from langchain_core.messages.utils import message_chunk_to_message

from botwire import (
    AsyncMemory,
    AsyncSession,
    InvalidValue,
    Memory,
    Message,
    Session,
    StoreBusy,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from botwire.integrations.langchain._messages import from_botwire, to_botwire
from botwire.integrations.langchain._tagged import Objects
from botwire.integrations.langchain._window import Reads, read_all, read_window

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory
else:
    try:
        from langchain_core.chat_history import BaseChatMessageHistory
    except ImportError:  # langchain-core 2.0 removes it; nothing here needs more than its name

        class BaseChatMessageHistory:
            pass


logger = logging.getLogger("botwire")

RETRY_AFTER = 0.05
"""Seconds after which a write that did not reach the store is tried once more."""


class BotWireChatHistory(BaseChatMessageHistory):
    """A conversation that outlives the process, as LangChain's chains read and write it.

    Args:
        session_id: any text of 1 to 512 bytes of UTF-8; the botwire session of that id, whichever framework began it.
        namespace: the namespace of the session.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after its last write at which the whole session expires.
        history_size: ``messages`` gives the last so many. A tool result whose call is cut off is left out, and a
            system message that begins the session is given besides. All are stored.
        objects: what becomes of pydantic models and dataclasses inside messages: ``"refuse"`` raises
            ``InvalidValue``, ``"dict"`` stores them as dicts, as which they then come back.
        fold_chunks: store the message chunks that streaming leaves (``AIMessageChunk``) as whole messages.

    Costs no I/O until its first call. May be used from many threads, processes and event loops at once.
    Every message comes back equal to the one written, or is refused. A ``RemoveMessage`` is kept like any other:
    a history is what was said, and is only ever cut by ``clear`` or by setting ``messages``.

    Raises:
        InvalidName: if the session id or the namespace cannot be one.
        InvalidValue: if an argument cannot be used.
    """

    def __init__(
        self,
        session_id: str,
        *,
        namespace: str = "default",
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        history_size: int | None = None,
        objects: Objects = "refuse",
        fold_chunks: bool = False,
    ) -> None:
        if history_size is not None and (type(history_size) is not int or history_size < 1):
            raise InvalidValue(f"history_size must be an int of 1 or more, or None for all, not {history_size!r:.80}")
        if objects not in ("refuse", "dict"):
            raise InvalidValue(f"objects must be 'refuse' or 'dict', not {objects!r:.80}")
        if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        self._memory = Memory(namespace, url=url) if memory is None else memory
        self._sync: Session | None = None
        self._async: AsyncSession | None = None
        self._ttl = ttl
        self._size = history_size
        self._objects: Objects = objects
        self._fold = fold_chunks
        self._pinned = False
        self._snapshot: list[BaseMessage] | None = None
        self.session_id = session_id
        Memory(self._memory.namespace).session(session_id, ttl=ttl)  # says now what is wrong with them; costs no I/O

    def __repr__(self) -> str:
        return f"<BotWireChatHistory {self.session_id!r} of {self._memory.namespace!r}>"

    @classmethod
    def factory(
        cls,
        *,
        namespace: str = "default",
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        history_size: int | None = None,
        objects: Objects = "refuse",
        fold_chunks: bool = False,
    ) -> Callable[[str], BotWireChatHistory]:
        """What ``RunnableWithMessageHistory`` asks for: a function of a session id, for one invocation each.

        A history made by it shows the messages as they were when it was first read, until it writes: given a list of
        messages as input, LangChain reads the history twice and takes the difference for the new ones, so that a turn
        that another request adds in between would cost the user's own.
        """
        shared = Memory(namespace, url=url) if memory is None else memory

        def open_history(session_id: str) -> BotWireChatHistory:
            history = cls(session_id, memory=shared, ttl=ttl, history_size=history_size, objects=objects, fold_chunks=fold_chunks)
            history._pinned = True
            return history

        if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        return open_history

    # ------------------------------------------------------------------------------------- reading

    @property
    def messages(self) -> list[BaseMessage]:  # pyright: ignore[reportIncompatibleVariableOverride] - read from the store each time
        """The messages, oldest first: all, or the last ``history_size``.

        Setting it puts the given messages in place of all there are, in one step.
        """
        if self._snapshot is None:
            with _paused_gc():
                return self._keep(_drive(self._reads(), self._session()))
        return list(self._snapshot)

    @messages.setter
    def messages(self, messages: Sequence[BaseMessage]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] - see above
        with self._reported("replace"):
            self._session().replace(*self._encode(messages))

    def get_messages(self) -> list[BaseMessage]:
        """The same as ``messages``."""
        return self.messages

    async def aget_messages(self) -> list[BaseMessage]:
        """See ``messages``."""
        if self._snapshot is None:
            return self._keep(await _adrive(self._reads(), self._asession()))
        return list(self._snapshot)

    def __len__(self) -> int:
        """The number of messages stored."""
        return len(self._session())

    def __bool__(self) -> bool:
        return True  # an empty history is still a history

    def __str__(self) -> str:
        return get_buffer_string(self.messages)

    # ------------------------------------------------------------------------------------- writing

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages, all or none, next to each other.

        Raises:
            InvalidValue: if one could not come back equal; names its field. Nothing of the call is stored.
            StoreUnavailable: if the store cannot be written, also after a second try. It is logged too, since a chain
                that fails to store its turn answers as if nothing were wrong.
        """
        with self._reported("add"):
            given, request = self._encode(messages), uuid4().hex
            try:
                self._session().append(*given, request_id=request)
            except StoreUnavailable as error:
                if not _worth_another_try(error):
                    raise
                time.sleep(RETRY_AFTER)
                self._session().append(*given, request_id=request)  # the same id: applied once, whatever became of the first

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """See ``add_messages``."""
        with self._reported("add"):
            given, request = self._encode(messages), uuid4().hex
            try:
                await self._asession().append(*given, request_id=request)
            except StoreUnavailable as error:
                if not _worth_another_try(error):
                    raise
                await asyncio.sleep(RETRY_AFTER)
                await self._asession().append(*given, request_id=request)

    def add_message(self, message: BaseMessage) -> None:
        """Add one message; see ``add_messages``."""
        self.add_messages([message])

    async def aadd_message(self, message: BaseMessage) -> None:
        """Add one message; see ``add_messages``."""
        await self.aadd_messages([message])

    def add_user_message(self, message: HumanMessage | str) -> None:
        """Add what the user said."""
        self.add_messages([HumanMessage(content=message) if isinstance(message, str) else message])

    def add_ai_message(self, message: AIMessage | str) -> None:
        """Add what the model said."""
        self.add_messages([AIMessage(content=message) if isinstance(message, str) else message])

    def clear(self) -> None:
        """Remove all messages of the session."""
        with self._reported("clear"):
            self._session().clear()

    async def aclear(self) -> None:
        """See ``clear``."""
        with self._reported("clear"):
            await self._asession().clear()

    # ------------------------------------------------------------------------------------ privately

    def _session(self) -> Session:
        if self._sync is None:
            given = self._memory
            memory = given if isinstance(given, Memory) else Memory(given.namespace, store=given.store)
            self._sync = memory.session(self.session_id, ttl=self._ttl)
        return self._sync

    def _asession(self) -> AsyncSession:
        if self._async is None:
            given = self._memory
            memory = given if isinstance(given, AsyncMemory) else AsyncMemory(given.namespace, store=given.store)
            self._async = memory.session(self.session_id, ttl=self._ttl)
        return self._async

    def _reads(self) -> Reads:
        return read_all() if self._size is None else read_window(self._size)

    def _keep(self, found: list[Message]) -> list[BaseMessage]:
        messages = [from_botwire(message) for message in found]
        if self._pinned:
            self._snapshot = list(messages)
        return messages

    def _encode(self, messages: Sequence[BaseMessage]) -> list[Message]:
        if self._fold:
            messages = [message_chunk_to_message(message) for message in messages]  # type: ignore[arg-type]
        return [to_botwire(message, self._objects) for message in messages]

    @contextmanager
    def _reported(self, what: str) -> Generator[None]:
        try:
            yield
        except Exception as error:
            where = f"session {self.session_id!r} in namespace {self._memory.namespace!r}"
            logger.error("%s: could not %s messages, which are lost if nobody handles this: %s", where, what, error)  # noqa: TRY400
            raise
        self._pinned, self._snapshot = False, None


def _worth_another_try(error: StoreUnavailable) -> bool:
    return not isinstance(error, (StoreBusy, StoreFull, StoreReadOnly))  # busy: the store has waited its time already


def _drive(reads: Reads, session: Session) -> list[Message]:
    try:
        wanted = next(reads)
        while True:
            wanted = reads.send(session.snapshot(**wanted))
    except StopIteration as stop:
        return stop.value


async def _adrive(reads: Reads, session: AsyncSession) -> list[Message]:
    try:
        wanted = next(reads)
        while True:
            wanted = reads.send(await session.snapshot(**wanted))
    except StopIteration as stop:
        return stop.value


@contextmanager
def _paused_gc() -> Generator[None]:
    """Without cyclic garbage collection, which would walk through thousands of new messages, none of them garbage."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
