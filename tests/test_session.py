"""Sessions, as a Python user handles them; the store contract holds what they promise."""

from __future__ import annotations

from datetime import timedelta

import pytest

from botwire import InvalidName, InvalidValue, Memory
from botwire.stores import open_store


@pytest.fixture
def memory():
    with Memory("sessions", url="memory://") as memory:
        yield memory


def test_a_session_is_iterated_counted_and_true(memory):
    """Iterating gives the messages, len their number, and an empty session is still one."""
    session = memory.session("s")
    assert (bool(session), len(session), list(session)) == (True, 0, [])
    session.append(("user", "one"), ("assistant", "two"))
    assert [message.content for message in session] == ["one", "two"]
    assert (bool(session), len(session), session.count()) == (True, 2, 2)


def test_a_handle_costs_no_io_and_says_what_it_is():
    """Making a handle opens nothing, and its repr has the names."""
    memory = Memory("n", url="nowhere://")  # a URL without a store: opening would raise
    session = memory.session("user-42", agent="writer")
    assert repr(session) == "<Session 'user-42', agent='writer' of 'n'>"
    assert (session.session_id, session.agent) == ("user-42", "writer")
    assert repr(memory.session("user-42")) == "<Session 'user-42' of 'n'>"
    assert memory.session("user-42").agent is None


def test_a_handle_refuses_bad_names_at_once(memory):
    """A session id or agent that cannot be one is refused before any call, by what it is."""
    with pytest.raises(InvalidName, match="session id"):
        memory.session("")
    with pytest.raises(InvalidName, match="agent"):
        memory.session("s", agent="")
    with pytest.raises(InvalidValue, match="ttl"):
        memory.session("s", ttl=0)


def test_all_handles_of_a_name_are_one_session(memory):
    """What one handle appends another one reads, also one made before."""
    before = memory.session("s")
    memory.session("s").append(("user", "hi"))
    assert [message.content for message in before.messages()] == ["hi"]


def test_the_last_messages_cost_no_more_than_they_are(memory):
    """Asking for the last 20 of many reads 20 rows."""
    session = memory.session("s")
    for _ in range(5):
        session.append(*[("user", str(number)) for number in range(1_000)])
    read = []
    spied = Memory("sessions", store=_Reading(memory.store, read))
    assert [message.seq for message in spied.session("s").messages(last=20)] == list(range(4_981, 5_001))
    assert read == [20]
    spied.session("s").append(("user", "more"))
    assert read == [20]


class _Reading:
    """A store that notes how many rows each reading of messages gave."""

    def __init__(self, store, read):
        self._store, self._read = store, read

    def __getattr__(self, name):
        return getattr(self._store, name)

    def read_log(self, *args, **options):
        page = self._store.read_log(*args, **options)
        self._read.append(len(page.rows))
        return page


def test_a_session_cleared_while_it_is_read_is_read_anew():
    """Pages of two epochs are never put together: what is returned was there at one moment."""
    store = open_store("memory://")
    session = Memory("sessions", store=store).session("s")
    for start in range(0, 6_000, 1_000):
        session.append(*[("user", "old")] * 1_000)
        assert session.count() == start + 1_000

    class Clearing(_Reading):
        def read_log(self, *args, **options):
            page = super().read_log(*args, **options)
            if len(self._read) == 1:
                session.clear()
                session.append(("user", "new"))
            return page

    read = []
    messages = Memory("sessions", store=Clearing(store, read)).session("s").messages()
    assert [message.content for message in messages] == ["new"]
    assert read == [5_000, 0, 1]
    store.close()


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("size", [6, 6_000])
@pytest.mark.parametrize("change", ["append", "pop", "trim"])
def test_a_snapshot_is_of_one_moment_however_many_reads_it_takes(served, size, change):
    """What is appended, popped or trimmed between two reads is in both messages and state, or in neither."""
    from botwire.server import serve_in_thread

    store = open_store("memory://")
    session = Memory("sessions", store=store).session("s")
    session.append(*[("user", "old")] * size)

    class Changing(_Reading):
        def read_log(self, *args, **options):
            page = super().read_log(*args, **options)
            if len(self._read) == 1:
                {"append": lambda: session.append(("user", "new")), "pop": session.pop, "trim": lambda: session.trim(2)}[change]()
            return page

    def check(front):
        for bounds in ({}, {"last": size + 1}):
            reading._read.clear()
            info, messages = Memory("sessions", store=front).session("s").snapshot(**bounds)
            assert info.count == len(messages), bounds
            assert change == "pop" or info.head == messages[-1].seq, bounds
            session.clear()
            session.append(*[("user", "old")] * size)

    reading = Changing(store, [])
    if served:
        with serve_in_thread(reading) as url:
            front = open_store(url)
            check(front)
            front.close()
    else:
        check(reading)
    store.close()


def test_a_sessions_ttl_is_seconds_or_a_timedelta(memory):
    """It is read back in seconds, and a handle without ttl leaves it as it is."""
    memory.session("s", ttl=timedelta(hours=1)).append(("user", "hi"))
    memory.session("s").append(("user", "hi"))
    assert memory.session("s").ttl == 3_600.0
    memory.session("s").set_ttl(1.5)
    info = memory.session("s").info()
    assert info.ttl == 1.5
    assert info.expires_at - info.updated_at == timedelta(seconds=1.5)


def test_an_unreadable_last_message_does_not_block_pop(memory):
    """pop raises for a message that cannot be read, and the next pop goes on."""
    from botwire import StoreCorrupt

    session = memory.session("s")
    session.append(("user", "one"), ("user", "two"))
    memory.store._connections.writer().execute("UPDATE message SET body = '{' WHERE seq = 2")
    with pytest.raises(StoreCorrupt, match="message 2 of session 's'"):
        session.pop()
    assert session.pop().content == "one"
    assert session.pop() is None
