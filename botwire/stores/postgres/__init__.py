"""The PostgreSQL store: one database for many machines."""

from __future__ import annotations

from botwire._errors import MissingExtra

try:
    import psycopg  # noqa: F401  # pyright: ignore[reportUnusedImport] - only to say how to install it
    import psycopg_pool  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ModuleNotFoundError as error:
    if error.name not in ("psycopg", "psycopg_pool"):
        raise
    message = f"the PostgreSQL store needs the {error.name!r} package. Install it with: pip install 'botwire[postgres]'"
    raise MissingExtra(message, name=error.name) from error

from botwire.stores.postgres._store import AsyncPostgresStore, PostgresStore

__all__ = ["AsyncPostgresStore", "PostgresStore"]
