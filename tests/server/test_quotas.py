"""Quotas and limits: exact over server processes, told in headers, and raised by the client with how long to wait."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines.stores import Stores

from botwire import InvalidName, InvalidValue, Memory, QuotaExceeded, Unsupported, ValueTooLarge
from botwire._tokens import RESERVED_NAMESPACE, TokenBook, make_token
from botwire.server import serve_in_thread
from botwire.server._config import read_limits
from botwire.server._limits import RateLimit
from botwire.server._quotas import PUBLIC_TERMS, Quota, Quotas, rule_from_text
from botwire.stores import open_store


def served(store: Any, *rules: str, **options: Any) -> Any:
    return serve_in_thread(store, quotas=Quotas([rule_from_text(rule) for rule in rules]) if rules else None, **options)


# ------------------------------------------------------------------------------------- writes per day


@pytest.mark.timeout(240)
def test_of_a_thousand_writes_a_day_exactly_a_thousand_are_accepted_from_16_writers_over_two_servers(serving: Any, tmp_path: Path) -> None:
    """Two server processes on one file, 16 clients that write until they are refused: 1,000 in all, and a restart gives no more."""
    url = f"sqlite://{tmp_path}/served.db?durability=normal"
    while 86_400 - time.time() % 86_400 < 100:
        time.sleep(1)  # not over midnight
    servers = [serving("--url", url, "--public-terms") for _ in range(2)]
    accepted, refused = [0] * 16, [0] * 16
    begun = threading.Barrier(16)

    def write(writer: int) -> None:
        with httpx.Client(base_url=servers[writer % 2].url, timeout=60) as client:
            begun.wait(60)
            for number in range(2_000):
                status = client.put(f"/memory/n/{writer}-{number}", json={"value": number}).status_code
                if status != 200:
                    assert status == 429
                    refused[writer] += 1
                    if refused[writer] == 3:
                        return
                else:
                    accepted[writer] += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(accepted) == 1_000
    assert refused == [3] * 16
    for server in servers:
        assert httpx.get(f"{server.url}/count/n").json()["count"] == 1_000
        assert httpx.put(f"{server.url}/memory/other/k", json={"value": 1}).status_code == 200
    again = serving("--url", url, "--public-terms")
    assert httpx.put(f"{again.url}/memory/n/more", json={"value": 1}).status_code == 429
    assert httpx.get(f"{again.url}/memory/n/more").status_code == 404


def test_what_counts_as_a_write(store: Any) -> None:
    """Each operation and each message; not a read, not what is refused, not what is repeated under its key."""
    with served(store, "*:writes_per_day=100") as url, httpx.Client(base_url=url) as client:

        def used(answer: httpx.Response, status: int = 200) -> int:
            assert answer.status_code == status, answer.text
            probe = client.post("/batch/n", json={"operations": [{"op": "delete", "key": "no"}] * 101}).json()
            return int(probe["current"])

        before = 0
        once = {"Idempotency-Key": "one"}
        messages = [{"role": "user", "content": "hi"}] * 3
        for answer, cost, status in [
            (lambda: client.put("/memory/n/k", json={"value": 1}), 1, 200),
            (lambda: client.get("/memory/n/k"), 0, 200),
            (lambda: client.get("/memory/n"), 0, 200),
            (lambda: client.put("/memory/n/k", json={"value": 1}, headers={"If-Match": '"7"'}), 0, 412),
            (lambda: client.put("/memory/n/k", content=b"{"), 0, 400),
            (lambda: client.put("/memory/n/o", json={"value": 1}, headers=once), 1, 200),
            (lambda: client.put("/memory/n/o", json={"value": 1}, headers=once), 0, 200),
            (lambda: client.delete("/memory/n/k"), 1, 200),
            (lambda: client.delete("/memory/n/k"), 1, 404),
            (lambda: client.post("/memory/n/list", json={"append": [1, 2, 3]}), 1, 200),
            (lambda: client.post("/sessions/n/s/messages", json={"messages": messages}), 3, 200),
            (lambda: client.post("/sessions/n/s/pop"), 1, 200),
            (lambda: client.delete("/memory/n"), 1, 200),
            (lambda: client.post("/batch/n", json={"operations": [{"op": "set", "key": "a", "value": 1}] * 5}), 5, 200),
            (lambda: client.put("/memory/other/k", json={"value": 1}), 0, 200),
        ]:
            after = used(answer(), status)
            assert after - before == cost
            before = after


def test_a_refusal_tells_how_long_and_of_what(store: Any) -> None:
    with served(store, "*:writes_per_day=2") as url:
        with httpx.Client(base_url=url) as client:
            for _ in range(2):
                assert client.put("/memory/n/k", json={"value": 1}).status_code == 200
            answer = client.put("/memory/n/k", json={"value": 1})
        seconds = 86_400 - time.time() % 86_400
        assert answer.status_code == 429
        assert abs(int(answer.headers["retry-after"]) - seconds) < 30
        assert answer.headers["ratelimit-policy"] == '"writes_per_day";q=2;w=86400'
        assert answer.headers["ratelimit"] == f'"writes_per_day";r=0;t={answer.headers["retry-after"]}'
        problem = answer.json()
        assert (problem["code"], problem["limit"], problem["current"], problem["allowed"]) == ("quota_exceeded", "writes_per_day", 2, 2)
        assert "midnight" in problem["detail"]
        with Memory("n", url=url) as memory:
            begun = time.monotonic()
            with pytest.raises(QuotaExceeded, match=r"2 of 2 writes.*midnight") as caught:
                memory.set("k", 2)
            assert time.monotonic() - begun < 5  # it does not wait for tomorrow
            assert caught.value.retry_after == pytest.approx(seconds, abs=30)
            assert (caught.value.limit, caught.value.current, caught.value.allowed) == ("writes_per_day", 2, 2)
            assert memory.get("k") == 1


def test_a_new_day_begins_at_midnight_utc(store: Any) -> None:
    """By the servers' clock; two servers whose clocks differ at midnight do not count on each other's day."""
    midnight = (time.time() // 86_400 + 1) * 86_400
    before, after = (Quotas([("*", {"writes_per_day": 1})], now=lambda now=now: now) for now in (midnight - 0.5, midnight + 0.5))
    with serve_in_thread(store, quotas=before) as today, serve_in_thread(store, quotas=after) as tomorrow:
        for url in (tomorrow, today):
            assert [httpx.put(f"{url}/memory/n/k", json={"value": 1}).status_code for _ in range(2)] == [200, 429]


# --------------------------------------------------------------------------------------------- storage


def test_no_more_is_held_than_is_allowed(store: Any) -> None:
    with served(store, "*:bytes=1KB,keys=3,sessions=2,value_bytes=900") as url, httpx.Client(base_url=url) as client:
        assert client.put("/memory/n/big", json={"value": "x" * 800}).status_code == 200
        full = client.put("/memory/n/more", json={"value": "x" * 800})
        assert (full.status_code, full.json()["limit"], full.json()["current"], full.json()["allowed"]) == (507, "bytes", 802, 1000)
        assert full.json()["retry_after"] is None
        assert "retry-after" not in full.headers
        for key in "ab":
            assert client.put(f"/memory/n/{key}", json={"value": 1}).status_code == 200
        assert client.put("/memory/n/c", json={"value": 1}).json()["limit"] == "keys"
        for session in "st":
            assert client.post(f"/sessions/n/{session}/messages", json={"messages": [{"role": "user", "content": "hi"}]}).status_code == 200
        assert client.patch("/sessions/n/u", json={"metadata": {}}).json()["limit"] == "sessions"
        assert client.put("/memory/n/big", json={"value": 1}).status_code == 200
        assert client.delete("/memory/n/a").status_code == 200
        assert client.put("/memory/n/c", json={"value": "x" * 800}).status_code == 200
    with served(store, "*:keys=1") as url, Memory("n", url=url) as memory, pytest.raises(QuotaExceeded, match="remove something") as caught:
        memory.set("new", 1)
    assert (caught.value.retry_after, caught.value.limit) == (None, "keys")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("limit", ["keys", "sessions", "bytes"])
def test_of_more_than_a_namespace_may_hold_exactly_that_is_accepted_from_16_writers_over_two_servers_on_postgresql(
    serving: Any, tmp_path: Path, limit: str
) -> None:
    """Two server processes on one database, 16 clients that write until they are refused; what is deleted makes room again."""
    most = 100
    allowed = {"keys": most, "sessions": most, "bytes": most * len('"0123"')}[limit]
    with Stores() as stores, stores.empty("postgres", tmp_path) as url:
        servers = [serving("--url", url, "--quota", f"n:{limit}={allowed}") for _ in range(2)]
        accepted, refused = [0] * 16, [0] * 16
        begun = threading.Barrier(16)

        def write_one(client: httpx.Client, name: str) -> httpx.Response:
            if limit == "sessions":
                return client.post(f"/sessions/n/{name}/messages", json={"messages": [{"role": "user", "content": "hi"}]})
            return client.put(f"/memory/n/{name}", json={"value": "0123"})

        def write(writer: int) -> None:
            with httpx.Client(base_url=servers[writer % 2].url, timeout=60) as client:
                begun.wait(60)
                for number in range(most):
                    answer = write_one(client, f"{writer}-{number}")
                    if answer.status_code != 200:
                        assert (answer.status_code, answer.json()["limit"]) == (507, limit), answer.text
                        refused[writer] += 1
                        return
                    accepted[writer] += 1

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(accepted) == most
        assert refused == [1] * 16
        with httpx.Client(base_url=servers[0].url) as client:
            usage = client.get("/usage/n").json()
            assert {"keys": usage["entries"], "sessions": usage["sessions"], "bytes": usage["entry_bytes"]}[limit] == allowed
            assert client.put("/memory/other/k", json={"value": 1}).status_code == 200
            gone = f"{accepted.index(max(accepted))}-0"
            assert client.delete(f"/sessions/n/{gone}" if limit == "sessions" else f"/memory/n/{gone}").status_code == 200
        with httpx.Client(base_url=servers[1].url) as client:
            assert [write_one(client, name).status_code for name in ("one", "more")] == [200, 507]
            assert client.delete("/namespaces/n").json()["deleted"]["entirely"] is True
            assert write_one(client, "again").status_code == 200


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", "/memory/n/k", {"value": "x" * 100}),
        ("PATCH", "/memory/n/k", {"a": "x" * 100}),
        ("POST", "/memory/n/list", {"append": ["x" * 100]}),
        ("POST", "/memory/n/list", {"append": ["x" * 60]}),
        ("POST", "/sessions/n/s/messages", {"messages": [{"role": "user", "content": "x" * 100}]}),
        ("PATCH", "/sessions/n/s", {"metadata": {"a": "x" * 100}}),
        ("POST", "/batch/n", {"operations": [{"op": "set", "key": "k", "value": "ä" * 40}]}),
    ],
)
def test_a_value_over_the_size_of_its_namespace_is_too_large(store: Any, method: str, target: str, body: Any) -> None:
    with served(store, "n:value_bytes=80") as url, httpx.Client(base_url=url) as client:
        client.post("/memory/n/list", json={"append": ["x" * 60]})
        assert client.request(method, target, json=body).status_code == 413
        assert client.request(method, target.replace("/n", "/big"), json=body).status_code == 200
        with Memory("n", url=url) as memory, pytest.raises(ValueTooLarge):
            memory.set("k", "x" * 100)


def test_the_most_specific_rule_that_has_a_limit_sets_it() -> None:
    rules = {
        "*": {"writes_per_day": 10, "bytes": 1_000},
        "team-*": {"writes_per_day": 20},
        "team-a*": {"keys": 5},
        "team-a": {"writes_per_day": None},
    }
    quotas = Quotas(list(rules.items()))
    assert quotas.of("other") == Quota(writes_per_day=10, bytes=1_000)
    assert quotas.of("team-b") == Quota(writes_per_day=20, bytes=1_000)
    assert quotas.of("team-ab") == Quota(writes_per_day=20, bytes=1_000, keys=5)
    assert quotas.of("team-a") == Quota(writes_per_day=None, bytes=1_000, keys=5)
    assert quotas.of("team-a") == Quotas(list(reversed(rules.items()))).of("team-a")
    assert Quotas([("a", {"keys": 1})]).of("b") == Quota()


def test_tokens_can_be_made_where_every_namespace_is_full(store: Any) -> None:
    with served(store, "*:keys=0,writes_per_day=0") as url:
        assert httpx.put(f"{url}/memory/n/k", json={"value": 1}).status_code in (429, 507)
        assert httpx.post(f"{url}/admin/tokens", json={"scopes": ["admin"]}).status_code == 200
    assert len(TokenBook(store).list()) == 1
    assert store.get(RESERVED_NAMESPACE, "auth") is not None


def test_a_store_that_cannot_keep_the_quotas_is_not_served_with_them(serving: Any, store: Any, botwire: Any) -> None:
    """A server as a store keeps no terms of others: that is said at the start, not at the first write."""
    with serve_in_thread(store) as behind:
        refused = botwire("serve", "--url", behind, "--port", "0", "--public-terms")
        assert (refused.returncode, "cannot keep these quotas" in refused.stderr) == (8, True), refused.stderr
        with pytest.raises(Unsupported):
            Quotas([("*", {"keys": 1})]).probe(open_store(behind))
    Quotas([("*", {"value_bytes": 1})]).probe(open_store(behind))


# ---------------------------------------------------------------------------------- requests per second


def test_a_caller_gets_its_burst_and_then_its_rate() -> None:
    limit = RateLimit(10, burst=3)
    assert [limit.take("a", 100.0) for _ in range(3)] == [2, 1, 0]
    with pytest.raises(QuotaExceeded) as caught:
        limit.take("a", 100.0)
    assert caught.value.retry_after == pytest.approx(0.1)
    assert limit.take("b", 100.0) == 2
    assert limit.take("a", 100.11) == pytest.approx(0.1)
    with pytest.raises(QuotaExceeded):
        limit.take("a", 100.15)
    assert limit.take("a", 200.0) == 2


def test_callers_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botwire.server._limits.MOST_CALLERS", 100)
    limit = RateLimit(1, burst=2)
    for number in range(10_000):
        limit.take(f"caller {number}", 100.0 + number / 1_000)
        assert len(limit._buckets) <= 100


def test_answers_tell_what_is_left_from_half_of_the_burst_on(store: Any) -> None:
    with serve_in_thread(store, rate_limit=RateLimit(0.01, burst=4)) as url, httpx.Client(base_url=url) as client:
        told = [client.get("/memory/n").headers.get("ratelimit", "").partition(";t=")[0] for _ in range(5)]
    assert told == ["", *(f'"requests_per_second";r={left}' for left in (2, 1, 0, 0))]


def test_every_answer_near_the_limit_tells_what_is_left_and_each_token_has_its_own(store: Any) -> None:
    texts = []
    for _ in range(2):
        text, token = make_token(namespaces=["n"])
        TokenBook(store).add(token)
        texts.append({"Authorization": f"Bearer {text}"})
    with serve_in_thread(store, rate_limit=RateLimit(0.01, burst=2)) as url, httpx.Client(base_url=url) as client:
        for headers in (*texts, {}):
            answers = [client.get("/memory/n", headers=headers) for _ in range(3)]
            assert [answer.status_code for answer in answers[:2]] == ([200, 200] if headers else [401, 401])
            assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers[:2]] == [
                '"requests_per_second";r=1',
                '"requests_per_second";r=0',
            ]
            assert answers[0].headers["ratelimit-policy"] == '"requests_per_second";q=2;w=200'
            assert answers[2].status_code == 429
            assert 90 < int(answers[2].headers["retry-after"]) <= 100
            assert answers[2].headers["ratelimit"].startswith('"requests_per_second";r=0;t=')
            assert answers[2].json()["limit"] == "requests_per_second"
        unknown = {"Authorization": "Bearer bw_aaaaaaaa_" + "x" * 43}
        assert client.get("/memory/n", headers=unknown).status_code == 429  # guesses are counted by their address


def test_the_client_waits_out_a_short_limit_and_raises_at_a_long_one(store: Any) -> None:
    with serve_in_thread(store, rate_limit=RateLimit(20, burst=1)) as url, Memory("n", url=url, timeout=30) as memory:
        for number in range(5):
            memory.set("k", number)
        assert memory.get("k") == 4
    with serve_in_thread(store, rate_limit=RateLimit(0.001, burst=1)) as url, Memory("n", url=url, timeout=30) as memory:
        with pytest.raises(QuotaExceeded) as caught:
            memory.set("k", 1)
            memory.set("k", 2)
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 900
        assert caught.value.limit == "requests_per_second"


# -------------------------------------------------------------------------------------------- settings


def test_a_file_of_settings_and_the_command_line_go_together(tmp_path: Path) -> None:
    file = tmp_path / "botwire.toml"
    file.write_text(
        """
        public_terms = true
        [limits]
        requests_per_second = 50
        [[quota]]
        namespace = "team-*"
        writes_per_day = 5000
        bytes = "1.5 GiB"
        [[quota]]
        namespace = "free"
        writes_per_day = "none"
        """
    )
    found = read_limits(str(file), rules=["team-*:keys=10", "a:b:value_bytes=64 KiB"], burst=7)
    assert found.quotas is not None
    assert found.quotas.of("other") == Quota(**PUBLIC_TERMS)
    assert found.quotas.of("team-a") == Quota(writes_per_day=5_000, bytes=3 * 2**29, keys=10)
    assert found.quotas.of("free") == Quota(writes_per_day=None, bytes=50_000_000)
    assert found.quotas.of("a:b") == Quota(writes_per_day=1_000, bytes=50_000_000, value_bytes=65_536)
    assert found.rate_limit is not None
    assert (found.rate_limit.per_second, found.rate_limit.burst) == (50, 7)
    assert read_limits() == (None, None)
    assert read_limits(str(file), requests_per_second=1).rate_limit.burst == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "cannot be read"),
        ("quotas = 1", "no setting 'quotas'"),
        ("public_terms = 1", "true or false"),
        ("[quota]\nnamespace='a'", "[[quota]]"),
        ("[[quota]]\nkeys=1", "for which namespace"),
        ("[[quota]]\nnamespace='a*b'\nkeys=1", "at its end"),
        ("[[quota]]\nnamespace=''\nkeys=1", "empty"),
        ("[[quota]]\nnamespace='a'", "sets no limit"),
        ("[[quota]]\nnamespace='a'\nkey=1", "no limit 'key'"),
        ("[[quota]]\nnamespace='a'\nkeys=-1", "keys in"),
        ("[[quota]]\nnamespace='a'\nkeys=true", "keys in"),
        ("[[quota]]\nnamespace='a'\nbytes='50 MX'", "50 MB"),
        ("[limits]\nrequests_per_second='fast'", "number over zero"),
        ("[limits]\nrequests_per_second=0", "number over zero"),
        ("[limits]\nrequests_per_second=1\nburst=0", "at least 1"),
        ("[limits]\nburst=5", "set that too"),
        ("[limits]\nrate=5", "no setting 'rate'"),
        ("limits = 5", "table"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "botwire.toml"
    file.write_text(text)
    with pytest.raises((InvalidValue, InvalidName)) as caught:
        read_limits(str(file))
    assert says in str(caught.value)


@pytest.mark.parametrize("rule", ["", "a", "a:", "a:keys", "a:keys=", ":keys=1", "a*b:keys=1", "a:keys=1,,", "a:cats=1", "a:bytes=1 2"])
def test_a_rule_that_means_nothing_is_refused(rule: str) -> None:
    with pytest.raises((InvalidValue, InvalidName)):
        rule_from_text(rule)


def test_the_server_takes_its_limits_from_file_and_flags(serving: Any, tmp_path: Path) -> None:
    file = tmp_path / "botwire.toml"
    file.write_text('[[quota]]\nnamespace = "team-*"\nwrites_per_day = 1\n')
    server = serving("--url", "memory://", "--config", str(file), "--quota", "one:keys=1", "--requests-per-second", "0.1", "--burst", "4")
    answers = [
        httpx.put(f"{server.url}/memory/{target}", content=json.dumps({"value": 1}))
        for target in ("team-a/a", "team-a/b", "one/a", "one/b")
    ]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 507]
    assert ["ratelimit" in answer.headers for answer in answers] == [False, True, True, True]
