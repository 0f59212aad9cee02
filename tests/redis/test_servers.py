"""Servers as they are in life: full, read-only, locked, forgetful; and what the store says of them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from botwire import InvalidValue, Memory, OutcomeUnknown, StoreFull, StoreReadOnly, StoreUnavailable, Unauthorized
from botwire.stores import Append, Batch, Charge, Clear, Set, Terms, open_store
from botwire.stores.redis._greeting import logger
from botwire.stores.redis._keys import Keys


def test_a_server_out_of_memory_writes_nothing_and_still_deletes(own, open_at):
    server = own(maxmemory_policy="noeviction")
    memory = Memory("n", store=open_at(server.url))
    memory.set("a", "x" * 100_000)
    memory.session("s").append(("user", "before"))
    memory.set_many({f"k{number}": "x" * 1_000 for number in range(100)})
    with server.client() as client:
        client.config_set("maxmemory", 500_000)
    with pytest.raises(StoreFull, match="out of memory"):
        memory.set("new", 1)
    with pytest.raises(StoreFull):
        memory.session("s").append(("user", "y" * 100))
    with pytest.raises(StoreFull):
        memory.session("new").append(("user", "y" * 100))
    assert memory.count() == 101
    assert [message.text for message in memory.session("s").messages()] == ["before"]
    assert memory.sessions()[0].session_id == "s"
    assert len(memory.sessions()) == 1
    assert memory.delete("a") is True
    assert memory.clear("k") == 100
    with server.client() as client:
        client.config_set("maxmemory", 0)
    assert memory.set("a", 1) == 1
    assert memory.store.check()["problems"] == []


def test_a_replica_is_read_only(own, open_at):
    primary = own("primary")
    replica = own("replica", replicaof=f"127.0.0.1 {primary.port}")
    Memory("n", store=open_at(primary.url)).set("k", 1)
    memory = Memory("n", store=open_at(replica.url))
    deadline = time.monotonic() + 20
    while memory.get("k") != 1:
        assert time.monotonic() < deadline
    with pytest.raises(StoreReadOnly, match="replica"):
        memory.set("k", 2)
    with pytest.raises(StoreReadOnly):
        memory.session("s").append(("user", "hi"))


def test_the_password_is_asked_for_and_never_shown(own, open_at):
    server = own(requirepass="s3cret")
    store = open_at(server.url)
    assert Memory("n", store=store).set("k", 1) == 1
    for url in (f"redis://127.0.0.1:{server.port}", f"redis://:wrong-s3cret@127.0.0.1:{server.port}"):
        other = open_at(url)
        with pytest.raises(Unauthorized) as caught:
            Memory("n", store=other).get("k")
        assert "s3cret" not in str(caught.value) + repr(other) + other.url
    assert "s3cret" not in repr(store) + store.url + repr(store._settings)


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.name == logger.name]


def test_settings_that_lose_writes_are_warned_of_once(own, open_at, caplog):
    server = own(appendonly="no", maxmemory_policy="allkeys-lru")
    store = open_at(server.url)
    with caplog.at_level(logging.WARNING):
        Memory("n", store=store).set("k", 1)
        Memory("n", store=store).set("k", 2)
    found = warnings_of(caplog)
    assert len(found) == 2
    assert any("allkeys-lru" in text for text in found)
    assert any("no append-only file" in text for text in found)
    assert len(store.check()["advice"]) == 2


def test_a_server_that_loses_nothing_is_not_warned_of(own, open_at, caplog):
    server = own(appendfsync="always")
    with caplog.at_level(logging.WARNING):
        Memory("n", store=open_at(server.url)).set("k", 1)
    assert warnings_of(caplog) == []


def test_settings_that_may_not_be_read_are_said_to_be_unknown(own, open_at, caplog):
    server = own()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~bw:*", "&bw:*", "+@all", "-config", "-@dangerous", "+info")
    with caplog.at_level(logging.WARNING):
        memory = Memory("n", store=open_at(f"redis://app:pw@127.0.0.1:{server.port}"))
        memory.set("k", 1)
        memory.session("s").append(("user", "hi"))
        assert memory.list_keys() == ["k"]
        assert memory.namespaces() == ["n"]
    (warning,) = warnings_of(caplog)
    assert "could not be checked" in warning
    assert "appendfsync" in warning


def test_the_doctor_says_what_the_settings_lose(own):
    server = own(maxmemory_policy="volatile-ttl")
    command = [sys.executable, "-m", "botwire", "--url", server.url, "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    findings = json.loads(done.stdout)["findings"]
    assert [each["detail"] for each in findings if each["level"] == "warning" and "volatile-ttl" in each["detail"]]
    assert done.returncode == 0


def test_keys_of_others_are_left_alone(own, open_at):
    server = own()
    with server.client() as client:
        others = {"e": "1", "bw": "1", "bw:": "1", "bwx:{n}:e": "1", "{n}:e": "1", "b": "1", "bx:{n}:k": "1", "bw2:{n}:e": "1"}
        client.mset(others)
        client.zadd("someone's", {"n": 1})
        mine, second = Memory("n", store=open_at(server.url)), Memory("n", store=open_at(f"{server.url}?prefix=bw2:x:"))
        for memory in (mine, second):
            memory.set_many({f"k{number}": number for number in range(200)})
            memory.session("s").append(("user", "hi"))
        assert mine.clear() == 200
        assert mine.delete_session("s") is True
        assert mine.namespaces() == []
        assert second.count() == 200
        assert {name: client.get(name).decode() for name in others} == others
        assert client.zscore("someone's", "n") == 1
        left = [key for key in client.keys("bw:{*") if b":r:" not in key]
        assert left == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: no fork here")
def test_a_child_after_fork_has_connections_of_its_own(fresh):
    memory = Memory("n", store=fresh)
    memory.set("k", 0)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            for _ in range(50):
                memory.increment("k")
            code = 0
        finally:
            os._exit(code)
    for _ in range(50):
        memory.increment("k")
    assert os.waitpid(pid, 0)[1] == 0
    assert memory.get("k") == 100


WRITER = """
import sys
from botwire import Memory
memory = Memory("many", url=sys.argv[1])
for number in range(100):
    memory.session("s").append(("user", f"{sys.argv[2]}:{number}"))
"""


def test_sixteen_processes_append_without_gaps(fresh):
    url = fresh.url
    writers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", WRITER, url, str(name)], stderr=subprocess.PIPE) for name in range(16)
    ]
    for writer in writers:
        assert writer.communicate(timeout=100)[1].decode().count("Traceback") == 0
        assert writer.returncode == 0
    messages = Memory("many", store=fresh).session("s").messages()
    assert [message.seq for message in messages] == list(range(1, 1_601))
    for name in range(16):
        assert [message.text for message in messages if message.text.startswith(f"{name}:")] == [
            f"{name}:{number}" for number in range(100)
        ]


def test_ten_thousand_messages_in_one_append_and_as_many_keys_in_one_clear(fresh):
    memory = Memory("n", store=fresh)
    session = memory.session("s")
    assert session.append(*[("user", str(number)) for number in range(12_000)])[-1] == 12_000
    assert [message.text for message in session.messages()] == [str(number) for number in range(12_000)]
    memory.set_many({f"a{number:05}": number for number in range(10_001)})
    memory.set("b", 1)
    assert memory.clear("a") == 10_001
    assert session.trim(10) == 11_990
    assert fresh.check()["problems"] == []


def test_a_large_value_comes_back(fresh):
    memory = Memory("n", store=fresh)
    text = "\U0001f600" * 4_000_000
    memory.set("k", text)
    assert memory.get("k") == text


def test_a_long_read_while_messages_come_and_go_is_one_state(fresh):
    """What is read in several steps has no gap that was not there, and no message of after the first step."""
    session = Memory("n", store=fresh).session("s")
    session.append(*[("user", str(number)) for number in range(12_000)])
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            session.append(("user", "more"))
            session.trim(11_000)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(5):
            page = fresh.read_log("n", "s", "")
            assert len(page.rows) == page.info.count
            assert [row.seq for row in page.rows] == list(range(page.info.head - page.info.count + 1, page.info.head + 1))
    finally:
        stop.set()
        thread.join()


def test_charges_are_counted_in_the_same_step(fresh):
    now = fresh._links.run(fresh._router.server_time())
    terms = Terms((Charge("writes", 1, 3, now + 60_000_000), Charge("bytes", 100, 250, now + 30_000_000)))
    outcomes = fresh.write([Batch("n", (Set(f"k{number}", "1"),), None, terms) for number in range(3)])
    assert outcomes[:2] == [[1], [1]]
    assert outcomes[2].code == "quota_exceeded"
    assert 0 < outcomes[2].retry_after <= 30
    assert "bytes" in str(outcomes[2])
    assert fresh.scan_keys("n", "", None, 10) == ["k0", "k1"]
    more = Terms((Charge("writes", 1, 3, now + 60_000_000),))
    assert fresh.write([Batch("n", (Set("k0", "2", if_version=7),), None, more)])[0].code == "version_conflict"
    repeated = Batch("n", (Set("k2", "1"),), "r", more)
    assert fresh.write([repeated, repeated]) == [[1], [1]]
    assert fresh.write([Batch("n", (Set("k3", "1"),), None, more)])[0].code == "quota_exceeded"


def test_stamps_and_usage_tell_what_is_there(fresh):
    memory = Memory("n", store=fresh)
    memory.set_many({"a": "é", "b": 1})
    memory.set("a", "éé")
    memory.session("s").append(("user", "hi"))
    memory.session("s", agent="x").append(("user", "hi"))
    rows = fresh.scan("n", "", None, 10)
    assert fresh.scan_stamps("n", "", None, 10) == [(row.key, row.version, row.updated_at, row.expires_at) for row in rows]
    usage = fresh.usage("n")
    assert (usage.entries, usage.entry_bytes, usage.sessions, usage.messages) == (2, 7, 1, 2)
    assert sum(day.entries for day in usage.days) == 2
    assert sum(day.bytes for day in usage.days) == usage.entry_bytes + usage.message_bytes


def test_what_has_expired_is_removed_by_later_writes(valkey, fresh):
    memory = Memory("n", store=fresh)
    memory.set_many({f"k{number}": 1 for number in range(20)}, ttl=0.05)
    memory.session("old", ttl=0.05).append(("user", "hi"))
    threading.Event().wait(0.1)
    assert memory.count() == 0
    assert memory.sessions() == []
    memory.set("new", 1)
    keys = Keys(fresh._settings.prefix, "n")
    with valkey.client() as client:
        assert client.hlen(keys.e) == client.zcard(keys.k) == 1
        assert client.hlen(keys.s) == client.zcard(keys.i) == 0
        assert client.pttl(keys.stream(b"old\0")) > 0


def test_too_few_replicas_leave_the_outcome_unknown(own, open_at):
    primary = own("primary")
    hasty = Memory("n", store=open_at(f"{primary.url}?wait=1&wait_timeout=0.2"))
    memory = Memory("n", store=open_at(f"{primary.url}?wait=1&wait_timeout=20"))
    with pytest.raises(OutcomeUnknown, match="0 of 1 replicas"):
        hasty.set("k", 1)
    replica = own("replica", replicaof=f"127.0.0.1 {primary.port}")
    with primary.client() as client:
        while client.info("replication")["connected_slaves"] < 1 or client.info("replication")["slave0"]["state"] != "online":
            pass
    assert memory.set("k", 2, request_id="r") == 2
    assert memory.set("k", 2, request_id="r") == 2
    replica.freeze()
    with pytest.raises(OutcomeUnknown):
        hasty.set("k", 2, request_id="r")  # a repetition waits for the replicas too
    with pytest.raises(OutcomeUnknown):
        hasty.session("s").append(("user", "hi"))
    replica.thaw()


def test_a_database_that_is_not_there_and_a_server_that_is_none_are_named(valkey, open_at, caplog):
    with pytest.raises(InvalidValue, match="no such database"):
        Memory("n", store=open_at(f"{valkey.url}/99")).get("k")
    with pytest.raises(StoreUnavailable, match="cluster support disabled"):
        Memory("n", store=open_at(valkey.url.replace("redis://", "redis+cluster://"))).get("k")
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:70000",
        "redis://a:1,b:2",
        "redis://host/x",
        "redis+cluster://host/3",
        "redis+sentinel://host:1",
        "redis://host?prefix=a{b",
        "redis://host?wait=many",
        "redis://host?wait_timeout=0",
        "redis://:hidden-word@host?unknown=1",
    ],
)
def test_a_url_that_cannot_be_one_is_refused_without_its_password(url):
    with pytest.raises(InvalidValue) as caught:
        open_store(url)
    assert "hidden-word" not in str(caught.value)


def test_a_store_that_is_thrown_away_unclosed_leaves_no_connection(valkey):
    code = "import sys; from botwire.stores import open_store; s = open_store(sys.argv[1]); s.count('n'); del s; import gc; gc.collect()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, valkey.url], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.replace("may lose", "")[:0]) == (0, "")
    assert "ResourceWarning" not in done.stderr


def test_a_foreign_value_under_a_key_of_ours_is_said_to_be_corrupt(valkey, fresh):
    memory = Memory("n", store=fresh)
    with valkey.client() as client:
        client.set(Keys(fresh._settings.prefix, "n").e, "not a hash")
    with pytest.raises(Exception, match="holds something else") as caught:
        memory.set("k", 1)
    assert caught.value.code == "store_corrupt"


def test_a_script_that_fails_is_not_run_again(valkey, fresh):
    """What it had done before it failed would look to the second run as if all had been done."""
    session = Memory("n", store=fresh).session("s")
    session.append(("user", "hi"))
    with valkey.client() as client:
        client.set(Keys(fresh._settings.prefix, "n").stream(b"s\0"), "not a stream")
        client.config_resetstat()
        with pytest.raises(Exception, match="holds something else") as caught:
            session.append(("user", "hi"))
        assert caught.value.code == "store_corrupt"
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def test_a_batch_over_entries_and_sessions_is_one(fresh):
    outcome = fresh.write([Batch("n", (Append("s", "", ("{}",)), Append("t", "", ("{}",)), Set("k", "1", if_version=3), Clear()))])[0]
    assert outcome.code == "version_conflict"
    assert fresh.scan_logs("n", None, 10) == []
    assert not isinstance(outcome, StoreUnavailable)
