"""BotWireMemory: facts in the prompt, once each and up to date; content that comes back equal; tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import MemoryQueryEvent
from autogen_core import CancellationToken
from autogen_core.memory import ListMemory, MemoryContent, MemoryMimeType
from autogen_core.model_context import BufferedChatCompletionContext, ChatCompletionContext, UnboundedChatCompletionContext
from autogen_core.models import SystemMessage, UserMessage
from scripted import agent, calling, client, comparable, image, pixels, seen

from botwire import AsyncMemory, InvalidName, InvalidValue, Memory, StoreUnavailable
from botwire.integrations.autogen import BotWireChatCompletionContext, BotWireMemory

FACTS = "[memory: app]\nWhat is remembered from before:\n- user.diet: vegan"


def contents(memory: BotWireMemory, query: str = "", **options: Any) -> list[Any]:
    return [content.content for content in asyncio.run(memory.query(query, **options)).results]


def injected(model: Any, call: int) -> list[Any]:
    return [message for message in model.create_calls[call]["messages"] if str(message.content).startswith("[memory: ")]


CONTEXTS = {
    "unbounded": lambda url: UnboundedChatCompletionContext(),
    "buffered": lambda url: BufferedChatCompletionContext(4),
    "botwire": lambda url: BotWireChatCompletionContext("s", url=url),
    "botwire buffered": lambda url: BotWireChatCompletionContext("s", url=url, inner=BufferedChatCompletionContext(4)),
}


# ------------------------------------------------------------------------------------- in the prompt


def test_a_fact_set_by_anyone_is_in_the_prompt_of_an_agent(url: str):
    Memory("app", url=url).set("user.diet", "vegan")
    model = client("ok")
    run = agent("assistant", model, memory=[BotWireMemory("app", url=url)]).run(task="hi")
    events = [event for event in asyncio.run(run).messages if isinstance(event, MemoryQueryEvent)]

    message = injected(model, 0)[0]
    assert message == UserMessage(content=FACTS, source="memory")
    assert [content.content for content in events[0].content] == ["vegan"]


@pytest.mark.parametrize("kind", CONTEXTS)
@pytest.mark.parametrize("role", ["user", "system"])
def test_ten_runs_show_one_message_of_facts_each_and_a_changed_fact_at_once(url: str, kind: str, role: Any):
    facts = Memory("app", url=url)
    model = client(*(str(n) for n in range(10)))
    assistant = agent("assistant", model, memory=[BotWireMemory("app", url=url, role=role)], model_context=CONTEXTS[kind](url))
    for run in range(10):
        if run in (0, 4, 5):
            facts.set("changed", f"in run {run}")
        asyncio.run(assistant.run(task=f"question {run}"))
        told = injected(model, run)
        assert len(told) == 1
        assert isinstance(told[0], SystemMessage if role == "system" else UserMessage)
        assert told[0].content.endswith(f"- changed: in run {0 if run < 4 else min(run, 5)}")
        assert seen(model, run).count(f"question {run}") == 1
    facts.clear()
    model.reset()
    asyncio.run(assistant.run(task="and now?"))
    assert injected(model, -1) == []


def test_facts_are_never_stored_in_the_transcript(url: str):
    Memory("app", url=url).set("user.diet", "vegan")
    context = BotWireChatCompletionContext("s", url=url)
    assistant = agent("assistant", client("x"), memory=[BotWireMemory("app", url=url)], model_context=context)
    asyncio.run(assistant.run(task="hi"))
    assert [message.text for message in Memory(url=url).session("s")] == ["hi", "x"]
    assert "vegan" not in json.dumps(asyncio.run(assistant.save_state()))


def test_facts_that_an_agents_state_brings_back_are_replaced(url: str):
    facts = Memory("app", url=url)
    facts.set("user.diet", "vegan")
    first = agent("assistant", client("x"), memory=[BotWireMemory("app", url=url)])
    asyncio.run(first.run(task="hi"))
    state = json.loads(json.dumps(asyncio.run(first.save_state())))
    facts.set("user.diet", "anything")
    model = client("y")
    second = agent("assistant", model, memory=[BotWireMemory("app", url=url)])
    asyncio.run(second.load_state(state))
    asyncio.run(second.run(task="again"))
    assert [message.content for message in injected(model, 0)] == [FACTS.replace("vegan", "anything")]


def test_several_memories_of_one_agent_do_not_disturb_each_other(url: str):
    Memory("app", url=url).set_many({"a.x": 1, "b.x": [2]})
    Memory("other", url=url).set("y", {"z": None})
    memories = [BotWireMemory("app", prefix="a.", url=url), BotWireMemory("app", prefix="b.", url=url)]
    memories.append(BotWireMemory("other", url=url, header="Besides:"))
    for context in (UnboundedChatCompletionContext(), BotWireChatCompletionContext("s", url=url)):
        model = client("1", "2")
        assistant = agent("assistant", model, memory=[*memories, ListMemory()], model_context=context)
        for run in range(2):
            asyncio.run(assistant.run(task="hi"))
            assert sorted(message.content for message in injected(model, run)) == [
                "[memory: app a.]\nWhat is remembered from before:\n- x: 1",
                "[memory: app b.]\nWhat is remembered from before:\n- x: [2]",
                '[memory: other]\nBesides:\n- y: {"z": null}',
            ]


def test_the_facts_take_no_more_room_than_they_may_and_say_what_is_left_out(url: str):
    Memory("app", url=url).set_many({f"key {n:03}": "word " * (400 if n == 3 else n) for n in range(150)})
    context = UnboundedChatCompletionContext()
    result = asyncio.run(BotWireMemory("app", url=url, max_chars=2_000).update_context(context))
    text = asyncio.run(context.get_messages())[0].content
    facts = text.split("before:\n")[1]
    assert 1_500 < len(facts) <= 2_000
    assert "- key 003: word word" in facts
    assert "[cut off, 2000 characters in all]" in facts
    assert facts.endswith("- (more is remembered than is shown here)")
    assert len(result.memories.results) == facts.count("\n- key") + 1

    context = UnboundedChatCompletionContext()
    asyncio.run(BotWireMemory("app", url=url, limit=2, prefix="key 0").update_context(context))
    assert asyncio.run(context.get_messages())[0].content.count("\n- ") == 3


def test_what_is_no_text_is_shown_in_words(url: str):
    memory = BotWireMemory("app", url=url)
    for key, content, mime in (("a", b"\xff\x00", MemoryMimeType.BINARY), ("b", image(), MemoryMimeType.IMAGE)):
        asyncio.run(memory.add(MemoryContent(content=content, mime_type=mime, metadata={"key": key})))
    context = UnboundedChatCompletionContext()
    asyncio.run(memory.update_context(context))
    lines = asyncio.run(context.get_messages())[0].content.splitlines()[2:]
    assert lines == ["- a: [2 bytes of application/octet-stream]", "- b: [an image of 3 x 2 pixels]"]


class OwnState(ChatCompletionContext):
    async def get_messages(self) -> list[Any]:
        return list(self._messages)

    async def save_state(self) -> dict[str, Any]:
        return {"mine": 1}


def test_a_context_in_which_old_facts_cannot_be_replaced_is_refused_with_the_way_out(url: str):
    Memory("app", url=url).set("a", 1)
    with pytest.raises(InvalidValue, match=r"OwnState .* BotWireChatCompletionContext\(session_id, inner="):
        asyncio.run(BotWireMemory("app", url=url).update_context(OwnState()))


@pytest.mark.parametrize("call", ["update", "query", "add", "clear"])
def test_a_store_that_is_gone_raises_and_is_never_an_empty_memory(call: str):
    memory = BotWireMemory(memory=Memory(url="http://127.0.0.1:9", timeout=1))
    calls = {
        "update": lambda: memory.update_context(UnboundedChatCompletionContext()),
        "query": lambda: memory.query("x"),
        "add": lambda: memory.add(MemoryContent(content="x", mime_type=MemoryMimeType.TEXT)),
        "clear": memory.clear,
    }
    with pytest.raises(StoreUnavailable):
        asyncio.run(calls[call]())


def test_an_agent_whose_memory_is_gone_does_not_answer():
    model = client("x")
    with pytest.raises(StoreUnavailable):
        asyncio.run(agent("a", model, memory=[BotWireMemory(memory=Memory(url="http://127.0.0.1:9", timeout=1))]).run(task="hi"))
    assert model.create_calls == []


# ---------------------------------------------------------------------------------------- round trip

CONTENTS = {
    "text": MemoryContent(content="tea, not coffee", mime_type=MemoryMimeType.TEXT),
    "text whose type is text": MemoryContent(content="tea", mime_type="text/plain"),
    "markdown": MemoryContent(content="# tea", mime_type=MemoryMimeType.MARKDOWN),
    "text of another type": MemoryContent(content="<p>", mime_type="text/html"),
    "text with a key": MemoryContent(content="tea", mime_type=MemoryMimeType.TEXT, metadata={"key": "drink"}),
    "text with metadata": MemoryContent(
        content="tea", mime_type=MemoryMimeType.TEXT, metadata={"key": "drink", "score": 0.5, "tags": [None]}
    ),
    "text with metadata and no key": MemoryContent(content="tea", mime_type=MemoryMimeType.TEXT, metadata={"by": "Ada"}),
    "text with no metadata": MemoryContent(content="tea", mime_type=MemoryMimeType.TEXT, metadata={}),
    "JSON as text": MemoryContent(content='{"a": [1, 2.0]}', mime_type=MemoryMimeType.JSON),
    "dict": MemoryContent(content={"a": [1, 2.0, None], "b": {"c": "é"}}, mime_type=MemoryMimeType.JSON),
    "dict with a key": MemoryContent(content={"a": 1}, mime_type=MemoryMimeType.JSON, metadata={"key": "drink"}),
    "dict that looks like ours": MemoryContent(content={"$autogen": "MemoryContent", "content": "x"}, mime_type=MemoryMimeType.JSON),
    "bytes": MemoryContent(content=b"\x00\xff\xfe", mime_type=MemoryMimeType.BINARY),
    "bytes that are text": MemoryContent(content=b"abc", mime_type=MemoryMimeType.BINARY),
    "image": MemoryContent(content=image(), mime_type=MemoryMimeType.IMAGE, metadata={"key": "face"}),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_content_comes_back_equal(url: str, name: str):
    given = CONTENTS[name]
    asyncio.run(BotWireMemory("app", url=url).add(given))
    back = asyncio.run(BotWireMemory("app", url=url).query()).results

    assert comparable(back) == comparable([given])
    asyncio.run(BotWireMemory("app", url=url, prefix="p.").add(given))
    assert comparable(asyncio.run(BotWireMemory("app", url=url, prefix="p.").query()).results) == comparable([given])


READ = """
import asyncio, sys
from botwire.integrations.autogen import BotWireMemory
content, = asyncio.run(BotWireMemory("app", url=sys.argv[1]).query()).results
print(content.mime_type, content.content.image.tobytes().hex())
"""


def test_an_image_comes_back_pixel_for_pixel_in_another_process(in_process: Callable[..., str], url: str):
    asyncio.run(BotWireMemory("app", url=url).add(CONTENTS["image"]))
    assert in_process(READ, url) == f"MemoryMimeType.IMAGE {pixels(image())[2].hex()}\n"


def test_text_and_json_are_ordinary_entries_for_everybody(url: str):
    memory = BotWireMemory("app", url=url)
    for name in ("text with a key", "dict with a key"):
        asyncio.run(memory.add(CONTENTS[name]))
        assert Memory("app", url=url).get("drink") == CONTENTS[name].content
    asyncio.run(memory.add(CONTENTS["text"]))
    assert sorted(map(str, dict(Memory("app", url=url).items()).values())) == ["tea, not coffee", "{'a': 1}"]


def test_entries_that_others_set_are_content(url: str):
    Memory("app", url=url).set_many({"a": 1, "b": "text", "c": {"d": 1}, "e": None, "f": [1, "é"], "g": {"$autogen": 3}})
    results = asyncio.run(BotWireMemory("app", url=url).query()).results
    assert [content.content for content in results] == ["1", "text", {"d": 1}, "null", '[1, "é"]', {"$autogen": 3}]
    assert [content.metadata for content in results] == [{"key": key} for key in "abcefg"]
    assert [content.mime_type.name for content in results] == ["JSON", "TEXT", "JSON", "JSON", "JSON", "JSON"]


@pytest.mark.parametrize(
    "content",
    [
        MemoryContent(content={"when": {1, 2}}, mime_type=MemoryMimeType.JSON),
        MemoryContent(content={"n": float("nan")}, mime_type=MemoryMimeType.JSON),
        MemoryContent(content="x", mime_type=MemoryMimeType.TEXT, metadata={"raw": b"x"}),
        MemoryContent(content="x", mime_type=MemoryMimeType.TEXT, metadata={"key": 3}),
    ],
)
def test_content_that_would_not_come_back_equal_is_refused(url: str, content: MemoryContent):
    with pytest.raises(InvalidValue):
        asyncio.run(BotWireMemory("app", url=url).add(content))
    assert Memory("app", url=url).list_keys() == []


# ------------------------------------------------------------------------------- query, clear, close


def test_query_finds_by_words_and_gives_all_for_none(url: str):
    Memory("app", url=url).set_many({"user.diet": "Vegan food", "user.city": "Graz", "other": {"deep": ["vegan"]}})
    memory = BotWireMemory("app", url=url)
    assert contents(memory) == [{"deep": ["vegan"]}, "Graz", "Vegan food"]
    assert contents(memory, limit=1) == [{"deep": ["vegan"]}]
    assert contents(memory, "VEGAN diet") == ["Vegan food"]
    assert contents(memory, "vegan", limit=1) in (["Vegan food"], [{"deep": ["vegan"]}])
    assert contents(memory, "nothing") == []
    assert contents(BotWireMemory("app", url=url, prefix="user."), "vegan") == ["Vegan food"]
    asked = MemoryContent(content="graz", mime_type=MemoryMimeType.TEXT)
    assert len(asyncio.run(memory.query(asked, CancellationToken())).results) == 1
    with pytest.raises(InvalidValue, match="score"):
        asyncio.run(memory.query("x", score=3))


def test_more_entries_than_a_page_are_all_there(url: str):
    Memory("app", url=url).set_many({f"{n:05}": n for n in range(2_100)})
    assert len(contents(BotWireMemory("app", url=url))) == 2_100


def test_clear_removes_its_prefix_alone_and_no_session(url: str):
    shared = Memory("app", url=url)
    shared.set_many({"a.x": 1, "b.x": 2})
    shared.session("s").append(("user", "hi"))
    asyncio.run(BotWireMemory("app", url=url, prefix="a.").clear())
    assert shared.list_keys() == ["b.x"]
    asyncio.run(BotWireMemory("app", url=url).clear())
    assert (shared.list_keys(), shared.session("s").count()) == ([], 1)


def test_close_gives_the_store_back_and_the_next_call_opens_it_again(url: str):
    memory = BotWireMemory("app", url=url)

    async def twice() -> None:
        for _ in range(2):
            await memory.add(MemoryContent(content="x", mime_type=MemoryMimeType.TEXT))
            await memory.close()
            await memory.close()

    asyncio.run(twice())
    asyncio.run(twice())
    assert contents(memory) == ["x"] * 4


def test_a_memory_that_was_handed_in_stays_open(url: str):
    for given in (Memory("app", url=url), AsyncMemory("app", url=url)):
        memory = BotWireMemory(memory=given)
        asyncio.run(memory.add(CONTENTS["text with a key"]))
        asyncio.run(memory.close())
        assert contents(memory) == ["tea"]


def test_bad_arguments_are_refused_at_once():
    for wrong in ({"role": "tool"}, {"limit": 0}, {"limit": True}, {"max_chars": 10}):
        with pytest.raises(InvalidValue, match=next(iter(wrong))):
            BotWireMemory(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidName):
        BotWireMemory("a\nb")
    with pytest.raises(InvalidValue, match="not both"):
        BotWireMemory("app", memory=Memory("other"))


# -------------------------------------------------------------------------------------------- tools


def test_an_agent_remembers_recalls_lists_and_forgets(url: str):
    memory = BotWireMemory("app", url=url, prefix="user-42.")
    Memory("app", url=url).set("user-43.city", "secret Linz")
    model = client(
        calling("remember", "1", key="city", text="lives in Graz"),
        calling("recall", "2", query="graz"),
        calling("recall", "3", query="Linz"),
        calling("list_memories", "4"),
        calling("forget", "5", key="city"),
        calling("forget", "6", key="city"),
        calling("list_memories", "7"),
        calling("remember", "8", key="a\nb", text="x"),
        "done",
    )
    assistant = agent("assistant", model, tools=memory.tools(), max_tool_iterations=10)
    asyncio.run(assistant.run(task="go"))
    told = [shown[0] for shown in seen(model) if isinstance(shown, list)][1::2]
    assert told[:7] == [
        "Remembered city.",
        "city: lives in Graz",
        "Nothing of that is remembered.",
        "city: lives in Graz",
        "Forgot city.",
        "Nothing is remembered as city.",
        "Nothing of that is remembered.",
    ]
    last = model.create_calls[-1]["messages"][-1].content[0]
    assert last.is_error
    assert "key" in last.content
    assert Memory("app", url=url).list_keys() == ["user-43.city"]


def test_what_one_agent_remembers_another_is_told(url: str):
    memory = BotWireMemory("app", url=url)
    writer = agent("writer", client(calling("remember", key="user.diet", text="vegan")), tools=memory.tools())
    asyncio.run(writer.run(task="I am vegan"))
    model = client("ok")
    asyncio.run(agent("reader", model, memory=[BotWireMemory("app", url=url)]).run(task="dinner?"))
    assert [message.content for message in injected(model, 0)] == [FACTS]


def test_long_lists_say_that_there_is_more(url: str):
    Memory("app", url=url).set_many({f"key {n:03}": "word" for n in range(60)})
    tools = {tool.name: tool for tool in BotWireMemory("app", url=url).tools()}
    for told in (
        asyncio.run(tools["list_memories"].run_json({}, CancellationToken())),
        asyncio.run(tools["recall"].run_json({"query": "word"}, CancellationToken())),
    ):
        assert told.count("\n") == 50
        assert told.endswith("(there is more; recall it by its words)")


# --------------------------------------------------------------------------------------- components


def test_an_agent_with_all_of_it_is_dumped_and_loaded(url: str):
    Memory("app", url=url).set("user.diet", "vegan")
    memory = BotWireMemory("app", url=url, role="system", limit=7, max_chars=5_000, header="Known:")
    context = BotWireChatCompletionContext("s", "assistant", inner=BufferedChatCompletionContext(9), url=url, ttl=60, clear_on_reset=False)
    whole = agent("assistant", client("x", "y"), memory=[memory], tools=memory.tools(), model_context=context)
    dump = json.loads(whole.dump_component().model_dump_json())
    loaded = AssistantAgent.load_component(dump)

    assert loaded.dump_component() == whole.dump_component()
    asyncio.run(loaded.run(task="hi"))
    assert [message.text for message in Memory(url=url).session("s", agent="assistant")] == ["hi", "x"]
    assert loaded._model_client.create_calls[0]["messages"][1] == SystemMessage(content="[memory: app]\nKnown:\n- user.diet: vegan")


SECRETS = [
    ("postgresql://ada:hunter2@db/x?sslmode=require", "postgresql://ada@db/x?sslmode=require"),
    ("https://ada:hunter2@example.org", "https://ada@example.org"),
    ("rediss://:hunter2@cache:6379/0", "rediss://@cache:6379/0"),
    ("postgresql://db/x?user=ada&password=hunter2", "postgresql://db/x?user=ada"),
    ("https://example.org/?token=hunter2", "https://example.org/"),
]


@pytest.mark.parametrize(("url", "public"), SECRETS)
def test_a_dump_holds_no_secret_and_loading_says_where_to_give_it(monkeypatch: pytest.MonkeyPatch, url: str, public: str):
    memory = BotWireMemory("app", url=url)
    for component in (memory, BotWireChatCompletionContext("s", url=url), memory.tools()[0]):
        assert "hunter2" not in component.dump_component().model_dump_json()
    dump = memory.dump_component()
    assert dump.config["place"]["url"] == public
    with pytest.raises(InvalidValue, match="set BOTWIRE_URL to the whole URL") as raised:
        BotWireMemory.load_component(dump)
    assert "hunter2" not in str(raised.value)
    monkeypatch.setenv("BOTWIRE_URL", url)
    assert BotWireMemory.load_component(dump)._place.url == url


def test_what_was_made_with_a_memory_says_that_it_cannot_be_dumped(file_url: str):
    with pytest.raises(InvalidValue, match="give namespace= and url="):
        BotWireMemory(memory=Memory("app", url=file_url)).dump_component()
