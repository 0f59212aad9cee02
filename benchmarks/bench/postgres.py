"""The PostgreSQL store: against bare INSERTs, over lengths, and against LangChain's and LangGraph's own, on one server.

The server is started here, durable as in production. Peers that are not installed are left out.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from bench.crowd import WRITERS, processes
from bench.measure import Samples, Side, interleave, per_call
from bench.settings import Settings
from bench.table import Row, absent, rate_text, time_text
from botwire.stores import Append, Batch, Set
from botwire.stores.postgres import PostgresStore

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from engines.postgres import Postgres

NAME = "postgres"
BODY = '{"role":"user","content":"' + "please book the table for four at seven, by the window " * 3 + '"}'


def rows(settings: Settings) -> Iterator[Row]:
    """Appends by many writers; lengths; pages; the peers."""
    server = Postgres(durable=True).create().start()
    try:
        with ExitStack() as stack:
            store = PostgresStore(server.url())
            stack.callback(store.close)
            store.write([Batch("warm", (Append("s", "", (BODY,)), Set("k", "1")))])
            yield from _writers(settings, server, store)
            yield from _lengths(settings, server, store)
            yield from _pages(settings, server, store)
            yield from _space(server, store)
            yield from _langchain(settings, server, stack)
            yield from _langgraph(settings, server, stack)
    finally:
        server.remove()


def _append(store: PostgresStore, session: str) -> None:
    (outcome,) = store.write((Batch("bench", (Append(session, "", (BODY,)),)),))
    assert isinstance(outcome, list), outcome


# ------------------------------------------------------------------------------------- many writers


class _Crowd:
    """Sixteen threads that stay, so that starting them is not measured; each sample is a burst of all of them."""

    def __init__(self, write: Callable[[int, int], None], each: int) -> None:
        self._write, self._each = write, each

    def sample(self) -> float:
        barrier = threading.Barrier(WRITERS + 1)

        def run(name: int) -> None:
            barrier.wait()
            for number in range(self._each):
                self._write(name, number)

        threads = [threading.Thread(target=run, args=(name,)) for name in range(WRITERS)]
        for thread in threads:
            thread.start()
        barrier.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - start) / (WRITERS * self._each)


def _writers(settings: Settings, server: Postgres, store: PostgresStore) -> Iterator[Row]:
    server.execute("CREATE TABLE bare (id bigserial PRIMARY KEY, body text NOT NULL)")
    connections = [psycopg.connect(server.url(), autocommit=True, prepare_threshold=1) for _ in range(WRITERS)]
    counter = itertools.count()
    each = settings.size(60, 10)

    def bare(name: int, _: int) -> None:
        connections[name].execute("INSERT INTO bare (body) VALUES (%s)", (BODY,))

    sides: dict[str, Side] = {
        "one": _Crowd(lambda _name, _number: _append(store, "one"), each).sample,
        "many": _Crowd(lambda _name, _number: _append(store, f"s{next(counter) % 1_000}"), each).sample,
        "bare": _Crowd(bare, each).sample,
    }
    samples = interleave(sides, settings.rounds(24))
    for side, what in (("one", "1 session"), ("many", "1,000 sessions")):
        yield _rate(samples, f"{WRITERS} threads append to {what}", side, "a bare INSERT of the bytes, a connection each", 2.0)
    head = store.read_log("bench", "one", "", last=1)
    assert head.info is not None
    assert head.info.head == head.info.count
    for connection in connections:
        connection.close()
    yield from _writing_processes(settings, server)
    server.execute("DROP TABLE bare")


LEAST = """WITH head AS (UPDATE bare_head SET seq = seq + 1 WHERE session = %s RETURNING session, seq)
INSERT INTO bare_message (session, seq, body) SELECT session, seq, %s FROM head"""
"""The least that numbers messages without gaps. Whoever wants the next number waits until the one before is on the disk."""


def _writing_processes(settings: Settings, server: Postgres) -> Iterator[Row]:
    server.execute("CREATE TABLE bare_head (session int PRIMARY KEY, seq bigint NOT NULL)")
    server.execute("CREATE TABLE bare_message (session int, seq bigint, body text NOT NULL, PRIMARY KEY (session, seq))")
    server.execute("INSERT INTO bare_head SELECT session, 0 FROM generate_series(0, 999) AS session")
    each, rounds = settings.size(60, 10), settings.rounds(12)
    for sessions, what in ((1, "1 session"), (1_000, "1,000 sessions")):
        sides: dict[str, Side] = {
            side: lambda side=side, sessions=sessions: processes(partial(_writer, side, server.url(), sessions), each)
            for side in ("processes", "least", "bare")
        }
        samples = interleave(sides, rounds)
        against = "a bare INSERT of the bytes by each"
        yield _rate(samples, f"{WRITERS} processes append to {what}", "processes", against, 2.0)
        yield _rate(samples, f"the least statements in place of {WRITERS} processes' appends to {what}", "least", against, None)


def _writer(side: str, url: str, sessions: int) -> tuple[Callable[[int], object], Callable[[], object]]:
    """What one writing process calls for its n-th message, and what closes it."""
    if side == "processes":
        store = PostgresStore(url)
        return (lambda number: _append(store, f"p{number % sessions}")), store.close
    connection = psycopg.connect(url, autocommit=True, prepare_threshold=1)
    if side == "least":
        return (lambda number: connection.execute(LEAST, (number % sessions, BODY))), connection.close
    return (lambda _number: connection.execute("INSERT INTO bare (body) VALUES (%s)", (BODY,))), connection.close


def _rate(samples: Samples, what: str, side: str, against: str, most: float | None) -> Row:
    ratio = samples.ratio(side, "bare")
    figures = rate_text(1 / samples.median(side)), rate_text(1 / samples.median("bare"))
    if most is None:
        return Row(NAME, what, figures[0], against, figures[1], ratio, load=samples.load)
    return Row(NAME, what, figures[0], against, figures[1], ratio, f"{most}x the time", ratio.median <= most, samples.load)


# ----------------------------------------------------------------------------------- lengths, pages


def _lengths(settings: Settings, server: Postgres, store: PostgresStore) -> Iterator[Row]:
    lengths = (10, 1_000, settings.size(100_000, 5_000))
    for length in lengths:
        for start in range(0, length, 1_000):
            bodies = tuple(BODY for _ in range(min(1_000, length - start)))
            store.write([Batch("lengths", (Append(f"s{length}", "", bodies),))])
    server.execute("VACUUM ANALYZE")
    shorts = itertools.cycle([f"short{number}" for number in range(50)])
    store.write([Batch("lengths", (Append(f"short{number}", "", (BODY,) * 20),)) for number in range(50)])

    def last(session: str) -> Side:
        return per_call(lambda: store.read_log("lengths", session, "", last=20), 10)

    def add(session: Callable[[], str]) -> Side:
        return per_call(lambda: store.write((Batch("lengths", (Append(session(), "", (BODY,)),)),)), 5)

    adds = {f"{length}": add(lambda length=length: f"s{length}") for length in lengths[1:]} | {"10": add(lambda: next(shorts))}
    reads = {f"{length}": last(f"s{length}") for length in lengths[1:]} | {"10": last("short1")}
    for what, sides in (("append", adds), ("last 20", reads)):
        samples = interleave(sides, settings.rounds(60))
        for length in lengths[1:]:
            ratio = samples.ratio(f"{length}", "10")
            figures = time_text(samples.median(f"{length}")), time_text(samples.median("10"))
            text = f"{what} at length {length:,}"
            yield Row(NAME, text, figures[0], f"{what} at about 20", figures[1], ratio, "1.2x", ratio.median <= 1.2, samples.load)


def _pages(settings: Settings, server: Postgres, store: PostgresStore) -> Iterator[Row]:
    keys = settings.size(1_000_000, 20_000)
    columns = "namespace, key, version, created_at, updated_at, expires_at, value"
    with server.connect() as connection, connection.cursor().copy(f"COPY botwire.entry ({columns}) FROM STDIN") as copy:
        for number in range(keys):
            copy.write_row(("pages", f"key-{number:07}", 1, 1, 1, None, "1"))
    for when in ("straight after loading", "analyzed"):
        if when == "analyzed":
            server.execute("ANALYZE botwire.entry")
        pages = {
            "first": per_call(lambda: store.scan_keys("pages", "", None, 100), 5),
            "middle": per_call(lambda: store.scan_keys("pages", "key-", f"key-{keys // 2:07}", 100), 5),
        }
        samples = interleave(pages, settings.rounds(30))
        for name in pages:
            figure = samples.median(name)
            yield Row(
                NAME,
                f"{name} page of 100 of {keys:,} keys, {when}",
                time_text(figure),
                bar="10 ms",
                passed=figure < 0.01,
                load=samples.load,
            )


def _space(server: Postgres, store: PostgresStore) -> Iterator[Row]:
    """Bytes on disk, indexes and all, of rows of 200 bytes."""
    text = '"' + "x" * 198 + '"'
    number = 20_000
    tables = {"entry": ("entry",), "message": ("message",), "session": ("log",), "request id": ("request",)}
    sizes = {
        name: "SELECT " + " + ".join(f"pg_total_relation_size('botwire.{table}')" for table in given) for name, given in tables.items()
    }
    before = {name: server.execute(query)[0][0] for name, query in sizes.items()}
    for start in range(0, number, 500):
        batches = [Batch("space", (Set(f"user-{start + place:06}", text),)) for place in range(500)]
        batches += [
            Batch("space", (Append(f"session-{(start + place) // 20:06}", "", (text,)),), f"request-{start + place}")
            for place in range(500)
        ]
        store.write(batches)
    server.execute("VACUUM ANALYZE")
    counts = {"entry": number, "message": number, "session": number // 20, "request id": number}
    for name, query in sizes.items():
        each = (server.execute(query)[0][0] - before[name]) / counts[name]
        what = {"session": "a session of 20 messages, besides them", "request id": "a request id, for two days"}.get(
            name, f"{name} of 200 bytes"
        )
        yield Row(NAME, f"on disk: {what}", f"{each:,.0f} bytes")


# -------------------------------------------------------------------------------------------- peers


def _compared(samples: Samples, what: str, against: str, most: float = 1.0) -> Row:
    ratio = samples.ratio("botwire", "peer")
    figures = time_text(samples.median("botwire")), time_text(samples.median("peer"))
    return Row(NAME, what, figures[0], against, figures[1], ratio, f"{most}x", ratio.median <= most, samples.load)


def _informed(samples: Samples, what: str, side: str, against: str) -> Row:
    """A peer that is used in another way than its documentation shows: no bar."""
    ratio = samples.ratio("botwire", side)
    return Row(NAME, what, time_text(samples.median("botwire")), against, time_text(samples.median(side)), ratio, "", None, samples.load)


def _floor(samples: Samples, what: str, against: str) -> Row:
    """What the engine itself takes for what botwire promises, by the bare driver: no bar, since nobody can be faster."""
    ratio = samples.ratio("least", "peer")
    return Row(NAME, what, time_text(samples.median("least")), against, time_text(samples.median("peer")), ratio, "", None, samples.load)


class _LeastAppend:
    """The next number, a message under it, and a request id that makes a repetition harmless: one statement, by the bare driver."""

    TABLES = """
        CREATE TABLE least_log (session text PRIMARY KEY, head int8 NOT NULL) WITH (fillfactor = 70);
        CREATE TABLE least_message (session text, seq int8, body text NOT NULL, PRIMARY KEY (session, seq));
        CREATE TABLE least_request (id text PRIMARY KEY, expires_at int8 NOT NULL);
        CREATE INDEX ON least_request (expires_at);
        INSERT INTO least_log VALUES ('s', 0)"""
    APPEND = """
        WITH head AS (UPDATE least_log SET head = head + 1
            WHERE session = %s AND NOT EXISTS (SELECT FROM least_request WHERE id = %s) RETURNING session, head),
        put AS (INSERT INTO least_message SELECT session, head, %s FROM head),
        kept AS (INSERT INTO least_request SELECT %s, %s FROM head)
        SELECT head FROM head"""

    def __init__(self, server: Postgres, stack: ExitStack) -> None:
        self._connection = stack.enter_context(psycopg.connect(server.url(), autocommit=True, prepare_threshold=1))
        self._connection.execute(self.TABLES)
        self._expires_at = time.time_ns() // 1_000

    def append(self) -> None:
        """One message."""
        request, self._expires_at = uuid.uuid4().hex, self._expires_at + 1
        self._connection.execute(self.APPEND, ("s", request, BODY, request, self._expires_at)).fetchall()


class _LeastPut:
    """Serialise the checkpoint once, write one row: by the bare driver."""

    def __init__(self, serde: Any, server: Postgres, stack: ExitStack) -> None:
        self._serde = serde
        self._connection = stack.enter_context(psycopg.connect(server.url(), autocommit=True, prepare_threshold=1))
        self._connection.execute("CREATE TABLE IF NOT EXISTS least_checkpoint (id text PRIMARY KEY, value bytea NOT NULL)")

    def put(self, config: Any, checkpoint: Any, _metadata: Any, _versions: Any) -> Any:
        """One checkpoint."""
        _, data = self._serde.dumps_typed(checkpoint)
        text = "INSERT INTO least_checkpoint VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value"
        self._connection.execute(text, (checkpoint["id"], data))
        return config


def _langchain(settings: Settings, server: Postgres, stack: ExitStack) -> Iterator[Row]:
    try:
        from langchain_core.messages import HumanMessage
        from langchain_postgres import PostgresChatMessageHistory

        from bench.langchain_talk import conversation
        from botwire import BotWireChatHistory, Memory
    except ModuleNotFoundError as error:
        yield absent(NAME, "chat history", "langchain-postgres", f"{error.name} is not installed")
        return
    memory = stack.enter_context(Memory("langchain", url=server.url()))
    # A plain connection, as the peer's documentation shows: the peer commits each write. In autocommit mode it spares itself two round
    # trips, and its reads hold no transaction open; that is not how it is told to be used, so it is measured, but no bar.
    plain = stack.enter_context(psycopg.connect(server.url()))
    autocommit = stack.enter_context(psycopg.connect(server.url(), autocommit=True))
    PostgresChatMessageHistory.create_tables(plain, "peer_history")
    PostgresChatMessageHistory.create_tables(autocommit, "peer_autocommit")
    session = "5cb1ab5c-3ff5-4a0c-a4c7-3a4a2a6f8a0e"
    peer = PostgresChatMessageHistory("peer_history", session, sync_connection=plain)
    quick = PostgresChatMessageHistory("peer_autocommit", session, sync_connection=autocommit)
    length = settings.size(2_000, 100)
    ours = BotWireChatHistory(session, memory=memory)
    last = BotWireChatHistory(session, memory=memory, history_size=20)
    talk = conversation(length)
    ours.add_messages(talk)
    peer.add_messages(talk)
    quick.add_messages(talk)
    server.execute("VACUUM ANALYZE")
    message = HumanMessage("one more " + "x" * 100)
    least = _LeastAppend(server, stack)
    adds = {"botwire": ours.add_message, "peer": peer.add_message, "autocommit": quick.add_message}
    sides = {name: per_call(lambda add=add: add(message), 5) for name, add in adds.items()}
    samples = interleave({**sides, "least": per_call(least.append, 5)}, settings.rounds(60))
    yield _compared(samples, f"add_message at {length:,}", "PostgresChatMessageHistory")
    yield _informed(samples, f"add_message at {length:,}", "autocommit", "PostgresChatMessageHistory, in autocommit mode")
    yield _floor(samples, "the least append with a number and a request id", "PostgresChatMessageHistory")
    sides = {"botwire": per_call(lambda: last.messages, 5), "peer": per_call(lambda: peer.messages[-20:], 1)}
    yield _compared(interleave(sides, settings.rounds(20)), f"the last 20 of {length:,}", "PostgresChatMessageHistory, all and cut")
    sides = {"botwire": per_call(lambda: ours.messages, 1), "peer": per_call(lambda: peer.messages, 1)}
    yield _compared(interleave(sides, settings.rounds(20)), f"all of {length:,} messages", "PostgresChatMessageHistory")
    plain.rollback()  # what it has read in; an open transaction would keep PostgresSaver.setup waiting


def _langgraph(settings: Settings, server: Postgres, stack: ExitStack) -> Iterator[Row]:
    try:
        from langgraph.checkpoint.postgres import PostgresSaver

        from bench.langgraph_thread import Thread
        from botwire import Memory
        from botwire.integrations.langgraph import BotWireSaver
    except ModuleNotFoundError as error:
        yield absent(NAME, "checkpoints", "PostgresSaver", f"{error.name} is not installed")
        return
    memory = stack.enter_context(Memory("langgraph", url=server.url()))
    peer = stack.enter_context(PostgresSaver.from_conn_string(server.url()))
    peer.setup()
    for length in (10, settings.size(100, 20)):
        threads: dict[str, Any] = {
            "botwire": Thread(BotWireSaver(memory=memory), length, f"t{length}"),
            "peer": Thread(peer, length, f"t{length}"),
        }
        what = f"at {length} messages"
        least = Thread(_LeastPut(threads["botwire"].saver.serde, server, stack), length, f"t{length}")
        samples = interleave({side: thread.put for side, thread in {**threads, "least": least}.items()}, settings.rounds(60))
        yield _compared(samples, f"put {what}", "PostgresSaver")
        yield _floor(samples, f"the least put {what}", "PostgresSaver")
        for thread in threads.values():  # to be read: a checkpoint with what one task wrote
            thread.put_writes()
        yield _read(settings, threads, f"get_tuple {what}")
        writes = {side: thread.put_writes for side, thread in threads.items()}
        yield _compared(interleave(writes, settings.rounds(60)), f"put_writes {what}", "PostgresSaver")
        yield _read(settings, threads, f"get_tuple {what}, with the writes of {settings.rounds(60)} tasks or more")


def _read(settings: Settings, threads: dict[str, Any], what: str) -> Row:
    reads = {side: per_call(thread.get_tuple, 5) for side, thread in threads.items()}
    return _compared(interleave(reads, settings.rounds(60)), what, "PostgresSaver")
