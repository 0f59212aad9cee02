"""The older public service, faked faithfully: what works there, and what is refused before anything is sent."""

from __future__ import annotations

import re
import socket
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import botwire.stores.legacy
from botwire import InvalidName, InvalidValue, Memory, StoreUnavailable, Unsupported, ValueTooLarge
from botwire.stores.http import HTTPStore


class OldService:
    """Four routes, text values, keys and namespaces of few letters, newest first, a thousand at most."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, str]] = {}
        self.requests: list[str] = []
        self.times: dict[tuple[str, str], str] = {}
        self.app = Starlette(routes=[
            Route("/memory/{namespace}/{key}", self.entry, methods=["GET", "PUT", "DELETE"]),
            Route("/memory/{namespace}", self.listing),
        ])  # fmt: skip

    def time_of(self, namespace: str, key: str) -> str:
        return self.times.get((namespace, key), "2026-01-02T03:04:05Z")

    async def entry(self, request: Request) -> Response:
        namespace, key = request.path_params["namespace"], request.path_params["key"]
        self.requests.append(f"{request.method} {key}")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", namespace) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", key):
            return JSONResponse({"error": "bad name"}, 400)
        values = self.values.setdefault(namespace, {})
        if request.method == "PUT":
            value = (await request.json())["value"]
            if not isinstance(value, str) or len(value) > 100_000:
                return JSONResponse({"error": "bad value"}, 400)
            values.pop(key, None)
            values[key] = value
            self.times[namespace, key] = datetime.now(UTC).isoformat()
            return JSONResponse({"namespace": namespace, "key": key, "stored": True})
        if key not in values:
            return JSONResponse({"error": "not found"}, 404)
        if request.method == "DELETE":
            del values[key]
            return JSONResponse({"deleted": True})
        return JSONResponse({"namespace": namespace, "key": key, "value": values[key], "updated_at": self.time_of(namespace, key)})

    async def listing(self, request: Request) -> Response:
        namespace = request.path_params["namespace"]
        values = self.values.get(namespace, {})
        limit = min(int(request.query_params.get("limit", 100)), 1000)
        newest = [{"key": key, "bytes": len(text), "updated_at": self.time_of(namespace, key)} for key, text in reversed(values.items())]
        return JSONResponse({"namespace": request.path_params["namespace"], "count": len(newest[:limit]), "keys": newest[:limit]})


@pytest.fixture
def old() -> Iterator[OldService]:
    service = OldService()
    listening = socket.create_server(("127.0.0.1", 0))
    service.url = f"http://127.0.0.1:{listening.getsockname()[1]}"  # type: ignore[attr-defined]
    server = uvicorn.Server(uvicorn.Config(service.app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield service
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def memory(old: Any) -> Iterator[Memory]:
    store = HTTPStore(old.url)
    yield Memory("ns", store=store)
    store.close()


def test_entries(memory: Memory, old: OldService) -> None:
    memory.set("text", "42")
    memory.set("doc", {"a": [1, None, "é"]})
    memory.set("list", [])
    assert old.values["ns"] == {"text": "42", "doc": '{"a":[1,null,"é"]}', "list": "[]"}
    assert (memory.get("text"), memory.get("doc"), memory.get("list")) == ("42", {"a": [1, None, "é"]}, [])
    assert memory.get("none", "default") == "default"
    assert memory.list_keys() == ["doc", "list", "text"]
    assert memory.list_keys("t") == ["text"]
    assert dict(memory.items()) == {"text": "42", "doc": {"a": [1, None, "é"]}, "list": []}
    assert memory.count() == 3
    assert memory.delete("text") is True
    assert memory.delete("text") is False
    assert memory.clear() == 2
    assert memory.list_keys() == []


def test_what_other_programs_wrote_is_read(memory: Memory, old: OldService) -> None:
    old.values["ns"] = {"a": "[1, 2", "b": '{"x": 1}', "c": "true", "d": " [1]"}
    assert [memory.get(key) for key in "abcd"] == ["[1, 2", {"x": 1}, "true", " [1]"]
    entry = memory.get_entry("a")
    assert entry is not None
    assert (entry.version, entry.updated_at.year) == (1, 2026)


@pytest.mark.parametrize(("value", "sent", "back"), [(42, "42", "42"), (None, "null", "null"), (True, "true", "true"), ("[1]", "[1]", [1])])
def test_a_value_that_comes_back_as_something_else_is_sent_as_its_text_with_a_warning(
    memory: Memory, old: OldService, value: Any, sent: str, back: Any
) -> None:
    with pytest.warns(UserWarning, match="comes? back as"):
        memory.set("k", value)
    assert old.values["ns"]["k"] == sent
    assert memory.get("k") == back


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda m: m.set("a/b", "x"), InvalidName),
        (lambda m: m.set("a" * 129, "x"), InvalidName),
        (lambda m: m.set("session.x", "x"), InvalidName),
        (lambda m: m.set("k", "x" * 100_001), ValueTooLarge),
        (lambda m: m.set("k", "\ud800"), InvalidValue),
        (lambda m: m.set("k", "x", ttl=5), Unsupported),
        (lambda m: m.set("k", "x", if_version=0), Unsupported),
        (lambda m: m.set("k", "x", request_id="r"), Unsupported),
        (lambda m: m.set_many({"a": "x", "b": "y"}), Unsupported),
        (lambda m: m.increment("k"), Unsupported),
        (lambda m: m.append("k", 1), Unsupported),
        (lambda m: m.merge("k", {}), Unsupported),
        (lambda m: m.update("k", lambda value: "x"), Unsupported),
        (lambda m: m.session("s").set_metadata({"a": 1}), Unsupported),
        (lambda m: m.session("s", ttl=5).append("hi", role="user"), Unsupported),
        (lambda m: m.session("s" * 200).append("hi", role="user"), InvalidName),
        (lambda m: m.namespaces(), Unsupported),
    ],
)
def test_what_it_cannot_hold_is_refused_and_nothing_is_written(memory: Memory, old: OldService, call: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        call(memory)
    assert not any(request.startswith(("PUT", "DELETE")) for request in old.requests)


def test_a_namespace_it_does_not_take_is_refused(old: Any) -> None:
    store = HTTPStore(old.url)
    with pytest.raises(InvalidName, match="a-z"):
        Memory("my app", store=store).set("k", "x")
    store.close()


def test_a_session_is_one_list_under_one_key_and_warned_of_once(memory: Memory, old: OldService, monkeypatch: Any) -> None:
    monkeypatch.setattr(botwire.stores.legacy, "_warned", [])
    session = memory.session("chat/1", agent="writer")
    with pytest.warns(UserWarning, match="atomically"):
        assert session.append("one", role="user") == [1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert session.append(("assistant", "two"), ("user", "three")) == [2, 3]
    assert list(old.values["ns"]) == ["session.chat.2F1.-writer"]
    assert [message.text for message in session.messages()] == ["one", "two", "three"]
    assert [message.seq for message in session.messages(last=2)] == [2, 3]
    assert [message.seq for message in session.messages(after=1, before=3)] == [2]
    assert memory.list_keys() == []
    assert memory.count() == 0
    assert [(info.session_id, info.agent, info.count) for info in memory.sessions()] == [("chat/1", "writer", 3)]
    popped = session.pop()
    assert popped is not None
    assert popped.text == "three"
    before = session.info()
    assert session.trim(1) == 1
    after = session.info()
    assert before is not None
    assert after is not None
    assert before.epoch != after.epoch
    assert session.clear() == 1
    assert memory.delete_session("chat/1") is True
    assert old.values["ns"] == {}


def test_clearing_entries_leaves_sessions(memory: Memory, old: OldService, monkeypatch: Any) -> None:
    monkeypatch.setattr(botwire.stores.legacy, "_warned", [memory.store.url])
    memory.session("s").append("hi", role="user")
    memory.set("k", "x")
    assert memory.clear() == 1
    assert len(memory.session("s").messages()) == 1


def test_search_works_over_what_can_be_listed(memory: Memory) -> None:
    memory.set("a", "dark chocolate")
    memory.set("b", "light")
    assert [hit.key for hit in memory.search("DARK")] == ["a"]


def test_more_keys_than_it_lists_is_an_error_and_not_a_short_list(memory: Memory, old: OldService) -> None:
    old.values["ns"] = {f"k{number}": "x" for number in range(1_000)}
    with pytest.raises(Unsupported, match="1,000"):
        memory.list_keys()
    del old.values["ns"]["k0"]
    assert len(memory.list_keys()) == 999


def test_a_server_of_another_kind_is_not_taken_for_an_empty_one(faulty: Any, fault: Any) -> None:
    page = fault["say"](404, b"<html>no such page</html>", kind="text/html")
    faulty.faults += [fault["at_health"](page), page]
    with pytest.raises(StoreUnavailable, match="text/html"):
        Memory("ns", store=HTTPStore(faulty.url)).get("k")


def test_it_is_watched_by_looking_now_and_then(old: Any, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botwire.stores.http.POLL_EVERY", 0.05)
    warnings.simplefilter("ignore")
    memory.set("old", "1")
    with memory.watch(timeout=30) as changes, memory.session("s").watch(timeout=30) as messages:
        memory.set("k", "one")
        assert next(changes).entry.value == "one"  # type: ignore[union-attr]
        memory.set("k", "two")
        assert next(changes).entry.value == "two"  # type: ignore[union-attr]
        memory.delete("old")
        assert next(changes).deleted
        memory.session("s").append(("user", "hi"))
        assert next(messages).content == "hi"
        memory.session("s").append(("user", "there"))
        assert next(messages).content == "there"
