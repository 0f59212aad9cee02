"""What is deleted is gone from everywhere, what is beside it stays, and the count is true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from engines.stores import Stores

from botwire import Memory
from botwire._forget import delete_namespace, delete_sessions
from botwire.server import serve_in_thread
from botwire.stores import Append, Batch, Store, open_store
from botwire.stores._keeping import Gone


@pytest.fixture(params=["postgres", "redis"])
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store that is no file."""
    with Stores() as stores, stores.empty(request.param, tmp_path) as url:
        store = open_store(url)
        yield store
        store.close()


@pytest.fixture(params=["sqlite", "http"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite://{tmp_path}/m.db")
    if request.param == "sqlite":
        yield store
    else:
        with serve_in_thread(store) as url:
            client = open_store(url)
            yield client
            client.close()
    store.close()


def fill(store: Store, namespace: str) -> None:
    memory = Memory(namespace, store=store)
    memory.set_many({f"k{number}": "secret" for number in range(25)})
    for name in ("user-4", "user-42", "user-42:a", "user-42:b", "user-43", "z"):
        memory.session(name).append(("user", "secret"), ("user", "secret"), request_id=f"r-{name}")
    memory.session("user-42:a", agent="writer").append(("user", "secret"))


def rows_of(tmp_path: Path, namespace: str) -> dict[str, int]:
    """What the file itself still has of a namespace, by table."""
    connection = apsw.Connection(str(tmp_path / "m.db"))
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {}
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if "namespace" in columns:
            found[table] = connection.execute(f"SELECT count(*) FROM {table} WHERE namespace = ?", (namespace,)).get
    connection.close()
    return found


def test_a_deleted_namespace_is_gone_to_the_last_row_and_its_neighbours_stay(kept: Store, tmp_path: Path) -> None:
    for name in ("app", "app2", "ap"):
        fill(kept, name)
    before = rows_of(tmp_path, "app2")

    assert delete_namespace(kept, "app") == (Gone(25, 6, 13), True)

    assert set(rows_of(tmp_path, "app").values()) == {0}
    assert rows_of(tmp_path, "app2") == before
    assert kept.namespaces(None, 10) == ["ap", "app2"]
    assert delete_namespace(kept, "app") == (Gone(), True)
    messages = apsw.Connection(str(tmp_path / "m.db"))
    assert messages.execute("SELECT count(*) FROM message WHERE log NOT IN (SELECT id FROM log)").get == 0
    messages.close()
    Memory("app", store=kept).session("user-4").append(("user", "again"), request_id="r-user-4")  # the id is nobody's any more


def test_a_large_namespace_goes_in_turns(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/m.db?durability=normal")
    memory = Memory("app", store=store)
    memory.set_many({f"k{number}": 1 for number in range(7_000)})
    store.write((Batch("app", (Append("s", "", ("{}",) * 9_000), Append("s", "a", ("{}",) * 100))),))
    assert delete_namespace(store, "app") == (Gone(7_000, 1, 9_100), True)
    assert set(rows_of(tmp_path, "app").values()) == {0}
    store.close()


def test_a_namespace_of_a_store_that_is_no_file_goes_too(away: Store) -> None:
    for name in ("app", "app2"):
        fill(away, name)
    assert delete_namespace(away, "app") == (Gone(25, 6, 13), True)
    assert away.namespaces(None, 10) == ["app2"]
    assert (away.count("app2"), len(away.scan_logs("app2", None, 20))) == (25, 7)
    assert delete_namespace(away, "app") == (Gone(), True)
    Memory("app", store=away).session("user-4").append(("user", "again"), request_id="r-user-4")  # the id is nobody's any more


def test_sessions_are_deleted_by_the_beginning_of_their_ids(kept: Store) -> None:
    fill(kept, "ns")
    assert delete_sessions(kept, "ns", "user-42:") == Gone(0, 2, 5)
    assert [log.session for log in kept.scan_logs("ns", None, 20)] == ["user-4", "user-42", "user-43", "z"]
    assert delete_sessions(kept, "ns", "user-42") == Gone(0, 1, 2)
    assert delete_sessions(kept, "ns", "nobody") == Gone()
    assert delete_sessions(kept, "ns", "") == Gone(0, 3, 6)
    assert kept.count("ns") == 25


@pytest.mark.parametrize("prefix", ["\U00010000", "\ue000", "a", "é", "!"])
def test_the_beginning_of_an_id_may_be_any_text(kept: Store, prefix: str) -> None:
    memory = Memory("ns", store=kept)
    names = [prefix, prefix + "1", prefix + "\U0010ffff", chr(ord(prefix) + 1), "\ud7ff"]
    for name in names:
        memory.session(name).append(("user", "x"))
    assert delete_sessions(kept, "ns", prefix).sessions == sum(name.startswith(prefix) for name in names)
    assert [log.session for log in kept.scan_logs("ns", None, 20)] == sorted(name for name in names if not name.startswith(prefix))


def test_hundreds_of_sessions_are_deleted_page_by_page(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/m.db?durability=normal")
    store.write([Batch("ns", tuple(Append(f"s{number:04}", "", ("{}",)) for number in range(950)))])
    store.write([Batch("ns", (Append("s0199", "x", ("{}",)), Append("t", "", ("{}",))))])
    assert delete_sessions(store, "ns", "s") == Gone(0, 950, 951)
    assert [log.session for log in store.scan_logs("ns", None, 20)] == ["t"]
    store.close()


def test_the_routes_say_how_much_went(client: httpx.Client, store: Store) -> None:
    fill(store, "ns")
    assert client.delete("/sessions/ns", params={"prefix": "user-42:"}).json() == {
        "namespace": "ns",
        "deleted": {"sessions": 2, "messages": 5},
    }
    assert client.delete("/sessions/ns", params={"prefx": "user"}).status_code == 400
    assert client.delete("/namespaces/ns", headers={"If-Match": '"1"'}).status_code == 400
    deleted = client.delete("/namespaces/ns").json()["deleted"]
    assert deleted == {"entries": 25, "sessions": 4, "messages": 8, "entirely": True}


# -------------------------------------------------------------------------------------- the command


def test_botwire_forget_deletes_what_it_is_told_and_nothing_else(tmp_path: Path, botwire: Any) -> None:
    url = f"sqlite://{tmp_path}/m.db"
    store = open_store(url)
    fill(store, "ns")

    def forget(*arguments: str) -> Any:
        return botwire("forget", "-n", "ns", *arguments, "--url", url, "--yes", "--json")

    assert json.loads(forget("--session", "user-42:a").stdout) | {"namespace": 0} == {
        "namespace": 0,
        "entries": 0,
        "sessions": 1,
        "messages": 3,
        "entirely": True,
    }
    assert forget("--session", "user-42:a").returncode == 1
    assert json.loads(forget("--sessions", "user-42").stdout)["sessions"] == 2
    assert json.loads(forget("--keys", "k1").stdout)["entries"] == 11
    assert json.loads(forget("--everything").stdout)["entries"] == 14
    assert store.namespaces(None, 10) == []
    store.close()


def test_botwire_forget_asks_first(tmp_path: Path, botwire: Any) -> None:
    url = f"sqlite://{tmp_path}/m.db"
    Memory("ns", url=url).set("a", 1)
    asked = botwire("forget", "-n", "ns", "--everything", "--url", url)
    assert (asked.returncode, "say --yes" in asked.stderr) == (2, True)
    assert botwire("forget", "--everything", "--yes", "--url", url).returncode == 2  # of which namespace?
    assert botwire("forget", "-n", "ns", "--yes", "--url", url).returncode == 2
    assert botwire("forget", "-n", "ns", "--keys", "a", "--everything", "--yes", "--url", url).returncode == 2
    assert Memory("ns", url=url).get("a") == 1
