"""LangGraph's checkpoints: botwire's saver against SqliteSaver, and what 200 turns take on disk. Both are durable (FULL)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from bench.langgraph_thread import Thread
from bench.measure import Ratio, Samples, interleave, per_call
from bench.settings import Settings
from bench.table import Row, time_text
from botwire import Memory
from botwire.integrations.langgraph import BotWireSaver
from botwire.stores import Batch, Set, encode_value

NAME = "langgraph"
PEER = "SqliteSaver"
MOST_BYTES = 5_000_000


def rows(settings: Settings) -> Iterator[Row]:
    """put, put_writes, get_tuple and list at three sizes of state; the disk."""
    folder = settings.place("langgraph")
    rounds = settings.rounds(60)
    for length in (10, 100, settings.size(1_000, 200)):
        with ExitStack() as stack:
            ours, theirs = _savers(folder, f"{length}", stack)
            yield from _at(rounds, length, ours, theirs)
    yield _disk(folder, settings.size(200, 10))


def _savers(folder: Path, name: str, stack: ExitStack, durability: str = "full") -> tuple[BotWireSaver, SqliteSaver]:
    memory = stack.enter_context(Memory("langgraph", url=f"sqlite:///{folder / f'botwire-{name}.db'}?durability={durability}"))
    connection = sqlite3.connect(folder / f"peer-{name}.db", check_same_thread=False)
    stack.callback(connection.close)
    peer = SqliteSaver(connection)
    peer.setup()
    if durability == "normal":
        connection.execute("PRAGMA synchronous = NORMAL")
    return BotWireSaver(memory=memory), peer


def _at(rounds: int, length: int, ours: BotWireSaver, theirs: SqliteSaver) -> Iterator[Row]:
    threads = {"botwire": Thread(ours, length), "peer": Thread(theirs, length)}
    what = f"at {length:,} messages"
    puts = {name: thread.put for name, thread in {**threads, "least": Thread(_Least(ours), length)}.items()}
    samples = interleave(puts, rounds)
    yield _compared(samples, f"put {what}", 1.0)
    yield _compared(samples, f"the least put {what}", of="least")
    yield _compared(interleave({name: thread.put_writes for name, thread in threads.items()}, rounds), f"put_writes {what}")
    for thread in threads.values():  # to be read: a checkpoint with what one task wrote
        thread.put()
        thread.put_writes()
    reads = {name: per_call(thread.get_tuple, 5) for name, thread in threads.items()}
    yield _compared(interleave(reads, rounds), f"get_tuple {what}", 1.0)
    lists = {name: per_call(thread.list_ten, 1) for name, thread in threads.items()}
    yield _compared(interleave(lists, max(3, rounds // 6)), f"list(limit=10) {what}")


class _Least:
    """What every put on botwire's core does at least: serialise the checkpoint once, write one entry durably."""

    def __init__(self, saver: BotWireSaver) -> None:
        self._serde = saver.serde
        self._memory = Memory("least", store=saver._memory.store)  # noqa: SLF001 - the same file, so the same disk

    def put(self, config: Any, checkpoint: Any, _metadata: Any, _versions: Any) -> Any:
        _, data = self._serde.dumps_typed(checkpoint)
        text = encode_value(data.decode("latin-1"), "the checkpoint")
        self._memory.store.write((Batch("least", (Set(checkpoint["id"], text),)),))
        return config


def _disk(folder: Path, turns: int) -> Row:
    with ExitStack() as stack:
        for saver in _savers(folder, "disk", stack, "normal"):  # the same bytes, sooner
            graph = _graph(saver)
            for turn in range(turns):
                graph.invoke({"messages": [HumanMessage(f"turn {turn} " + "x" * 140)]}, {"configurable": {"thread_id": "t"}})
    ours, theirs = (sum(file.stat().st_size for file in folder.glob(f"{name}-disk.db*")) for name in ("botwire", "peer"))
    ratio = Ratio(ours / theirs, ours / theirs, ours / theirs)
    note = f"{turns} turns of a graph of one node, about 300 bytes each"
    figures = (f"{ours / 1e6:.2f} MB", f"{theirs / 1e6:.2f} MB")
    return Row(NAME, f"a thread of {turns} turns on disk", figures[0], PEER, figures[1], ratio, "5 MB", ours < MOST_BYTES, None, note)


def _graph(saver: Any) -> Any:
    answer: Callable[[MessagesState], dict[str, Any]] = lambda state: {"messages": [AIMessage("y" * 150)]}  # noqa: E731, ARG005
    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=saver)


def _compared(samples: Samples, what: str, most: float | None = None, of: str = "botwire") -> Row:
    ratio = samples.ratio(of, "peer")
    passed = None if most is None else ratio.median <= most
    bar = "" if most is None else f"{most}x"
    figures = (time_text(samples.median(of)), time_text(samples.median("peer")))
    return Row(NAME, what, figures[0], PEER, figures[1], ratio, bar, passed, samples.load)
