"""Every error, provoked once as a user would meet it: its type, its builtin, and a message that says where and what to do."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import apsw
import pytest

import botwire
from botwire import Memory
from botwire.server import serve_in_thread
from botwire.stores import open_store


@pytest.fixture
def memory(tmp_path):
    with Memory("agents", url=f"sqlite://{tmp_path}/memory.db") as memory:
        yield memory


@contextmanager
def answering(status, headers=(), *, health=True, body=b"{}"):
    """A server that is botwire's by its /health and answers everything else so; status None: it hangs up instead."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/health" and health:
                self.send(200, b'{"service": "botwire", "version": "1", "protocol": 1, "store": "x", "ok": true}')
            elif status is None:
                self.close_connection = True
            else:
                self.send(status, body, *headers)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names of http.server

        def send(self, status, body, *headers):
            self.send_response(status)
            for name, value in (("Content-Length", str(len(body))), ("Content-Type", "application/json"), *headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def remote(url, **options):
    store = open_store(url, **{"retries": 0, **options})
    try:
        yield Memory("agents", store=store)
    finally:
        store.close()


def test_invalid_name(memory):
    """A key that cannot be one: also a ValueError, naming what and why."""
    with pytest.raises(botwire.InvalidName, match="key must not be empty") as caught:
        memory.set("", 1)
    assert isinstance(caught.value, ValueError)


def test_invalid_value(memory):
    """A value that JSON cannot hold: also a ValueError, with its key and the path inside it."""
    with pytest.raises(botwire.InvalidValue, match=r"value of 'plan'\['steps'\]\[1\]: a bytes would not come back as it is") as caught:
        memory.set("plan", {"steps": [1, b"x"]})
    assert isinstance(caught.value, ValueError)


def test_value_too_large():
    """A value over the operator's limit: an InvalidValue, with both sizes."""
    store = open_store("memory://")
    with serve_in_thread(store, max_value_bytes=1_000) as url, Memory("agents", url=url) as memory:
        memory.set("k", "x" * 998)
        with pytest.raises(botwire.ValueTooLarge, match="1,000") as caught:
            memory.set("k", "x" * 999)
        assert isinstance(caught.value, botwire.InvalidValue)
        assert memory.get("k") == "x" * 998
    store.close()


def test_version_conflict(memory):
    """A lost compare-and-set: carries the current version, and says key and namespace."""
    memory.set("plan", 1)
    memory.set("plan", 2)
    with pytest.raises(botwire.VersionConflict, match="'plan' in namespace 'agents'.*at version 1 but is at version 2") as caught:
        memory.set("plan", 3, if_version=1)
    assert caught.value.current == 2


def test_request_conflict(memory):
    """One request id for two writes: says which."""
    memory.increment("n", request_id="retry-7")
    with pytest.raises(botwire.RequestConflict, match="'retry-7'"):
        memory.increment("n", 2, request_id="retry-7")


def test_quota_exceeded():
    """A used-up quota: carries the seconds to wait."""
    with answering(429, [("Retry-After", "3600")]) as url, remote(url) as memory, pytest.raises(botwire.QuotaExceeded) as caught:
        memory.set("k", 1)
    assert caught.value.retry_after == 3_600


def test_unauthorized():
    """A token that does not open this: also a PermissionError, and never shows the token."""

    def refuse(*_):
        raise botwire.Unauthorized("this token opens other namespaces")

    store = open_store("memory://")
    with serve_in_thread(store, authorize=refuse) as url, Memory("agents", url=url, token="secret-token") as memory:
        with pytest.raises(botwire.Unauthorized, match="other namespaces") as caught:
            memory.set("k", 1)
        assert isinstance(caught.value, PermissionError)
        assert "secret-token" not in str(caught.value)
    store.close()


def test_unsupported():
    """What a service cannot do: also a NotImplementedError, and nothing was sent."""
    with answering(404, health=False) as url, remote(url) as memory, pytest.raises(botwire.Unsupported, match="nothing was sent") as caught:
        memory.increment("n")
    assert isinstance(caught.value, NotImplementedError)


def test_closed(memory):
    """A call after close: says to make a new one."""
    memory.close()
    with pytest.raises(botwire.Closed, match="make a new one"):
        memory.get("k")


def test_store_unavailable():
    """A server that is not there: also a ConnectionError, naming its URL and never a password."""
    complaint = pytest.raises(botwire.StoreUnavailable, match=r"http://127\.0\.0\.1:9")
    with remote("http://user:hidden@127.0.0.1:9", timeout=2) as memory, complaint as caught:
        memory.get("k")
    assert isinstance(caught.value, ConnectionError)
    assert not isinstance(caught.value, botwire.OutcomeUnknown)
    assert "hidden" not in str(caught.value)


def test_store_busy(tmp_path):
    """A file that another program holds for longer than the timeout: also a TimeoutError; afterwards all is well."""
    path = tmp_path / "memory.db"
    with Memory("agents", url=f"sqlite://{path}", timeout=0.05) as memory:
        memory.set("k", 1)
        other = apsw.Connection(str(path))
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(botwire.StoreBusy, match="locked by another program") as caught:
            memory.set("k", 2)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, botwire.StoreUnavailable)
        other.execute("ROLLBACK")
        other.close()
        assert memory.set("k", 2) == 2


def test_store_full(memory):
    """No space left: nothing was written, and the next call works once there is space."""
    memory.set("k", 1)
    connection = memory.store._connections.writer()
    connection.pragma("max_page_count", connection.pragma("page_count"))
    with pytest.raises(botwire.StoreFull, match="no space left.*nothing was written"):
        memory.set("k", "x" * 100_000)
    assert memory.get("k") == 1
    connection.pragma("max_page_count", 1 << 30)
    assert memory.set("k", "x" * 100_000) == 2


def test_store_read_only(memory):
    """A store that can only be read: reads go on, a write says so."""
    memory.set("k", 1)
    memory.store._connections.writer().pragma("query_only", True)
    with pytest.raises(botwire.StoreReadOnly, match="read-only"):
        memory.set("k", 2)
    assert memory.get("k") == 1


def test_outcome_unknown():
    """A connection lost after a write was sent: it may have happened, and the message says what to do about it."""
    with answering(None) as url, remote(url) as memory:
        with pytest.raises(botwire.OutcomeUnknown, match="read before writing again|request_id|may") as caught:
            memory.set("k", 1)
        assert isinstance(caught.value, botwire.StoreUnavailable)
        with pytest.raises(botwire.StoreUnavailable) as caught:
            memory.get("k")
        assert not isinstance(caught.value, botwire.OutcomeUnknown)


def test_store_corrupt(memory):
    """A stored text that is no JSON: names key and namespace."""
    memory.set("plan", 1)
    memory.store._connections.writer().execute("UPDATE entry SET value = 'plain'")
    with pytest.raises(botwire.StoreCorrupt, match="'plan' in namespace 'agents' cannot be read back"):
        memory.get("plan")


def test_store_incompatible(tmp_path):
    """A file that is not botwire's: it is left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)
    with Memory("agents", url=f"sqlite://{path}") as memory:
        for call in (lambda: memory.get("k"), lambda: memory.set("k", 1)):
            with pytest.raises(botwire.StoreIncompatible, match=r"notes\.txt is not an SQLite file"):
                call()
    assert path.read_text() == "Dear diary, " * 100


def test_missing_extra():
    """A package that is not installed: also an ImportError, with the command that installs it."""
    program = """
import sys, json
sys.modules["pytest"] = None
from botwire import MissingExtra
try:
    import botwire.testing
except MissingExtra as error:
    print(json.dumps([str(error), error.name, isinstance(error, ImportError)]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == ["botwire.testing needs the 'pytest' package. Install it with: pip install pytest", "pytest", True]


def test_an_unknown_scheme_lists_those_known():
    """A URL without a store is refused at the first call, without showing a password in it."""
    memory = Memory("agents", url="mongodb://user:hidden@host/db")
    with pytest.raises(botwire.InvalidValue, match=r"known are sqlite://, memory://, http://, https://") as caught:
        memory.get("k")
    assert "hidden" not in str(caught.value)


def _all_errors(kind=botwire.BotWireError):
    return [kind, *(error for child in kind.__subclasses__() if child.__module__ == "botwire._errors" for error in _all_errors(child))]


def test_every_error_is_public_and_provoked_here():
    """No error is without a test of this file, and each can be caught by its public name."""
    import re

    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    for kind in _all_errors()[1:]:
        assert getattr(botwire, kind.__name__) is kind
        assert re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() in tests


@pytest.mark.parametrize("kind", _all_errors(), ids=lambda kind: kind.__name__)
def test_errors_travel_between_processes(kind):
    """An error that a worker process raises arrives whole, with what it carries."""
    more = (3,) if kind in (botwire.VersionConflict, botwire.QuotaExceeded) else ()
    error = kind("what happened", *more)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, "what happened", vars(error))
