"""The four public routes, as existing clients and curl users know them, and the routes beside them."""

from __future__ import annotations

import json
from typing import Any

import pytest


def test_a_value_comes_back_as_it_was_put(client: Any) -> None:
    stored = client.put("/memory/ns/k", json={"value": {"theme": "dark"}})
    assert stored.json() == {"namespace": "ns", "key": "k", "stored": True, "version": 1}
    entry = client.get("/memory/ns/k").json()
    assert entry["value"] == {"theme": "dark"}
    assert entry["namespace"] == "ns"
    assert entry["created_at"] == entry["updated_at"]
    assert entry["expires_at"] is None


def test_the_older_client_works(client: Any) -> None:
    """It puts text, reads ``.value``, lists ``.keys`` and takes 404 for missing."""
    assert client.put("/memory/ns/greeting", json={"value": "héllo [1]"}).status_code == 200
    assert client.get("/memory/ns/greeting").json()["value"] == "héllo [1]"
    assert client.get("/memory/ns", params={"limit": 1000}).json()["keys"] == ["greeting"]
    assert client.get("/memory/ns/none").status_code == 404
    assert client.delete("/memory/ns/greeting").json()["deleted"] is True
    assert client.delete("/memory/ns/greeting").status_code == 404


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        '"a\\u0000b"',
        "1" * 5_000,
        "-0.0",
        "1e308",
        '"\\u2028\\ud83d\\ude00"',
        "null",
        "[]",
        '{"":[{"a":null}]}',
        '"' + "é" * 1000 + '"',
    ],
)
def test_any_json_value_comes_back_to_the_letter(client: Any, text: str) -> None:
    assert client.put("/memory/ns/k", content=f'{{"value": {text}}}'.encode()).status_code == 200
    assert f'"value":{text},' in client.get("/memory/ns/k").text
    assert client.get("/memory/ns/k?as=text").json()["value"] == text
    assert f'"value":{text},' in client.get("/memory/ns?values=true").text


def test_versions_are_entity_tags(client: Any) -> None:
    assert client.put("/memory/ns/k", json={"value": 1}, headers={"If-None-Match": "*"}).headers["etag"] == '"1"'
    assert client.put("/memory/ns/k", json={"value": 2}, headers={"If-Match": '"1"'}).headers["etag"] == '"2"'
    lost = client.put("/memory/ns/k", json={"value": 3}, headers={"If-Match": '"1"'})
    assert (lost.status_code, lost.json()["code"], lost.json()["current"], lost.headers["etag"]) == (412, "version_conflict", 2, '"2"')
    assert client.put("/memory/ns/k", json={"value": 3}, headers={"If-None-Match": "*"}).status_code == 412
    assert client.get("/memory/ns/k", headers={"If-None-Match": '"1", "2"'}).status_code == 304
    assert client.get("/memory/ns/k", headers={"If-None-Match": '"1"'}).status_code == 200
    assert client.delete("/memory/ns/k", headers={"If-Match": '"1"'}).status_code == 412
    assert client.delete("/memory/ns/k", headers={"If-Match": '"2"'}).status_code == 200


def test_head_is_get_without_the_body(client: Any) -> None:
    client.put("/memory/ns/k", json={"value": 1})
    head, get = client.head("/memory/ns/k"), client.get("/memory/ns/k")
    assert (head.status_code, head.text, head.headers["etag"]) == (200, "", '"1"')
    assert head.headers["content-length"] == get.headers["content-length"]


def test_a_ttl_is_in_seconds(client: Any) -> None:
    client.put("/memory/ns/k", json={"value": 1, "ttl": 0.001})
    client.put("/memory/ns/long", json={"value": 1, "ttl": 3600})
    assert client.get("/memory/ns/long").json()["expires_at"] is not None
    while client.get("/memory/ns/k").status_code == 200:
        pass
    assert client.get("/memory/ns").json()["keys"] == ["long"]


def test_an_idempotency_key_makes_a_repeated_write_one_write(client: Any) -> None:
    for _ in range(3):
        answer = client.post("/memory/ns/n", json={"increment": 5}, headers={"Idempotency-Key": "the-same"})
        assert answer.json() == {"namespace": "ns", "key": "n", "value": 5, "version": 1}
    other = client.post("/memory/ns/n", json={"increment": 6}, headers={"Idempotency-Key": "the-same"})
    assert (other.status_code, other.json()["code"]) == (409, "request_conflict")


def test_changes_in_place(client: Any) -> None:
    assert client.post("/memory/ns/list", json={"append": [1, 2, 3], "max_items": 2}).json()["length"] == 2
    assert client.get("/memory/ns/list").json()["value"] == [2, 3]
    client.put("/memory/ns/doc", json={"value": {"a": 1, "b": {"c": 2}}})
    patch = {"a": None, "b": {"d": 3}}
    merged = client.patch("/memory/ns/doc", content=json.dumps(patch), headers={"Content-Type": "application/merge-patch+json"})
    assert merged.json()["value"] == {"b": {"c": 2, "d": 3}}
    wrong = client.post("/memory/ns/doc", json={"increment": 1})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "invalid_value")


def test_keys_come_in_pages_that_join_up(client: Any) -> None:
    keys = sorted(f"user:{number}" for number in range(25))
    operations = [{"op": "set", "key": key, "value": key} for key in [*keys, "other"]]
    client.post("/batch/ns", json={"operations": operations})
    found: list[str] = []
    parameters: dict[str, Any] = {"prefix": "user:", "limit": 10}
    while True:
        page = client.get("/memory/ns", params=parameters).json()
        assert page["count"] == len(page["keys"])
        found += page["keys"]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert found == keys
    assert client.get("/count/ns", params={"prefix": "user:"}).json()["count"] == 25
    assert client.delete("/memory/ns", params={"prefix": "user:"}).json()["deleted"] == 25
    assert client.get("/memory/ns").json()["keys"] == ["other"]


def test_a_page_of_values_ends_early_and_cuts_none(client: Any) -> None:
    big = "x" * 1_000_000
    for number in range(12):
        client.put(f"/memory/ns/k{number:02}", json={"value": big})
    page = client.get("/memory/ns", params={"values": "true"}).json()
    assert 8 <= page["count"] < 12
    assert all(entry["value"] == big for entry in page["entries"])
    rest = client.get("/memory/ns", params={"values": "true", "cursor": page["next_cursor"]}).json()
    assert (page["count"] + rest["count"], rest["next_cursor"]) == (12, None)


def test_a_batch_happens_whole_or_not_at_all(client: Any) -> None:
    client.put("/memory/ns/a", json={"value": 1})
    operations = [{"op": "set", "key": "b", "value": 2}, {"op": "delete", "key": "a", "if_version": 9}]
    assert client.post("/batch/ns", json={"operations": operations}).status_code == 412
    assert client.get("/memory/ns").json()["keys"] == ["a"]
    operations[1]["if_version"] = 1
    assert client.post("/batch/ns", json={"operations": operations}).json()["results"] == [1, True]
    assert client.get("/memory/ns").json()["keys"] == ["b"]


def test_many_keys_are_looked_up_at_once(client: Any) -> None:
    client.post("/batch/ns", json={"operations": [{"op": "set", "key": key, "value": key} for key in "abc"]})
    found = client.post("/lookup/ns", json={"keys": ["a", "none", "c"]}).json()["entries"]
    assert sorted(entry["value"] for entry in found) == ["a", "c"]


def test_a_session_from_its_first_message_to_its_end(client: Any) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}]  # fmt: skip
    appended = client.post("/sessions/ns/s/messages", json={"messages": messages, "ttl": 60.5}).json()
    assert (appended["first"], appended["last"]) == (1, 2)
    page = client.get("/sessions/ns/s/messages").json()
    assert [row["message"] for row in page["messages"]] == messages
    assert (page["info"]["head"], page["info"]["ttl"], page["more"]) == (2, 60.5, False)
    assert client.get("/sessions/ns/s/messages?last=1").json()["messages"][0]["seq"] == 2
    assert client.get("/sessions/ns/s/messages?after=1&limit=1").json()["messages"][0]["seq"] == 2
    assert client.patch("/sessions/ns/s", json={"metadata": {"a": 1}}).json()["metadata"] == {"a": 1}
    assert client.post("/sessions/ns/s/pop").json()["popped"]["seq"] == 2
    client.post("/sessions/ns/s/messages", json={"messages": messages})
    assert client.post("/sessions/ns/s/trim", json={"keep_last": 1}).json()["removed"] == 2
    assert client.get("/memory/ns").json()["keys"] == []
    assert [info["session"] for info in client.get("/sessions/ns").json()["sessions"]] == ["s"]
    assert client.delete("/sessions/ns/s/messages").json()["removed"] == 1
    assert client.get("/sessions/ns/s").json()["epoch"] != appended["epoch"]
    assert client.delete("/sessions/ns/s").json()["deleted"] == 1
    assert client.get("/sessions/ns/s").status_code == 404
    assert client.get("/sessions/ns/s/messages").json()["messages"] == []


def test_sessions_come_in_pages_whatever_their_names(client: Any) -> None:
    names = sorted(["a/b", "a", "é", "x y", "%"])
    for name in names:
        operation = {"op": "append_messages", "session": name, "agent": "w/1", "messages": [{"role": "user", "content": "hi"}]}
        client.post("/batch/ns", json={"operations": [operation]})
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/sessions/ns", params={"limit": 2, **cursor}).json()
        found += [info["session"] for info in page["sessions"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == names


def test_search_finds_entries_and_messages(client: Any) -> None:
    client.put("/memory/ns/likes", json={"value": "Dark chocolate"})
    client.post("/sessions/ns/s/messages", json={"messages": [{"role": "user", "content": "I like dark mode"}]})
    assert [hit["key"] for hit in client.get("/search/ns", params={"q": "DARK"}).json()["hits"]] == ["likes"]
    hit = client.get("/search/ns/messages", params={"q": "dark mode"}).json()["hits"][0]
    assert (hit["session"], hit["message"]["content"]) == ("s", "I like dark mode")


def test_health_says_what_this_is(client: Any) -> None:
    health = client.get("/health").json()
    assert (health["service"], health["protocol"], health["ok"], health["store"]) == ("botwire", 1, True, "memory://")
    assert client.get("/check").json()["ok"] is True


def test_namespaces_are_listed(client: Any) -> None:
    client.put("/memory/one/k", json={"value": 1})
    client.post("/sessions/two/s/messages", json={"messages": [{"role": "user", "content": "hi"}]})
    assert client.get("/memory").json()["namespaces"] == ["one", "two"]
