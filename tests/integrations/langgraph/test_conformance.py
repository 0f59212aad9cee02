"""LangGraph's own conformance suite, counted: it skips what it does not find, and calls that full marks too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from botwire import Memory
from botwire.integrations.langgraph import BotWireSaver

EXPECTED = {
    "put": 17,
    "put_writes": 10,
    "get_tuple": 10,
    "list": 16,
    "delete_thread": 5,
    "delete_for_runs": 7,
    "copy_thread": 8,
    "prune": 8,
}


async def outcome(**options: Any) -> tuple[dict[str, int], list[str]]:
    @checkpointer_test(name="BotWireSaver")
    async def saver():
        yield BotWireSaver(**options)

    results = (await validate(saver)).to_dict()["results"]
    passed = {name: result["tests_passed"] for name, result in results.items()}
    return passed, [failure for result in results.values() for failure in result["failures"]]


@pytest.mark.anyio
async def test_all_81_pass(url: str):
    passed, failures = await outcome(url=url)

    assert failures == []
    assert {name: passed[name] for name in EXPECTED} == EXPECTED  # a newer suite may have more
    assert sum(EXPECTED.values()) == 81


@pytest.mark.anyio
async def test_all_pass_in_ram():
    with Memory("langgraph", url="memory://") as memory:
        passed, failures = await outcome(memory=memory)

    assert failures == []
    assert {name: passed[name] for name in EXPECTED} == EXPECTED


@pytest.mark.anyio
async def test_all_pass_encrypted(tmp_path: Path):
    pytest.importorskip("Crypto", reason="pycryptodome is not installed")
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    passed, failures = await outcome(url=f"sqlite://{tmp_path}/memory.db", serde=serde)

    assert failures == []
    assert {name: passed[name] for name in EXPECTED} == EXPECTED
