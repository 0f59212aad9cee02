"""What Prometheus is told: the truth about requests, store and sizes, and no names."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from botwire import BotWireError, Memory
from botwire.server import Operating, serve_in_thread
from botwire.server._metrics import FAMILIES
from botwire.server._problems import HTTPProblem
from botwire.stores import open_store

ENTRY = "/memory/{namespace}/{key}"


def test_requests_are_counted_by_method_template_and_status(client: httpx.Client, url: str, scrape: Any) -> None:
    for number in range(3):
        client.put(f"/memory/ns/key-{number}", json={"value": 1})
    client.get("/memory/ns/key-0")
    client.get("/memory/ns/absent")
    client.get("/memory/ns")
    client.get("/no/such/route")
    client.request("TRACE", "/memory/ns")

    found = scrape(url)

    expected = {
        ("PUT", ENTRY, 200): 3,
        ("GET", ENTRY, 200): 1,
        ("GET", ENTRY, 404): 1,
        ("GET", "/memory/{namespace}", 200): 1,
        ("GET", "unmatched", 404): 1,
        ("other", "/memory/{namespace}", 405): 1,
    }
    counted = {name: value for name, value in found.items() if name.startswith("botwire_requests_total")}
    assert counted == {
        f'botwire_requests_total{{method="{method}",route="{route}",status="{status}"}}': count
        for (method, route, status), count in expected.items()
    }
    seconds = f'botwire_request_seconds_count{{method="PUT",route="{ENTRY}",status="200"}}'
    assert found[seconds] == 3
    assert found["botwire_commit_batches_sum"] == 3
    assert found["botwire_queue_seconds_count"] == 3
    assert found['botwire_store_seconds_count{call="get"}'] == 2


def test_a_histogram_holds_each_request_once_and_its_sum(client: httpx.Client) -> None:
    for _ in range(20):
        client.get("/memory/ns/absent")
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    found = [sample for sample in families["botwire_request_seconds"].samples if sample.labels.get("status") == "404"]
    buckets = [sample.value for sample in found if sample.name.endswith("_bucket")]
    total = next(sample.value for sample in found if sample.name.endswith("_sum"))
    assert buckets == sorted(buckets)
    assert buckets[-1] == 20
    assert 0 < total < 20


def test_no_metric_has_a_name_of_a_namespace_key_or_session_in_it(client: httpx.Client) -> None:
    client.put("/memory/private-ns/private-key", json={"value": "private-value"})
    client.post("/sessions/private-ns/private-session/messages", json={"messages": [{"role": "user", "content": "private-text"}]})
    client.request("TRACE", "/memory/private-ns")
    client.get("/private")
    for _ in range(2):
        text = client.get("/metrics").text
    assert "private" not in text.lower()


def test_sizes_are_counted_in_the_background_and_not_by_each_scrape(store: Any, url: str, scrape: Any) -> None:
    memory = Memory("ns", store=store)
    memory.set_many({"a": "x" * 100, "b": 1})
    memory.session("s").append(("user", "hi"), ("user", "there"))
    found = until(lambda: scrape(url), lambda found: "botwire_entries" in found)
    assert (found["botwire_namespaces"], found["botwire_entries"], found["botwire_sessions"], found["botwire_messages"]) == (1, 2, 1, 2)
    assert found["botwire_value_bytes"] > 100
    memory.set("c", 1)
    counted = found.get('botwire_store_seconds_count{call="usage"}', 0)
    for _ in range(5):
        found = scrape(url)
    assert found["botwire_entries"] == 2  # the next count is a minute away
    assert found.get('botwire_store_seconds_count{call="usage"}', 0) == counted


def test_the_size_of_the_file_is_told_at_once(tmp_path: Any, scrape: Any) -> None:
    store = open_store(f"sqlite://{tmp_path}/m.db")
    with serve_in_thread(store) as url:
        httpx.put(f"{url}/memory/ns/k", json={"value": "x" * 500_000}).raise_for_status()
        assert scrape(url)["botwire_store_bytes"] > 500_000
    store.close()


def test_what_sweeps_remove_is_counted(tmp_path: Any, scrape: Any) -> None:
    from botwire.stores.sqlite import SQLiteStore

    now = [time.time_ns() // 1_000]
    store = SQLiteStore(f"sqlite://{tmp_path}/m.db", clock=lambda: now[0])
    memory = Memory("ns", store=store)
    for number in range(5):
        memory.set(f"k{number}", 1, ttl=1)
    now[0] += 10_000_000
    store._writer.sweeper._due = 0.0
    memory.set("last", 1)
    with serve_in_thread(store) as url:
        found = scrape(url)
    assert found["botwire_sweeps_total"] == 1
    assert found["botwire_swept_rows_total"] == 5
    store.close()


def test_requests_under_way_are_shown_and_then_gone(store: Any, url: str, scrape: Any) -> None:
    route = 'botwire_requests_in_progress{route="/batch/{namespace}"}'
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(f"POST /batch/ns HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100\r\n\r\n{{".encode())
        found = until(lambda: scrape(url), lambda found: found.get(route) == 1)
        assert found['botwire_requests_in_progress{route="/metrics"}'] == 1
    found = until(lambda: scrape(url), lambda found: found[route] == 0)
    assert found['botwire_requests_total{method="POST",route="/batch/{namespace}",status="499"}'] == 1


def test_every_family_is_described_in_the_documentation(root: Any) -> None:
    page = (root / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = [f"{name}_total" if family.kind == "counter" else name for name, family in FAMILIES.items()]
    assert [name for name in shown if f"`{name}`" not in page] == []


def test_metrics_and_the_check_are_for_admins(store: Any) -> None:
    asked: list[tuple[str | None, str]] = []

    def authorize(headers: Any, namespace: str | None, action: str) -> None:
        asked.append((namespace, action))
        if headers.get(b"authorization") != b"Bearer admin":
            raise HTTPProblem(401, "unauthorized", "a token is needed")

    with serve_in_thread(store, authorize=authorize) as url:
        for path in ("/metrics", "/check", "/admin/backup"):
            assert httpx.get(url + path).status_code == 401
            assert httpx.get(url + path, headers={"Authorization": "Bearer admin"}).status_code == 200
        assert httpx.delete(f"{url}/namespaces/ns").status_code == 401
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/ready").status_code == 200
    assert set(asked) == {(None, "admin"), ("ns", "admin")}


def test_a_port_of_their_own_serves_the_metrics_alone(store: Any, scrape: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with serve_in_thread(store, operating=Operating(metrics_port=port)) as url:
        httpx.get(f"{url}/memory/ns/k")
        found = scrape(f"http://127.0.0.1:{port}")
        assert found[f'botwire_requests_total{{method="GET",route="{ENTRY}",status="404"}}'] == 1
        assert "botwire_requests_total" in httpx.get(f"http://127.0.0.1:{port}/memory/ns/k").text  # whatever is asked for, nothing else
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_a_busy_metrics_port_is_a_clear_error_and_the_server_does_not_start(serving: Any, tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match=f"{port} for metrics"), serving(f"sqlite://{tmp_path}/m.db", "--metrics-port", str(port)):
            pass


def test_processes_with_a_folder_in_common_tell_their_sum(serving: Any, scrape: Any, tmp_path: Any) -> None:
    """Two servers of one file: whichever is asked tells of both, and what one counted stays counted when it is gone."""
    place, folder = f"sqlite://{tmp_path}/m.db", {"BOTWIRE_METRICS_DIR": str(tmp_path / "metrics")}
    name = f'botwire_requests_total{{method="PUT",route="{ENTRY}",status="200"}}'
    with serving(place, **folder) as one, serving(place, **folder) as other:
        for number, server in enumerate((one, other, other)):
            httpx.put(f"{server.url}/memory/ns/{number}", json={"value": 1}).raise_for_status()
        for server in (one, other):
            found = until(lambda server=server: scrape(server.url), lambda found: found.get(name) == 3)
            assert found["botwire_processes"] == 2
            assert found["botwire_commit_batches_sum"] == 3
        other.stop()
        found = scrape(one.url)
        assert (found[name], found["botwire_processes"]) == (3, 1)


def test_a_request_id_is_taken_if_it_is_one_and_made_otherwise(client: httpx.Client) -> None:
    assert client.get("/health", headers={"X-Request-Id": "abc-123:4"}).headers["x-request-id"] == "abc-123:4"
    made = [client.get("/nothing", headers=headers).headers["x-request-id"] for headers in ({}, {"X-Request-Id": 'no"good id'}, {})]
    assert len(set(made)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{10}-[0-9a-f]+", one) for one in made)
    missing = client.get("/memory/ns/absent", headers={"X-Request-Id": "mine"})
    assert missing.json()["instance"] == "urn:botwire:request:mine"
    assert missing.headers["x-request-id"] == "mine"
    assert client.get("/nowhere", headers={"X-Request-Id": "x" * 129}).headers["x-request-id"] != "x" * 129


def test_health_answers_while_the_store_is_away_and_ready_does_not(store: Any) -> None:
    class Away:
        reads_are_fast = False
        url = "away://"

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name)

        def namespaces(self, *_: Any) -> Any:
            raise BotWireError("away")

        def write(self, batches: Any) -> Any:
            return [BotWireError("away")] * len(batches)

    away: Any = Away()
    with serve_in_thread(away) as url:
        health, ready = httpx.get(f"{url}/health"), httpx.get(f"{url}/ready")
    assert (health.status_code, health.json()["ok"]) == (200, False)
    assert ready.status_code >= 500
    assert ready.headers["content-type"] == "application/problem+json"


def test_ready_says_no_where_another_holds_the_file(tmp_path: Any) -> None:
    import apsw

    store = open_store(f"sqlite://{tmp_path}/m.db", timeout=0.2)
    with serve_in_thread(store) as url:
        assert httpx.get(f"{url}/ready").json() == {"ready": True, "store": store.url}
        assert store.scan_keys("botwire:system", "", None, 10) == []
        other = apsw.Connection(f"{tmp_path}/m.db")
        other.execute("BEGIN IMMEDIATE")
        answer = until(lambda: httpx.get(f"{url}/ready"), lambda answer: answer.status_code != 200)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_busy")
        other.close()
        assert httpx.get(f"{url}/ready").status_code == 200
    store.close()


def test_told_to_stop_a_server_says_that_it_is_not_ready_before_it_is_gone(serving: Any, tmp_path: Any) -> None:
    with serving(f"sqlite://{tmp_path}/m.db", "--drain", "2") as server:
        assert httpx.get(f"{server.url}/ready").status_code == 200
        server.process.terminate()
        answer = until(lambda: httpx.get(f"{server.url}/ready"), lambda answer: answer.status_code != 200)
        assert (answer.status_code, answer.json()["code"]) == (503, "stopping")
        assert httpx.put(f"{server.url}/memory/ns/k", json={"value": 1}).status_code == 200
        server.process.wait(30)
    assert Memory("ns", url=f"sqlite://{tmp_path}/m.db").get("k") == 1


def until(look: Any, is_so: Any) -> Any:
    """Look until it is so."""
    deadline = time.monotonic() + 20
    while not is_so(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_an_answer_that_fails_midway_is_cut_and_counted(store: Any, url: str, scrape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from botwire.server import _operator

    async def broken(self: Any, _: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        self._file.close()
        raise RuntimeError("no more")

    Memory("ns", store=store).set("a", 1)
    monkeypatch.setattr(_operator.Download, "send", broken)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/admin/backup")
    assert scrape(url)['botwire_requests_total{method="GET",route="/admin/backup",status="200"}'] == 1
