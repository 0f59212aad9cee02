"""Retention rules remove what is older than they say, and nothing that is newer, whoever writes meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from botwire import InvalidValue, Memory, VersionConflict
from botwire._retention import Retention, Rule, apply_rules, read_rules
from botwire.server import Operating, serve_in_thread
from botwire.server._retention import Lease
from botwire.stores import Batch, LogInfo, LogRow, Restore, RestoreLog, SetLog, Store, open_store
from botwire.stores._keeping import Gone
from botwire.stores._protocol import EntryRow
from botwire.stores.sqlite import SQLiteStore

DAY = 86_400_000_000
NOW = time.time_ns() // 1_000


class Plain:
    """A store that knows the protocol alone, as one of another kind does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name in ("keeps", "delete_namespace"):
            raise AttributeError(name)
        return getattr(self._store, name)


@pytest.fixture(params=["sqlite", "http", "plain"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite://{tmp_path}/m.db")
    if request.param == "sqlite":
        yield store
    elif request.param == "plain":
        yield Plain(store)  # type: ignore[misc]
    else:
        with serve_in_thread(store) as url:
            client = open_store(url)
            yield client
            client.close()
    store.close()


def put(store: Store, key: str, days_ago: float, namespace: str = "ns") -> None:
    at = NOW - int(days_ago * DAY)
    do(store, namespace, Restore(EntryRow(key, "1", 1, at, at, None)))


def put_session(store: Store, session: str, *days_ago: float, agent: str = "", namespace: str = "ns", ttl: int | None = None) -> None:
    times = [NOW - int(days * DAY) for days in days_ago]
    expires_at = None if ttl is None else NOW + ttl
    info = LogInfo(session, agent, "epoch", len(times), len(times), times[0], times[-1], ttl, expires_at, '{"a":1}')
    do(store, namespace, RestoreLog(info, tuple(LogRow(seq, json.dumps({"seq": seq}), at) for seq, at in enumerate(times, 1))))


def do(store: Store, namespace: str, *operations: Any) -> list[Any]:
    outcome = store.write((Batch(namespace, operations),))[0]
    assert isinstance(outcome, list), outcome
    return outcome


def apply(store: Store, *rules: Rule, **options: Any) -> dict[str, Gone]:
    return dict(apply_rules(store, Retention(rules), now=NOW, **options))


def seqs(store: Store, session: str, agent: str = "") -> list[int]:
    return [row.seq for row in store.read_log("ns", session, agent).rows]


def test_old_entries_go_and_newer_ones_stay(kept: Store) -> None:
    for key, days in (("old", 91), ("just old", 90.001), ("just new", 89.999), ("new", 0)):
        put(kept, key, days)
    assert apply(kept, Rule("ns", entries_max_age=90 * 86_400)) == {"ns": Gone(entries=2)}
    assert kept.scan_keys("ns", "", None, 10) == ["just new", "new"]
    assert apply(kept, Rule("ns", entries_max_age=90 * 86_400)) == {}


def test_old_messages_go_from_the_beginning_and_a_session_keeps_its_last_ones(kept: Store) -> None:
    put_session(kept, "aged", 40, 35, 31, 29, 1)
    put_session(kept, "restored out of order", 40, 1, 35, 0)
    put_session(kept, "long", *([0.5] * 12))
    put_session(kept, "long", *([0.5] * 12), agent="writer")
    rule = Rule("ns", messages_max_age=30 * 86_400, keep_last=10)
    assert apply(kept, rule) == {"ns": Gone(messages=3 + 1 + 2 + 2)}
    assert seqs(kept, "aged") == [4, 5]
    assert seqs(kept, "restored out of order") == [2, 3, 4]
    assert seqs(kept, "long") == seqs(kept, "long", "writer") == list(range(3, 13))


def test_a_session_goes_when_all_of_it_is_old(kept: Store) -> None:
    put_session(kept, "old", 400, 380)
    put_session(kept, "old", 390, agent="writer")
    put_session(kept, "half", 400)
    put_session(kept, "half", 1, agent="writer")
    assert apply(kept, Rule("ns", sessions_max_age=365 * 86_400)) == {"ns": Gone(sessions=1, messages=3)}
    assert [(log.session, log.agent) for log in kept.scan_logs("ns", None, 10)] == [("half", ""), ("half", "writer")]


def test_patterns_name_namespaces_exactly_or_by_their_beginning(kept: Store) -> None:
    own = () if kept.url.startswith("http") else ("botwire:system",)  # a server lets nobody write there
    for namespace in ("team", "team-a", "team-b", "other", *own):
        put(kept, "k", 10, namespace)
    assert set(apply(kept, Rule("team-*", entries_max_age=86_400), Rule("other", entries_max_age=86_400))) == {"other", "team-a", "team-b"}
    assert set(apply(kept, Rule("*", entries_max_age=86_400))) == {"team"}
    assert kept.count("botwire:system") == len(own)  # the server's own: tokens, say


def test_a_dry_run_says_the_same_and_removes_nothing(kept: Store) -> None:
    put(kept, "old", 100)
    put_session(kept, "s", 100, 100, 0)
    put_session(kept, "gone", 100)
    rule = Rule("ns", 86_400, 86_400, 86_400)
    would = apply(kept, rule, dry_run=True)
    assert (kept.count("ns"), len(seqs(kept, "s")), len(seqs(kept, "gone"))) == (1, 3, 1)
    assert apply(kept, rule) == would == {"ns": Gone(1, 1, 3)}


def test_what_is_written_between_the_look_and_the_removal_stays(kept: Store) -> None:
    """The store writes to each entry and session once it was listed: everything is newer than the rule when it is to go."""
    put(kept, "entry", 100)
    put_session(kept, "session", 100)
    put_session(kept, "long", *([100.0] * 5))
    memory, busy = Memory("ns", store=kept), Busy(kept)

    removed = dict(apply_rules(busy, Retention((Rule("ns", 86_400, 86_400, 86_400, 2),)), now=NOW))  # type: ignore[arg-type]

    assert removed == {}
    assert memory.get("entry") == "new"
    assert memory.session("session").messages()[-1].text == "new"
    assert len(memory.session("long")) == 6


class Busy:
    """A store that others write to whenever it was listed."""

    anew = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self.memory = Memory("ns", store=store)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def scan(self, *args: Any) -> Any:
        found = self._store.scan(*args)
        if found:
            if self.anew:
                self.memory.delete("entry")
            self.memory.set("entry", "new")
        return found

    scan_stamps = scan

    def scan_logs(self, *args: Any) -> Any:
        found = self._store.scan_logs(*args)
        for name in {log.session for log in found}:
            self.memory.session(name).append(("user", "new"))
        return found


def test_on_sqlite_an_entry_made_anew_under_the_same_version_stays_too(tmp_path: Path) -> None:
    store = SQLiteStore(f"sqlite://{tmp_path}/m.db")
    put(store, "entry", 100)
    busy: Any = Busy(store)
    busy.anew = True
    assert dict(apply_rules(busy, Retention((Rule("ns", 86_400),)), now=NOW)) == {}
    assert Memory("ns", store=store).get("entry") == "new"
    store.close()


def test_on_sqlite_to_trim_a_session_is_not_to_use_it(tmp_path: Path) -> None:
    store = SQLiteStore(f"sqlite://{tmp_path}/m.db")
    put_session(store, "s", 50, 40, 20, ttl=DAY)
    before = store.scan_logs("ns", None, 1)[0]
    apply(store, Rule("ns", messages_max_age=30 * 86_400))
    after = store.scan_logs("ns", None, 1)[0]
    assert after == before._replace(count=1)
    do(store, "ns", SetLog("s", "", metadata='{"b":2}', merge=True))
    store.close()


# ------------------------------------------------------------------------------------------ reading


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "operator.toml"
    file.write_text(text)
    return file


def test_rules_are_read_from_toml(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        retention_every = "30m"
        [[quota]]
        namespace = "others' affair"
        [[retention]]
        namespace = "support*"
        messages_max_age = "30d"
        keep_last = 500
        [[retention]]
        namespace = "cache"
        entries_max_age = "12h"
        sessions_max_age = "2w"
        """,
    )
    rules = (Rule("support*", messages_max_age=2_592_000, keep_last=500), Rule("cache", 43_200, 1_209_600))
    assert read_rules(file) == Retention(rules, 1_800)
    assert read_rules(write(tmp_path, "[server]\nport = 1")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[retention]]\nnamespace = 'a'", "at least one of"),
        ("[[retention]]\nkeep_last = 1\nentries_max_age = '1d'", "must have a namespace"),
        ("[[retention]]\nnamespace = 'a'\nkeep_lost = 1", "unknown setting 'keep_lost'"),
        ("[[retention]]\nnamespace = 'a'\nentries_max_age = 90", "a duration such as"),
        ("[[retention]]\nnamespace = 'a'\nentries_max_age = '0d'", "a duration such as"),
        ("[[retention]]\nnamespace = 'a'\nkeep_last = 0", "at least 1"),
        ("[[retention]]\nnamespace = 'a'\nkeep_last = true", "at least 1"),
        ("[[retention]]\nnamespace = 'a*b'\nkeep_last = 1", r"one \* at its end"),
        ("[[retention]]\nnamespace = ''\nkeep_last = 1", "namespace"),
        ("[retention]\nnamespace = 'a'\nkeep_last = 1", r"written \[\[retention\]\]"),
        ("retention = 'all'", r"written \[\[retention\]\]"),
        ("retention_every = '1y'\n[[retention]]\nnamespace = 'a'\nkeep_last = 1", "retention_every"),
        ("not toml", "not TOML"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((InvalidValue, ValueError), match=message):
        read_rules(write(tmp_path, text))


# ----------------------------------------------------------------------------------------- a server


def test_of_many_processes_one_has_the_turn_until_it_is_over(tmp_path: Path) -> None:
    now = [NOW]
    store = SQLiteStore(f"sqlite://{tmp_path}/m.db", clock=lambda: now[0])
    leases = [Lease(store, 60) for _ in range(8)]
    barrier, taken = threading.Barrier(8), []

    def take(lease: Lease) -> None:
        barrier.wait()
        if lease.take():
            taken.append(lease)

    threads = [threading.Thread(target=take, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    taken[0]._renew_at = 0.0
    assert taken[0].keep()
    now[0] += 61_000_000
    other = next(lease for lease in leases if lease is not taken[0])
    assert other.take()
    taken[0]._renew_at = 0.0
    assert not taken[0].keep()  # it took too long: it stops
    store.close()


def test_a_server_applies_the_rules_by_itself_and_counts_what_went(store: Store, scrape: Callable[[str], dict[str, float]]) -> None:
    put(store, "old", 100)
    put(store, "new", 0)
    put_session(store, "s", 100, 100, 0)
    retention = Retention((Rule("*", 86_400, None, 86_400),), every=1)
    with serve_in_thread(store, operating=Operating(retention=retention)) as url:
        deadline = time.monotonic() + 30
        while (found := scrape(url)).get('botwire_retention_runs_total{outcome="done"}', 0) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert httpx.get(f"{url}/memory/ns").json()["keys"] == ["new"]
    assert found['botwire_retention_removed_total{kind="entries"}'] == 1
    assert found['botwire_retention_removed_total{kind="messages"}'] == 2


def test_botwire_retain_shows_and_removes(tmp_path: Path, botwire: Any) -> None:
    store = open_store(f"sqlite://{tmp_path}/m.db")
    put(store, "old", 100)
    store.close()
    file = str(write(tmp_path, "[[retention]]\nnamespace = '*'\nentries_max_age = '1d'"))
    arguments = ("--config", file, "--url", f"sqlite://{tmp_path}/m.db")
    removed = [{"namespace": "ns", "entries": 1, "sessions": 0, "messages": 0}]
    assert json.loads(botwire("retain", *arguments, "--dry-run", "--json").stdout) == {"dry_run": True, "removed": removed}
    assert json.loads(botwire("retain", *arguments, "--json").stdout) == {"dry_run": False, "removed": removed}
    assert "nothing is older" in botwire("retain", *arguments).stderr


def test_a_failed_step_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    store = SQLiteStore(f"sqlite://{tmp_path}/m.db")
    put(store, "old", 100)

    class Failing(Plain):
        def write(self, batches: Any) -> Any:
            return [InvalidValue("no")] * len(batches)

    with pytest.raises(InvalidValue):
        dict(apply_rules(Failing(store), Retention((Rule("ns", 86_400),)), now=NOW))  # type: ignore[arg-type]
    assert not isinstance(InvalidValue("no"), VersionConflict)
    store.close()
