"""Backups that are taken while others write hold what was acknowledged before, and can be restored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from botwire import Memory, StoreCorrupt, StoreFull, StoreIncompatible, StoreUnavailable
from botwire.server import serve_in_thread
from botwire.stores import open_store
from botwire.stores.sqlite.copies import verify

WRITER = """
import sys
from botwire import Memory
memory = Memory("ns", url=sys.argv[1])
session = memory.session("shared")
number = 0
while True:
    memory.set(f"{sys.argv[2]}-{number}", "x" * 500)
    session.append(("user", f"{sys.argv[2]}-{number}"))
    print(number, flush=True)
    number += 1
"""


class Writers:
    """Processes that write without end, and what each had acknowledged."""

    def __init__(self, url: str, count: int) -> None:
        command = [sys.executable, "-P", "-c", WRITER, url]
        self.processes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(count)]
        self.done = [-1] * count
        self._begun = [threading.Event() for _ in range(count)]
        self._readers = [threading.Thread(target=self._read, args=(index,), daemon=True) for index in range(count)]
        for reader in self._readers:
            reader.start()

    def _read(self, index: int) -> None:
        stream = self.processes[index].stdout
        assert stream is not None
        for line in stream:
            self.done[index] = int(line)
            if self.done[index] >= 3:
                self._begun[index].set()

    def wait(self) -> None:
        for begun in self._begun:
            assert begun.wait(60)

    def kill(self) -> None:
        for process, reader in zip(self.processes, self._readers, strict=True):
            process.kill()
            process.wait()
            reader.join(10)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/source.db"


@pytest.mark.parametrize("way", ["file", "http"])
def test_a_backup_during_four_writers_has_all_that_was_acknowledged_before_it_began(
    source: str, tmp_path: Path, botwire: Any, serving: Any, way: str
) -> None:
    target, restored = str(tmp_path / "backup.db"), f"sqlite://{tmp_path}/restored.db"
    writers = Writers(source, 4)
    try:
        writers.wait()
        acknowledged = list(writers.done)
        if way == "file":
            made = botwire("backup", target, "--url", source, "--json")
        else:
            with serving(source) as server:
                acknowledged = list(writers.done)
                made = botwire("backup", target, "--url", server.url, "--json")
        assert all(process.poll() is None for process in writers.processes)
    finally:
        writers.kill()
    assert made.returncode == 0, made.stderr

    assert botwire("restore", target, "--url", restored).returncode == 0

    with Memory("ns", url=restored) as memory:
        keys = set(memory.list_keys())
        expected = {f"{writer}-{number}" for writer, last in enumerate(acknowledged) for number in range(last + 1)}
        assert len(expected) >= 16
        assert expected <= keys
        messages = memory.session("shared").messages()
        assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
        assert expected <= {message.text for message in messages}
        assert json.loads(made.stdout)["entries"] == len(keys)
    assert os.stat(target).st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_replaced_only_by_force(source: str, tmp_path: Path, botwire: Any) -> None:
    Memory("ns", url=source).set("a", 1)
    target = tmp_path / "backup.db"
    target.write_text("precious")
    refused = botwire("backup", str(target), "--url", source)
    assert (refused.returncode, "--force" in refused.stderr, target.read_text()) == (2, True, "precious")
    assert botwire("backup", str(target), "--url", source, "--force").returncode == 0
    assert verify(str(target)).entries == 1
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_what_is_not_there_cannot_be_backed_up(source: str, tmp_path: Path) -> None:
    store: Any = open_store(source)
    with pytest.raises(StoreUnavailable, match="nothing has been written"):
        store.backup(str(tmp_path / "b.db"))
    assert not (tmp_path / "b.db").exists()
    store.close()


def test_a_full_disk_leaves_no_half_backup(source: str, need: Any) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("not applicable: no /dev/full here")
    store: Any = open_store(source)
    Memory("ns", store=store).set("a", "x" * 2_000_000)
    limited = (
        "import resource, sys\nfrom botwire.stores import open_store\nfrom botwire import BotWireError\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = open_store(sys.argv[1]); store.get('ns', 'a')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try:\n    store.backup(sys.argv[2])\nexcept BotWireError as error:\n    print(type(error).__name__)\n"
    )
    target = source.removeprefix("sqlite://") + ".backup"
    ended = subprocess.run([sys.executable, "-P", "-c", limited, source, target], capture_output=True, text=True, timeout=60)
    assert ended.stdout.strip() in (StoreFull.__name__, StoreUnavailable.__name__), ended.stderr
    assert not os.path.exists(target)
    assert Memory("ns", store=store).get("a") == "x" * 2_000_000
    store.close()


# ------------------------------------------------------------------------------------------ restore


@pytest.fixture
def copied(source: str, tmp_path: Path) -> str:
    """A backup of one entry, "old"."""
    with Memory("ns", url=source) as memory:
        memory.set("old", 1)
    store: Any = open_store(source)
    store.backup(str(tmp_path / "copy.db"))
    store.close()
    return str(tmp_path / "copy.db")


def test_a_store_that_is_there_is_replaced_only_by_force_and_kept(source: str, copied: str, botwire: Any) -> None:
    Memory("ns", url=source).set("new", 2)
    refused = botwire("restore", copied, "--url", source)
    assert (refused.returncode, "--force" in refused.stderr) == (2, True)
    assert Memory("ns", url=source).list_keys() == ["new", "old"]

    done = botwire("restore", copied, "--url", source, "--force", "--json")

    assert Memory("ns", url=source).list_keys() == ["old"]
    kept = json.loads(done.stdout)["kept"]
    assert Memory("ns", url=f"sqlite://{kept}").list_keys() == ["new", "old"]


def test_who_has_the_store_open_goes_on_with_what_was_restored(source: str, copied: str, botwire: Any) -> None:
    with serve_in_thread(open_store(source)) as url, Memory("ns", url=url) as memory:
        memory.set("new", 2)
        assert botwire("restore", copied, "--url", source, "--force").returncode == 0
        assert memory.set("after", 3) == 1
        assert memory.list_keys() == ["after", "old"]
    with Memory("ns", url=source) as fresh:
        assert fresh.list_keys() == ["after", "old"]


@pytest.mark.parametrize("way", ["damaged", "cut", "text", "empty", "foreign", "absent"])
def test_a_backup_that_is_no_good_changes_nothing(source: str, copied: str, botwire: Any, way: str) -> None:
    import apsw

    with Memory("ns", url=source) as memory:
        memory.set_many({f"k{number}": "x" * 3_000 for number in range(50)})
    store: Any = open_store(source)
    bad = copied + ".bad"
    store.backup(bad)
    store.close()
    path = Path(bad)
    whole = path.read_bytes()
    if way == "damaged":
        path.write_bytes(whole[:20_000] + os.urandom(60_000) + whole[80_000:])
    elif way == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif way == "text":
        path.write_text("this is no database, but long enough to be looked at as one" * 100)
    elif way == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    if way == "foreign":
        other = apsw.Connection(bad)
        other.execute("CREATE TABLE t (a)")
        other.close()
    before = Path(source.removeprefix("sqlite://")).read_bytes()

    ended = botwire("restore", bad, "--url", source, "--force")

    assert ended.returncode == {"damaged": 6, "cut": 6, "text": 6, "empty": 6, "foreign": 6, "absent": 2}[way], ended.stderr
    assert Path(source.removeprefix("sqlite://")).read_bytes() == before
    assert not list(Path(source.removeprefix("sqlite://")).parent.glob("*before-restore*"))


def test_the_errors_of_a_bad_backup_say_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 1000)
    with pytest.raises(StoreIncompatible):
        verify(str(tmp_path / "text"))
    with pytest.raises((StoreIncompatible, StoreCorrupt)):
        (tmp_path / "empty").touch()
        verify(str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError):
        verify(str(tmp_path / "absent"))


def test_what_has_no_file_says_what_to_do_instead(url: str, copied: str, botwire: Any) -> None:
    for command in (("restore", copied), ("vacuum",)):
        ended = botwire(*command, "--url", url)
        assert (ended.returncode, "where " in ended.stderr) == (8, True)


# --------------------------------------------------------------------------------------------- HTTP


def test_a_backup_over_http_is_whole_and_leaves_nothing_on_the_server(source: str, tmp_path: Path) -> None:
    store = open_store(source)
    Memory("ns", store=store).set_many({f"k{number}": "x" * 1_000 for number in range(2_000)})
    with serve_in_thread(store) as url:
        answer = httpx.get(f"{url}/admin/backup")
        assert answer.headers["content-type"] == "application/vnd.sqlite3"
        client: Any = open_store(url)
        client.backup(str(tmp_path / "fetched.db"))
        with pytest.raises(FileExistsError):
            client.backup(str(tmp_path / "fetched.db"))
        client.close()
    assert verify(str(tmp_path / "fetched.db")).entries == 2_000
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []
    store.close()


def test_a_backup_that_breaks_off_is_no_file(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botwire.server import _operator

    store = open_store(source)
    Memory("ns", store=store).set("a", 1)
    original = _operator._back_up

    def with_wrong_digest(store: Any) -> Any:
        file, _ = original(store)
        return file, b"\0" * 32

    with serve_in_thread(store) as url:
        monkeypatch.setattr(_operator, "_back_up", with_wrong_digest)
        client: Any = open_store(url)
        with pytest.raises(StoreUnavailable, match="not the whole backup"):
            client.backup(str(tmp_path / "fetched.db"))
        client.close()
    assert not (tmp_path / "fetched.db").exists()
    store.close()


# ------------------------------------------------------------------------------------------- vacuum


@pytest.mark.parametrize("full", [False, True])
def test_vacuum_gives_space_back_while_another_writes(source: str, botwire: Any, full: bool) -> None:
    with Memory("ns", url=source) as memory:
        memory.set_many({f"big{number}": "x" * 50_000 for number in range(200)})
        memory.clear("big")
        written, ended = 0, threading.Event()

        def write() -> None:
            nonlocal written
            while not ended.is_set():
                memory.set(f"small{written}", written)
                written += 1

        writer = threading.Thread(target=write)
        writer.start()
        freed = json.loads(botwire("vacuum", *(["--full"] if full else []), "--url", source, "--json").stdout)
        ended.set()
        writer.join()
        assert freed["bytes_after"] < freed["bytes_before"] / 4
        assert memory.count("small") == written
    with Memory("ns", url=source) as fresh:
        assert fresh.count("small") == written
        assert fresh.store.check()["ok"]
