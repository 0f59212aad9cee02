"""From a URL to a store. The table holds names, not classes: a driver is imported when its URL is opened."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, cast

from botwire._errors import InvalidValue
from botwire.stores._protocol import Store

_SCHEMES = {
    "sqlite": "botwire.stores.sqlite:SQLiteStore",
    "memory": "botwire.stores.sqlite:SQLiteStore",
    "http": "botwire.stores.http:HTTPStore",
    "https": "botwire.stores.http:HTTPStore",
    "redis": "botwire.stores.redis:RedisStore",
    "rediss": "botwire.stores.redis:RedisStore",
    "redis+cluster": "botwire.stores.redis:RedisStore",
    "rediss+cluster": "botwire.stores.redis:RedisStore",
    "redis+sentinel": "botwire.stores.redis:RedisStore",
    "rediss+sentinel": "botwire.stores.redis:RedisStore",
    "postgresql": "botwire.stores.postgres:PostgresStore",
    "postgres": "botwire.stores.postgres:PostgresStore",
}
KNOWN_SCHEMES = tuple(_SCHEMES)
"""URL schemes that ``open_store`` knows."""

DEFAULT_TIMEOUT = 30.0
"""Seconds that one call may take before it raises, unless the caller says otherwise."""


def default_path() -> Path:
    """The file of the embedded store: ``memory.db`` in the user's data directory."""
    import platformdirs  # late: `import botwire` loads nothing that it does not need

    return Path(platformdirs.user_data_path("botwire", appauthor=False)) / "memory.db"


def resolve_url(url: str | None) -> tuple[str, str]:
    """The URL of the store to use and, for people, why: given, ``BOTWIRE_URL``, or the default."""
    if url is not None:
        return url, "given as url"
    if from_environment := os.environ.get("BOTWIRE_URL"):
        return from_environment, "from the environment variable BOTWIRE_URL"
    return "sqlite://", "the default: neither url= nor BOTWIRE_URL is set"


def open_store(url: str | None = None, *, token: str | None = None, timeout: float = DEFAULT_TIMEOUT, **options: Any) -> Store:
    """A new store for ``url``; whoever opens it closes it.

    Args:
        url: one of the forms ``sqlite:///path/to/file.db``, ``sqlite://`` (the default file), ``memory://``,
            ``http://host:port``, ``https://host``, ``postgresql://user@host/database``; None for ``BOTWIRE_URL``, or else the default file.
        token: for a server that asks for one; None for ``BOTWIRE_TOKEN``.
        timeout: seconds that one call may take.
        options: what else the store's class takes.

    Raises:
        InvalidValue: if the URL has a scheme that is not known; the message lists those that are.
    """
    url = resolve_url(url)[0]
    scheme, separator, _ = url.partition("://")
    target = _SCHEMES.get(scheme.lower()) if separator else None
    if target is None:
        known = ", ".join(f"{name}://" for name in KNOWN_SCHEMES)
        raise InvalidValue(f"no store for the URL {_without_secret(url)!r}; known are {known} (a file is sqlite:///path/to/file.db)")
    module, _, name = target.partition(":")
    store_class = getattr(importlib.import_module(module), name)
    if scheme.lower() in ("http", "https"):
        options["token"] = token if token is not None else os.environ.get("BOTWIRE_TOKEN")
    return cast("Store", store_class(url, timeout=timeout, **options))


def _without_secret(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2] if separator else url
