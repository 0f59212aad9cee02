"""The tools on entries: what they do, and what they say when they cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inside import tools
from mcp.shared.exceptions import MCPError

from botwire import Memory

pytestmark = pytest.mark.anyio


async def test_entries_are_written_read_and_deleted(url: str, era: str):
    async with tools(url, era) as server:
        assert await server.call("memory_set", key="k", value=1) == {"key": "k", "version": 1, "created": True}
        assert await server.call("memory_set", key="k", value=2) == {"key": "k", "version": 2, "created": False}
        read = await server.call("memory_get", key="k")
        assert (read["found"], read["value"], read["version"]) == (True, 2, 2)
        assert read["updated_at"].endswith("Z")
        assert await server.call("memory_delete", key="k") == {"deleted": True}
        assert await server.call("memory_delete", key="k") == {"deleted": False}
        assert await server.call("memory_get", key="k") == {"found": False}


async def test_a_conflict_names_the_current_version_in_text_and_for_programs(url: str, era: str):
    async with tools(url, era) as server:
        await server.call("memory_set", key="k", value={"a": 1})
        await server.call("memory_update", key="k", patch={"b": 2})
        calls: dict[str, dict[str, Any]] = {"memory_set": {"value": 0}, "memory_update": {"patch": {"c": 3}}, "memory_delete": {}}
        for tool, arguments in calls.items():
            result = await server.result(tool, key="k", if_version=1, **arguments)
            text: Any = result.content[0]
            assert result.is_error
            assert text.text.startswith("version_conflict: ")
            assert "is at version 2" in text.text
            assert (result.meta or {})["botwire/error"] == {"code": "version_conflict", "current_version": 2}
        assert (await server.error("memory_set", key="k", value=0, if_version=0)).startswith("version_conflict: ")
        assert (await server.error("memory_update", key="new", patch={}, if_version=3)).startswith("version_conflict: ")
        assert (await server.call("memory_get", key="k"))["value"] == {"a": 1, "b": 2}


async def test_a_merge_into_a_known_version_keeps_the_time_to_live(url: str, era: str):
    with Memory(url=url) as memory:
        memory.set("k", {"a": 1, "b": {"c": [1]}}, ttl=1_000)
        async with tools(url, era) as server:
            before = (await server.call("memory_get", key="k"))["expires_at"]
            result = await server.call("memory_update", key="k", patch={"a": None, "b": {"d": 2}}, if_version=1)
            assert result["value"] == {"b": {"c": [1], "d": 2}}
            read = await server.call("memory_get", key="k")
            assert (read["value"], read["version"], read["expires_at"]) == (result["value"], result["version"], before)
            fresh = await server.call("memory_update", key="new", patch={"a": 1}, if_version=0)
            assert (await server.call("memory_get", key="new"))["version"] == fresh["version"]


async def test_a_list_grows_keeps_its_end_and_takes_a_retry_once(url: str, era: str):
    async with tools(url, era) as server:
        assert await server.call("memory_append", key="l", items=[1, "2", None]) == {"key": "l", "version": 1, "length": 3}
        for _ in range(2):
            result = await server.call("memory_append", key="l", items=[{"a": 1}], max_items=3, dedupe_key="once")
            assert result == {"key": "l", "version": 2, "length": 3}
        assert (await server.call("memory_get", key="l"))["value"] == ["2", None, {"a": 1}]
        assert (await server.error("memory_append", key="l", items=[5], dedupe_key="once")).startswith("request_conflict: ")
        await server.call("memory_set", key="text", value="t")
        assert (await server.error("memory_append", key="text", items=[1])).startswith("invalid_argument: ")


async def test_several_keys_are_read_at_once_as_far_as_they_fit(url: str, era: str):
    with Memory(url=url) as memory:
        memory.set_many({"small": 1, "large": "x" * 40_000, "other": 2})
    async with tools(url, era) as server:
        result = await server.call("memory_get", keys=["small", "large", "other", "none", "small"])
        assert [(item["key"], item["found"]) for item in result["items"]] == [("small", True), ("other", True), ("none", False)]
        assert result["omitted"] == ["large"]
        assert len((await server.call("memory_get", key="large"))["value"]) == 40_000


async def test_a_namespace_is_apart_from_the_others(url: str, era: str):
    async with tools(url, era, namespace="one") as server:
        await server.call("memory_set", key="k", value=1)
        await server.call("memory_set", key="k", value=2, namespace="two")
        assert (await server.call("memory_get", key="k"))["value"] == 1
        assert (await server.call("memory_get", key="k", namespace="two"))["value"] == 2
        assert (await server.call("namespace_list"))["namespaces"] == ["one", "two"]
        assert (await server.error("memory_clear", namespace="two", confirm="one")).startswith("invalid_argument: ")
        assert await server.call("memory_clear", namespace="two", confirm="two") == {"removed": 1}
        assert (await server.call("memory_list"))["total"] == 1


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("memory_set", {"value": 1}, "invalid_argument: key is missing"),
    ("memory_set", {"key": 1, "value": 1}, "invalid_argument: key must be of type string, not an integer"),
    ("memory_set", {"key": "", "value": 1}, "invalid_argument: key must not be empty"),
    ("memory_set", {"key": "x" * 513, "value": 1}, "invalid_argument: key is 513 bytes"),
    ("memory_set", {"key": "a\nb", "value": 1}, "invalid_argument: key holds the control character"),
    ("memory_set", {"key": "k", "value": 1, "ttl_seconds": 0}, "invalid_argument: ttl_seconds must be over 0"),
    ("memory_set", {"key": "k", "value": 1, "ttl_seconds": "60"}, "invalid_argument: ttl_seconds must be of type number, not a string"),
    ("memory_set", {"key": "k", "value": 1, "if_version": True}, "invalid_argument: if_version must be of type integer, not a boolean"),
    ("memory_set", {"key": "k", "value": 1, "if_version": -1}, "invalid_argument: if_version must be 0 or more"),
    ("memory_set", {"key": "k", "value": 1, "vlaue": 2}, "invalid_argument: there is no argument 'vlaue'"),
    ("memory_set", {"key": "k", "value": 1, "namespace": ".."}, "invalid_argument: namespace must not be '..'"),
    ("memory_get", {}, "invalid_argument: give key, or keys"),
    ("memory_get", {"keys": []}, "invalid_argument: keys must have at least 1 items"),
    ("memory_get", {"keys": ["a"] * 51}, "invalid_argument: keys must have at most 50 items"),
    ("memory_get", {"keys": ["a", 1]}, "invalid_argument: keys[1] must be of type string"),
    ("memory_update", {"key": "k", "patch": [1]}, "invalid_argument: patch must be of type object, not an array"),
    ("memory_append", {"key": "k", "items": "abc"}, "invalid_argument: items must be of type array"),
    ("memory_list", {"limit": 201}, "invalid_argument: limit must be 200 or less"),
    ("memory_list", {"limit": 1.0}, "invalid_argument: limit must be of type integer, not a number"),
    ("memory_list", {"cursor": "nonsense!"}, "invalid_argument: the cursor"),
    ("memory_search", {"query": "?!"}, "invalid_argument: the search query"),
    ("session_append", {"session_id": "s", "messages": [{"content": "x"}]}, "invalid_argument: role is missing in messages[0]"),
    ("session_append", {"session_id": "s", "messages": [{"role": "bot"}]}, "invalid_argument: messages[0].role must be one of"),
    ("session_read", {"session_id": "none"}, "unknown_or_expired_session: there is no session 'none'"),
    ("session_append", {"session_id": "none", "messages": [{"role": "user"}]}, "unknown_or_expired_session: "),
]


@pytest.mark.parametrize(("tool", "arguments", "says"), WRONG, ids=[f"{tool}-{number}" for number, (tool, _, _) in enumerate(WRONG)])
async def test_bad_input_is_named_and_nothing_is_written(tmp_path: Path, tool: str, arguments: dict[str, Any], says: str):
    async with tools(f"sqlite://{tmp_path}/memory.db", "legacy") as server:
        assert (await server.error(tool, **arguments)).startswith(says)
        assert (await server.call("namespace_list"))["namespaces"] == []


async def test_an_unknown_tool_is_an_error_of_the_protocol(era: str):
    async with tools("memory://", era) as server:
        with pytest.raises(MCPError, match="Unknown tool: nonsense"):
            await server.client.call_tool("nonsense", {})


async def test_a_cursor_of_another_list_is_refused(url: str, era: str):
    with Memory(url=url) as memory:
        memory.set_many({f"k{number}": number for number in range(5)})
    async with tools(url, era) as server:
        cursor = (await server.call("memory_list", limit=2))["next_cursor"]
        assert [entry["key"] for entry in (await server.call("memory_list", limit=2, cursor=cursor))["keys"]] == ["k2", "k3"]
        for arguments in ({"prefix": "k"}, {"namespace": "other"}):
            assert (await server.error("memory_list", cursor=cursor, **arguments)).startswith("invalid_argument: the cursor")
        assert (await server.error("memory_export", cursor=cursor)).startswith("invalid_argument: the cursor")
        assert (await server.error("memory_search", query="k", cursor=cursor)).startswith("invalid_argument: the cursor")


async def test_a_store_that_is_gone_is_told_with_its_code(era: str):
    async with tools("http://127.0.0.1:9", era) as server:
        assert (await server.error("memory_get", key="k")).startswith("store_unavailable: ")


async def test_a_damaged_value_is_told_and_spoils_nothing_else(tmp_path: Path, era: str):
    import apsw

    url = f"sqlite://{tmp_path}/memory.db"
    with Memory(url=url) as memory:
        memory.set_many({"bad": 1, "good": 2})
    with apsw.Connection(f"{tmp_path}/memory.db") as connection:
        connection.execute("UPDATE entry SET value = '{' WHERE key = 'bad'")
    connection.close()
    async with tools(url, era) as server:
        assert (await server.error("memory_get", key="bad")).startswith("store_corrupt: ")
        assert (await server.call("memory_get", key="good"))["value"] == 2
        assert [entry["key"] for entry in (await server.call("memory_list"))["keys"]] == ["bad", "good"]
