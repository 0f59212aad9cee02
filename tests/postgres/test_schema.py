"""The tables: made once by whoever comes first, where the URL says, in parts if it asks for them, and never a newer botwire's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from botwire import Memory
from botwire._errors import InvalidValue, StoreIncompatible, Unauthorized
from botwire.stores import Append, Batch, Set
from botwire.stores._open import open_store as open_by_url
from botwire.stores._protocol import Cap, Terms
from botwire.testing._base import together

SCHEMA_1 = (Path(__file__).parent / "schema_1.sql").read_text()
RACER = """
import sys
from botwire.stores import Batch, Change, open_store
store = open_store(sys.argv[1])
sys.stdin.readline()
outcome = store.write([Batch("ns", (Change("n", "increment", "1"),))])[0]
assert isinstance(outcome, list), outcome
store.close()
"""


def test_eight_processes_that_come_first_at_once_make_the_tables_once(url, server, database):
    processes = [subprocess.Popen([sys.executable, "-c", RACER, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert server.execute("SELECT value FROM botwire.entry WHERE key = 'n'", database=database) == [("8",)]
    assert server.execute("SELECT count(*) FROM botwire.schema_version", database=database) == [(1,)]


def columns(server, database):
    """All that the catalogue says of the tables: columns in their order, and indexes."""
    named = "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, collation_name FROM information_schema.columns"
    indexes = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'botwire' ORDER BY 1, 2"
    return server.execute(f"{named} WHERE table_schema = 'botwire' ORDER BY 1, 2", database=database), server.execute(
        indexes, database=database
    )


def test_an_older_schema_is_brought_forward_with_all_it_holds(open_store, server, database):
    with server.connect(database) as connection:
        connection.execute(SCHEMA_1)
        connection.execute("INSERT INTO botwire.entry VALUES ('ns', 'k', 7, 1, 2, NULL, '\"old\"')")
        connection.execute("INSERT INTO botwire.log VALUES ('ns', 's', '', nextval('botwire.log_id'), 1, 1, 1, 1, NULL, NULL, 'e', '{}')")
        connection.execute("INSERT INTO botwire.message SELECT 'ns', id, 1, 1, '{}' FROM botwire.log")
    stores = [open_store() for _ in range(4)]
    together(*[lambda store=store: store.get("ns", "k") for store in stores])
    store = stores[0]
    assert store.get("ns", "k")[:3] == ("k", '"old"', 7)
    assert store.write([Batch("ns", (Set("k", '"new"'), Append("s", "", ("{}",))))])[0] == [8, ("e", 2, 2)]
    assert server.execute("SELECT version FROM botwire.schema_version", database=database) == [(2,)]
    outcome = store.write([Batch("ns", (Set("more", "1"),), None, Terms(cap=Cap(bytes=10, keys=2, sessions=1)))])[0]
    assert outcome == [1], "what was there before is counted: 5 bytes, two messages of 2, and the new one's"
    assert store.check()["ok"]
    with server.database() as fresh:
        open_store(server.url(fresh)).get("ns", "k")
        assert columns(server, database) == columns(server, fresh)


def test_an_older_schema_in_parts_is_brought_forward_too(open_store, server, database):
    parted = re.sub(r"(CREATE TABLE botwire.entry \(.*?\)\)) WITH [^;]*", r"\1 PARTITION BY HASH (namespace)", SCHEMA_1, flags=re.DOTALL)
    assert parted != SCHEMA_1
    with server.connect(database) as connection:
        connection.execute(parted)
        for part in range(3):
            connection.execute(
                f"CREATE TABLE botwire.entry_{part} PARTITION OF botwire.entry FOR VALUES WITH (MODULUS 3, REMAINDER {part})"
            )
    store = open_store()
    for number in range(9):
        for _ in range(2):
            assert isinstance(store.write([Batch(f"ns{number}", (Set("k", "1"),), None, Terms(cap=Cap(keys=1)))])[0], list)
    assert store.check()["ok"]


def test_a_newer_schema_is_left_as_it_is(store, open_store, server, database):
    store.write([Batch("ns", (Set("k", "1"),))])
    server.execute("UPDATE botwire.schema_version SET version = 99", database=database)
    newer = open_store()
    with pytest.raises(StoreIncompatible, match="upgrade botwire"):
        newer.get("ns", "k")
    with pytest.raises(StoreIncompatible, match="99"):
        newer.write([Batch("ns", (Set("k", "2"),))])
    assert server.execute("SELECT s.version, value FROM botwire.schema_version s, botwire.entry", database=database) == [(99, "1")]


def test_another_schema_is_another_store(open_store, server, database):
    one, other = open_store(server.url(database, schema="one")), open_store(server.url(database, schema="Other_2"))
    one.write([Batch("ns", (Set("k", "1"),))])
    assert other.get("ns", "k") is None
    assert other.url.endswith("?schema=Other_2")
    assert server.execute("SELECT value FROM one.entry", database=database) == [("1",)]


def test_partitions_are_made_and_used(open_store, server, database):
    store = open_store(server.url(database, partitions="16"))
    for number in range(40):
        store.write([Batch(f"ns{number}", (Set("k", "1"), Append("s", "", ("{}",)))), Batch(f"ns{number}", (Append("s", "", ("{}",)),))])
    tables = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'botwire' AND relispartition"
    assert server.execute(f"{tables} AND relkind = 'r'", database=database) == [(64,)]
    used = server.execute("SELECT count(DISTINCT tableoid) FROM botwire.message", database=database)[0][0]
    assert used > 8
    assert store.namespaces(None, 100) == sorted(f"ns{number}" for number in range(40))
    plan = server.execute(
        "EXPLAIN SELECT 1 FROM botwire.entry WHERE namespace = 'ns7' AND key > 'a' ORDER BY key LIMIT 1", database=database
    )
    assert "Append" not in "".join(line for (line,) in plan)
    assert store.check()["ok"]


def test_the_contracts_hardest_part_holds_with_partitions(open_store, server, database):
    memory = Memory("ns", store=open_store(server.url(database, partitions="3")))
    session = memory.session("s", ttl=1_000)
    assert session.append(("user", "1"), ("user", "2"), request_id="r") == session.append(("user", "1"), ("user", "2"), request_id="r")
    assert memory.increment("n", request_id="r") == memory.increment("n", request_id="r") == 1
    assert (session.pop().seq, session.clear(), memory.clear()) == (2, 1, 1)


@pytest.mark.parametrize(
    "options", ["schema=a-b", "schema=", "schema=pg_x", "partitions=-1", "partitions=x", "connections=0", "nonsense=1"]
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_done(options):
    with pytest.raises(InvalidValue):
        open_by_url(f"postgresql://me:hunter2@127.0.0.1/x?{options}")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "POSTGRESQL"])
def test_both_names_of_the_scheme_are_one_store(scheme):
    store = open_by_url(f"{scheme}://me:hunter2@127.0.0.1:5433,db2/x?schema=other&sslmode=require")
    assert store.url == "postgresql://me@127.0.0.1:5433,db2/x?schema=other"
    store.close()


def test_a_user_without_rights_is_told_which_are_missing(server, database, open_store):
    server.execute("DROP ROLE IF EXISTS poor")
    server.execute("CREATE ROLE poor LOGIN")
    store = open_store(f"postgresql://poor@127.0.0.1:{server.port}/{database}")
    with pytest.raises(Unauthorized, match="CREATE on the database"):
        store.get("ns", "k")
    server.execute(f"GRANT CREATE ON DATABASE {database} TO poor")
    assert store.get("ns", "k") is None


def test_a_database_of_another_encoding_is_refused(server, open_store):
    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        with pytest.raises(StoreIncompatible, match="UTF8"):
            open_store(server.url("latin")).write([Batch("ns", (Set("k", "1"),))])
    finally:
        server.execute("DROP DATABASE latin WITH (FORCE)")
