"""LangChain's chat history: botwire's against SQLChatMessageHistory, on files of their own, both durable."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack

from langchain_core.messages import HumanMessage

from bench.langchain_talk import conversation
from bench.measure import Samples, Side, interleave, per_call
from bench.settings import Settings
from bench.table import Row, time_text
from botwire import BotWireChatHistory, Memory

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # langchain-community says at import that it is being sunset
    from langchain_community.chat_message_histories import SQLChatMessageHistory
from sqlalchemy import create_engine

NAME = "langchain"
PEER = "SQLChatMessageHistory"
SHORT = 10
ADDS = 5
"""Messages added in one sample."""


def rows(settings: Settings) -> Iterator[Row]:
    """Adding at two lengths; the last 20, and all."""
    folder = settings.place("langchain")
    rounds, long = settings.rounds(40), settings.size(5_000, 200)
    with ExitStack() as stack:
        memory = stack.enter_context(Memory("bench", url=f"sqlite:///{folder / 'botwire.db'}"))
        engine = create_engine(f"sqlite:///{folder / 'peer.db'}")
        stack.callback(engine.dispose)
        peer = SQLChatMessageHistory("long", connection=engine)
        talk = conversation(long)
        BotWireChatHistory("long", memory=memory).add_messages(talk)
        peer.add_messages(talk)
        for number in range(rounds * 2):
            BotWireChatHistory(f"short{number}", memory=memory).add_messages(talk[:SHORT])
        yield from _adding(rounds, long, memory, peer)
        yield from _reading(rounds, long, memory, peer)


def _adding(rounds: int, long: int, memory: Memory, peer: SQLChatMessageHistory) -> Iterator[Row]:
    shorts = itertools.cycle(f"short{number}" for number in range(rounds * 2))
    sides = {
        "long": _add(lambda: BotWireChatHistory("long", memory=memory)),
        "short": _add(lambda: BotWireChatHistory(next(shorts), memory=memory)),
        "peer": _add(lambda: peer),
    }
    samples = interleave(sides, rounds)
    yield _compared(samples, f"add_message at {long:,}", ("long", "short"), f"botwire, add_message at {SHORT}", 1.2)
    yield _compared(samples, f"add_message at {long:,}", ("long", "peer"), PEER, 1.0)


def _add(make: object) -> Side:
    def sample() -> float:
        history = make()  # type: ignore[operator]
        start = time.perf_counter()
        for number in range(ADDS):
            history.add_message(HumanMessage(f"one more {number} " + "x" * 100))
        return (time.perf_counter() - start) / ADDS

    return sample


def _reading(rounds: int, long: int, memory: Memory, peer: SQLChatMessageHistory) -> Iterator[Row]:
    last = BotWireChatHistory("long", memory=memory, history_size=20)
    everything = BotWireChatHistory("long", memory=memory)
    fewer = max(3, rounds // 4)
    few = interleave({"botwire": per_call(lambda: last.messages, 20), "peer": per_call(lambda: peer.messages[-20:], 1)}, fewer)
    yield _compared(few, f"history_size=20 of {long:,}", ("botwire", "peer"), f"{PEER}, all and cut", seconds=0.5e-3)
    many = interleave({"botwire": per_call(lambda: everything.messages, 1), "peer": per_call(lambda: peer.messages, 1)}, fewer)
    yield _compared(many, f"all {long:,} messages", ("botwire", "peer"), PEER, seconds=0.1)
    yield _compared(many, f"all {long:,} messages", ("botwire", "peer"), PEER, 1.0)


def _compared(
    samples: Samples, what: str, sides: tuple[str, str], against: str, most: float | None = None, *, seconds: float | None = None
) -> Row:
    ratio, figure = samples.ratio(*sides), samples.median(sides[0])
    passed = ratio.median <= most if most else figure < seconds if seconds else None
    bar = f"{most}x" if most else time_text(seconds) if seconds else ""
    return Row(NAME, what, time_text(figure), against, time_text(samples.median(sides[1])), ratio, bar, passed, samples.load)
