"""The server's log: a line for each request if asked for, never a name or value."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any

import httpx
import pytest

from botwire.server import _logs
from botwire.server._openapi import ROUTES

MARK = "zqxmark"
"""Stands in everything that a client can choose; no line of a log may have it."""
BODIES = [
    {"value": f"{MARK}-value", "ttl": 3600},
    {"value": MARK, f"{MARK}-member": 1},
    {"messages": [{"role": "user", "content": f"{MARK}-text"}], "keep_last": 1},
    {"operations": [{"op": "append_messages", "session": f"{MARK}-s", "messages": [{"role": "user", "content": MARK}]}]},
    {"operations": [{"op": MARK}]},
    {"keys": [f"{MARK}-key"]},
    {"increment": MARK},
    {"append": [MARK]},
]


@pytest.fixture(autouse=True)
def _settings_are_put_back() -> Any:
    loggers = [logging.getLogger(name) for name in _logs.LOGGERS]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = handlers, level, propagate


def send_marked_requests(url: str) -> int:
    """Every route with every body, good and bad, marked all over; how many answers were errors."""
    headers = {"Authorization": f"Bearer {MARK}-token", "Idempotency-Key": f"{MARK}-request", "X-Other": MARK, "Cookie": f"a={MARK}"}
    errors = 0
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        for route in ROUTES:
            if route.stream:  # its answer has no end
                errors += client.head(re.sub(r"\{(\w+)\}", rf"{MARK}-\1", route.path), params={MARK: MARK}).status_code >= 400
                continue
            path = re.sub(r"\{(\w+)\}", rf"{MARK}-\1", route.path)
            for body in BODIES if route.method in ("put", "post", "patch") else [None]:
                for query in ("", f"?{MARK}={MARK}", f"?prefix={MARK}&cursor={MARK}&q={MARK}"):
                    key = {"Idempotency-Key": f"{MARK}-{errors}-{route.name}"}
                    errors += client.request(route.method.upper(), path + query, json=body, headers=key).status_code >= 400
            client.request(route.method.upper(), path, content=f'{{"value": {MARK}}}'.encode())
            client.request("TRACE", path)
        client.get(f"/{MARK}/%zz{MARK}")
        client.get("/memory/a/b", headers={"Host": MARK})
        client.get("/memory/a/b", headers={"Origin": f"http://{MARK}"})
        client.get("/memory/a/b", headers={"X-Request-Id": f"not {MARK} well-formed"})
    return errors


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize("level", ["warning", "info"])
def test_no_route_lets_a_name_value_or_token_into_the_log(url: str, level: str, form: Any) -> None:
    written = io.StringIO()
    _logs.set_up(form, level, written)
    assert send_marked_requests(url) > 50
    text = written.getvalue()
    assert MARK not in text
    assert ("/memory/{namespace}/{key}" in text) == (level == "info")


def test_an_error_that_nobody_foresaw_is_logged_without_its_text(store: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from botwire.server import _entries

    def fail(*_: Any) -> Any:
        raise RuntimeError(f"{MARK}-outer") from KeyError(f"{MARK}-inner")

    written = io.StringIO()
    _logs.set_up("plain", "warning", written)
    monkeypatch.setattr(_entries, "_name_page", fail)
    answer = httpx.get(f"{url}/memory/{MARK}", headers={"X-Request-Id": "find-me"})
    assert answer.status_code == 500
    text = written.getvalue()
    assert MARK not in text
    assert "request find-me failed" in text
    assert re.search(r"test_logs\.py:\d+ in fail", text)
    assert "builtins.KeyError" in text
    assert "builtins.RuntimeError" in text
    _logs.set_up("plain", "debug", written)
    httpx.get(f"{url}/memory/{MARK}")
    assert f"{MARK}-outer" in written.getvalue()  # whoever debugs wants all of it


def test_a_json_line_has_what_an_operator_looks_for(url: str) -> None:
    written = io.StringIO()
    _logs.set_up("json", "info", written)
    httpx.get(f"{url}/memory/ns/absent", headers={"X-Request-Id": "abc"})
    line = json.loads(written.getvalue().splitlines()[-1])
    assert {**line, "time": None, "milliseconds": None, "message": None} == {
        "time": None,
        "level": "info",
        "logger": "botwire.access",
        "method": "GET",
        "route": "/memory/{namespace}/{key}",
        "status": 404,
        "milliseconds": None,
        "request_id": "abc",
        "message": None,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert 0 < line["milliseconds"] < 10_000


def test_serve_logs_as_it_is_told(serving: Any, tmp_path: Any) -> None:
    with serving(f"sqlite://{tmp_path}/m.db", "--log-level", "info", "--log-format", "json") as server:
        httpx.put(f"{server.url}/memory/{MARK}/{MARK}", json={"value": MARK})
        lines = server.stop()
    requests = [json.loads(line) for line in lines if line.startswith("{")]
    assert [(line["method"], line["status"]) for line in requests if line["logger"] == "botwire.access"] == [("PUT", 200)]
    assert MARK not in "".join(lines)


def test_serve_logs_no_request_unless_asked(serving: Any, tmp_path: Any) -> None:
    with serving(f"sqlite://{tmp_path}/m.db") as server:
        httpx.put(f"{server.url}/memory/ns/k", json={"value": 1})
        httpx.get(f"{server.url}/memory/ns/absent")
        lines = server.stop()
    assert [line for line in lines if "stopped" not in line] == []
