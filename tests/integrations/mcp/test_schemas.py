"""What clients and models see of the tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inside import ALL, tools
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.anyio

USUAL = frozenset({"core", "sessions"})
CORE = ["memory_get", "memory_set", "memory_update", "memory_append", "memory_delete", "memory_list", "memory_search"]
SESSIONS = ["session_create", "session_append", "session_read", "session_list"]
ADMIN = ["namespace_list", "memory_info", "memory_export", "memory_clear"]


async def listed(era: str, **settings: Any) -> list[dict[str, Any]]:
    async with tools("memory://", era, **settings) as server:
        found = await server.client.list_tools()
    return [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in found.tools]


def compact(record: Any) -> str:
    return json.dumps(record, separators=(",", ":"))


async def test_the_tools_have_an_order_and_are_under_8_kb_in_all(era: str):
    shown = await listed(era, groups=USUAL)

    assert [tool["name"] for tool in shown] == CORE + SESSIONS
    assert len(compact(shown)) < 8_000
    assert compact(shown) == compact(await listed(era, groups=USUAL))


async def test_tools_for_looking_after_the_memory_are_shown_where_they_were_asked_for(era: str):
    assert [tool["name"] for tool in await listed(era, groups=ALL)] == CORE + SESSIONS + ADMIN
    assert [tool["name"] for tool in await listed(era, groups=frozenset({"core"}))] == CORE
    async with tools("memory://", era, groups=USUAL) as server:
        assert (await server.error("memory_clear", confirm="default")).startswith("not_enabled: ")


async def test_every_schema_is_valid_and_stands_on_its_own(era: str):
    for tool in await listed(era):
        for schema in (tool["inputSchema"], tool.get("outputSchema", {})):
            Draft202012Validator.check_schema(schema)
            assert "$ref" not in compact(schema)
        assert tool["inputSchema"]["additionalProperties"] is False
        assert tool["description"]


async def test_annotations_say_which_tools_write_and_which_destroy(era: str):
    hints = {tool["name"]: tool["annotations"] for tool in await listed(era)}
    writing = {"memory_set", "memory_update", "memory_append", "memory_delete", "session_create", "session_append", "memory_clear"}

    assert {name for name, hint in hints.items() if not hint["readOnlyHint"]} == writing
    assert {name for name, hint in hints.items() if hint.get("destructiveHint")} == {
        "memory_set",
        "memory_update",
        "memory_delete",
        "memory_clear",
    }
    assert {name for name in writing if not hints[name]["idempotentHint"]} == {"memory_append", "session_create", "session_append"}
    assert not any(hint["openWorldHint"] for hint in hints.values())


async def test_results_are_what_the_output_schemas_say(tmp_path: Path, era: str):
    async with tools(f"sqlite://{tmp_path}/memory.db", era) as server:
        session = (await server.call("session_create", label="x", ttl_seconds=60))["session_id"]
        calls: list[tuple[str, dict[str, Any]]] = [
            ("memory_set", {"key": "k", "value": {"a": 1}, "ttl_seconds": 60}),
            ("memory_update", {"key": "k", "patch": {"b": 2}}),
            ("memory_append", {"key": "l", "items": [1]}),
            ("memory_get", {"key": "k"}),
            ("memory_get", {"keys": ["k", "none"]}),
            ("memory_list", {}),
            ("memory_search", {"query": "a"}),
            ("session_append", {"session_id": session, "messages": [{"role": "user", "content": "hi"}]}),
            ("session_read", {"session_id": session}),
            ("session_list", {}),
            ("namespace_list", {}),
            ("memory_info", {}),
            ("memory_export", {}),
            ("memory_delete", {"key": "k"}),
            ("memory_clear", {"confirm": "default"}),
        ]
        schemas = {tool.name: tool.output_schema or {} for tool in (await server.client.list_tools()).tools}
        for name, arguments in calls:
            Draft202012Validator(schemas[name]).validate(await server.call(name, **arguments))


async def test_a_locked_server_shows_no_namespace_and_takes_none(era: str):
    for tool in await listed(era, locked=True):
        assert "namespace" not in tool["inputSchema"]["properties"]
    async with tools("memory://", era, namespace="mine", locked=True) as server:
        assert (await server.error("memory_get", key="k", namespace="other")).startswith(
            "invalid_argument: there is no argument 'namespace'"
        )
        await server.call("memory_set", key="k", value=1)
        assert (await server.call("memory_info"))["namespace"] == "mine"


async def test_a_server_that_only_reads_shows_no_tool_that_writes_and_refuses_one(era: str):
    assert all(tool["annotations"]["readOnlyHint"] for tool in await listed(era, read_only=True))
    async with tools("memory://", era, read_only=True) as server:
        for name in ("memory_set", "memory_clear", "session_create"):
            assert (await server.error(name)).startswith("read_only: ")
