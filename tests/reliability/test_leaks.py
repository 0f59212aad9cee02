"""What opening, failing, closing and interrupting leave behind: nothing."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import apsw
import pytest
from hurtful_vfs import HurtfulVFS

from botwire import BotWireError, Closed, InvalidValue, Memory, StoreBusy, StoreUnavailable
from botwire.stores import Batch, Set
from botwire.stores.sqlite import SQLiteStore, _opening

linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="not applicable: no /proc to count descriptors in")


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@linux
def test_opening_and_closing_leaves_no_descriptor_and_no_thread(path):
    def use(how):
        memory = Memory("n", store=SQLiteStore(f"sqlite://{path}"))
        memory.set("key", 1)
        memory.get("key")
        list(memory.items())
        if how == "close":
            memory.store.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use("close")
        before = descriptors(), threading.active_count()
        for _ in range(50):
            use("close")
        assert (descriptors(), threading.active_count()) == before
        for _ in range(50):
            use("forget")
        assert (descriptors(), threading.active_count()) == before


@linux
def test_files_that_cannot_be_opened_leave_no_descriptor(tmp_path):
    (tmp_path / "text.db").write_text("text " * 1000)
    (tmp_path / "folder.db").mkdir()
    stores = [SQLiteStore(f"sqlite://{tmp_path}/{name}.db") for name in ("text", "folder")]

    def use():
        for store in stores:
            for call in (lambda store=store: store.get("n", "k"), lambda store=store: store.write([Batch("n", (Set("k", "1"),))])):
                try:
                    outcome = call()
                    assert isinstance(outcome[0], BotWireError)
                except BotWireError:
                    pass

    use()
    before = descriptors()
    for _ in range(20):
        use()
    assert descriptors() == before
    for store in stores:
        store.close()


@pytest.mark.parametrize("failing", range(1, 30, 3))
def test_no_error_leaves_a_transaction_open(path, failing):
    vfs = HurtfulVFS(f"leak-{failing}")
    store = SQLiteStore(f"sqlite://{path}", vfs=vfs.name)
    with Memory("n", store=store) as memory:
        memory.set("key", 0)
        memory.get("key")
        first = vfs.calls
        vfs.fail = lambda call, _: "io" if call in (first + failing, first + failing + 1) else None
        for number in range(1, 30):
            with contextlib.suppress(StoreUnavailable):
                memory.set_many({"key": number, "fill": "x" * 20_000})
            everything = [*store._connections._readers, *([store._connections._writer] if store._connections._writer else [])]
            assert [connection for connection in everything if connection.in_transaction] == []
        assert memory.get("key") == 29
    store.close()
    vfs.unregister()


def test_a_batch_that_sqlite_cannot_hold_does_not_spoil_those_written_with_it(path, open_at):
    store = open_at(path)
    good, bad = Batch("n", (Set("good", "1"),)), Batch("n", (Set("bad", "\ud800"),))
    late = Batch("n", (Set("late", "1", ttl=2**63),))
    outcomes = store.write([good, bad, late, good])
    assert outcomes[0] == [1]
    assert outcomes[3] == [2]
    assert isinstance(outcomes[1], InvalidValue)
    assert isinstance(outcomes[2], InvalidValue)
    assert store.scan_keys("n", "", None, 10) == ["good"]


# ------------------------------------------------------------------------------------------- closing


def until_closed(barrier, call, wrong):
    barrier.wait()
    try:
        while True:
            call()
    except Closed:
        return
    except Exception as error:  # noqa: BLE001 - for the main thread
        wrong.append(error)


@pytest.mark.parametrize("attempt", range(10))
@pytest.mark.parametrize("url", ["file", "memory://"])
def test_closing_while_threads_write_and_read_loses_nothing_that_was_acknowledged(path, url, attempt, open_at):
    store = SQLiteStore(f"sqlite://{path}" if url == "file" else url)
    memory, barrier, wrong, acknowledged = Memory("n", store=store), threading.Barrier(9), [], [0] * 4

    def write(lane):
        memory.set(str(lane), acknowledged[lane] + 1)
        acknowledged[lane] += 1

    calls = [functools.partial(write, lane) for lane in range(4)] + [memory.list_keys, lambda: memory.get("0")] * 2
    threads = [threading.Thread(target=until_closed, args=(barrier, call, wrong)) for call in calls]
    for thread in threads:
        thread.start()
    barrier.wait()
    time.sleep(0.002 * attempt)
    store.close()
    for thread in threads:
        thread.join(20)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)
    assert not store._connections._readers
    assert store._connections._writer is None
    if url == "file":
        again = Memory("n", store=open_at(path))
        assert [again.get(str(lane), 0) for lane in range(4)] == acknowledged


def test_a_ram_store_is_gone_when_it_is_closed():
    store = SQLiteStore("memory://")
    Memory("n", store=store).set("key", 1)
    store.close()
    with pytest.raises(Closed):
        store.get("n", "key")
    with pytest.raises(Closed):
        store.write([Batch("n", (Set("key", "1"),))])
    second = SQLiteStore("memory://")
    assert second.get("n", "key") is None
    second.close()


# --------------------------------------------------------------------------------- waits, interrupts


def test_a_thread_waits_no_longer_than_its_timeout_for_a_writer_that_is_stuck(path, start):
    process = start("hold_file_lock", path)
    with Memory("n", url=f"sqlite://{path}", timeout=0.5) as memory:
        waits, barrier = [], threading.Barrier(6)

        def write():
            barrier.wait()
            begin = time.monotonic()
            with pytest.raises(StoreBusy):
                memory.set("key", 1)
            waits.append(time.monotonic() - begin)

        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(waits) == 6
        assert max(waits) < 1.5
        process.stdin.close()
        process.wait()
        assert memory.set("key", 1) == 1, "what was refused was written later"


@pytest.mark.skipif(sys.platform == "win32", reason="not applicable: no signals of this kind on Windows")
def test_interrupts_harm_neither_other_threads_nor_later_writes(path):
    """Ctrl-C two hundred times in a thread that writes, while others write too."""
    code = f"""
import signal, threading, os, time, random
from botwire import Memory, OutcomeUnknown
memory = Memory("n", url={f"sqlite://{path}"!r})
session = memory.session("shared")
session.append(("user", "first"))
stop, wrong, written = threading.Event(), [], [0] * 3
def write(lane):
    while not stop.is_set():
        try:
            session.append(("user", "thread"))
            written[lane] += 1
        except OutcomeUnknown:
            pass
        except BaseException as error:
            wrong.append(repr(error))
threads = [threading.Thread(target=write, args=(lane,)) for lane in range(3)]
for thread in threads: thread.start()
interrupts = told = 0
def interrupt():
    for _ in range(200):
        time.sleep(random.uniform(0, 0.004))
        os.kill(os.getpid(), signal.SIGINT)
    stop.set()
killer = threading.Thread(target=interrupt)
armed = False
def raise_if_armed(*_):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, raise_if_armed)
killer.start()
while not stop.is_set():
    try:
        armed = True
        while not stop.is_set():
            session.append(("user", "main")); told += 1
    except KeyboardInterrupt:
        interrupts += 1
signal.signal(signal.SIGINT, signal.SIG_IGN)
for thread in threads: thread.join()
killer.join()
assert not wrong, wrong
assert interrupts > 50, interrupts
messages = session.messages()
assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
main = sum(m.content == "main" for m in messages)
assert told <= main <= told + interrupts, (told, main, interrupts)
others = sum(m.content == "thread" for m in messages)
assert sum(written) <= others, (written, others)
assert memory.set("after", 1) == 1
print(interrupts, told, written)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)


# ---------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("name", ["what?.db", "a#b.db", "100%.db", "%41.db", "with space.db", "größe-記憶-🧠.db", "a&b=c.db", "file:x.db"])
def test_any_name_of_a_file(tmp_path, name, open_at):
    path = tmp_path / name
    store = open_at(path)
    Memory("n", store=store).set("key", name)
    assert path.is_file()
    assert store.path == str(path)
    with Memory("n", url=store.url) as again:
        assert again.get("key") == name
        assert again.store.path == str(path)


def test_a_relative_path_stays_where_it_was_when_the_directory_changes(tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    store = SQLiteStore("sqlite://memory.db")
    monkeypatch.chdir(tmp_path / "two")
    Memory("n", store=store).set("key", 1)
    store.close()
    assert (tmp_path / "one" / "memory.db").is_file()
    assert not (tmp_path / "two" / "memory.db").exists()


def test_a_missing_home_directory_is_said_not_made_up(monkeypatch, tmp_path):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where nobody knows the user
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue, match="set HOME"):
        SQLiteStore("sqlite://~/memory.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_makes_at_the_moment_of_reading_is_read(tmp_path, monkeypatch):
    """Not there when SQLite looks for it, there when we look why: that is no error."""
    url = f"sqlite://{tmp_path}/memory.db"
    real = _opening.Connection

    class Late(real):
        def __init__(self, name, *arguments, **options):
            try:
                super().__init__(name, *arguments, **options)
            except apsw.CantOpenError:
                monkeypatch.undo()
                with contextlib.closing(SQLiteStore(url)) as other:
                    assert other.write([Batch("n", (Set("k", "1"),))]) == [[1]]
                raise

    with contextlib.closing(SQLiteStore(url)) as store:
        assert store.get("n", "k") is None
        monkeypatch.setattr(_opening, "Connection", Late)
        row = store.get("n", "k")  # so soon that it is not looked again whether there is a file
        assert row is None or row.value == "1"
        assert _opening.Connection is real, "the file was looked at first: nothing was tested"


@pytest.mark.parametrize("look", [1, 2])
def test_a_file_that_another_makes_between_two_looks_for_it_is_no_error(tmp_path, monkeypatch, look):
    url = f"sqlite://{tmp_path}/memory.db"
    real, looks = _opening.identity_of, []

    def made_after(path):
        found = real(path)
        looks.append(found)
        if len(looks) == look:
            with monkeypatch.context() as others:
                others.setattr(_opening, "identity_of", real)
                with contextlib.closing(SQLiteStore(url)) as other:
                    assert other.write([Batch("n", (Set("k", "1"),))]) == [[1]]
        return found

    with contextlib.closing(SQLiteStore(url)) as store:
        assert store.get("n", "k") is None
        monkeypatch.setattr(_opening, "identity_of", made_after)
        row = store.get("n", "k")  # so soon that it is not looked again whether there is a file
        assert row is None or row.value == "1"
        assert looks[:look] == [None] * look, "the file was there before: nothing was tested"


def test_the_files_are_their_owners_alone(tmp_path, open_at):
    path = tmp_path / "new folder" / "memory.db"
    store = open_at(path)
    Memory("n", store=store).set("key", 1)
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()} == dict.fromkeys(
        ["memory.db", "memory.db-shm", "memory.db-wal", "memory.db.lock", "memory.db.queue"], "0o600"
    )
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_two_stores_on_one_file_in_one_process_take_turns(path, open_at):
    sessions = [Memory("n", store=open_at(path)).session("s") for _ in range(2)]
    threads = [
        threading.Thread(target=lambda session=session: [session.append(("user", "x")) for _ in range(100)]) for session in sessions * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [message.seq for message in sessions[0].messages()] == list(range(1, 401))
    assert signal.getsignal(signal.SIGINT) is not None
