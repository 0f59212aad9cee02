"""The embedded store: one SQLite file, or RAM."""

from botwire.stores.sqlite._store import SQLiteStore

__all__ = ["SQLiteStore"]
