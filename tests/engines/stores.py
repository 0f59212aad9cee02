"""Empty stores of every kind, for the adapters' tests: ``with Stores() as stores, stores.empty("postgres", folder) as url: ...``.

One server of each kind serves all tests of a session, and is emptied between them: to start one takes seconds, to empty it
milliseconds. The environment variable ``BOTWIRE_TEST_STORES`` (``sqlite,redis-cluster``) chooses among the kinds on which tests run.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from botwire.stores import open_store

KINDS = ("sqlite", "http", "postgres", "redis", "redis-cluster")
VARIABLE = "BOTWIRE_TEST_STORES"


def chosen() -> tuple[str, ...]:
    """The kinds that the environment names; none if it names none."""
    given = tuple(kind.strip() for kind in os.environ.get(VARIABLE, "").split(",") if kind.strip())
    unknown = set(given) - set(KINDS)
    if unknown:
        raise ValueError(f"{VARIABLE} names {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return given


class Stores:
    """A server of each kind, started when first asked for, ended with the ``with`` block."""

    def __init__(self) -> None:
        self._servers = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    @contextmanager
    def empty(self, kind: str, folder: Path) -> Iterator[str]:
        """The URL of an empty store."""
        with getattr(self, f"_{kind.replace('-', '_')}")(folder) as url:
            try:
                yield url
            finally:
                _close(url)

    def _folder(self) -> Path:
        folder = tempfile.mkdtemp(prefix="botwire-tests-")
        self._servers.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    # ---------------------------------------------------------------------------------- SQLite, HTTP

    @contextmanager
    def _sqlite(self, folder: Path) -> Iterator[str]:
        yield f"sqlite://{folder}/memory.db"

    @contextmanager
    def _http(self, folder: Path) -> Iterator[str]:
        served, url = self._service
        with served.a_file(folder):
            yield url

    @functools.cached_property
    def _service(self) -> tuple[_Served, str]:
        from botwire.server import serve_in_thread

        served = _Served()
        with served.a_file(self._folder()):  # from which the server learns what kind of store it has
            return served, self._servers.enter_context(serve_in_thread(served))  # type: ignore[arg-type] - it has all that the store has

    # ------------------------------------------------------------------------------------ PostgreSQL

    @contextmanager
    def _postgres(self, folder: Path) -> Iterator[str]:
        from engines.postgres import shared

        with shared().connect(self._database) as connection:
            connection.execute(_END_OTHERS)  # nobody whom an earlier test left behind writes into this one's store
            tables = connection.execute(_TABLES).fetchall()
            connection.execute(";".join(f"DELETE FROM botwire.{name}" for (name,) in tables))
        yield shared().url(self._database)

    @functools.cached_property
    def _database(self) -> str:
        from engines.postgres import shared

        return self._servers.enter_context(shared().database())

    # ----------------------------------------------------------------------------------------- Redis

    @contextmanager
    def _redis(self, folder: Path) -> Iterator[str]:
        with self._valkey.client() as client:
            client.flushall()
        yield self._valkey.url

    @functools.cached_property
    def _valkey(self) -> Any:
        from engines.valkey import Valkey

        return self._servers.enter_context(Valkey(self._folder(), appendfsync="always"))  # with less, the store warns

    @contextmanager
    def _redis_cluster(self, folder: Path) -> Iterator[str]:
        cluster = self._valkey_cluster
        for node in cluster.nodes[: cluster.primaries]:
            with node.client() as client:
                client.flushall()
        logger = logging.getLogger("botwire.stores.redis")
        logger.setLevel(logging.ERROR)  # the store warns, rightly, that this Cluster has no replicas and does not wait for the disk
        try:
            yield cluster.url
        finally:
            logger.setLevel(logging.NOTSET)

    @functools.cached_property
    def _valkey_cluster(self) -> Any:
        from engines.valkey_cluster import ValkeyCluster

        cluster = ValkeyCluster(self._folder(), primaries=3, replicas=0, appendfsync="no", cluster_node_timeout=15_000)
        return self._servers.enter_context(cluster)


_END_OTHERS = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'botwire' AND tablename <> 'schema_version'"


class _Served:
    """What the server serves: the file of the test that runs. Asked anew at each call, since a server keeps its store's methods."""

    def __init__(self) -> None:
        self._store: Any = None

    @contextmanager
    def a_file(self, folder: Path) -> Iterator[None]:
        self._store = open_store(f"sqlite://{folder}/memory.db")
        try:
            yield
        finally:
            self._store.close()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)

        def call(*arguments: Any, **options: Any) -> Any:
            return getattr(self._store, name)(*arguments, **options)

        return call if callable(value) else value


def _close(url: str) -> None:
    """Of memories that a test left open: the next test has the same URL, and nothing that was remembered of this one's data holds."""
    source: Any = sys.modules.get("botwire._source")
    for key in [key for key in source._stores if key[0] == url] if source else []:
        source._stores.pop(key).store.close()
