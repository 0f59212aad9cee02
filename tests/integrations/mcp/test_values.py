"""What is stored through the tools comes back equal and of the same type; what cannot is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clients import Lines
from inside import tools

from botwire import Memory

pytestmark = pytest.mark.anyio


def nested(depth: int) -> Any:
    value: Any = "in the middle"
    for level in range(depth):
        value = [value] if level % 2 else {"inside": value}
    return value


HOSTILE: dict[str, Any] = {
    "text like an object": '{"a":1}',
    "text like null": "null",
    "empty text": "",
    "true": True,
    "null": None,
    "2^53+1": 2**53 + 1,
    "1.0": 1.0,
    "1": 1,
    "-0.0": -0.0,
    "4,000 digits": 10**4_000 + 1,
    "50 deep": nested(50),
    "199 deep": nested(199),
    "NUL": "a\x00b",
    "emoji": "\U0001f9e0\u200d\U0001f468 \u05e9\u05dc\u05d5\u05dd",
    "line separators": "a\u2028b\u2029c\r\nd",
    "nulls inside": {"a": None, "b": [None, {}], "": [[], ""]},
    "1 MB": "x" * 1_000_000,
    "many kinds": [1, 1.0, "1", True, None, [1e22, 5e-324], {"1": 1}],
}


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    return left == right and repr(left) == repr(right)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
async def test_a_value_comes_back_equal_and_of_its_type(url: str, era: str, value: Any):
    async with tools(url, era) as server:
        await server.call("memory_set", key="k", value=value)
        result = await server.result("memory_get", key="k")
    assert result.structured_content is not None
    assert same(result.structured_content["value"], value)
    text: Any = result.content[0]
    assert same(json.loads(text.text), result.structured_content)
    with Memory(url=url) as memory:
        assert same(memory.get("k"), value)


@pytest.mark.parametrize("modern", [False, True], ids=["older", "newer"])
def test_every_value_comes_back_over_standard_output(tmp_path: Path, modern: bool):
    with Lines("--store", str(tmp_path / "memory.db"), modern=modern) as server:
        for name, value in HOSTILE.items():
            assert server.call("memory_set", key=name, value=value)["created"]
            assert same(server.call("memory_get", key=name)["value"], value), name


async def test_value_json_is_parsed_and_value_is_not(url: str, era: str):
    async with tools(url, era) as server:
        await server.call("memory_set", key="parsed", value_json='{"a": [1, 1.0]}')
        await server.call("memory_set", key="text", value='{"a": [1, 1.0]}')
        assert same((await server.call("memory_get", key="parsed"))["value"], {"a": [1, 1.0]})
        assert (await server.call("memory_get", key="text"))["value"] == '{"a": [1, 1.0]}'
        for bad in ("{", "NaN", '"\\ud800"', "1e999"):
            assert (await server.error("memory_set", key="bad", value_json=bad)).startswith("invalid_argument: ")
        assert (await server.error("memory_set", key="bad")).startswith("invalid_argument: give value, or value_json")
        assert (await server.error("memory_set", key="bad", value=1, value_json="1")).startswith("invalid_argument: ")
        assert await server.call("memory_get", key="bad") == {"found": False}


async def test_what_the_protocol_cannot_carry_is_read_as_json_text(url: str, era: str):
    """Other frameworks can store half a character, or a number of thousands of digits; neither may break a client."""
    half, long = {"a": "\ud800"}, 10**5_000
    with Memory(url=url) as memory:
        memory.set_many({"half": half, "long": long})
        memory.session("s").append({"role": "user", "content": "\udfff", "id": "m"})
    async with tools(url, era) as server:
        read = await server.call("memory_get", key="half")
        assert json.loads(read["value_json"]) == half
        assert (await server.call("memory_get", key="long"))["value_json"] == "1" + "0" * 5_000
        assert [entry["key"] for entry in (await server.call("memory_export"))["entries"]] == ["half", "long"]
        message = (await server.call("session_read", session_id="s"))["messages"][0]
        assert json.loads(message["message_json"])["content"] == "\udfff"
        assert "half" in (await server.call("memory_search", query="half"))["hits"][0]["key"]
        assert "value" not in await server.call("memory_update", key="half", patch={"b": 1})


def test_a_lone_surrogate_is_refused_by_name_and_nothing_is_written(tmp_path: Path):
    with Lines("--store", str(tmp_path / "memory.db")) as server:
        for arguments in ({"key": "k", "value": {"a": ["\ud800"]}}, {"key": "k", "value": {"\udfff": 1}}, {"key": "\ud800", "value": 1}):
            assert server.call("memory_set", **arguments).startswith("invalid_argument: ")
        assert "value.a[0] holds the lone surrogate" in server.call("memory_set", key="k", value={"a": ["\ud800"]})
        assert server.call("memory_list")["keys"] == []
