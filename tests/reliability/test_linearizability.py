"""What concurrent clients see while processes are killed, servers restarted and connections cut has one order that explains it.

``BOTWIRE_TEST_SECONDS`` is how long each store is used; by default a few seconds.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from engines.crowd import Crowd
from engines.proxy import Proxy
from engines.service import Service
from faultlines import connection_faults, judge

from botwire.testing import violations


def test_processes_on_one_file_while_some_are_killed(tmp_path):
    with Crowd(f"sqlite://{tmp_path}/memory.db", tmp_path) as crowd:
        report = judge("linearizable: sqlite, kill -9", crowd, {"kill": crowd.kill_one})
    assert report["unanswered"] > 0, "nobody was killed in the middle of a call"


def test_a_service_killed_and_restarted_under_its_clients(tmp_path):
    with ExitStack() as stack:
        service = stack.enter_context(Service(f"sqlite://{tmp_path}/memory.db"))
        crowd = stack.enter_context(Crowd(service.url, tmp_path, processes=2, threads=4))

        def freeze() -> None:
            service.freeze()
            time.sleep(0.3)
            service.thaw()

        judge("linearizable: http, server killed and frozen", crowd, {"restart": service.restart, "kill": crowd.kill_one, "freeze": freeze})


def test_a_service_behind_a_line_that_fails(tmp_path):
    with ExitStack() as stack:
        service = stack.enter_context(Service(f"sqlite://{tmp_path}/memory.db"))
        proxy = stack.enter_context(Proxy(service.port))
        crowd = stack.enter_context(Crowd(f"http://127.0.0.1:{proxy.port}", tmp_path, processes=2, threads=4))
        judge("linearizable: http, connections cut and frozen", crowd, connection_faults(proxy))


def test_a_service_killed_while_its_clients_never_try_again(tmp_path):
    """Without retries every call that was under way is left unknown, and may still be applied: that too has an order."""
    with ExitStack() as stack:
        service = stack.enter_context(Service(f"sqlite://{tmp_path}/memory.db"))
        crowd = stack.enter_context(Crowd(f"{service.url}", tmp_path, processes=2, threads=4, timeout=0.4))

        def freeze() -> None:
            service.freeze()
            time.sleep(0.8)
            service.thaw()

        report = judge("linearizable: http, calls given up", crowd, {"freeze": freeze, "restart": service.restart})
    assert report["unanswered"] > 0, "every call was answered in time"


@pytest.mark.parametrize("subject", ["entry", "session"])
def test_a_history_with_a_planted_fault_is_not_passed(tmp_path, subject):
    """Of what the crowd saw, one acknowledged write is replaced by another's: the checker must see it."""
    with Crowd(f"sqlite://{tmp_path}/memory.db", tmp_path, processes=1) as crowd:
        time.sleep(1)
        lines = crowd.stop()
    assert violations(lines) == []
    number = next(line[1] for line in lines if line[0] == "began" and line[2] == subject and line[5] in ("set", "append"))
    ended = next(line for line in lines if line[:2] == ["ended", number])
    ended[2] = [ended[2][0] + 1] if isinstance(ended[2], list) and subject == "session" else 10_000
    assert len(violations(lines)) == 1
