"""The store on Redis or Valkey: one server, a Cluster, or whatever sentinels call the primary."""

from __future__ import annotations

from botwire._errors import MissingExtra

try:
    import redis  # noqa: F401  # pyright: ignore[reportUnusedImport] - only to say how to install it
except ModuleNotFoundError as error:
    if error.name != "redis":
        raise
    message = "redis:// URLs need the 'redis' package. Install it with: pip install 'botwire[redis]'"
    raise MissingExtra(message, name=error.name) from error

from botwire.stores.redis._store import RedisStore

__all__ = ["RedisStore"]
