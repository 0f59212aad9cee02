"""An agent keeps, reads and removes ordinary entries, is never told something stale, and learns from the answer what went wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crewai.tools.base_tool import BaseTool
from scripted import ScriptedLLM, crew, tool_call

from botwire import InvalidName, InvalidValue, Memory
from botwire.integrations.crewai import memory_tools

NAMES = ["botwire_remember", "botwire_recall", "botwire_forget", "botwire_list"]


class Tools:
    """The four tools, called as the framework calls them; answers are parsed."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.all = memory_tools(*arguments, **more)
        self._by_name = {tool.name: tool for tool in self.all}

    def __getattr__(self, name: str) -> Any:
        return lambda **arguments: json.loads(self._by_name[f"botwire_{name}"].run(**arguments))


def test_what_is_remembered_is_recalled_listed_and_forgotten(any_url: str):
    tools = Tools(url=any_url)

    assert tools.remember(key="user-42/colour", value="teal") == {"stored": True, "key": "user-42/colour", "version": 1}
    assert Tools(url=any_url).recall(key="user-42/colour") == {"key": "user-42/colour", "found": True, "value": "teal"}
    assert tools.list() == {"keys": ["user-42/colour"]}
    assert tools.forget(key="user-42/colour") == {"forgotten": True, "key": "user-42/colour"}
    assert tools.list() == {"keys": []}


def test_they_are_the_entries_that_everybody_sees(url: str):
    tools = Tools("team", url=url)
    tools.remember(key="plan", value='{"steps": [1, 2.0, null]}', value_is_json=True)

    with Memory("team", url=url) as memory:
        assert memory.get("plan") == {"steps": [1, 2.0, None]}
        memory.set("theirs", {"a": ["ü"]})
        assert tools.recall(key="theirs")["value"] == {"a": ["ü"]}
    assert Tools(url=url).list() == {"keys": []}  # another namespace


@pytest.mark.parametrize(
    "text", ["42", "007", "true", "null", '{"a": 1}', "[", "", " ", '"quoted"', "1e5", "ü \U0001f600", "\ud800", "a\nb\0"]
)
def test_a_text_comes_back_as_that_text_whatever_it_looks_like(url: str, text: str):
    tools = Tools(url=url)
    tools.remember(key="k", value=text)

    assert tools.recall(key="k")["value"] == text
    with Memory(url=url) as memory:
        assert memory.get("k") == text


@pytest.mark.parametrize("text", ["{", "NaN", '{"a": 1, "a": 2}', "1e999", ""])
def test_json_that_would_not_come_back_is_refused_and_nothing_is_stored(url: str, text: str):
    tools = Tools(url=url)

    assert "call the tool again" in tools.remember(key="k", value=text, value_is_json=True)["error"]
    assert tools.list() == {"keys": []}


def test_a_key_that_is_not_there_is_answered_with_those_that_are_like_it(url: str):
    tools = Tools(url=url)
    for key in ("user-42/preferences", "user-42/name", "weather"):
        tools.remember(key=key, value="x")

    for answer in (tools.recall(key="user-42/preference"), tools.forget(key="user-42/preference")):
        assert answer["found"] is False
        assert answer["similar"][0] == "user-42/preferences"
        assert "weather" not in answer["similar"]
    assert "botwire_list" in tools.recall(key="zzz")["hint"]


def test_a_long_value_is_read_part_by_part(url: str):
    tools = Tools(url=url)
    value = "".join(f"{number}," for number in range(9_000))
    with Memory(url=url) as memory:
        memory.set("text", value)
        memory.set("json", {"numbers": list(range(9_000))})

    for key, kind, expected in (
        ("text", "text", value),
        ("json", "JSON text", json.dumps({"numbers": list(range(9_000))}, separators=(",", ":"))),
    ):
        parts, start = [], 0
        while start is not None:
            answer = tools.recall(key=key, start=start)
            assert answer["part_of"] == kind
            assert len(json.dumps(answer)) < 20_000
            assert ("more" in answer) == ("next_start" in answer)
            parts.append(answer["part"])
            start = answer.get("next_start")
        assert "".join(parts) == expected


def test_a_long_list_is_read_part_by_part_and_shows_each_key_once(any_url: str):
    tools = Tools(url=any_url)
    keys = sorted([*(f"note-{number:04}" for number in range(450)), *(f"long-{number}{'x' * 400}" for number in range(60))])
    with Memory(url=any_url) as memory:
        memory.set_many(dict.fromkeys([*keys, "crewai:flow:s1"], 1))

    found: list[str] = []
    answer = tools.list()
    while True:
        assert len(json.dumps(answer)) < 20_000
        found += answer["keys"]
        if "next_after" not in answer:
            break
        answer = tools.list(after=answer["next_after"])
    assert found == keys
    assert tools.list(prefix="note-044") == {"keys": [f"note-044{digit}" for digit in range(10)]}


def test_the_state_of_a_flow_is_out_of_reach(url: str):
    tools = Tools(url=url)
    with Memory(url=url) as memory:
        memory.set("crewai:flow:s1", {"state": {}})
        for answer in (
            tools.recall(key="crewai:flow:s1"),
            tools.forget(key="crewai:flow:s1"),
            tools.remember(key="crewai:flow:s1", value="x"),
        ):
            assert "choose another key" in answer["error"]
        assert tools.list() == {"keys": []}
        assert tools.recall(key="flow:s1")["similar"] == []
        assert memory.get("crewai:flow:s1") == {"state": {}}


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 600, "."])
def test_a_key_that_cannot_be_one_is_answered_with_what_is_wrong(url: str, key: str):
    tools = Tools(url=url)

    for answer in (tools.remember(key=key, value="x"), tools.recall(key=key), tools.forget(key=key)):
        assert "Nothing was done" in answer["error"]


def test_a_store_that_is_down_is_told_to_the_model_and_once_to_the_log_and_the_next_call_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "later"
    folder.write_text("in the way")
    tools = Tools(url=f"sqlite://{folder}/memory.db")

    with caplog.at_level(logging.ERROR, logger="botwire"):
        answers = [tools.remember(key="k", value="v"), tools.remember(key="l", value="v"), tools.forget(key="k")]

    assert all("Memory cannot be used now" in answer["error"] for answer in answers)
    assert [record.name for record in caplog.records] == ["botwire"]
    folder.unlink()
    assert tools.remember(key="k", value="v")["stored"] is True


def test_the_tools_can_be_awaited(url: str):
    tools = {tool.name: tool for tool in memory_tools(url=url)}

    async def use() -> list[Any]:
        calls = [tools["botwire_remember"].arun(key=f"k{number}", value="v") for number in range(20)]
        stored = await asyncio.gather(*calls)
        keys, value = await tools["botwire_list"].arun(), await tools["botwire_recall"].arun(key="k3")
        return [*map(json.loads, [*stored, keys, value, await tools["botwire_forget"].arun(key="k3")])]

    *stored, keys, value, forgotten = asyncio.run(use())
    assert all(answer["stored"] for answer in stored)
    assert (len(keys["keys"]), value["value"], forgotten["forgotten"]) == (20, "v", True)


# ------------------------------------------------------------------------------- in the framework


def test_the_names_are_none_that_the_framework_replaces_and_the_schemas_are_strict():
    from crewai.utilities.agent_utils import convert_tools_to_openai_schema

    tools = memory_tools()
    assert [tool.name for tool in tools] == NAMES
    schemas = convert_tools_to_openai_schema(tools)[0]
    assert [schema["function"]["name"] for schema in schemas] == NAMES
    for schema in schemas:
        parameters = schema["function"]["parameters"]
        assert parameters["additionalProperties"] is False
        assert set(parameters["required"]) == set(parameters["properties"])
        for argument in parameters["properties"].values():
            assert argument["type"] in ("string", "boolean", "integer")
            assert argument["description"]


def test_a_crew_that_caches_its_tools_reads_nothing_stale_and_drops_no_write(url: str):
    calls = [
        tool_call("botwire_remember", "c1", key="a", value="1", value_is_json=False),
        tool_call("botwire_recall", "c2", key="a", start=0),
        tool_call("botwire_remember", "c3", key="a", value="2", value_is_json=False),
        tool_call("botwire_recall", "c4", key="a", start=0),
        tool_call("botwire_remember", "c5", key="a", value="1", value_is_json=False),
        tool_call("botwire_recall", "c6", key="a", start=0),
    ]
    llm = ScriptedLLM(*calls, "done")

    assert crew(llm, tools=memory_tools(url=url), cache=True).kickoff().raw == "done"

    results = [json.loads(message["content"]) for message in llm.seen[-1] if message.get("role") == "tool"]
    assert [result.get("value", result.get("version")) for result in results] == [1, "1", 2, "2", 3, "1"]
    with Memory(url=url) as memory:
        assert memory.get_entry("a").version == 3


def test_a_tool_is_restored_from_its_json_with_its_memory_and_no_secret(url: str):
    from crewai.tools.base_tool import _resolve_tool_dict

    with Memory("team", url=url) as memory:
        for given in (memory_tools("team", url=url), memory_tools(memory=memory)):
            described = json.loads(json.dumps(given[0].model_dump(mode="json")))
            restored = _resolve_tool_dict(described)
            assert isinstance(restored, BaseTool)
            restored.run(key="k", value="restored")
            assert memory.get("k") == "restored"
            assert restored.cache_function({}, "x") is False
    assert "hush" not in json.dumps(memory_tools(url="http://u:hush@127.0.0.1:9")[0].model_dump(mode="json"))


def test_arguments_that_cannot_be_used_are_refused_at_once():
    with pytest.raises(InvalidName):
        memory_tools("")
    with pytest.raises(InvalidValue):
        memory_tools(memory=Memory(url="memory://"), url="memory://")


def test_the_older_name_gives_the_same_tools():
    from botwire.memory import memory_tools as older

    assert older is memory_tools


def test_without_crewai_the_error_says_what_to_install():
    code = """
import sys
sys.modules["crewai"] = None
import botwire.memory
try:
    from botwire.memory import memory_tools
except ImportError as error:
    print(type(error).__name__, error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.startswith("MissingExtra"), ended
    assert "pip install 'botwire[crewai]'" in ended.stdout
