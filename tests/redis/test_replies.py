"""Answers as they come over the wire: in pieces, of every kind, broken off, or of what is no Redis server at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st
from redis import asyncio as aioredis
from redis import exceptions as driver

from botwire import AsyncMemory, Memory, StoreBusy, StoreUnavailable
from botwire.stores.redis._links import error_maker
from botwire.stores.redis._replies import PIECE, Replies

parse_error = error_maker(redis.Connection())


class Simple(bytes):
    """A text that is sent as a line."""


LINES = st.binary(max_size=20).filter(lambda text: b"\r" not in text and b"\n" not in text).map(Simple)
ERRORS = st.sampled_from(["ERR no", "MOVED 7 host:1", "WRONGTYPE no"]).map(driver.ResponseError)
ITEMS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40) | LINES | ERRORS
ANSWERS = st.lists(st.recursive(ITEMS, lambda inner: st.lists(inner, max_size=5), max_leaves=20), min_size=1, max_size=5)


def sent(answer) -> bytes:
    """As a server sends it."""
    if answer is None:
        return b"$-1\r\n"
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    if isinstance(answer, Simple):
        return b"+%b\r\n" % answer
    if isinstance(answer, bytes):
        return b"$%d\r\n%b\r\n" % (len(answer), answer)
    if isinstance(answer, Exception):
        return b"-%b\r\n" % str(answer).encode()
    return b"*%d\r\n" % len(answer) + b"".join(map(sent, answer))


def plain(answer):
    """What can be compared."""
    if isinstance(answer, list):
        return [plain(each) for each in answer]
    return (type(answer), str(answer)) if isinstance(answer, Exception) else answer


def read(count, *pieces):
    replies = Replies(count, driver.ResponseError)
    done = [replies.feed(piece) for piece in pieces]
    assert done == [False] * (len(pieces) - 1) + [True]
    return replies.answers


@given(ANSWERS, st.data())
@example([[None, [], b"", [[Simple(b"")]], b"\r\n$3\r\n"], -1], None)
def test_whatever_is_answered_comes_back_however_it_is_cut(answers, data):
    whole = b"".join(map(sent, answers))
    wanted = plain(answers)
    assert plain(read(len(answers), whole)) == wanted
    assert plain(read(len(answers), *(whole[at : at + 1] for at in range(len(whole))))) == wanted
    for at in range(1, len(whole)):
        assert plain(read(len(answers), whole[:at], whole[at:])) == wanted
    if data is not None:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)) if len(whole) > 1 else ())
        pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert plain(read(len(answers), *pieces)) == wanted


@given(st.binary(min_size=1, max_size=60) | st.text("+-:$*%_#,0123456789\r\n", min_size=1).map(str.encode), st.integers(1, 3))
def test_anything_else_is_waited_for_or_ends_the_connection(data, count):
    replies = Replies(count, parse_error)
    with contextlib.suppress(driver.ConnectionError):
        replies.feed(data)
        replies.feed(b"\r\n")


@pytest.mark.parametrize(
    "answer", [b"_\r\n", b"#t\r\n", b",1.5\r\n", b"%0\r\n", b"~0\r\n", b">0\r\n", b"(1\r\n", b"=5\r\ntxt:a\r\n", b"!1\r\nE\r\n"]
)
def test_a_kind_that_was_not_agreed_on_ends_the_connection(answer):
    with pytest.raises(driver.ConnectionError, match="not a Redis server"):
        Replies(1, parse_error).feed(answer)


@pytest.mark.parametrize(
    "answer", [b"$x\r\n", b"$-2\r\n", b"*-2\r\n", b":\r\n", b":1.5\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"*1\r\n*x\r\n"]
)
def test_what_is_no_answer_ends_the_connection(answer):
    with pytest.raises(driver.ConnectionError, match="not a Redis server"):
        Replies(1, parse_error).feed(answer)


def test_an_answer_to_nothing_and_an_end_before_the_last_answer_end_the_connection():
    with pytest.raises(driver.ConnectionError, match="more than it was asked"):
        Replies(2, parse_error).feed(b":1\r\n:2\r\n:")
    replies = Replies(2, parse_error)
    assert not replies.feed(b":1\r\n$3\r\na")
    with pytest.raises(driver.ConnectionError, match="closed"):
        replies.feed(b"")


def test_a_large_answer_is_put_together_once():
    """Were it joined with each piece, this would copy some 140 gigabytes."""
    body = bytes(range(256)) * (1 << 19)
    whole = sent([body, b"after"])
    assert read(1, *(whole[at : at + PIECE] for at in range(0, len(whole), PIECE))) == [[body, b"after"]]


def test_deeply_nested_arrays_are_no_matter():
    whole = b"*1\r\n" * 50_000 + b":1\r\n"
    assert Replies(1, parse_error).feed(whole)


@pytest.mark.parametrize("connection", [redis.Connection(), aioredis.Connection()], ids=["threads", "asyncio"])
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("MOVED 3999 127.0.0.1:6381", driver.MovedError),
        ("ASK 3999 127.0.0.1:6381", driver.AskError),
        ("NOSCRIPT No matching script.", driver.NoScriptError),
        ("READONLY You can't write against a read only replica.", driver.ReadOnlyError),
        ("MASTERDOWN Link with MASTER is down", driver.MasterDownError),
        ("CLUSTERDOWN Hash slot not served", driver.ClusterDownError),
        ("TRYAGAIN Multiple keys request during rehashing of slot", driver.TryAgainError),
        ("CROSSSLOT Keys in request don't hash to the same slot", driver.ClusterCrossSlotError),
        ("OOM command not allowed when used memory > 'maxmemory'.", driver.OutOfMemoryError),
        ("NOPERM this user has no permissions", driver.NoPermissionError),
        ("WRONGTYPE Operation against a key", driver.ResponseError),
        ("BUSY Redis is busy running a script.", driver.ResponseError),
        ("ERR something else \xff", driver.ResponseError),
    ],
)
def test_an_error_is_the_drivers_in_its_place(connection, said, kind):
    replies = Replies(2, error_maker(connection))
    line = b"-%b\r\n" % said.encode("latin-1")
    assert replies.feed(b"*2\r\n" + line + b":1\r\n" + line)
    assert type(replies.answers[0][0]) is type(replies.answers[1]) is kind
    if kind in (driver.MovedError, driver.AskError):
        assert (replies.answers[1].slot_id, replies.answers[1].host, replies.answers[1].port) == (3999, "127.0.0.1", 6381)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"LOADING Valkey is loading the dataset in memory", driver.BusyLoadingError),
        (b"NOAUTH Authentication required.", driver.AuthenticationError),
        (b"ERR max number of clients reached", driver.ConnectionError),
    ],
)
def test_an_error_of_the_connection_is_raised(said, kind):
    with pytest.raises(kind):
        Replies(2, parse_error).feed(b":1\r\n-" + said + b"\r\n")


# ----------------------------------------------------------------------------- what a user sees of it

GREETING = b"*2\r\n:1\r\n:2\r\n$-1\r\n*0\r\n"
FORTY, TWO = sent(b"1 0 0 -\n40"), sent(b"1 0 0 -\n2")
CUT, SLOWLY = "the connection is closed", "a byte now and then"


class Server:
    """Answers reads one after the other by what it is told, whichever connection they come over."""

    def __init__(self, *answers) -> None:
        self.answers = [list(each) for each in answers]
        self.asked = threading.Event()
        self.connections = []
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.connections.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client) -> None:
        with contextlib.suppress(OSError), client:
            while data := client.recv(1 << 20):
                for piece in [GREETING] if b"INFO" in data else self.answers.pop(0):
                    if piece is CUT:
                        return
                    if piece is SLOWLY:
                        self._dribble(client)
                    else:
                        client.sendall(piece)
                if b"INFO" not in data:
                    self.asked.set()

    def _dribble(self, client) -> None:
        client.sendall(b"$1000\r\n")
        while not self._over.wait(0.1):
            client.sendall(b"x")

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self.connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("broken", [[TWO[:9], CUT], [TWO + TWO], [b"$-7\r\n"]], ids=["half an answer", "two for one", "no answer"])
def test_a_connection_that_went_wrong_is_never_used_again(broken):
    with Server(broken, [FORTY]) as server, Memory("n", url=server.url) as memory:
        assert memory.get("k") == 40
        assert len(server.connections) == 2


@pytest.mark.parametrize("broken", [[TWO[:9], CUT], [TWO + TWO], [b"$-7\r\n"]], ids=["half an answer", "two for one", "no answer"])
def test_neither_is_one_of_an_event_loop(broken):
    async def main():
        async with AsyncMemory("n", url=server.url) as memory:
            assert await memory.get("k") == 40
            assert len(server.connections) == 2

    with Server(broken, [FORTY]) as server:
        asyncio.run(main())


def test_the_answer_to_a_call_that_was_cancelled_is_not_taken_for_the_next_ones():
    async def main():
        async with AsyncMemory("n", url=server.url) as memory:
            first = asyncio.ensure_future(memory.get("k"))
            await asyncio.to_thread(server.asked.wait, 10)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await memory.get("k") == 40

    with Server([TWO[:9]], [FORTY]) as server:
        asyncio.run(main())


def test_a_server_that_answers_without_an_end_is_not_listened_to_for_longer_than_the_timeout():
    began = time.monotonic()
    with Server(*[[SLOWLY]] * 9) as server, Memory("n", url=server.url, timeout=1.5) as memory, pytest.raises(StoreBusy):
        memory.get("k")
    assert time.monotonic() - began < 5


def test_nor_from_an_event_loop():
    async def main():
        async with AsyncMemory("n", url=server.url, timeout=1.5) as memory:
            with pytest.raises(StoreBusy):
                await memory.get("k")

    began = time.monotonic()
    with Server(*[[SLOWLY]] * 9) as server:
        asyncio.run(main())
    assert time.monotonic() - began < 5


def test_what_is_no_redis_server_is_said_to_be_none():
    class Web(Server):
        def _serve(self, client) -> None:
            with contextlib.suppress(OSError), client:
                client.recv(1 << 20)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    said = pytest.raises(StoreUnavailable, match="not a Redis server.*the URL right")
    with Web() as server, Memory("n", url=server.url, timeout=2) as memory, said:
        memory.get("k")
