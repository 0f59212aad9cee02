"""AsyncMemory and AsyncSession: the same names as Memory and Session, awaitable.

A store with native async is used as such. Any other runs on botwire's own worker threads, never on the
loop's default executor, which has few threads and belongs to the application.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from botwire._entry_plans import PAGE, EntryPlans, Rule, split_glob
from botwire._errors import InvalidValue
from botwire._memory import TTL, Hits, Infos, Keys
from botwire._message import Message, MessageLike
from botwire._names import check_count, check_prefix
from botwire._plan import Plan, arun, run
from botwire._records import Entry, MessageHit, SessionInfo
from botwire._session_plans import SessionPlans
from botwire._source import Source
from botwire.stores._open import DEFAULT_TIMEOUT
from botwire.stores._protocol import Store

if TYPE_CHECKING:
    from botwire._awatch import AsyncSessionWatch, AsyncWatch
    from botwire._ears import Ear

T = TypeVar("T")

WORKER_THREADS = 32
"""The most calls on stores without native async that run at once in one process."""

_threads: ThreadPoolExecutor | None = None


def _workers() -> ThreadPoolExecutor:
    global _threads  # noqa: PLW0603 - one pool a process, made when first needed
    if _threads is None:
        _threads = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="botwire")
    return _threads


def _forget_workers() -> None:
    global _threads  # noqa: PLW0603 - threads do not survive a fork
    _threads = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


async def _read(source: Source, plan: Plan[T]) -> T:
    """Run a plan that changes nothing: a cancellation need not wait for it."""
    loop = asyncio.get_running_loop()
    if source.store is None:  # opening may import a driver, which takes its time
        await loop.run_in_executor(_workers(), source.open)
    native = source.native()
    if native is not None:
        return await arun(plan, native)
    return await loop.run_in_executor(_workers(), run, plan, source.open())


async def _listen(source: Source, namespace: str, session: str | None) -> Ear:
    """Listen to the store, without a thread of those that calls run on."""
    from botwire._ears import open_ear  # late: few programs watch

    loop = asyncio.get_running_loop()
    store = await loop.run_in_executor(_workers(), source.open)

    async def run_on_worker(function: Callable[..., Any], *args: Any) -> Any:
        return await loop.run_in_executor(_workers(), function, *args)

    return await open_ear(store, source.native(), run_on_worker, namespace, session)


async def _write(source: Source, plan: Plan[T]) -> T:
    """Run a plan that writes: a cancellation comes through once the write's outcome is known."""
    task = asyncio.ensure_future(_read(source, plan))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # marks it as seen: the caller is told of the cancellation instead
        raise cancelled
    return task.result()


class AsyncMemory:
    """``Memory`` for asyncio: the same arguments, names, results and errors; every call is awaited.

    A write that is cancelled is waited for before the cancellation comes through, so that nothing is written behind
    the caller's back. May be used from several event loops.
    """

    __slots__ = ("_plans", "_source")

    def __init__(
        self,
        namespace: str = "default",
        *,
        url: str | None = None,
        base_url: str | None = None,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        store: Store | None = None,
    ) -> None:
        if url is not None and base_url is not None and url != base_url:
            raise InvalidValue("url= and base_url= are two names of one thing; give one of them")
        self._plans = EntryPlans(namespace)
        self._source = Source(url if url is not None else base_url, token, timeout, store)

    def __repr__(self) -> str:
        return f"<AsyncMemory {self.namespace!r}{' (closed)' if self._source.closed else ''}>"

    @property
    def namespace(self) -> str:
        """See ``Memory.namespace``."""
        return self._plans.namespace

    @property
    def store(self) -> Store:
        """See ``Memory.store``."""
        return self._source.open()

    async def close(self) -> None:
        """See ``Memory.close``."""
        loop = asyncio.get_running_loop()
        native = await loop.run_in_executor(_workers(), self._source.close, loop)
        if native is not None:
            await native.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    # ------------------------------------------------------------------------------------- entries

    async def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: TTL = None,
        ttl_seconds: TTL = None,
        if_version: int | None = None,
        request_id: str | None = None,
    ) -> int:
        """See ``Memory.set``."""
        if ttl is not None and ttl_seconds is not None:
            raise InvalidValue("ttl= and ttl_seconds= are two names of one thing; give one of them")
        lifetime = ttl if ttl is not None else ttl_seconds
        return await _write(self._source, self._plans.set(key, value, lifetime, if_version, request_id))

    async def get(self, key: str, default: Any = None) -> Any:
        """See ``Memory.get``."""
        return await _read(self._source, self._plans.get(key, default))

    async def get_entry(self, key: str) -> Entry | None:
        """See ``Memory.get_entry``."""
        return await _read(self._source, self._plans.get_entry(key))

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """See ``Memory.get_many``."""
        return await _read(self._source, self._plans.get_many(keys))

    async def set_many(self, values: Mapping[str, Any], *, ttl: TTL = None, request_id: str | None = None) -> dict[str, int]:
        """See ``Memory.set_many``."""
        return await _write(self._source, self._plans.set_many(values, ttl, request_id))

    async def delete(self, key: str, *, if_version: int | None = None) -> bool:
        """See ``Memory.delete``."""
        return await _write(self._source, self._plans.delete(key, if_version))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """See ``Memory.delete_many``."""
        return await _write(self._source, self._plans.delete_many(keys))

    async def exists(self, key: str) -> bool:
        """See ``Memory.exists``."""
        return await _read(self._source, self._plans.exists(key))

    async def list_keys(self, prefix: str = "") -> Keys:
        """See ``Memory.list_keys``."""
        return await _read(self._source, self._plans.list_keys(prefix))

    async def keys(self, prefix: str = "") -> Keys:
        """See ``Memory.list_keys``."""
        return await self.list_keys(prefix)

    def iter_keys(self, prefix: str = "", page_size: int = PAGE) -> AsyncIterator[str]:
        """See ``Memory.iter_keys``; for ``async for``."""
        prefix, page_size = check_prefix(prefix), check_count(page_size, "page_size", 1)
        return _paged(self._source, lambda after: self._plans.key_page(prefix, after, page_size), page_size, lambda key: key)

    def items(self, prefix: str = "", page_size: int = PAGE) -> AsyncIterator[tuple[str, Any]]:
        """See ``Memory.items``; for ``async for``."""
        prefix, page_size = check_prefix(prefix), check_count(page_size, "page_size", 1)
        return _paged(self._source, lambda after: self._plans.item_page(prefix, after, page_size), page_size, lambda item: item[0])

    async def count(self, prefix: str = "") -> int:
        """See ``Memory.count``."""
        return await _read(self._source, self._plans.count(prefix))

    async def clear(self, prefix: str = "") -> int:
        """See ``Memory.clear``."""
        return await _write(self._source, self._plans.clear(prefix))

    async def update(self, key: str, function: Callable[[Any], T], default: Any = None) -> T:
        """See ``Memory.update``; the function is an ordinary one, and may be called on a worker thread."""
        return await _write(self._source, self._plans.update(key, function, default))

    async def increment(self, key: str, by: float = 1, *, request_id: str | None = None) -> Any:
        """See ``Memory.increment``."""
        return await _write(self._source, self._plans.increment(key, by, request_id))

    async def append(self, key: str, *items: Any, max_items: int | None = None, request_id: str | None = None) -> int:
        """See ``Memory.append``."""
        return await _write(self._source, self._plans.append(key, items, max_items, request_id))

    async def merge(self, key: str, patch: Any, *, request_id: str | None = None) -> Any:
        """See ``Memory.merge``."""
        return await _write(self._source, self._plans.merge(key, patch, request_id))

    async def change(
        self, key: str, rule: Rule, argument: Any, *, max_items: int | None = None, request_id: str | None = None
    ) -> tuple[int, Any]:
        """See ``Memory.change``."""
        return await _write(self._source, self._plans.change(key, rule, argument, max_items, request_id))

    async def search(self, query: str, limit: int = 20) -> Hits:
        """See ``Memory.search``."""
        return await _read(self._source, self._plans.search(query, limit))

    def watch(self, prefix: str = "", *, initial: bool = False, timeout: float | None = None) -> AsyncWatch:
        """See ``Memory.watch``; not awaited: ``async with memory.watch() as changes:`` listens from the beginning of the block on.

        Without such a block it listens from the first step of ``async for`` on.
        """
        from botwire._awatch import AsyncWatch  # late: few programs watch
        from botwire._looking import EntryLooking

        source, looking = self._source, EntryLooking(self.namespace, *split_glob(prefix), initial)
        return AsyncWatch(looking, timeout, lambda plan: _read(source, plan), lambda: _listen(source, looking.namespace, None))

    # ------------------------------------------------------------------------------------ sessions

    def session(self, session_id: str, *, agent: str | None = None, ttl: TTL = None) -> AsyncSession:
        """See ``Memory.session``; not awaited, since it does no I/O."""
        return AsyncSession(self._source, SessionPlans(self.namespace, session_id, agent, ttl))

    async def sessions(self) -> Infos:
        """See ``Memory.sessions``."""
        return await _read(self._source, self._plans.sessions())

    async def delete_session(self, session_id: str) -> bool:
        """See ``Memory.delete_session``."""
        return await _write(self._source, self._plans.delete_session(session_id))

    async def namespaces(self) -> Keys:
        """See ``Memory.namespaces``."""
        return await _read(self._source, self._plans.namespaces())

    def __aiter__(self) -> AsyncIterator[str]:
        return self.iter_keys()

    async def list(self, prefix: str = "") -> Keys:
        """See ``Memory.list_keys``."""
        return await self.list_keys(prefix)


class AsyncSession:
    """``Session`` for asyncio: the same names, results and errors; every call is awaited."""

    __slots__ = ("_plans", "_source")

    def __init__(self, source: Source, plans: SessionPlans) -> None:
        self._source = source
        self._plans = plans

    def __repr__(self) -> str:
        agent = f", agent={self.agent!r}" if self.agent else ""
        return f"<AsyncSession {self.session_id!r}{agent} of {self._plans.namespace!r}>"

    @property
    def session_id(self) -> str:
        """See ``Session.session_id``."""
        return self._plans.session_id

    @property
    def agent(self) -> str | None:
        """See ``Session.agent``."""
        return self._plans.agent or None

    async def append(self, *messages: MessageLike, role: str | None = None, request_id: str | None = None) -> list[int]:
        """See ``Session.append``."""
        return await _write(self._source, self._plans.append(messages, role, request_id))

    async def replace(self, *messages: MessageLike, role: str | None = None, request_id: str | None = None) -> list[int]:
        """See ``Session.replace``."""
        return await _write(self._source, self._plans.replace(messages, role, request_id))

    async def messages(self, last: int | None = None, before: int | None = None, after: int | None = None) -> list[Message]:
        """See ``Session.messages``."""
        return await _read(self._source, self._plans.messages(last, before, after))

    async def snapshot(
        self, last: int | None = None, before: int | None = None, after: int | None = None
    ) -> tuple[SessionInfo | None, list[Message]]:
        """See ``Session.snapshot``."""
        return await _read(self._source, self._plans.snapshot(last, before, after))

    def watch(self, after: int | None = None, *, epoch: str | None = None, timeout: float | None = None) -> AsyncSessionWatch:
        """See ``Session.watch``; not awaited: ``async with session.watch() as messages:`` listens from the beginning of the block on.

        Without such a block it listens from the first step of ``async for`` on.
        """
        from botwire._awatch import AsyncSessionWatch  # late: few programs watch
        from botwire._looking import SessionLooking

        source, looking = self._source, SessionLooking(self._plans, after, epoch)
        return AsyncSessionWatch(
            looking, timeout, lambda plan: _read(source, plan), lambda: _listen(source, looking.namespace, looking.session_id)
        )

    async def __aiter__(self) -> AsyncIterator[Message]:
        for message in await self.messages():
            yield message

    async def pop(self) -> Message | None:
        """See ``Session.pop``."""
        return await _write(self._source, self._plans.pop())

    async def trim(self, keep_last: int) -> int:
        """See ``Session.trim``."""
        return await _write(self._source, self._plans.trim(keep_last))

    async def clear(self) -> int:
        """See ``Session.clear``."""
        return await _write(self._source, self._plans.clear())

    async def delete(self) -> bool:
        """See ``Session.delete``."""
        return await _write(self._source, self._plans.delete())

    async def search(self, query: str, limit: int = 20) -> list[MessageHit]:
        """See ``Session.search``."""
        return await _read(self._source, self._plans.search(query, limit))

    async def info(self) -> SessionInfo | None:
        """See ``Session.info``."""
        return await _read(self._source, self._plans.info())

    async def count(self) -> int:
        """See ``Session.count``."""
        return await _read(self._source, self._plans.count())

    @property
    def metadata(self) -> Coroutine[Any, Any, dict[str, Any]]:
        """See ``Session.metadata``; awaited, as ``await session.metadata``."""
        return _read(self._source, self._plans.get_metadata())

    async def set_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """See ``Session.set_metadata``."""
        return await _write(self._source, self._plans.set_metadata(metadata, merge=False))

    async def merge_metadata(self, patch: dict[str, Any]) -> dict[str, Any]:
        """See ``Session.merge_metadata``."""
        return await _write(self._source, self._plans.set_metadata(patch, merge=True))

    @property
    def ttl(self) -> Coroutine[Any, Any, float | None]:
        """See ``Session.ttl``; awaited, as ``await session.ttl``."""
        return _read(self._source, self._plans.get_ttl())

    async def set_ttl(self, ttl: float | timedelta | None) -> None:
        """See ``Session.set_ttl``."""
        await _write(self._source, self._plans.set_ttl(ttl))


async def _paged(source: Source, plan: Callable[[str | None], Plan[Any]], size: int, key_of: Callable[[Any], str]) -> AsyncIterator[Any]:
    page: list[Any] = await _read(source, plan(None))
    while page:
        for row in page:
            yield row
        page = await _read(source, plan(key_of(page[-1]))) if len(page) >= size else []
