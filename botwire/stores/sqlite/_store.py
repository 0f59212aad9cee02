"""SQLiteStore: the store protocol on one SQLite file, or on RAM."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import apsw

from botwire._errors import Closed, InvalidValue, StoreCorrupt, StoreUnavailable
from botwire.stores._keeping import Copied, Freed, Gone
from botwire.stores._open import DEFAULT_TIMEOUT, default_path
from botwire.stores._protocol import Batch, EntryHit, EntryRow, EntryStamp, LogHit, LogInfo, LogPage, Outcome, Usage
from botwire.stores.sqlite import _fork, _queries, _upkeep, copies
from botwire.stores.sqlite._connections import Connections
from botwire.stores.sqlite._errors import from_apsw
from botwire.stores.sqlite._filelock import FileLock
from botwire.stores.sqlite._listening import Listeners, SQLiteListener
from botwire.stores.sqlite._opening import RAM, Opening
from botwire.stores.sqlite._usage import usage
from botwire.stores.sqlite._writer import Writer

T = TypeVar("T")


def wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


class SQLiteStore:
    """Entries and logs in one SQLite file that many threads and processes may use at once.

    Args:
        url: ``sqlite:///absolute/path.db``, ``sqlite://relative/path.db``, ``sqlite://`` for the default file, or
            ``memory://`` or ``memory://name`` for RAM, which lasts as long as the store is open.
            ``?durability=normal`` survives the death of the process, but may lose the last writes when the power
            goes; the default, ``full``, loses nothing that was acknowledged.
        timeout: seconds to wait for other writers, and then for the disk.
        clock: microseconds since 1970; for tests.
        vfs: the name of an SQLite VFS to use; for tests.

    Does no I/O before its first call; the file is made by the first write. After a fork, parent and child have
    each a store of their own to the same file; from RAM, the child has a copy.
    """

    keeps = True
    """Takes the operations of ``botwire.stores._keeping``."""

    reads_are_fast = True
    """A read is a lookup in this process: a server need not hand it to a thread."""

    def __init__(
        self, url: str = "sqlite://", *, timeout: float = DEFAULT_TIMEOUT, clock: Callable[[], int] = wall_clock, vfs: str | None = None
    ) -> None:
        self.path, durability = _parse(url)
        self.url = "memory://" if self.path == RAM else "sqlite://" + self.path.replace("%", "%25").replace("?", "%3F")
        self.timeout = timeout
        self._clock = clock
        self._closed = False
        self._connections = Connections(Opening(self.path, timeout, durability.upper(), vfs))
        self._writer = self._new_writer()
        look = weakref.WeakMethod(self._written_by_others)  # a store that is forgotten goes at once, and its connections with it
        self._listeners = Listeners(None if self.path == RAM else lambda: (ask := look()) is not None and ask())
        _fork.register(self)

    def __repr__(self) -> str:
        return f"<SQLiteStore {self.url}>"

    def _new_writer(self) -> Writer:
        return Writer(self._connections, None if self.path == RAM else FileLock(self.path), self.timeout, self._clock)

    @property
    def sweeps(self) -> dict[str, int]:
        """What this store has removed as expired since it was opened: how often, and how many rows."""
        return {"sweeps": self._writer.sweeper.runs, "swept_rows": self._writer.sweeper.rows}

    # -------------------------------------------------------------------------------------- writing

    def write(self, batches: Sequence[Batch]) -> list[Outcome]:
        """See ``Store.write``. Many threads' batches share a commit."""
        if not self._listeners:
            return self._writer.write(batches)
        try:
            outcomes = self._writer.write(batches)
        except BaseException:  # of a write whose outcome is not known, listeners hear that there may be something
            self._listeners.tell_of(batches, None)
            raise
        self._listeners.tell_of(batches, outcomes)
        return outcomes

    def delete_namespace(self, namespace: str) -> Gone:
        """Remove all that is kept of a namespace: entries, sessions, remembered requests, meters. What has expired is not counted apart.

        Others write in between; what they write to the namespace meanwhile goes too, until it is empty at one moment.
        """
        return _upkeep.delete_namespace(self._writer.write, namespace)

    def vacuum(self, *, full: bool = False, on_step: Callable[[int], None] = lambda _: None) -> Freed:
        """Give unused space back to the file system while others read and write: see ``_upkeep.vacuum``."""
        return _upkeep.vacuum(self, self._writer.write, full=full, on_step=on_step)

    def backup(self, file: str) -> Copied:
        """Write what the store holds at this moment to a new file: see ``copies.back_up``. Others write on meanwhile."""
        counts = self._read(copies.back_up, None, file)
        if counts is None:
            raise StoreUnavailable(f"{self.path} is not there: nothing has been written yet, so there is nothing to back up")
        return counts

    # -------------------------------------------------------------------------------------- reading

    def get(self, namespace: str, key: str) -> EntryRow | None:
        """See ``Store.get``."""
        return self._read(_queries.get, None, namespace, key)

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, EntryRow]:
        """See ``Store.get_many``."""
        return self._read(_queries.get_many, {}, namespace, keys)

    def scan(self, namespace: str, prefix: str, after: str | None, limit: int) -> list[EntryRow]:
        """See ``Store.scan``."""
        return self._read(_queries.scan, [], namespace, prefix, after, limit)

    def scan_keys(self, namespace: str, prefix: str, after: str | None, limit: int) -> list[str]:
        """See ``Store.scan_keys``."""
        return self._read(_queries.scan_keys, [], namespace, prefix, after, limit)

    def scan_stamps(self, namespace: str, prefix: str, after: str | None, limit: int) -> list[EntryStamp]:
        """See ``Store.scan_stamps``."""
        return self._read(_queries.scan_stamps, [], namespace, prefix, after, limit)

    def count(self, namespace: str, prefix: str = "") -> int:
        """See ``Store.count``."""
        return self._read(_queries.count, 0, namespace, prefix)

    def usage(self, namespace: str) -> Usage:
        """See ``Store.usage``. Reads through the namespace."""
        return self._read(usage, Usage(0, 0, 0, 0, 0, ()), namespace)

    def namespaces(self, after: str | None, limit: int) -> list[str]:
        """See ``Store.namespaces``."""
        return self._read(_queries.namespaces, [], after, limit)

    def read_log(
        self,
        namespace: str,
        session: str,
        agent: str,
        *,
        after: int | None = None,
        before: int | None = None,
        last: int | None = None,
        limit: int | None = None,
    ) -> LogPage:
        """See ``Store.read_log``."""
        return self._read(_queries.read_log, LogPage(None, []), namespace, session, agent, after, before, last, limit)

    def scan_logs(self, namespace: str, after: tuple[str, str] | None, limit: int) -> list[LogInfo]:
        """See ``Store.scan_logs``."""
        return self._read(_queries.scan_logs, [], namespace, after, limit)

    def search(self, namespace: str, words: Sequence[str], limit: int) -> list[EntryHit]:
        """See ``Store.search``. Looks at every entry of the namespace."""
        return self._read(_queries.search, [], namespace, words, limit)

    def search_log(
        self, namespace: str, words: Sequence[str], limit: int, session: str | None = None, agent: str | None = None
    ) -> list[LogHit]:
        """See ``Store.search_log``. Looks at every message there."""
        return self._read(_queries.search_log, [], namespace, words, limit, session, agent)

    def listen(self, namespace: str, session: str | None = None) -> SQLiteListener:
        """See ``Store.listen``. Writes through this store are heard at once, those of other processes within a tenth of a second."""
        if self._closed:
            raise Closed(f"the store {self.url} is closed")
        return self._listeners.listen(namespace, session)

    def _written_by_others(self) -> bool:
        """Whether anybody but this store may have written to the file since this was last asked."""
        with self._writer.mutex:
            changed = self._connections.changed_for_writer()
        return self._connections.changed_for_reader() if changed is None else changed

    def check(self) -> dict[str, Any]:
        """See ``Store.check``: integrity, versions, sizes."""
        absent: dict[str, Any] = {"ok": True, "problems": [], "note": "nothing has been written yet"}
        try:
            found = self._read(_queries.check, absent)
        except StoreCorrupt as error:
            found = {"ok": False, "problems": [f"{self.path} is damaged: {error.__cause__ or error}"]}  # what to do, doctor says
        return {"store": self.url, "sqlite": apsw.sqlite_lib_version(), **found}

    def _read(self, query: Callable[..., T], nothing: T, *arguments: Any) -> T:
        """Run a query at the present time; ``nothing`` is the answer while there is no file."""
        if self._closed:
            raise Closed(f"the store {self.url} is closed")
        if self.path == RAM:
            return self._read_ram(query, *arguments)
        connection = self._connections.take_reader()
        if connection is None:
            return nothing
        try:
            return query(connection, self._clock(), *arguments)
        except apsw.Error as error:
            self._connections.distrust()  # what troubles this connection may trouble the idle ones too
            raise from_apsw(error, self.path) from error
        finally:
            self._connections.put_reader(connection)

    def _read_ram(self, query: Callable[..., T], *arguments: Any) -> T:
        try:
            with self._writer.mutex:
                return query(self._connections.writer(), self._clock(), *arguments)
        except apsw.Error as error:
            raise from_apsw(error, self.path) from error

    # ------------------------------------------------------------------------------- closing, forking

    def close(self) -> None:
        """See ``Store.close``. Waits for writes under way."""
        if not self._closed:
            self._closed = True
            self._listeners.close(Closed(f"the store {self.url} is closed"))
            self._writer.close()

    def before_fork(self, deadline: float) -> bool:
        """Close all connections and let nothing use any until ``after_fork``; whether that could be done in time."""
        if not self._writer.mutex.acquire(timeout=max(0.0, deadline - monotonic())):
            return False
        if self._connections.hold(deadline):
            return True
        self._writer.mutex.release()
        return False

    def after_fork(self, held: bool, in_child: bool) -> None:
        """Go on: ``held`` is what ``before_fork`` returned."""
        if held:
            self._connections.let_go()
            self._writer.mutex.release()
        if in_child:  # what other threads of the parent held, or waited for, is nobody's here
            self._connections.begin_anew(held)
            self._writer = self._new_writer()
            self._listeners.begin_anew()


def _parse(url: str) -> tuple[str, str]:
    """The absolute path, or RAM, and the durability that a URL asks for."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    durability = options.pop("durability", "full")
    if durability not in ("full", "normal"):
        raise InvalidValue(f"durability must be full or normal, not {durability!r}, in the URL {url!r}")
    if options:
        raise InvalidValue(f"unknown option {next(iter(options))!r} in the URL {url!r}; durability is the only one")
    if scheme.lower() == "memory":
        return RAM, durability
    path = os.path.expanduser(unquote(place)) if place else str(default_path())
    if path.startswith("~"):
        raise InvalidValue(f"there is no home directory to find {path!r} in; set HOME, or name the file: sqlite:///path/to/file.db")
    if "\0" in path or not os.path.basename(path) or not _is_text(path):
        raise InvalidValue(f"the URL {url!r} names no file; use sqlite:///path/to/file.db")
    if os.name == "nt" and path.startswith("/") and path[2:3] == ":":
        path = path[1:]  # sqlite:///C:/folder/file.db
    if path.startswith("//"):  # sqlite:////folder/file.db, as other libraries have it
        path = "/" + path.lstrip("/")
    return os.path.abspath(path), durability


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
