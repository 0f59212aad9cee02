"""The tables, and the way from an older layout to the present one.

Every primary key begins with the namespace, so tables can be partitioned by its hash, or distributed by it. Names are
compared byte by byte (``COLLATE "C"``), so that a prefix is a range, in the order that every other store has. Values and
bodies are text: JSONB would refuse NUL, reorder members and lose duplicates.
"""

from __future__ import annotations

from botwire._errors import StoreIncompatible
from botwire.stores.postgres._script import BEGIN, COMMIT, Query, Script, Trip

VERSION = 2

_TABLES = {
    "entry": """
        namespace  text COLLATE "C" NOT NULL,
        key        text COLLATE "C" NOT NULL,
        version    int8 NOT NULL,
        created_at int8 NOT NULL,
        updated_at int8 NOT NULL,
        expires_at int8,
        value      text COLLATE "C" NOT NULL,
        replaced   int4,
        PRIMARY KEY (namespace, key)""",
    "log": """
        namespace  text COLLATE "C" NOT NULL,
        session    text COLLATE "C" NOT NULL,
        agent      text COLLATE "C" NOT NULL,
        id         int8 NOT NULL,
        head       int8 NOT NULL,
        count      int8 NOT NULL,
        created_at int8 NOT NULL,
        updated_at int8 NOT NULL,
        ttl        int8,
        expires_at int8,
        epoch      text COLLATE "C" NOT NULL,
        metadata   text COLLATE "C" NOT NULL,
        PRIMARY KEY (namespace, session, agent)""",
    "message": """
        namespace  text COLLATE "C" NOT NULL,
        log        int8 NOT NULL,
        seq        int8 NOT NULL,
        created_at int8 NOT NULL,
        body       text COLLATE "C" NOT NULL,
        PRIMARY KEY (namespace, log, seq)""",
    "request": """
        namespace   text COLLATE "C" NOT NULL,
        name        bytea NOT NULL,
        expires_at  int8 NOT NULL,
        fingerprint bytea NOT NULL,
        results     text COLLATE "C" NOT NULL,
        PRIMARY KEY (namespace, name)""",
    "meter": """
        namespace  text COLLATE "C" NOT NULL,
        name       text COLLATE "C" NOT NULL,
        amount     int8 NOT NULL,
        expires_at int8 NOT NULL,
        PRIMARY KEY (namespace, name)""",
    "listener": """
        namespace  text COLLATE "C" NOT NULL,
        id         text COLLATE "C" NOT NULL,
        expires_at int8 NOT NULL,
        PRIMARY KEY (namespace, id)""",
    "usage": """
        namespace text COLLATE "C" NOT NULL,
        counted   bool NOT NULL,
        bytes     int8 NOT NULL,
        keys      int8 NOT NULL,
        sessions  int8 NOT NULL,
        PRIMARY KEY (namespace)""",
    "usage_change": """
        namespace text COLLATE "C" NOT NULL,
        id        int8 NOT NULL,
        bytes     int8 NOT NULL,
        keys      int8 NOT NULL,
        session   text COLLATE "C",
        logs      int8 NOT NULL,
        PRIMARY KEY (namespace, id)""",
}
"""``log.id`` names a log's messages in short. A request's name is a hash of scope and id, which may be long. ``entry.replaced``
is how many bytes the value had in whose place this one came, NULL if there was none: so the statement that writes learns it, whoever
came in between. What ``usage`` holds, ``_counting`` says."""

PARTITIONED = ("entry", "log", "message", "request")
_EXPIRING = ("entry", "log", "request", "meter")
_SEQUENCES = ("log_id", "usage_change_id")
_ROOM = {"entry": 90, "log": 70, "usage": 50}
"""Per cent to which a page is filled at first: rows that are replaced in their page need no new index entries."""

_LOOK = Query("SELECT (SELECT version FROM @.schema_version), current_setting('server_encoding')")


def create_statements(partitions: int = 0) -> list[str]:
    """All statements that make the tables; ``partitions`` over 0 splits the large ones by a hash of the namespace."""
    made = ["CREATE TABLE @.schema_version (version int4 NOT NULL)", *(f"CREATE SEQUENCE @.{name}" for name in _SEQUENCES)]
    for table, columns in _TABLES.items():
        if partitions and table in PARTITIONED:
            made.append(f"CREATE TABLE @.{table} ({columns}) PARTITION BY HASH (namespace)")
            for part in range(partitions):
                bounds = f"FOR VALUES WITH (MODULUS {partitions}, REMAINDER {part})"
                made.append(f"CREATE TABLE @.{table}_{part} PARTITION OF @.{table} {bounds}{_room(table)}")
        else:
            made.append(_create(table))
    made += [f"CREATE INDEX {table}_expiry ON @.{table} (expires_at) WHERE expires_at IS NOT NULL" for table in _EXPIRING]
    return [*made, f"INSERT INTO @.schema_version VALUES ({VERSION})"]


def _room(table: str) -> str:
    return f" WITH (fillfactor = {_ROOM[table]})" if table in _ROOM else ""


def _create(table: str) -> str:
    return f"CREATE TABLE @.{table} ({_TABLES[table]}){_room(table)}"


MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: ("ALTER TABLE @.entry ADD COLUMN replaced int4", "CREATE SEQUENCE @.usage_change_id", _create("usage"), _create("usage_change")),
}
"""Statements that bring a schema of version N to N + 1, by N."""


def is_there() -> Script[None]:
    """Return if the tables are there, and this botwire knows them; an error of the server's if they are not.

    Raises:
        StoreIncompatible: if they are a newer botwire's, or hold no UTF-8.
    """
    ((version, encoding),) = (yield Trip((_LOOK,)))[0]
    if encoding != "UTF8":
        raise StoreIncompatible(f"the database's encoding is {encoding}, which cannot hold all text; create one with ENCODING 'UTF8'")
    if version is None:
        raise StoreIncompatible("the table schema_version is empty: these tables are not botwire's, or were damaged; see ?schema=")
    if version > VERSION:
        text = f"the schema has version {version}, this botwire knows up to {VERSION}; upgrade botwire to open it (it was left as it is)"
        raise StoreIncompatible(text)
    if version < VERSION:
        yield from _migrate()


def make(schema: str, partitions: int) -> Script[None]:
    """Make schema and tables, unless another process has done so meanwhile, who is waited for; in one transaction."""
    yield Trip((BEGIN, _lock(schema)))
    ((there,),) = (yield Trip((Query("SELECT to_regclass('@.schema_version') IS NOT NULL"),)))[0]
    if there:
        yield Trip((COMMIT,))
        return
    ((known,),) = (yield Trip((Query("SELECT to_regnamespace($1::text) IS NOT NULL", ('"' + schema.replace('"', '""') + '"',)),)))[0]
    statements = [] if known else ["CREATE SCHEMA @"]
    yield Trip([Query(text) for text in statements + create_statements(partitions)])
    yield Trip((COMMIT,))


def _lock(schema: str) -> Query:
    """Held until the end of the transaction, so it is safe behind a pooler; taken only to make or migrate tables."""
    return Query("SELECT pg_advisory_xact_lock(hashtext('botwire schema'), hashtext($1::text))", (schema,))


def _migrate() -> Script[None]:
    yield Trip((BEGIN, _lock("migration")))
    ((version,),) = (yield Trip((Query("SELECT version FROM @.schema_version FOR UPDATE"),)))[0]
    for step in range(version, VERSION):
        if step not in MIGRATIONS:
            raise StoreIncompatible(f"the schema has version {step}, which this botwire cannot migrate; use an older one to export it")
        yield Trip([Query(text) for text in MIGRATIONS[step]])
    yield Trip((Query("UPDATE @.schema_version SET version = $1::int4", (VERSION,)), COMMIT))
