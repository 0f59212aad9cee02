"""BotWireTeamSession: a team that stops and starts is the team that went on."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from autogen_agentchat import messages as agentchat
from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.conditions import ExternalTermination, MaxMessageTermination
from autogen_agentchat.messages import (
    HandoffMessage,
    MultiModalMessage,
    StopMessage,
    StructuredMessage,
    TextMessage,
    ToolCallSummaryMessage,
)
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import CreateResult, FunctionExecutionResult, RequestUsage, UserMessage
from engines.programs import Programs
from pydantic import BaseModel
from scripted import agent, calling, client, comparable, image, seen

from botwire import BotWireError, InvalidName, InvalidValue, Memory, StoreCorrupt, StoreUnavailable, VersionConflict
from botwire.integrations.autogen import BotWireChatCompletionContext, BotWireTeamSession

HERE = __file__.rpartition("/")[0]


def round_robin(models: list[Any], names: str = "abc", **options: Any) -> RoundRobinGroupChat:
    return RoundRobinGroupChat([agent(name, model) for name, model in zip(names, models, strict=True)], max_turns=2, **options)


def selector(models: list[Any]) -> SelectorGroupChat:
    participants = [agent(name, model) for name, model in zip("abc", models, strict=True)]
    return SelectorGroupChat(participants, client(*"bcabca"), max_turns=2, allow_repeated_speaker=True)


def swarm(models: list[Any]) -> Swarm:
    others = {"a": "b", "b": "c", "c": "a"}
    participants = [agent(name, model, handoffs=[others[name]]) for name, model in zip("abc", models, strict=True)]
    return Swarm(participants, max_turns=2)


def talk(kind: str) -> list[Any]:
    """What the three models say, in order."""
    if kind != "swarm":
        return [client(*(f"{name}{n}" for n in range(4))) for name in "abc"]
    return [
        client("a0", calling("transfer_to_b", "h1"), "a1", "a2"),
        client("b0", calling("transfer_to_c", "h2"), "b1", "b2"),
        client("c0", "c1", "c2"),
    ]


TEAMS: dict[str, Callable[[list[Any]], Any]] = {"round robin": round_robin, "selector": selector, "swarm": swarm}


def stable(state: Any) -> Any:
    """A team's state without what differs from run to run by itself: ids and times."""
    if isinstance(state, dict):
        return {key: stable(value) for key, value in state.items() if key not in ("id", "created_at")}
    return [stable(item) for item in state] if isinstance(state, list) else state


# ------------------------------------------------------------------------------------------ restart


@pytest.mark.parametrize("kind", TEAMS)
def test_a_team_that_left_and_came_back_speaks_as_one_that_stayed(url: str, kind: str):
    """Each entering makes new agents and a new team, as another process would; only what the models say goes on."""

    async def stayed() -> tuple[list[Any], Any]:
        models = talk(kind)
        team = TEAMS[kind](models)
        said = [[m.to_text() for m in (await team.run(task=f"task {n}")).messages] for n in range(3)]
        return [said, [call["messages"] for model in models for call in model.create_calls]], await team.save_state()

    async def came_back() -> tuple[list[Any], Any]:
        models, said, selecting = talk(kind), [], client(*"bcabca")
        for n in range(3):
            team = TEAMS[kind](models)
            if kind == "selector":
                team._model_client = selecting
            async with BotWireTeamSession(team, "s", url=url):
                said.append([m.to_text() for m in (await team.run(task=f"task {n}")).messages])
        return [said, [call["messages"] for model in models for call in model.create_calls]], await team.save_state()

    one, one_state = asyncio.run(stayed())
    other, other_state = asyncio.run(came_back())
    assert comparable(other) == comparable(one)
    assert stable(json.loads(json.dumps(other_state))) == stable(json.loads(json.dumps(one_state)))
    buffers = [member["message_buffer"] for member in other_state["agent_states"].values() if "message_buffer" in member]
    assert any(buffers), "nothing was left undelivered, so this showed nothing"


RUN = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from autogen_agentchat.teams import RoundRobinGroupChat
from scripted import agent, client, seen
from botwire.integrations.autogen import BotWireTeamSession
models = [client(sys.argv[4]), client(sys.argv[4])]
team = RoundRobinGroupChat([agent("a", models[0]), agent("b", models[1])], max_turns=1)
async def main():
    async with BotWireTeamSession(team, "s", url=sys.argv[2]):
        await team.run(task=sys.argv[3])
asyncio.run(main())
print([seen(model) for model in models if model.create_calls])
"""


def test_in_the_next_process_the_next_agent_speaks_and_knows_all(in_process: Callable[..., str], url: str):
    assert in_process(RUN, HERE, url, "one", "first") == "[['SYSTEM', 'one']]\n"
    assert in_process(RUN, HERE, url, "two", "second") == "[['SYSTEM', 'one', 'first', 'two']]\n"
    assert in_process(RUN, HERE, url, "three", "third") == "[['SYSTEM', 'one', 'first', 'two', 'second', 'three']]\n"


KILLED = RUN.replace(
    "await team.run(task=sys.argv[3])", "await team.run(task=sys.argv[3]); print('ran', flush=True); await asyncio.sleep(60)"
)


def test_a_process_killed_within_the_session_leaves_the_state_as_it_was(programs: Programs, in_process: Callable[..., str], url: str):
    in_process(RUN, HERE, url, "one", "first")
    before = Memory("default.autogen-teams", url=url).get("s")
    with programs.begin(KILLED, HERE, url, "two", "lost") as victim:
        assert victim.stdout.readline() == "ran\n"
        victim.send_signal(signal.SIGKILL)
    assert Memory("default.autogen-teams", url=url).get("s") == before
    assert in_process(RUN, HERE, url, "two", "second") == "[['SYSTEM', 'one', 'first', 'two']]\n"


def test_durable_contexts_and_the_teams_state_agree(url: str):
    def team(models: list[Any]) -> RoundRobinGroupChat:
        contexts = [BotWireChatCompletionContext("s", name, url=url) for name in "ab"]
        return RoundRobinGroupChat([agent(n, m, model_context=c) for n, m, c in zip("ab", models, contexts, strict=True)], max_turns=1)

    async def go() -> list[Any]:
        models = [client("a0", "a1"), client("b0")]
        for n in range(3):
            async with BotWireTeamSession(it := team(models), "s", url=url):
                await it.run(task=f"task {n}")
        return [seen(models[0]), seen(models[1])]

    alice, bob = asyncio.run(go())
    assert alice == ["SYSTEM", "task 0", "a0", "task 1", "b0", "task 2"]
    assert bob == ["SYSTEM", "task 0", "a0", "task 1"]
    assert [message.text for message in Memory(url=url).session("s", agent="a")] == ["task 0", "a0", "task 1", "b0", "task 2", "a1"]
    assert [message.text for message in Memory(url=url).session("s")] == ["task 0", "a0", "task 1", "b0", "task 2", "a1"]


def test_a_swarm_hands_over_calls_between_durable_transcripts(url: str):
    async def look(x: int) -> str:
        """Looks."""
        return f"seen {x}"

    async def go() -> None:
        a = agent(
            "a",
            client(
                CreateResult(
                    finish_reason="function_calls",
                    content=[
                        FunctionCall(id="l", name="look", arguments='{"x": 1}'),
                        FunctionCall(id="h", name="transfer_to_b", arguments="{}"),
                    ],
                    usage=RequestUsage(prompt_tokens=1, completion_tokens=1),
                    cached=False,
                )
            ),
            model_context=BotWireChatCompletionContext("s", "a", url=url),
            tools=[look],
            handoffs=["b"],
        )
        b = agent("b", client("b0"), model_context=BotWireChatCompletionContext("s", "b", url=url))
        async with BotWireTeamSession(Swarm([a, b], max_turns=2), "s", url=url) as session:
            await session.team.run(task="go")

    asyncio.run(go())
    told = Memory(url=url).session("s", agent="b").messages()
    assert [(message.role, message.name) for message in told] == [
        ("user", None), ("assistant", "a"), ("tool", "look"), ("user", "a"), ("assistant", "b"),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------ other agents


async def once(team: Any, url: str, session_id: str = "s") -> None:
    async with BotWireTeamSession(team, session_id, url=url):
        await team.run(task="go")


@pytest.mark.parametrize(
    ("now", "why"),
    [("abx", "it lacks c; it has x, which"), ("ab", "it lacks c"), ("abcd", "it has d, which")],
)
def test_a_renamed_agent_is_a_clear_error_and_the_state_stays(url: str, now: str, why: str):
    asyncio.run(once(round_robin(talk("round robin")), url))
    states = Memory("default.autogen-teams", url=url)
    before, team = states.get_entry("s"), round_robin([client("x") for _ in now], now)
    with pytest.raises(InvalidValue, match=why):
        asyncio.run(once(team, url))
    assert states.get_entry("s") == before


def test_another_kind_of_team_and_a_renamed_agent_of_an_inner_team_are_told(url: str):
    asyncio.run(once(round_robin(talk("round robin")), url))
    with pytest.raises(InvalidValue, match="it lacks RoundRobinGroupChatManager; it has SelectorGroupChatManager"):
        asyncio.run(once(selector(talk("selector")), url))

    def nested(names: str) -> RoundRobinGroupChat:
        inner = round_robin([client("x", "y") for _ in names], names, name="inner")
        return RoundRobinGroupChat([inner, agent("z", client("z"))], max_turns=1)

    asyncio.run(once(nested("ab"), url, "nested"))
    with pytest.raises(InvalidValue, match="it lacks inner/b; it has inner/c"):
        asyncio.run(once(nested("ac"), url, "nested"))
    asyncio.run(once(nested("ab"), url, "nested"))


def test_an_agent_may_not_share_the_transcript_of_the_team_or_of_another_agent(url: str):
    team_s = BotWireChatCompletionContext("s", url=url)
    alone = RoundRobinGroupChat([agent("a", client("x"), model_context=team_s)], max_turns=1)
    with pytest.raises(InvalidValue, match="agent 'a' and the team itself have the same transcript"):
        asyncio.run(once(alone, url))
    both = RoundRobinGroupChat(
        [agent(n, client("x"), model_context=BotWireChatCompletionContext("s", "both", url=url)) for n in "ab"], max_turns=1
    )
    with pytest.raises(InvalidValue, match="agent 'b' and 'a' have the same transcript"):
        asyncio.run(once(both, url))


def test_a_state_that_agentchat_cannot_load_leaves_the_team_as_it_was(url: str):
    asyncio.run(once(round_robin(talk("round robin")), url))
    states = Memory("default.autogen-teams", url=url)
    value = states.get("s")
    value["state"]["agent_states"]["RoundRobinGroupChatManager"]["message_thread"][0]["type"] = "Unheard"
    states.set("s", value)

    async def go() -> None:
        team = round_robin(talk("round robin"))
        await team.run(task="mine")
        before = await team.save_state()
        with pytest.raises(ValueError, match="Unheard"):
            await BotWireTeamSession(team, "s", url=url).load()
        assert await team.save_state() == before

    asyncio.run(go())
    states.set("s", [1])
    with pytest.raises(StoreCorrupt, match="session 's' is not the state of a team"):
        asyncio.run(once(round_robin(talk("round robin")), url))


# -------------------------------------------------------------------------------- two at once, errors


def test_of_two_processes_that_use_a_team_at_once_the_second_to_leave_is_told(url: str):
    async def go() -> None:
        slow, fast = round_robin(talk("round robin")), round_robin(talk("round robin"))
        with pytest.raises(VersionConflict, match="saved by another process") as raised:
            async with BotWireTeamSession(slow, "s", url=url):
                await slow.run(task="slow")
                async with BotWireTeamSession(fast, "s", url=url):
                    await fast.run(task="fast")
        assert raised.value.current == 1

    asyncio.run(go())
    assert [message.text for message in Memory(url=url).session("s")] == ["fast", "a0", "b0"]


class Failing(BaseChatAgent):
    """Says something once, then raises."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "fails")
        self.said = 0

    @property
    def produced_message_types(self) -> Any:
        return (TextMessage,)

    async def on_messages(self, messages: Any, cancellation_token: CancellationToken) -> Response:
        self.said += 1
        if self.said > 1:
            raise ValueError("boom")
        return Response(chat_message=TextMessage(content="said", source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None: ...


def test_a_run_that_fails_is_saved_once_it_has_stopped(url: str):
    async def go() -> None:
        team = RoundRobinGroupChat([Failing("f"), agent("g", client("g0"))], max_turns=3)
        async with BotWireTeamSession(team, "s", url=url):
            await team.run(task="go")

    with pytest.raises(RuntimeError, match="boom"):
        asyncio.run(go())
    assert [message.text for message in Memory(url=url).session("s")] == ["go", "said", "g0"]


def test_nothing_is_saved_while_a_run_goes_on(url: str):
    async def go() -> None:
        team = round_robin(talk("round robin"))
        session = BotWireTeamSession(team, "s", url=url, stop_timeout=0.05)
        await session.load()
        stream = team.run_stream(task="go")
        await anext(stream)
        with pytest.raises(BotWireError, match="is still running"):
            await session.save()
        assert Memory("default.autogen-teams", url=url).list_keys() == []
        async for _ in stream:
            pass
        await session.save()

    asyncio.run(go())
    assert Memory("default.autogen-teams", url=url).list_keys() == ["s"]


async def _read(stream: Any) -> None:
    async for _ in stream:
        pass


def test_leaving_waits_for_a_run_that_is_about_to_stop(url: str):
    async def go() -> None:
        stop = ExternalTermination()
        team = round_robin([client(*"x" * 9), client(*"y" * 9), client(*"z" * 9)], termination_condition=stop)
        async with BotWireTeamSession(team, "s", url=url):
            stream = team.run_stream(task="go")
            await anext(stream)
            stop.set()
            rest = asyncio.create_task(_read(stream))
        assert rest.done()

    asyncio.run(go())
    assert Memory(url=url).session("s").messages()[0].text == "go"


def test_what_went_wrong_first_is_what_the_caller_sees_and_the_rest_is_noted(caplog: pytest.LogCaptureFixture, url: str):
    async def go() -> None:
        memory = Memory(url=url)
        async with BotWireTeamSession(round_robin(talk("round robin")), "s", memory=memory) as session:
            session._place._given = Memory(url="http://127.0.0.1:9", timeout=1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as raised:
        asyncio.run(go())
    assert "the team's state was not saved" in raised.value.__notes__[0]
    assert "session 's'" in caplog.text


def test_a_store_that_is_gone_raises_on_entering():
    with pytest.raises(StoreUnavailable):
        asyncio.run(once(round_robin(talk("round robin")), "http://127.0.0.1:9"))


def test_bad_use_is_told(url: str):
    team = round_robin(talk("round robin"))
    with pytest.raises(InvalidName):
        BotWireTeamSession(team, "")
    with pytest.raises(BotWireError, match="load the team's state first"):
        asyncio.run(BotWireTeamSession(team, "s", url=url).save())


# ------------------------------------------------------------------------------- what others can read


def test_others_read_what_was_said_and_no_fact_is_added(url: str):
    asyncio.run(once(round_robin(talk("round robin")), url))
    memory = Memory(url=url)
    shapes = [{key: value for key, value in message.to_dict().items() if key != "id"} for message in memory.session("s")]
    assert shapes == [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "a0", "name": "a"},
        {"role": "assistant", "content": "b0", "name": "b"},
    ]
    assert memory.list_keys() == []


def test_a_reset_team_writes_down_only_what_is_new(url: str):
    async def go() -> None:
        team = round_robin(talk("round robin"))
        async with BotWireTeamSession(team, "s", url=url):
            await team.run(task="one")
        async with BotWireTeamSession(team, "s", url=url) as session:
            await team.reset()
            await team.run(task="two")
            await session.save()
            await session.save()

    asyncio.run(go())
    assert [message.text for message in Memory(url=url).session("s")] == ["one", "a0", "b0", "two", "a1", "b1"]


def test_what_a_crash_left_unwritten_is_written_on_the_next_entering_and_nothing_twice(url: str):
    asyncio.run(once(round_robin(talk("round robin")), url))
    states, memory = Memory("default.autogen-teams", url=url), Memory(url=url)
    states.set("before anything was written", states.get("s"))
    memory.session("s").set_metadata({})  # as if before it was noted that all is written
    for session_id in ("before anything was written", "s"):
        for _ in range(3):
            asyncio.run(BotWireTeamSession(round_robin(talk("round robin")), session_id, url=url).load())
        assert [message.text for message in memory.session(session_id)] == ["go", "a0", "b0"]
        memory.session(session_id).clear()
        asyncio.run(BotWireTeamSession(round_robin(talk("round robin")), session_id, url=url).load())
        assert memory.session(session_id).count() == 0


def test_delete_removes_state_and_transcripts(url: str):
    async def go() -> None:
        team = round_robin(talk("round robin"))
        async with BotWireTeamSession(team, "s", url=url) as session:
            await team.run(task="one")
        await session.delete()
        assert not await BotWireTeamSession(team, "s", url=url).load()

    asyncio.run(go())
    assert Memory(url=url).sessions() == []


def test_a_state_expires_with_its_session(url: str):
    async def go() -> None:
        team = round_robin(talk("round robin"))
        async with BotWireTeamSession(team, "s", url=url, ttl=60):
            await team.run(task="one")

    asyncio.run(go())
    assert Memory("default.autogen-teams", url=url).get_entry("s").expires_at is not None
    assert Memory(url=url).session("s").ttl == 60


class Answer(BaseModel):
    text: str
    number: int


CALL = FunctionCall(id="1", name="f", arguments="{}")
RESULT = FunctionExecutionResult(content="x", name="f", call_id="1", is_error=False)
CHAT: dict[str, Any] = {
    "text": TextMessage(content="hi", source="user", metadata={"a": "b"}, models_usage={"prompt_tokens": 1, "completion_tokens": 2}),  # type: ignore[arg-type]
    "of several kinds": MultiModalMessage(content=["look", image()], source="user"),
    "stop": StopMessage(content="stop", source="a"),
    "handoff": HandoffMessage(content="yours", target="b", source="a", context=[UserMessage(content=["x", image()], source="c")]),
    "summary": ToolCallSummaryMessage(content="x", source="a", tool_calls=[CALL], results=[RESULT]),
    "structured": StructuredMessage[Answer](content=Answer(text="x", number=3), source="a", format_string="{text}"),
}


class Saying(BaseChatAgent):
    def __init__(self, *messages: Any) -> None:
        super().__init__("a", "says")
        self.messages = list(messages)

    @property
    def produced_message_types(self) -> Any:
        return tuple({type(message) for message in CHAT.values()})

    async def on_messages(self, messages: Any, cancellation_token: CancellationToken) -> Response:
        return Response(chat_message=self.messages.pop(0))

    async def on_reset(self, cancellation_token: CancellationToken) -> None: ...


def test_every_class_of_chat_message_comes_back_equal(url: str):
    def team() -> RoundRobinGroupChat:
        return RoundRobinGroupChat([Saying(*CHAT.values()), agent("b", client())], termination_condition=MaxMessageTermination(1))

    async def go() -> tuple[Any, Any, Any]:
        async with BotWireTeamSession(first := team(), "s", url=url):
            await first.run(task=list(CHAT.values()))
        async with BotWireTeamSession(second := team(), "s", url=url) as session:
            return await first.save_state(), await second.save_state(), await session.messages(StructuredMessage[Answer])

    before, after, read = asyncio.run(go())
    assert after == before
    assert comparable(read) == comparable(list(CHAT.values()))


def test_every_class_of_agentchat_is_known_by_its_name():
    from botwire.integrations.autogen._transcript import _class

    kinds = [
        kind
        for kind in vars(agentchat).values()
        if isinstance(kind, type)
        and issubclass(kind, (agentchat.BaseChatMessage, agentchat.BaseAgentEvent))
        and not kind.__abstractmethods__
    ]
    assert len(kinds) > 12
    assert [kind.__name__ for kind in kinds if _class(kind.__name__, ()) is not kind] == []


def test_what_others_said_in_the_session_is_text(url: str):
    Memory(url=url).session("s").append(("user", "hi"), {"role": "assistant", "content": "hello", "name": "bot"})
    read = asyncio.run(BotWireTeamSession(round_robin(talk("round robin")), "s", url=url).messages())
    assert [(type(message), message.content, message.source) for message in read] == [
        (TextMessage, "hi", "user"),
        (TextMessage, "hello", "bot"),
    ]


def test_twenty_teams_of_two_users_at_once_keep_apart(url: str):
    async def run(person: str, n: int) -> None:
        team = round_robin([client(*(f"{person} {m}" for m in range(9))) for _ in "abc"])
        async with BotWireTeamSession(team, f"{person} {n}", url=url):
            await team.run(task=f"{person} asks")

    async def all_of_them() -> None:
        await asyncio.gather(*(run(person, n) for n in range(10) for person in ("ada", "bob")))

    asyncio.run(all_of_them())
    for info in Memory(url=url).sessions():
        person = info.session_id.split()[0]
        assert [message.text for message in Memory(url=url).session(info.session_id)] == [f"{person} asks", *[f"{person} 0"] * 2]
