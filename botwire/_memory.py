"""Memory: a namespace of entries and sessions that outlives the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from botwire._entry_plans import PAGE, EntryPlans, Rule, split_glob
from botwire._errors import InvalidValue
from botwire._names import check_count, check_prefix
from botwire._plan import Plan, run
from botwire._records import Entry, SearchHit, SessionInfo
from botwire._session import Session
from botwire._session_plans import SessionPlans
from botwire._source import Source
from botwire.stores._open import DEFAULT_TIMEOUT
from botwire.stores._protocol import Store

if TYPE_CHECKING:
    from botwire._watch import Watch

T = TypeVar("T")
TTL: TypeAlias = "float | timedelta | None"
"""A time to live: seconds, or a timedelta; None for no expiry."""
# Inside the class, `list` is a method.
Keys: TypeAlias = list[str]
Hits: TypeAlias = list[SearchHit]
Infos: TypeAlias = list[SessionInfo]

_MISSING = object()


class Memory:
    """The memory of one namespace: a hard wall, nothing done in one is visible in another.

    Args:
        namespace: its name; any text of 1 to 512 bytes of UTF-8 without control characters.
        url: where memory lies: ``sqlite:///path/to/file.db``, ``memory://``, ``http://host:port``, ...; by default
            what ``BOTWIRE_URL`` says when the store is opened, or else one file in the user's data directory.
        base_url: another name for ``url``.
        token: for a server that asks for one; by default ``BOTWIRE_TOKEN``.
        timeout: seconds that one call may take.
        store: an object that satisfies ``botwire.stores.Store``, in place of ``url``; it is never closed from here.

    Costs under 50 microseconds and does no I/O; the store is opened at the first call, and shared by all memories
    of its URL in this process. May be used from many threads at once.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if the options contradict each other. An unknown URL scheme shows at the first call.
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
        return f"<Memory {self.namespace!r}{' (closed)' if self._source.closed else ''}>"

    @property
    def namespace(self) -> str:
        """The name of this memory's namespace."""
        return self._plans.namespace

    @property
    def store(self) -> Store:
        """The store under this memory; opens it if need be."""
        return self._source.open()

    def close(self) -> None:
        """Give the store back; calling again does nothing, other calls then raise ``Closed``."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------------------------- entries

    def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: TTL = None,
        ttl_seconds: TTL = None,
        if_version: int | None = None,
        request_id: str | None = None,
    ) -> int:
        """Store ``value`` under ``key`` and return the entry's version. Durable when it returns.

        Args:
            key: any text of 1 to 512 bytes of UTF-8 without control characters.
            value: any JSON value: None, bool, int of any size, finite float, str, or lists and str-keyed dicts of these.
            ttl: seconds until the entry expires; without it, it stays, even if it was to expire before.
            ttl_seconds: another name for ``ttl``.
            if_version: write only if the entry is at this version; 0 means only if there is no entry.
            request_id: a name for this call; a repetition of it is not applied again, and returns the same version.

        Raises:
            InvalidName, InvalidValue: before anything is written.
            VersionConflict: if ``if_version`` is not the entry's version; carries the current one.
            StoreUnavailable: if the store cannot be written; its subclasses say why.
        """
        if ttl is not None and ttl_seconds is not None:
            raise InvalidValue("ttl= and ttl_seconds= are two names of one thing; give one of them")
        lifetime = ttl if ttl is not None else ttl_seconds
        return run(self._plans.set(key, value, lifetime, if_version, request_id), self._source.open())

    def get(self, key: str, default: Any = None) -> Any:
        """The value under ``key``, equal to the one stored and of the same type; ``default`` if there is none.

        Raises:
            StoreCorrupt: if what is stored cannot be read back.
        """
        return run(self._plans.get(key, default), self._source.open())

    def get_entry(self, key: str) -> Entry | None:
        """The entry under ``key``: value, version and times; None if there is none."""
        return run(self._plans.get_entry(key), self._source.open())

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values there are under ``keys``, as they were at one moment."""
        return run(self._plans.get_many(keys), self._source.open())

    def set_many(self, values: Mapping[str, Any], *, ttl: TTL = None, request_id: str | None = None) -> dict[str, int]:
        """Store all values, or none, in one transaction; returns their versions by key."""
        return run(self._plans.set_many(values, ttl, request_id), self._source.open())

    def delete(self, key: str, *, if_version: int | None = None) -> bool:
        """Remove the entry under ``key``; returns whether it was there.

        Raises:
            VersionConflict: if ``if_version`` is given and is not the entry's version.
        """
        return run(self._plans.delete(key, if_version), self._source.open())

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove the entries under ``keys`` in one transaction; returns how many there were."""
        return run(self._plans.delete_many(keys), self._source.open())

    def exists(self, key: str) -> bool:
        """Whether there is an entry under ``key``."""
        return run(self._plans.exists(key), self._source.open())

    def list_keys(self, prefix: str = "") -> Keys:
        """All keys that start with ``prefix``, in code point order.

        A ``*`` in it stands for any text, as in ``"user:*"``; ``iter_keys`` takes it literally.
        """
        return run(self._plans.list_keys(prefix), self._source.open())

    def keys(self, prefix: str = "") -> Keys:
        """The same as ``list_keys``."""
        return self.list_keys(prefix)

    def iter_keys(self, prefix: str = "", page_size: int = PAGE) -> Iterator[str]:
        """All keys that start with ``prefix``, in code point order, read a page at a time.

        A key that is there all the while is seen once, whatever is written meanwhile.
        """
        prefix, page_size = check_prefix(prefix), check_count(page_size, "page_size", 1)
        return _paged(self._source, lambda after: self._plans.key_page(prefix, after, page_size), page_size, lambda key: key)

    def items(self, prefix: str = "", page_size: int = PAGE) -> Iterator[tuple[str, Any]]:
        """All keys that start with ``prefix`` with their values, in code point order, read a page at a time."""
        prefix, page_size = check_prefix(prefix), check_count(page_size, "page_size", 1)
        return _paged(self._source, lambda after: self._plans.item_page(prefix, after, page_size), page_size, lambda item: item[0])

    def count(self, prefix: str = "") -> int:
        """The number of entries whose key starts with ``prefix``."""
        return run(self._plans.count(prefix), self._source.open())

    def clear(self, prefix: str = "") -> int:
        """Remove every entry whose key starts with ``prefix``: all, by default. Returns how many. Sessions stay."""
        return run(self._plans.clear(prefix), self._source.open())

    def update(self, key: str, function: Callable[[Any], T], default: Any = None) -> T:
        """Replace the value by ``function(value)`` and return the new one; atomic, by compare-and-set.

        The function is called again when another writer was faster, so it should do nothing but compute. It is
        given ``default`` if there is no entry. A time to live stays as it is.

        Raises:
            VersionConflict: if others were faster a hundred times in a row.
        """
        return run(self._plans.update(key, function, default), self._source.open())

    def increment(self, key: str, by: float = 1, *, request_id: str | None = None) -> Any:
        """Add ``by`` to the number under ``key`` (0 if there is none), atomically in the store; returns the sum.

        Raises:
            InvalidValue: if the value is not a number, or the sum is not finite.
        """
        return run(self._plans.increment(key, by, request_id), self._source.open())

    def append(self, key: str, *items: Any, max_items: int | None = None, request_id: str | None = None) -> int:
        """Add ``items`` to the list under ``key`` (empty if there is none), atomically; returns its length.

        With ``max_items`` only that many last ones are kept. For messages, a ``session`` is the better list.

        Raises:
            InvalidValue: if the value is not a list.
        """
        return run(self._plans.append(key, items, max_items, request_id), self._source.open())

    def merge(self, key: str, patch: Any, *, request_id: str | None = None) -> Any:
        """Merge ``patch`` into the object under ``key``, atomically, by RFC 7396: None removes a member. Returns the result."""
        return run(self._plans.merge(key, patch, request_id), self._source.open())

    def change(
        self, key: str, rule: Rule, argument: Any, *, max_items: int | None = None, request_id: str | None = None
    ) -> tuple[int, Any]:
        """What ``increment``, ``append`` (of a list of items) and ``merge`` do, with the version at which it left the entry.

        Returns:
            The entry's version, and what the method of that name returns, as they were at one moment.
        """
        return run(self._plans.change(key, rule, argument, max_items, request_id), self._source.open())

    def search(self, query: str, limit: int = 20) -> Hits:
        """The entries that contain every word of ``query``, in any case, in key or value, best match first.

        Lexical: it compares letters, not meaning. Every entry of the namespace is looked at.
        """
        return run(self._plans.search(query, limit), self._source.open())

    def watch(self, prefix: str = "", *, initial: bool = False, timeout: float | None = None) -> Watch:
        """Changes to entries as they happen, whoever makes them, in whatever process: an iterator of ``EntryChange``s.

        It tells of what is written once this call has returned: of every key that is no longer as it was when it was told of
        last, with what is there now. Several changes of a key in quick succession may come as one. After trouble with the
        connection it goes on, and nothing is missed; while the store cannot be read it tries again, for ever.

        Args:
            prefix: only of keys that start with it; a ``*`` in it stands for any text, as in ``list_keys``.
            initial: tell first of what is there already.
            timeout: seconds without a change after which the iteration ends; iterating again goes on. None for never.

        Close it, or use it as ``with memory.watch() as changes:``; ``close`` also ends an iteration that waits in another
        thread. It keeps some 300 bytes in memory for each key with the prefix, and may compare all of their versions after a change.

        Raises:
            InvalidName, InvalidValue: at once. StoreUnavailable: if the store cannot be read now, or when the timeout ends.
        """
        from botwire._looking import EntryLooking  # late: few programs watch
        from botwire._watch import Watch

        return Watch(self._source, EntryLooking(self.namespace, *split_glob(prefix), initial), timeout)

    # ------------------------------------------------------------------------------------ sessions

    def session(self, session_id: str, *, agent: str | None = None, ttl: TTL = None) -> Session:
        """The session of that id, begun by its first message; costs no I/O.

        Args:
            session_id: any text that could be a key; sessions and keys never collide.
            agent: one agent's own transcript inside the session.
            ttl: seconds after its last write at which the whole session expires; None leaves what is set.
        """
        return Session(self._source, SessionPlans(self.namespace, session_id, agent, ttl))

    def sessions(self) -> Infos:
        """The sessions there are, and within each its agents' transcripts, by name."""
        return run(self._plans.sessions(), self._source.open())

    def delete_session(self, session_id: str) -> bool:
        """Remove a session with all its agents' transcripts; returns whether there was one."""
        return run(self._plans.delete_session(session_id), self._source.open())

    def namespaces(self) -> Keys:
        """The namespaces of this store that hold anything."""
        return run(self._plans.namespaces(), self._source.open())

    # ------------------------------------------------------------------------------- as of a dict

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.exists(key)

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return True  # an empty memory is still a memory

    def __iter__(self) -> Iterator[str]:
        return self.iter_keys()

    def list(self, prefix: str = "") -> Keys:
        """The same as ``list_keys``."""
        return self.list_keys(prefix)


def _paged(source: Source, plan: Callable[[str | None], Plan[Any]], size: int, key_of: Callable[[Any], str]) -> Iterator[Any]:
    page: list[Any] = run(plan(None), source.open())
    while page:
        yield from page
        page = run(plan(key_of(page[-1])), source.open()) if len(page) >= size else []
