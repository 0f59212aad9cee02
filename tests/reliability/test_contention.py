"""Many writers at once, in threads and in processes: nothing lost, no number twice, each in its turn."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from botwire import Memory


def in_order(messages):
    """The messages of each writer, in the order in which they lie in the session."""
    found = {}
    for message in messages:
        writer, _, number = message.content.partition(":")
        found.setdefault(writer, []).append(int(number))
    return found


@pytest.mark.parametrize("url", ["file", "memory://"])
def test_sixteen_threads_append_fifty_messages_each(path, url):
    with Memory("n", url=url if url == "memory://" else f"sqlite://{path}") as memory:
        session, barrier, given = memory.session("shared"), threading.Barrier(16), {}

        def append(lane):
            barrier.wait()
            given[lane] = [session.append({"role": "user", "content": f"{lane}:{number}"})[0] for number in range(50)]

        threads = [threading.Thread(target=append, args=(lane,)) for lane in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        messages = session.messages()

    assert [message.seq for message in messages] == list(range(1, 801))
    assert in_order(messages) == {str(lane): list(range(50)) for lane in range(16)}
    assert all(numbers == sorted(numbers) for numbers in given.values())


def test_eight_processes_append_two_hundred_messages_each(path, start):
    processes = [start("append_many", path, lane, 200) for lane in range(8)]
    for process in processes:
        process.stdin.close()
    given = [json.loads(process.stdout.readline()) for process in processes]

    with Memory("n", url=f"sqlite://{path}") as memory:
        messages = memory.session("shared").messages()
    assert sorted(number for numbers in given for number in numbers) == list(range(1, 1601))
    assert [message.seq for message in messages] == list(range(1, 1601))
    assert in_order(messages) == {str(lane): list(range(200)) for lane in range(8)}


@pytest.mark.alone
@pytest.mark.parametrize("writers", [4, 16])
def test_no_process_starves_another(path, start, writers):
    """SQLite's own waiting let one process write once while another wrote ten thousand times."""
    processes = [start("append_for", path, 2) for _ in range(writers)]
    for process in processes:
        process.stdin.close()
    reports = [json.loads(process.stdout.readline()) for process in processes]
    counts, longest = [count for count, _ in reports], max(wait for _, wait in reports)
    print(f"{writers} processes: {sum(counts) / 2:.0f}/s, min/max {min(counts) / max(counts):.2f}, longest wait {longest * 1000:.0f} ms")
    assert min(counts) >= 0.2 * max(counts)
    assert longest < 1.0


@pytest.mark.alone
def test_threads_share_commits(path):
    """Sixteen threads write more in a second than one: the disk is waited for once for many."""

    def seconds_for(threads, each):
        barrier = threading.Barrier(threads + 1)

        def append():
            barrier.wait()
            for _ in range(each):
                session.append({"role": "user", "content": "x"})

        workers = [threading.Thread(target=append) for _ in range(threads)]
        for worker in workers:
            worker.start()
        barrier.wait()
        begin = time.perf_counter()
        for worker in workers:
            worker.join()
        return (time.perf_counter() - begin) / (threads * each)

    with Memory("n", url=f"sqlite://{path}") as memory:
        session = memory.session("shared")
        session.append({"role": "user", "content": "first"})
        alone, together = min(seconds_for(1, 200) for _ in range(3)), min(seconds_for(16, 50) for _ in range(3))
    print(f"one thread {alone * 1e6:.0f} us, sixteen {together * 1e6:.0f} us for each")
    assert together < 0.8 * alone


def test_without_file_locks_sqlite_alone_keeps_writers_apart(path, tmp_path):
    """As on Windows, where there is no ``fcntl``."""
    script = tmp_path / "writer.py"
    script.write_text(
        "import sys\n"
        "sys.modules['fcntl'] = None\n"
        "from botwire import Memory\n"
        "with Memory('n', url='sqlite://' + sys.argv[1]) as memory:\n"
        "    for number in range(50):\n"
        "        memory.session('shared').append(('user', f'{sys.argv[2]}:{number}'))\n"
    )
    writers = [subprocess.Popen([sys.executable, str(script), str(path), str(lane)]) for lane in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert not list(path.parent.glob("*.lock"))
    with Memory("n", url=f"sqlite://{path}") as memory:
        messages = memory.session("shared").messages()
    assert [message.seq for message in messages] == list(range(1, 201))
    assert in_order(messages) == {str(lane): list(range(50)) for lane in range(4)}
