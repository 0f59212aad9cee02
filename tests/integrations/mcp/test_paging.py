"""Much in a namespace: every page within the byte budget, every key seen once."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from inside import Tools, tools

from botwire import Memory

pytestmark = pytest.mark.anyio

KEYS = [f"note/{number:05}" for number in range(5_000)]
BUDGET = 60_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 keys of 2 kB, each with a word of its own, and a session of 300 messages of 2 kB."""
    file = tmp_path_factory.mktemp("much") / "memory.db"
    with Memory(url=f"sqlite://{file}") as memory:
        memory.set_many({key: {"text": f"{key.replace('/', '')} \u00e9\U0001f9e0 " + "y" * 1_950} for key in KEYS})
        session = memory.session("long")
        for start in range(0, 300, 100):
            session.append(*[{"role": "user", "content": f"{number} " + "z" * 2_000} for number in range(start, start + 100)])
    return file


def size(result: Any) -> int:
    """A result's size as it is sent, at its largest: everything beyond ASCII escaped."""
    return len(json.dumps(result.model_dump(by_alias=True, exclude_none=True, mode="json")).encode())


@contextmanager
def another_writer(url: str) -> Iterator[None]:
    """Writes keys between those that are there, from the moment on at which this returns."""
    writing, end = threading.Event(), threading.Event()

    def write() -> None:
        with Memory(url=url) as memory:
            number = 0
            while not end.is_set():
                key = f"note/{number * 37 % 5_000:05}+{number}"
                memory.set(key, f"inserted {key.replace('/', '')}")
                number += 1
                writing.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert writing.wait(30)
    try:
        yield
    finally:
        end.set()
        thread.join()


async def pages(server: Tools, tool: str, **arguments: Any) -> AsyncIterator[Any]:
    cursor: dict[str, str] = {}
    while True:
        result = await server.result(tool, **arguments, **cursor)
        assert not result.is_error, result.content
        assert size(result) <= BUDGET
        yield result.structured_content
        following = (result.structured_content or {}).get("next_cursor")
        if following is None:
            return
        cursor = {"cursor": following}


@pytest.mark.parametrize(
    ("tool", "member", "arguments"),
    [
        ("memory_list", "keys", {"limit": 200}),
        ("memory_list", "keys", {"limit": 7, "prefix": "note/000"}),
        ("memory_search", "hits", {"query": "note00 ", "limit": 50}),
        ("memory_export", "entries", {"limit": 200}),
    ],
)
async def test_every_page_fits_and_every_key_is_seen_once_while_another_writes(
    file: Path, tool: str, member: str, arguments: dict[str, Any]
):
    url = f"sqlite://{file}"
    seen: list[str] = []
    with another_writer(url):
        async with tools(url, "2026-07-28") as server:
            async for page in pages(server, tool, **arguments):
                seen += [item["key"] for item in page[member]]

    prefix = arguments.get("prefix", "note/00" if tool == "memory_search" else "")
    assert [key for key in sorted(seen) if "+" not in key] == [key for key in KEYS if key.startswith(prefix)]
    assert len(seen) == len(set(seen))


async def test_resources_are_listed_by_pages_that_fit(file: Path, era: str):
    names: list[str] = []
    async with tools(f"sqlite://{file}", era, namespace="default") as server:
        cursor = None
        for _ in range(25):
            page = await server.client.list_resources(cursor=cursor)
            assert size(page) <= BUDGET
            names += [resource.name for resource in page.resources]
            cursor = page.next_cursor
    assert names[0] == "index"
    assert [name for name in names[1:] if "+" not in name] == KEYS[: len([name for name in names[1:] if "+" not in name])]
    assert len(names) == len(set(names)) > 1_000


async def test_the_index_of_a_namespace_goes_on_where_it_ends(file: Path, era: str):
    keys: list[str] = []
    async with tools(f"sqlite://{file}", era) as server:
        uri = "memory://default"
        while uri:
            result = await server.client.read_resource(uri)
            assert size(result) <= BUDGET
            content: Any = result.contents[0]
            page = json.loads(content.text)
            keys += page["keys"]
            uri = page.get("next")
    assert [key for key in keys if "+" not in key] == KEYS
    assert len(keys) == len(set(keys))


async def test_a_long_session_is_read_backwards_in_windows_that_fit(file: Path, era: str):
    seen: list[int] = []
    async with tools(f"sqlite://{file}", era) as server:
        before: dict[str, int] = {}
        while True:
            result = await server.result("session_read", session_id="long", last_n=200, **before)
            assert size(result) <= BUDGET
            page: Any = result.structured_content
            seen = [message["seq"] for message in page["messages"]] + seen
            if "next_before_seq" not in page:
                break
            before = {"before_seq": page["next_before_seq"]}
    assert seen == list(range(1, 301))


async def test_a_message_that_is_too_large_is_named_and_read_alone(url: str, era: str):
    with Memory(url=url) as memory:
        memory.session("s").append(("user", "first"), ("user", "x" * 100_000), ("user", "last"))
    async with tools(url, era) as server:
        read = await server.call("session_read", session_id="s")
        assert [message["seq"] for message in read["messages"]] == [3]
        read = await server.call("session_read", session_id="s", before_seq=read["next_before_seq"])
        assert [(message["seq"], "too_large" in message) for message in read["messages"]] == [(1, False), (2, True)]
        read = await server.call("session_read", session_id="s", last_n=1, before_seq=3)
        assert len(read["messages"][0]["content"]) == 100_000


async def test_keys_of_the_longest_kind_are_listed_within_the_smallest_budget(url: str, era: str):
    longest = [f"{number:03}" + "\U0001f9e0" * 127 for number in range(30)]
    with Memory(url=url) as memory:
        memory.set_many(dict.fromkeys(longest, "common"))
    for tool, member, arguments in (("memory_list", "keys", {}), ("memory_search", "hits", {"query": "common"})):
        async with tools(url, era, max_result_bytes=8_000) as server:
            cursor: dict[str, str] = {}
            seen: list[str] = []
            while True:
                result = await server.result(tool, **arguments, **cursor)
                assert size(result) <= 8_000
                page: Any = result.structured_content
                seen += [item["key"] for item in page[member]]
                if "next_cursor" not in page:
                    break
                cursor = {"cursor": page["next_cursor"]}
        assert sorted(seen) == longest
