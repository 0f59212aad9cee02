"""The HTTP service under load and faults: the server killed, frozen, its disk full, its line half-open."""

from __future__ import annotations

import threading
import time

import pytest
from engines.load import GOOD, Load, harm
from engines.proxy import Proxy
from engines.service import Service
from faultlines import connection_faults

from botwire import Memory, StoreFull, StoreUnavailable


@pytest.fixture
def service(tmp_path):
    with Service(f"sqlite://{tmp_path}/memory.db") as service:
        yield service


@pytest.mark.timeout(240)
def test_a_server_killed_and_started_again_under_load(service):
    with Memory("n", url=service.url, timeout=10) as memory:
        with Load(memory) as load:
            for _ in range(4):
                load.wait_for(100)
                service.restart()
            load.wait_for(100)
        report = load.report(memory, "http: server killed and started again, 4 times")
    assert harm(report) == GOOD


@pytest.mark.timeout(240)
def test_connections_that_fail_in_the_middle_of_requests(service):
    with Proxy(service.port) as proxy, Memory("n", url=f"http://127.0.0.1:{proxy.port}", timeout=3) as memory:
        with Load(memory) as load:
            for hurt in [*connection_faults(proxy).values()] * 2:
                load.wait_for(20)
                hurt()
            load.wait_for(40)
        report = load.report(memory, "http: connections cut, frozen, half-open, replies lost and truncated, 12 faults")
    assert harm(report) == GOOD


def test_a_call_on_a_frozen_server_ends_at_its_deadline_and_is_applied_once(service):
    with Memory("n", url=service.url, timeout=1.5) as memory:
        memory.set("key", 1)
        service.freeze()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            memory.session("s").append(("user", "x"), request_id="r")
        assert time.monotonic() - started < 4
        service.thaw()
        assert memory.session("s").append(("user", "x"), request_id="r") == [1]
        assert memory.session("s").count() == 1


def test_a_server_that_is_frozen_for_less_than_the_deadline_is_only_slow(service):
    with Memory("n", url=service.url, timeout=10) as memory:
        memory.set("key", 1)
        service.freeze()
        threading.Timer(0.5, service.thaw).start()
        assert memory.increment("n") == 1


def test_a_servers_full_disk_is_told_to_its_clients_and_it_goes_on_when_there_is_space(small_disk):
    filler = small_disk / "filler"
    with Service(f"sqlite://{small_disk}/memory.db") as service, Memory("n", url=service.url, timeout=10) as memory:
        memory.set("first", "x")
        filler.write_bytes(bytes(600_000))
        written = []
        with pytest.raises(StoreFull):
            for number in range(1_000):
                memory.set(f"key {number:04}", "x" * 10_000)
                written.append(f"key {number:04}")
        assert memory.list_keys("key") == written
        assert memory.get("first") == "x"
        filler.unlink()
        assert memory.set("after", 1) == 1
        assert memory.store.check()["problems"] == []
