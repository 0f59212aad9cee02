"""Room in the log: commits seldom make the file longer, and what lies behind the last frame is never taken for one."""

from __future__ import annotations

import resource
import sys

import apsw
import pytest

from botwire import Memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not applicable: room is made on Linux only")

FRAME = 4096 + 24


@pytest.fixture
def log(path):
    return path.with_name(path.name + "-wal")


def checkpoint(path, mode=apsw.SQLITE_CHECKPOINT_PASSIVE):
    """What another program may do at any time; returns how many frames the log held."""
    other = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        other.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # before that it knows of no log
        return other.wal_checkpoint(mode=mode)[0]
    finally:
        other.close()


def test_of_many_commits_few_lengthen_the_log(path, open_at, log):
    memory = Memory("n", store=open_at(path))
    lengths = []
    for number in range(200):
        memory.set(f"key {number}", "x" * 1000)
        lengths.append(log.stat().st_size)
    held = checkpoint(path)
    assert held > 200
    assert len(set(lengths)) < 12
    assert lengths[-1] - held * FRAME <= (1 << 20) + (64 << 10), "more room than is of use"


def test_where_commits_do_not_wait_for_the_disk_no_room_is_made(path, open_at, log):
    memory = Memory("n", store=open_at(path, "?durability=normal"))
    for number in range(20):
        memory.set(f"key {number}", "x" * 1000)
    assert log.stat().st_size == 32 + checkpoint(path) * FRAME


def test_a_log_with_room_of_a_process_that_was_killed_is_read_to_its_last_commit(path, start, log):
    killed = start("set_numbers_and_wait", path, 30)
    killed.kill()
    killed.wait()
    assert log.read_bytes().endswith(bytes(64 << 10)), "there is no room to be read over"
    with Memory("n", url=f"sqlite://{path}") as memory:
        assert [memory.get(f"key {number}") for number in range(30)] == list(range(30))
        assert memory.set("key 30", 30) == 1
        assert memory.store.check()["problems"] == []


def test_a_log_that_cannot_be_lengthened_is_filled_as_far_as_it_goes(path, open_at, log):
    memory = Memory("n", store=open_at(path))
    memory.set("first", 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        for number in range(4):
            memory.set(f"key {number}", number)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.stat().st_size == 32 + checkpoint(path) * FRAME
    assert memory.list_keys() == ["first", *(f"key {number}" for number in range(4))]


def test_a_log_that_another_program_has_emptied_gets_room_again(path, open_at, log):
    memory = Memory("n", store=open_at(path))
    lengths = []
    for number in range(90):
        memory.set(f"key {number}", number)
        lengths.append(log.stat().st_size)
        if number % 30 == 9:
            checkpoint(path, apsw.SQLITE_CHECKPOINT_TRUNCATE)
            assert log.stat().st_size == 0
    assert len(set(lengths)) < 20
    assert memory.get_many([f"key {number}" for number in range(90)]) == {f"key {number}": number for number in range(90)}
    assert memory.store.check()["problems"] == []
