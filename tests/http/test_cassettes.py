"""The wire as golden files: recorded against the real server, replayed strictly to client and server alike.

A changed request of the client matches no recording; a recording left unused fails; a changed answer of the server
differs from its recording. To record anew, after a wanted change of the protocol::

    BOTWIRE_TEST_RECORD=1 python -m pytest tests/http/test_cassettes.py
"""

from __future__ import annotations

import itertools
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import vcr
import yaml

from botwire import Memory, VersionConflict
from botwire.server import serve_in_thread
from botwire.stores import Batch, EntryRow, Restore, RestoreLog, _http_calls, open_store
from botwire.stores.http import HTTPStore

CASSETTES = Path(__file__).parent / "cassettes"
RECORDING = os.environ.get("BOTWIRE_TEST_RECORD") == "1"
HOST = "http://botwire.test"


def entries(memory: Memory, store: Any) -> None:
    assert memory.set("k", {"theme": "dark"}) == 1
    assert memory.set("a/b ?#%é", "x", ttl=3600.5) == 1
    assert memory.set("k", [1, 2.5, None, True], if_version=1) == 2
    with pytest.raises(VersionConflict):
        memory.set("k", 1, if_version=0)
    assert memory.get("k") == [1, 2.5, None, True]
    assert memory.get("none") is None
    assert memory.delete("a/b ?#%é") is True
    assert memory.delete("a/b ?#%é") is False
    assert memory.increment("n", 2, request_id="the-id") == 2
    assert memory.append("list", 1, 2, 3, max_items=2) == 2
    assert memory.merge("doc", {"a": {"b": 1}}) == {"a": {"b": 1}}
    assert memory.set_many({"u:1": 1, "u:2": "\ud800"}) == {"u:1": 1, "u:2": 1}
    assert memory.get_many(["u:1", "u:2", "u:3"]) == {"u:1": 1, "u:2": "\ud800"}
    assert memory.list_keys("u:") == ["u:1", "u:2"]
    assert dict(memory.items("u:")) == {"u:1": 1, "u:2": "\ud800"}
    assert memory.count() == 6
    assert [hit.key for hit in memory.search("theme")] == []
    assert memory.namespaces() == ["golden"]
    assert memory.clear("u:") == 2


def sessions(memory: Memory, store: Any) -> None:
    session = memory.session("s/1", agent="writer", ttl=60)
    assert session.append("hi", role="user") == [1]
    assert session.append(("assistant", "hello"), ("user", "bye"), request_id="é") == [2, 3]
    assert [message.text for message in session.messages()] == ["hi", "hello", "bye"]
    assert [message.seq for message in session.messages(last=2)] == [2, 3]
    assert [message.seq for message in session.messages(after=1, before=3)] == [2]
    assert session.set_metadata({"topic": "golden"}) == {"topic": "golden"}
    assert [info.session_id for info in memory.sessions()] == ["s/1"]
    assert [hit.message.text for hit in session.search("hello")] == ["hello"]
    popped = session.pop()
    assert popped is not None
    assert popped.text == "bye"
    assert session.trim(1) == 1
    assert session.clear() == 1
    assert memory.delete_session("s/1") is True


def restoring(memory: Memory, store: Any) -> None:
    row = EntryRow("k", '"v"', 7, 1_700_000_000_000_000, 1_700_000_000_000_001, None)
    assert store.write([Batch("golden", (Restore(row),))]) == [[None]]
    assert store.get("golden", "k") == row
    memory.session("s").append("hi", role="user")
    page = store.read_log("golden", "s", "")
    frozen = page.info._replace(epoch="e", created_at=1_700_000_000_000_000, updated_at=1_700_000_000_000_000)
    rows = tuple(each._replace(created_at=1_700_000_000_000_000) for each in page.rows)
    assert store.write([Batch("copy", (RestoreLog(frozen, rows),))]) == [[None]]
    assert store.read_log("copy", "s", "").info == frozen


SCENARIOS: list[Callable[[Memory, Any], None]] = [entries, sessions, restoring]


@pytest.fixture(params=SCENARIOS, ids=[scenario.__name__ for scenario in SCENARIOS])
def scenario(request: Any) -> Any:
    return request.param


@pytest.fixture
def same_ids(monkeypatch: Any) -> None:
    """Request ids are random; here they count."""
    numbers = itertools.count(1)
    monkeypatch.setattr(_http_calls.uuid, "uuid4", lambda: uuid.UUID(int=next(numbers)))


@pytest.fixture
def server() -> Iterator[str]:
    store = open_store("memory://")
    with serve_in_thread(store) as url:
        yield url
    store.close()


def _scrub_request(request: Any) -> Any:
    request.uri = HOST + re.sub(r"^https?://[^/]*", "", request.uri)
    request.headers = {
        name: value for name, value in request.headers.items() if name in ("content-type", "if-match", "if-none-match", "idempotency-key")
    }
    return request


def _scrub_response(response: Any) -> Any:
    response["headers"] = {name: value for name, value in response["headers"].items() if name.lower() in ("content-type", "etag")}
    return response


def play(cassette: Path, mode: str) -> Any:
    recorder = vcr.VCR(
        record_mode=mode,
        match_on=["method", "path", "query", "body"],
        before_record_request=_scrub_request,
        before_record_response=_scrub_response,
        decode_compressed_response=True,
    )
    return recorder.use_cassette(str(cassette), allow_playback_repeats=False)


def run(scenario: Callable[[Memory, Any], None], url: str) -> None:
    store = HTTPStore(url, retries=0)
    try:
        scenario(Memory("golden", store=store), store)
    finally:
        store.close()


@pytest.mark.skipif(RECORDING, reason="not applicable: the cassettes are being recorded")
def test_the_client_sends_what_was_recorded_and_understands_the_answers(scenario: Any, same_ids: None) -> None:
    with play(CASSETTES / f"{scenario.__name__}.yaml", "none") as cassette:
        run(scenario, HOST)
        assert cassette.all_played, "the cassette holds requests that the client no longer sends"


@pytest.mark.skipif(not RECORDING, reason="not applicable: the cassettes are recorded only when asked for")
def test_record(scenario: Any, same_ids: None, server: str) -> None:
    path = CASSETTES / f"{scenario.__name__}.yaml"
    path.unlink(missing_ok=True)
    with play(path, "new_episodes"):
        run(scenario, server)


_VARYING = (
    (re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "TIME"),
    (re.compile(r'"epoch":"[0-9a-f]{16}"'), '"epoch":"EPOCH"'),
    (re.compile(r'"version": "[^"]*"'), '"version": "VERSION"'),
    (re.compile(r',"instance":"urn:botwire:request:[^"]*"'), ""),
)


def settled(text: str) -> str:
    """A text without what differs from one run to the next."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text


@pytest.mark.skipif(RECORDING, reason="not applicable: the cassettes are being recorded")
def test_the_server_answers_what_was_recorded(scenario: Any, server: str) -> None:
    """Each recorded request is sent to a fresh server, whose answer must be the recorded one but for times and epochs."""
    recorded = yaml.safe_load((CASSETTES / f"{scenario.__name__}.yaml").read_text())["interactions"]
    with httpx.Client(base_url=server) as client:
        for interaction in recorded:
            request, response = interaction["request"], interaction["response"]
            headers = {name: values[0] for name, values in request["headers"].items()}
            path = request["uri"].removeprefix(HOST)
            answer = client.request(request["method"], path, content=(request["body"] or "").encode(), headers=headers)
            assert answer.status_code == response["status"]["code"], path
            assert settled(answer.text) == settled(response["body"]["string"]), path
