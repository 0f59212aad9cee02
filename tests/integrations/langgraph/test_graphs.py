"""Agents and graphs on BotWireSaver: over restarts, interrupts, forks, streams and batches."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from agents import adder, approval, echo, said
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from botwire import Memory
from botwire.integrations.langgraph import BotWireSaver

THREAD: Any = {"configurable": {"thread_id": "t"}}
SETUP = "from agents import *\nfrom botwire.integrations.langgraph import BotWireSaver\nTHREAD = {'configurable': {'thread_id': 't'}}\n"
InProcess = Callable[..., str]


def contents(state: Any) -> list[Any]:
    return [message.content for message in (state.values if hasattr(state, "values") and not callable(state.values) else state)["messages"]]


def test_an_agent_goes_on_in_another_process(in_process: InProcess, saver: BotWireSaver):
    for turn in (1, 2):
        in_process(SETUP + f"adder(BotWireSaver(url=sys.argv[1])).invoke(said('turn {turn}'), THREAD)")

    state = adder(saver).get_state(THREAD)
    assert contents(state) == ["turn 1", "", "3", "3", "turn 2", "", "3", "3"]
    assert [type(message).__name__ for message in state.values["messages"]] == ["HumanMessage", "AIMessage", "ToolMessage", "AIMessage"] * 2


def test_an_interrupted_graph_is_resumed_in_another_process(in_process: InProcess, saver: BotWireSaver):
    printed = in_process(SETUP + "print(approval(BotWireSaver(url=sys.argv[1])).invoke(said('go'), THREAD)['__interrupt__'][0].value)")
    assert printed == "sure?\n"

    assert approval(saver).get_state(THREAD).next == ("ask",)
    in_process(SETUP + "from langgraph.types import Command\napproval(BotWireSaver(url=sys.argv[1])).invoke(Command(resume='yes'), THREAD)")
    assert contents(approval(saver).get_state(THREAD)) == ["go", "you said yes"]


@pytest.mark.anyio
async def test_one_saver_serves_synchronous_and_asynchronous_runs_of_a_thread(saver: BotWireSaver):
    graph = echo(saver)
    graph.invoke(said("a"), THREAD)
    await graph.ainvoke(said("b"), THREAD)
    await asyncio.to_thread(graph.invoke, said("c"), THREAD)

    assert contents(await graph.aget_state(THREAD)) == ["a", "1", "b", "3", "c", "5"]
    assert len([state async for state in graph.aget_state_history(THREAD)]) == 9


def test_a_fork_leaves_the_branch_it_left_as_it_was(saver: BotWireSaver):
    graph = echo(saver)
    graph.invoke(said("a"), THREAD)
    old = graph.get_state(THREAD)
    graph.invoke(said("b"), THREAD)
    newest = graph.get_state(THREAD)

    fork = graph.update_state(old.config, {"messages": [HumanMessage("instead")]}, as_node="__start__")
    graph.invoke(None, fork)

    assert contents(graph.get_state(THREAD)) == ["a", "1", "instead", "3"]
    assert contents(graph.get_state(newest.config)) == ["a", "1", "b", "3"]
    assert contents(graph.get_state(old.config)) == ["a", "1"]


class Counted(MessagesState):
    x: Annotated[int, operator.add]


def test_counters_of_two_branches_are_not_mixed(saver: BotWireSaver):
    """Savers that store values by channel and version show one branch the other's, where versions are plain numbers."""
    graph = StateGraph(Counted)
    graph.add_node("n", lambda state: {"x": 1})
    graph.add_edge(START, "n")
    app = graph.compile(checkpointer=saver)
    app.invoke({"x": 0, "messages": []}, THREAD)
    first = app.get_state(THREAD)
    app.invoke({"x": 0, "messages": []}, THREAD)
    head = app.get_state(THREAD)
    app.update_state(first.config, {"x": 99})

    assert app.get_state(head.config).values["x"] == 2
    assert app.get_state(THREAD).values["x"] == 100


def test_messages_that_are_replaced_and_removed_are_so_afterwards(saver: BotWireSaver, fresh: Any):
    graph = echo(saver)
    for turn in range(12):
        graph.invoke({"messages": [HumanMessage(f"{turn} " + "x" * 400, id=f"h{turn}")]}, THREAD)
    graph.update_state(THREAD, {"messages": [HumanMessage("edited " * 90, id="h3"), RemoveMessage("h0")]})
    state = echo(fresh()).get_state(THREAD)
    assert state.values["messages"][0].content == "1"
    assert [m.content[:6] for m in state.values["messages"] if m.id == "h3"] == ["edited"]
    assert len(state.values["messages"]) == 23

    graph.update_state(THREAD, {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), AIMessage("a summary")]})
    assert contents(echo(fresh()).get_state(THREAD)) == ["a summary"]


def test_streaming_stores_what_it_streams(saver: BotWireSaver):
    chunks = [chunk for chunk, _ in adder(saver).stream(said("1 + 2?"), THREAD, stream_mode="messages")]

    assert [chunk.content for chunk in chunks if chunk.content] == ["3", "3"]
    assert contents(adder(saver).get_state(THREAD)) == ["1 + 2?", "", "3", "3"]


@pytest.mark.anyio
async def test_streaming_checkpoints_shows_them_as_they_are_stored(saver: BotWireSaver):
    graph = echo(saver)
    shown = [event async for event in graph.astream(said("a"), THREAD, stream_mode="checkpoints")]

    stored = [found.config["configurable"]["checkpoint_id"] async for found in saver.alist(THREAD)]
    assert [event["config"]["configurable"]["checkpoint_id"] for event in shown] == stored[::-1]


def test_a_batch_of_threads_is_kept_apart(saver: BotWireSaver):
    configs: Any = [{"configurable": {"thread_id": str(n)}} for n in range(12)]
    echo(saver).batch([said(f"hello {n}") for n in range(12)], configs)

    assert [contents(echo(saver).get_state(config))[0] for config in configs] == [f"hello {n}" for n in range(12)]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_every_durability_leaves_the_same_state(saver: BotWireSaver, durability: Any):
    echo(saver).invoke(said("a"), THREAD, durability=durability)
    assert contents(echo(saver).get_state(THREAD)) == ["a", "1"]


def test_a_thread_of_a_failed_run_goes_on_where_it_stopped(saver: BotWireSaver):
    fails = [True]

    def flaky(state: MessagesState) -> dict[str, Any]:
        if fails.pop() if fails else False:
            raise RuntimeError("oh")
        return {"messages": [AIMessage("second try")]}

    graph = StateGraph(MessagesState)
    graph.add_node("flaky", flaky)
    graph.add_edge(START, "flaky")
    app = graph.compile(checkpointer=saver)
    with pytest.raises(RuntimeError):
        app.invoke(said("a"), THREAD)
    app.invoke(None, THREAD)

    assert contents(app.get_state(THREAD)) == ["a", "second try"]


def test_subgraphs_have_checkpoints_of_their_own(saver: BotWireSaver):
    outer = StateGraph(MessagesState)
    outer.add_node("inner", approval(True))
    outer.add_edge(START, "inner")
    app = outer.compile(checkpointer=saver)
    app.invoke(said("go"), THREAD)

    state = app.get_state(THREAD, subgraphs=True)
    assert contents(state.tasks[0].state) == ["go"]
    app.invoke(Command(resume="yes"), THREAD)
    assert contents(app.get_state(THREAD)) == ["go", "you said yes"]


def test_a_pruned_thread_goes_on(saver: BotWireSaver):
    graph = echo(saver)
    for text in "abc":
        graph.invoke(said(text), THREAD)
    saver.prune(["t"])
    graph.invoke(said("d"), THREAD)

    assert contents(graph.get_state(THREAD)) == ["a", "1", "b", "3", "c", "5", "d", "7"]


def test_200_turns_take_less_than_5_megabytes(tmp_path: Path):
    memory = Memory("langgraph", url=f"sqlite://{tmp_path}/memory.db?durability=normal")  # the same bytes, sooner
    graph = echo(BotWireSaver(memory=memory))
    for turn in range(200):
        graph.invoke(said(f"turn {turn} " + "x" * 300), THREAD, durability="sync")
    memory.close()

    assert len(contents(echo(BotWireSaver(url=f"sqlite://{tmp_path}/memory.db")).get_state(THREAD))) == 400
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 5_000_000


@pytest.mark.skipif(not hasattr(BaseCheckpointSaver, "with_allowlist"), reason="not applicable: this langgraph has no allowlists")
def test_an_allowlist_leaves_the_saver_working(saver: BotWireSaver):
    echo(saver).invoke(said("a"), THREAD)
    other = saver.with_allowlist([("some.module", "Some")])

    assert contents(echo(other).get_state(THREAD)) == ["a", "1"]
    echo(other).invoke(said("b"), THREAD)
    assert contents(echo(saver).get_state(THREAD)) == ["a", "1", "b", "3"]


PROCESS = (
    SETUP
    + """
graph = echo(BotWireSaver(url=sys.argv[1]))
for turn in range(10):
    graph.invoke(said(f"{turn}"), {"configurable": {"thread_id": sys.argv[2]}})
"""
)


def test_processes_on_threads_of_their_own_share_a_file(in_process: InProcess, saver: BotWireSaver):
    import threading

    threads = [threading.Thread(target=in_process, args=(PROCESS, str(n))) for n in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    for n in range(3):
        state = echo(saver).get_state({"configurable": {"thread_id": str(n)}})
        assert len(contents(state)) == 20
