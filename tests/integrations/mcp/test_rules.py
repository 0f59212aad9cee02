"""``botwire mcp rules`` prints what makes a model use the memory."""

from __future__ import annotations

import re

import pytest
from commands import Runner

from botwire.integrations.mcp._memory_server import TOOLS

CLIENTS = ["claude-desktop", "claude-code", "cursor", "vscode", "copilot", "windsurf", "codex"]


@pytest.fixture
def run(capsys) -> Runner:
    return Runner(capsys)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_rules_name_tools_that_there_are(run, client):
    ran = run("mcp", "rules", "--client", client)
    named = set(re.findall(r"`((?:memory|session)_\w+)`", ran.out))
    assert ran.status == 0
    assert {"memory_search", "memory_set"} <= named <= {tool.name for tool in TOOLS}
    assert "goes into" in ran.err  # and not into the file
    assert len(ran.out) < 2_000  # they are sent with every request


def test_clients_that_want_a_front_matter_get_one(run):
    assert run("mcp", "rules", "--client", "cursor").out.startswith("---\ndescription: ")
    assert "alwaysApply: true\n---\n" in run("mcp", "rules", "--client", "cursor").out
    assert run("mcp", "rules", "--client", "windsurf").out.startswith("---\ntrigger: always_on\n---\n")
    assert run("mcp", "rules", "--client", "claude-code").out.startswith("## Memory\n")


def test_programs_can_read_it(run):
    about = run("mcp", "rules", "--client", "copilot", "--json").json
    assert about["goes_into"] == ".github/copilot-instructions.md"
    assert about["rules"] == run("mcp", "rules", "--client", "vscode").out


def test_a_client_that_is_not_known_is_refused(run):
    ran = run("mcp", "rules", "--client", "emacs", "--json")
    assert ran.status == 2
    assert ran.out == ""
    assert "there are claude-desktop" in ran.error["message"]
