"""BotWireStorage: the history of a stream is there after the restart, equal, and a conversation for all others."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from ag2 import MemoryStream, ToolResult
from ag2.events import (
    BaseEvent,
    BinaryInput,
    BinaryResult,
    BinaryType,
    DataInput,
    FileIdInput,
    HumanInputRequest,
    HumanMessage,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TaskStarted,
    TextInput,
    ToolCallEvent,
    ToolCallsEvent,
    ToolErrorEvent,
    ToolResultEvent,
    ToolResultsEvent,
    UrlInput,
    Usage,
    UsageEvent,
)
from streams import call, count, thinker

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory, StoreUnavailable
from botwire.integrations.ag2 import BotWireStorage, botwire_stream


async def save(storage: BotWireStorage, *events: BaseEvent, stream: str = "s1") -> None:
    for event in events:
        await storage.save_event(event, SimpleNamespace(stream=SimpleNamespace(id=stream)))  # type: ignore[arg-type]


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def adding(asked: list[Any]) -> Any:
    return call() if asked[-1][1] == "add" else count(asked)


# ---------------------------------------------------------------------------------------- restarts


def test_the_next_process_goes_on_where_the_last_one_ended(story: Callable[..., tuple[int, Any]], url: str):
    assert story(url, "I like tea")[1] == [[["system", "SYS"], ["user", "I like tea"]]]
    assert story(url, "what do I like?")[1] == [
        [["system", "SYS"], ["user", "I like tea"], ["assistant", "answer 1"], ["user", "what do I like?"]]
    ]


def test_a_process_killed_between_a_call_and_its_result_leaves_no_call_unanswered(story: Callable[..., tuple[int, Any]], url: str):
    assert story(url, "die")[0] == -signal.SIGKILL

    status, seen = story(url, "and now?")
    assert status == 0
    assert [said[:2] for said in seen[0]] == [["system", "SYS"], ["user", "die"], ["assistant", None], ["tool", "c1"], ["user", "and now?"]]
    assert "interrupted" in seen[0][3][2]["content"]


@pytest.mark.anyio
async def test_a_history_is_what_ag2_itself_would_keep(url: str):
    plain = MemoryStream(id="x")  # type: ignore[arg-type]
    stored = botwire_stream("s1", url=url)
    for text in ("add", "and", "add"):
        for stream in (plain, stored):
            agent, _ = thinker(adding, tools=[add])
            await agent.ask(text, stream=stream)

    assert list(await botwire_stream("s1", url=url).history.get_events()) == list(await plain.history.get_events())


@pytest.mark.anyio
async def test_others_read_a_faithful_conversation(memory: Memory):
    agent, _ = thinker(adding, tools=[add])
    await agent.ask("add", stream=botwire_stream("s1", memory=memory))

    assert [message.to_dict() | {"id": None} for message in memory.session("s1").messages()] == [
        {"role": "user", "content": "add", "id": None},
        {"role": "assistant", "content": None, "id": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
        ]},
        {"role": "tool", "content": "3", "name": "add", "tool_call_id": "c1", "id": None},
        {"role": "assistant", "content": "answer 3", "id": None},
    ]  # fmt: skip


@pytest.mark.anyio
async def test_a_conversation_goes_on_in_langchain_and_back(url: str):
    pytest.importorskip("langchain_core", reason="not applicable: langchain-core is not installed beside this version of ag2")
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    from botwire.integrations.langchain import BotWireChatHistory

    agent, _ = thinker(adding, tools=[add])
    await agent.ask("add", stream=botwire_stream("s1", url=url))
    history = BotWireChatHistory("s1", url=url)
    said = history.messages
    assert [type(message) for message in said] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert said[1].tool_calls == [{"name": "add", "args": {"a": 1, "b": 2}, "id": "c1", "type": "tool_call"}]
    assert (said[2].tool_call_id, said[2].content) == ("c1", "3")

    history.add_messages([HumanMessage("and now?"), AIMessage("six")])
    agent, seen = thinker()
    await agent.ask("and then?", stream=botwire_stream("s1", url=url))
    assert [said[1] for said in seen[0]] == ["SYS", "add", None, "c1", "answer 3", "and now?", "six", "and then?"]


@pytest.mark.anyio
async def test_a_conversation_that_another_framework_began_goes_on_here(memory: Memory):
    asking = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "name": "add", "args": {"a": 1}}]}
    result = {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "add"}
    memory.session("s1").append(("user", "1+2?"), asking, result, ("assistant", "three"))
    agent, seen = thinker()
    await agent.ask("and 2+3?", stream=botwire_stream("s1", memory=memory))

    assert [said[:2] for said in seen[0][1:]] == [
        ["user", "1+2?"],
        ["assistant", None],
        ["tool", "c1"],
        ["assistant", "three"],
        ["user", "and 2+3?"],
    ]
    assert [message.role for message in memory.session("s1").messages()][-2:] == ["user", "assistant"]


# ------------------------------------------------------------------------------------- round trips


@dataclasses.dataclass
class Point:
    x: int


class Noted(BaseEvent):
    """An event of an application's own."""

    text: str
    point: Point | None = None


CALL = ToolCallEvent("add", id="c1", arguments="{}")
RESULT = ToolResultEvent(parent_id="c1", name="add", result=ToolResult("3", metadata={"took": 0.5}))
EVENTS: list[BaseEvent] = [
    ModelRequest([TextInput("hi")]),
    ModelRequest([TextInput("look"), BinaryInput(b"\x00\xff", media_type="image/png", kind=BinaryType.IMAGE)]),
    ModelRequest([UrlInput("https://x.y/z.png", kind=BinaryType.IMAGE), FileIdInput("f1", filename="a.txt")]),
    ModelRequest([DataInput({"a": (1, 2), 3: {4}, "$bytes": None, "t": datetime(2026, 1, 2, tzinfo=UTC), "d": Decimal("1.50")})]),
    ModelRequest([TextInput("a\x00\ud800", metadata={"id": UUID(int=7), "n": 10**30, "nan": b""})]),
    ModelResponse(ModelMessage("hello", metadata={"k": [1]}), usage=Usage(1, 2, 3), files=[BinaryResult(b"pdf", {"filename": "a.pdf"})]),
    ModelResponse(ModelMessage("so"), tool_calls=ToolCallsEvent([CALL]), model="m", finish_reason="tool_calls"),
    ToolCallsEvent([CALL]),
    RESULT,
    ToolResultsEvent([RESULT]),
    ToolErrorEvent(parent_id="c2", name="add", error=ValueError("no"), result=ToolResult("Traceback")),
    ToolErrorEvent(parent_id="c3", name="add", error=KeyError("k"), result=ToolResult("Traceback")),
    UsageEvent(Usage(1, 2, 3), model="m"),
    HumanInputRequest("sure?"),
    HumanMessage("yes", parent_id="7"),
    TaskStarted(task_id="t", agent_name="a", objective="o"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["saved", "set"])
async def test_events_come_back_equal_and_in_order(memory: Memory, way: str):
    if way == "saved":
        await save(BotWireStorage(memory=memory), *EVENTS)
    else:
        await save(BotWireStorage(memory=memory), *reversed(EVENTS))
        await BotWireStorage(memory=memory).set_history("s1", EVENTS)
    back = list(await BotWireStorage(memory=memory).get_history("s1"))

    assert back == EVENTS
    assert [event.created_at for event in back] == [event.created_at for event in EVENTS]
    assert type(back[3].parts[0].data["a"]) is tuple  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_an_application_event_comes_back_where_its_module_is_registered(memory: Memory, caplog: pytest.LogCaptureFixture):
    given = [ModelRequest([TextInput("hi")]), Noted(text="a", point=Point(1)), Noted(text="b")]
    await save(BotWireStorage(memory=memory), *given)

    assert list(await BotWireStorage(memory=memory, modules=[__name__]).get_history("s1")) == given

    storage = BotWireStorage(memory=memory)
    with caplog.at_level(logging.WARNING, "botwire"):
        for _ in range(2):
            assert list(await storage.get_history("s1")) == given[:1]
    assert len(caplog.records) == 1
    assert "Noted is of no module that may be looked up" in caplog.text
    assert list(await BotWireStorage(memory=memory, modules=[__name__]).get_history("s1")) == given


@pytest.mark.anyio
async def test_an_object_of_an_application_comes_back_as_a_dict_unless_registered(memory: Memory):
    await save(BotWireStorage(memory=memory), ModelRequest([DataInput(Point(7))]))  # type: ignore[arg-type]

    (as_dict,) = await BotWireStorage(memory=memory).get_history("s1")
    (as_point,) = await BotWireStorage(memory=memory, modules=[__name__]).get_history("s1")
    assert as_dict.parts[0].data == {"x": 7}  # type: ignore[attr-defined]
    assert as_point.parts[0].data == Point(7)  # type: ignore[attr-defined]


@pytest.mark.anyio
@pytest.mark.parametrize("planted", [
    {"$event": ["os:system", {}]},
    {"$event": ["ag2.events:Nothing", {}]},
    {"$event": ["ag2evil:E", {}]},
    {"$event": ["ag2.events.base:importlib", {}]},
    {"$object": ["subprocess:Popen", {"args": "true"}]},
    {"$error": ["builtins:print", ["x"]]},
    {"$unknown": 1},
    {"$event": 7},
    None,
    "text",
])  # fmt: skip
async def test_what_was_planted_in_the_store_runs_nothing_and_spoils_nothing(memory: Memory, planted: Any):
    storage = BotWireStorage(memory=memory)
    await save(storage, ModelRequest([TextInput("before")]))
    (message,) = memory.session("s1").messages()
    message.native = {"ag2": {"event": planted}}
    memory.session("s1").append(message)
    await save(storage, ModelRequest([TextInput("after")]))

    texts = [event.parts[0].content for event in await BotWireStorage(memory=memory).get_history("s1")]  # type: ignore[attr-defined]
    assert texts == ["before", "after"]


@pytest.mark.anyio
async def test_what_cannot_be_stored_is_refused_by_its_place(memory: Memory):
    with pytest.raises(InvalidValue, match=r"ModelRequest.parts\[0\].data\['f'\]: a function cannot be stored"):
        await save(BotWireStorage(memory=memory), ModelRequest([DataInput({"f": add})]))  # type: ignore[dict-item]
    assert memory.sessions() == []


# ------------------------------------------------------------------------------- replacing and dropping


@pytest.mark.anyio
async def test_setting_a_history_replaces_it_for_all(memory: Memory):
    storage, other = BotWireStorage(memory=memory), BotWireStorage(memory=memory)
    await save(storage, *EVENTS)
    list(await other.get_history("s1"))
    await storage.set_history("s1", [UsageEvent(Usage(1)), ModelRequest([TextInput("summary")]), UsageEvent(Usage(2))])
    await save(other, HumanMessage("late"), ModelRequest([TextInput("on")]))

    kinds = [type(event).__name__ for event in await storage.get_history("s1")]
    assert kinds == ["UsageEvent", "ModelRequest", "UsageEvent", "ModelRequest"]
    assert [message.text for message in memory.session("s1").messages()] == ["summary", "on"]


@pytest.mark.anyio
@pytest.mark.parametrize("events", [[], [UsageEvent(Usage(1)), HumanMessage("a")]])
async def test_a_history_of_nothing_that_was_said_can_be_set(memory: Memory, events: list[BaseEvent]):
    storage = BotWireStorage(memory=memory)
    await save(storage, *EVENTS)
    await storage.set_history("s1", events)

    assert list(await storage.get_history("s1")) == events
    assert len(memory.session("s1")) == 0


@pytest.mark.anyio
async def test_a_dropped_history_is_gone(memory: Memory):
    storage = BotWireStorage(memory=memory)
    await save(storage, *EVENTS)
    await storage.drop_history("s1")

    assert list(await storage.get_history("s1")) == []
    assert memory.sessions() == []
    await save(storage, *EVENTS)
    assert list(await storage.get_history("s1")) == EVENTS


@pytest.mark.anyio
async def test_results_of_tools_that_end_at_once_are_each_said_once(memory: Memory):
    storage = BotWireStorage(memory=memory)
    ids = [f"c{number}" for number in range(10)]
    calls = ToolCallsEvent([ToolCallEvent("add", id=identifier) for identifier in ids])
    results = [ToolResultEvent(parent_id=identifier, name="add", result=ToolResult(identifier)) for identifier in ids]
    await save(storage, ModelRequest([TextInput("go")]), ModelResponse(tool_calls=calls), calls)
    await asyncio.gather(*(save(storage, result) for result in results))
    await save(storage, ToolResultsEvent(results))

    said = [message.tool_call_id for message in memory.session("s1").messages() if message.role == "tool"]
    assert sorted(filter(None, said)) == sorted(ids)


# --------------------------------------------------------------------------------------- isolation


@pytest.mark.anyio
async def test_twenty_runs_of_two_users_at_once_keep_apart(url: str):
    asked: list[list[Any]] = [[] for _ in range(20)]

    async def run(number: int) -> None:
        agent, asked[number] = thinker()
        user = f"user-{number % 2}"
        for turn in range(2):
            await agent.ask(f"{user} {number} {turn}", stream=botwire_stream(user, url=url))

    await asyncio.gather(*map(run, range(20)))
    for number in range(20):
        heard = {said[1].split()[0] for call in asked[number] for said in call if said[0] == "user"}
        assert heard == {f"user-{number % 2}"}
    for user in ("user-0", "user-1"):
        said = [message.text for message in Memory(url=url).session(user).messages() if message.role == "user"]
        assert sorted(said) == sorted(
            f"{user} {number} {turn}" for number in range(20) for turn in range(2) if user.endswith(str(number % 2))
        )


# ----------------------------------------------------------------------------------- what goes wrong


@pytest.mark.anyio
async def test_a_store_that_is_gone_is_an_error_and_never_an_empty_memory(serve: Any):
    agent, seen = thinker()
    with serve() as address:
        memory = AsyncMemory(url=address, timeout=2)
        await agent.ask("hello", stream=botwire_stream("s1", memory=memory))

    with pytest.raises(StoreUnavailable):
        await agent.ask("again", stream=botwire_stream("s1", memory=memory))
    with pytest.raises(StoreUnavailable):
        await BotWireStorage(memory=memory).get_history("s1")
    assert len(seen) == 1
    await memory.close()


@pytest.mark.parametrize("options", [{"url": "memory://"}, {"namespace": "x"}, {"modules": "myapp"}])
def test_options_that_cannot_be_are_refused(memory: Memory, options: Any):
    with pytest.raises(InvalidValue):
        BotWireStorage(memory=memory, **options)


def test_names_that_cannot_be_are_refused():
    with pytest.raises(InvalidName, match="session id"):
        botwire_stream("")
    with pytest.raises(InvalidName, match="namespace"):
        botwire_stream("s", namespace="")
