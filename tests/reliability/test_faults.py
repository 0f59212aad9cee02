"""What can be wrong with a file, its folder and its disk: a typed error that says what to do, and afterwards all goes on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import mount

from botwire import Memory, QuotaExceeded, StoreBusy, StoreCorrupt, StoreFull, StoreIncompatible, StoreReadOnly, StoreUnavailable
from botwire.stores import Batch, Cap, Charge, Set, Terms
from botwire.stores.sqlite import _schema

posix = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: Windows does not let an open file be removed")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="not applicable: only root can become another user")


@pytest.fixture
def open_folder():
    """A folder that every user may enter, with all those above it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@root
@posix
def test_a_folder_that_one_may_not_enter_is_not_taken_for_an_empty_store(open_folder, run):
    path = open_folder / "folder" / "memory.db"
    run("set_keys", path, "key")
    os.chmod(path.parent, 0o700)
    assert "StoreUnavailable" in run("as_nobody", path, "read")
    assert "StoreReadOnly" in run("as_nobody", path, "write")


@pytest.fixture
def memory(path):
    with Memory("n", url=f"sqlite://{path}", timeout=2) as memory:
        yield memory


def both(memory, error, message):
    """Reading and writing raise ``error``."""
    for call in (lambda: memory.get("key"), lambda: memory.set("key", 2)):
        with pytest.raises(error, match=message):
            call()


# --------------------------------------------------------------------------- something else is there


def test_a_folder_in_place_of_the_file(path, memory):
    path.mkdir()
    both(memory, StoreUnavailable, "is a folder, not a file; name a file in it")
    path.rmdir()
    assert memory.set("key", 1) == 1


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "folder").write_text("")
    with Memory("n", url=f"sqlite://{tmp_path}/folder/memory.db") as memory:
        with pytest.raises(StoreUnavailable, match="choose another path"):
            memory.set("key", 1)
        (tmp_path / "folder").unlink()
        assert memory.set("key", 1) == 1


def test_a_text_file_in_place_of_the_database_is_left_as_it_is(path, memory):
    path.write_text("Dear diary, " * 100)
    both(memory, StoreIncompatible, "is not an SQLite file")
    assert path.read_text() == "Dear diary, " * 100
    path.unlink()
    assert memory.set("key", 1) == 1


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_another_programs_database_is_left_as_it_is(path, memory, mode):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE diary (entry)")
    connection.close()
    before = path.read_bytes()
    both(memory, StoreIncompatible, "not botwire's; choose another path")
    assert path.read_bytes() == before


def test_an_empty_file_is_a_store_to_be(path, memory):
    path.touch()
    assert memory.get("key") is None
    assert path.stat().st_size == 0, "a read wrote"
    assert memory.set("key", 1) == 1


# ------------------------------------------------------------------------------------- damaged files


def test_a_damaged_page_is_reported_and_what_can_be_read_is_read(path):
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set_many({f"key {number:04}": "x" * 1000 for number in range(500)})
    whole = path.read_bytes()
    path.write_bytes(whole[: 4096 * 20] + os.urandom(4096 * 40) + whole[4096 * 60 :])
    with Memory("n", url=f"sqlite://{path}") as memory:
        assert memory.store.check()["ok"] is False
        with pytest.raises(StoreCorrupt, match="restore a backup"):
            list(memory.items())
        with pytest.raises(StoreCorrupt):
            memory.set_many({f"key {number:04}": "y" for number in range(500)})
        path.write_bytes(whole)  # a backup is restored
        shutil.rmtree(f"{path}-wal", ignore_errors=True)
        assert len(dict(memory.items())) == 500
        assert memory.store.check()["ok"] is True


def test_a_truncated_file(path):
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set_many({f"key {number:04}": "x" * 1000 for number in range(500)})
    os.truncate(path, 4096 * 30)
    with Memory("n", url=f"sqlite://{path}") as memory:
        with pytest.raises(StoreCorrupt, match="damaged"):
            memory.get_many([f"key {number:04}" for number in range(500)])
        assert memory.store.check()["ok"] is False


# ---------------------------------------------------------------------------------------- read-only


def test_a_read_only_file_system(path, small_disk):
    place = small_disk / "memory.db"
    with Memory("n", url=f"sqlite://{place}") as memory:
        memory.set("key", 1)
    mount("-o", "remount,ro", str(small_disk))
    with Memory("n", url=f"sqlite://{place}") as memory:
        assert memory.get("key") == 1
        with pytest.raises(StoreReadOnly, match="choose another path"):
            memory.set("key", 2)
        mount("-o", "remount,rw", str(small_disk))
        assert memory.set("key", 3) == 2
        assert memory.get("key") == 3


def test_a_file_system_that_becomes_read_only_while_the_store_is_open(small_disk):
    with Memory("n", url=f"sqlite://{small_disk}/memory.db") as memory:
        memory.set("key", 1)
        with open(small_disk / "memory.db-wal", "rb"):
            pass
        done = subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True)
        assert done.returncode != 0, "Linux refuses this while a file is open for writing"
        assert memory.get("key") == 1


@root
@posix
def test_files_of_another_user(open_folder, run):
    path = open_folder / "memory.db"
    run("set_keys", path, "key")
    assert "StoreUnavailable" in run("as_nobody", path, "read")
    assert "StoreReadOnly" in run("as_nobody", path, "write")
    os.chmod(path, 0o644)
    assert run("as_nobody", path, "read") == "key"
    assert "StoreReadOnly" in run("as_nobody", path, "write")


@root
@posix
def test_a_read_only_file_can_be_written_once_it_is_made_writable(open_folder):
    """As another user, in a child: the connection that found it read-only must not be kept."""
    code = f"""
import os, sys
from botwire import Memory, StoreReadOnly
os.chdir({str(open_folder)!r}); os.chmod(".", 0o777)
memory = Memory("n", url="sqlite://memory.db"); memory.set("key", 1); memory.close()
for name in os.listdir("."):
    os.chown(name, 65534, 65534)
os.chmod("memory.db", 0o444)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
memory = Memory("n", url="sqlite://memory.db")
assert memory.get("key") == 1
try:
    memory.set("key", 2)
except StoreReadOnly as error:
    assert "read-only" in str(error), error
else:
    sys.exit("written?")
os.chmod("memory.db", 0o644)
assert memory.set("key", 3) == 2
assert memory.get("key") == 3
memory.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------------------------- full disk


def test_a_full_disk_is_reported_and_the_store_goes_on_when_there_is_space(small_disk):
    filler = small_disk / "filler"
    with Memory("n", url=f"sqlite://{small_disk}/memory.db") as memory:
        memory.set("first", "x")
        filler.write_bytes(bytes(600_000))
        written = []
        with pytest.raises(StoreFull, match="free some, then call again: nothing was written"):
            for number in range(1000):
                memory.set(f"key {number:04}", "x" * 10_000)
                written.append(f"key {number:04}")
        assert memory.list_keys("key") == written
        assert memory.get("first") == "x"
        with pytest.raises(StoreFull):
            memory.session("s").append({"role": "user", "content": "y" * 100_000})
        assert memory.session("s").count() == 0
        filler.unlink()
        memory.set("after", 1)
        assert memory.session("s").append({"role": "user", "content": "y" * 100_000}) == [1]
        assert memory.store.check()["problems"] == []


def test_deleting_on_a_full_disk_takes_space_too_but_only_a_little(small_disk):
    """The log grows by what a deletion changes."""
    filler = small_disk / "filler"
    with Memory("n", url=f"sqlite://{small_disk}/memory.db") as memory:
        filler.write_bytes(bytes(100_000))
        with pytest.raises(StoreFull):
            for number in range(1000):
                memory.set(f"key {number:04}", "x" * 10_000)
        keys = memory.list_keys()
        with pytest.raises(StoreFull):
            for key in keys:
                memory.delete(key)
        filler.unlink()
        assert memory.delete(keys[-1]) is True
        assert memory.delete(keys[-1]) is False
        assert memory.store.check()["problems"] == []


def test_a_disk_full_from_the_start(small_disk):
    filler = os.open(small_disk / "filler", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        while True:
            os.write(filler, bytes(4096))
    os.close(filler)
    with Memory("n", url=f"sqlite://{small_disk}/memory.db") as memory:
        with pytest.raises(StoreUnavailable):
            memory.set("key", 1)
        (small_disk / "filler").unlink()
        assert memory.set("key", 1) == 1


# ------------------------------------------------------------------------------------ others hold it


@pytest.mark.parametrize("holder", ["hold_lock", "hold_file_lock"])
def test_a_file_that_another_program_keeps_locked(path, start, holder):
    with Memory("n", url=f"sqlite://{path}", timeout=0.5) as memory:
        memory.set("key", 1)
        process = start(holder, path)
        begin = time.monotonic()
        with pytest.raises(StoreBusy):
            memory.set("key", 2)
        assert 0.4 < time.monotonic() - begin < 3
        assert memory.get("key") == 1, "readers do not wait for writers"
        process.stdin.close()
        process.wait()
        assert memory.set("key", 2) == 2


def test_a_process_that_waits_gets_the_lock_when_its_holder_is_killed(path, start):
    with Memory("n", url=f"sqlite://{path}", timeout=30) as memory:
        process = start("hold_file_lock", path)
        process.kill()
        assert memory.set("key", 1) == 1


# ------------------------------------------------------------------------------ newer, older schemas


def test_a_newer_schema_is_refused_and_left_as_it_is(path, memory):
    memory.set("key", 1)
    memory.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with Memory("n", url=f"sqlite://{path}") as again:
        both(again, StoreIncompatible, "upgrade botwire")
    assert path.read_bytes() == before


def test_a_newer_schema_that_was_not_closed_cleanly_is_left_as_it_is_with_its_log(path, memory, run):
    memory.set("key", 1)
    memory.close()
    code = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version = 99'); c.commit(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    log = path.with_name("memory.db-wal")
    before = path.read_bytes(), log.read_bytes()
    assert before[1]
    with Memory("n", url=f"sqlite://{path}") as again:
        both(again, StoreIncompatible, "upgrade botwire")
    assert (path.read_bytes(), log.read_bytes()) == before


def make_version_1(path):
    """Turn a new file into one of the first schema version, in which nothing was counted."""
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE meter; DROP TABLE usage; PRAGMA user_version = 1")
    connection.close()


def test_a_file_of_the_first_version_is_migrated_and_holds_what_it_held(path):
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set("key", 1)
        memory.session("s").append(("user", "hi"))
    make_version_1(path)
    with Memory("n", url=f"sqlite://{path}") as memory:
        assert memory.get("key") == 1
        assert [message.text for message in memory.session("s").messages()] == ["hi"]
        assert memory.store.check()["schema"] == _schema.VERSION == 2
        charged = Batch("n", (Set("key", "2"),), terms=Terms((Charge("writes", 1, 1, 2**60),), Cap(keys=1)))
        first, second = memory.store.write([charged, charged])
        assert first == [2]
        assert isinstance(second, QuotaExceeded)


def test_a_file_of_the_first_version_on_a_read_only_disk_is_read_as_it_is(small_disk):
    path = small_disk / "memory.db"
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set("key", 1)
    make_version_1(path)
    mount("-o", "remount,ro", str(small_disk))
    try:
        with Memory("n", url=f"sqlite://{path}") as memory:
            assert memory.get("key") == 1
            assert memory.store.check()["schema"] == 1
            with pytest.raises(StoreReadOnly):
                memory.set("key", 2)
    finally:
        mount("-o", "remount,rw", str(small_disk))


def test_an_older_schema_is_migrated_at_the_first_call(path, monkeypatch):
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set("key", 1)
    monkeypatch.setattr(_schema, "VERSION", 4)
    monkeypatch.setattr(_schema, "MIGRATIONS", {2: "ALTER TABLE entry ADD COLUMN colour TEXT", 3: "CREATE INDEX colours ON entry (colour)"})
    with Memory("n", url=f"sqlite://{path}") as memory:
        assert memory.get("key") == 1
        assert memory.store.check()["schema"] == 4
        assert memory.set("key", 2) == 2


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set("key", 1)
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "VERSION", 4)
        patch.setattr(_schema, "MIGRATIONS", {2: "ALTER TABLE entry ADD COLUMN colour TEXT", 3: "nonsense"})
        with Memory("n", url=f"sqlite://{path}") as memory:
            both(memory, StoreUnavailable, "nonsense")
    with Memory("n", url=f"sqlite://{path}") as memory:
        assert memory.set("key", 2) == 2
        assert memory.store.check()["schema"] == 2


def test_a_migration_killed_in_the_middle_leaves_the_old_file_whole(path, run):
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set("key", 1)
    with pytest.raises(AssertionError):
        run("migrate_and_die", path)
    with Memory("n", url=f"sqlite://{path}") as memory:
        assert memory.get("key") == 1
        assert memory.store.check()["schema"] == 2
        assert memory.store.check()["ok"]


# ----------------------------------------------------------------- files taken away from an open store


@posix
def test_the_file_is_removed_while_it_is_open(path, memory, run):
    """The next write goes to a new file, not into one without a name."""
    memory.set("old", 1)
    assert memory.get("old") == 1
    path.unlink()
    wait_for(lambda: memory.get("old") is None)
    assert memory.set("new", 1) == 1
    assert run("list_keys", path) == ["new"]
    assert memory.list_keys() == ["new"]


@posix
def test_another_process_makes_a_new_file_after_the_removal(path, memory, run):
    memory.set("old", 1)
    path.unlink()
    assert run("set_keys", path, "theirs") == ["theirs"]
    assert memory.set("ours", 1) == 1
    assert memory.list_keys() == ["ours", "theirs"]
    memory.close()
    assert run("list_keys", path) == ["ours", "theirs"]


@posix
def test_the_file_is_replaced_by_a_backup_while_it_is_open(path, memory, run, tmp_path):
    """The log of the former file must not be read into the new one."""
    backup = tmp_path / "backup.db"
    run("set_keys", backup, "backed up")
    for number in range(20):
        memory.set(f"old {number}", "x" * 5_000)
    os.replace(backup, path)
    wait_for(lambda: memory.list_keys() == ["backed up"])
    memory.set("new", 1)
    assert run("list_keys", path) == ["backed up", "new"]
    assert memory.store.check()["problems"] == []


@posix
def test_two_open_stores_follow_a_replacement_by_a_backup(path, open_at, run, tmp_path):
    backup = tmp_path / "backup.db"
    run("set_keys", backup, "backed up")
    one, two = (Memory("n", store=open_at(path)) for _ in range(2))
    one.set("old", "x" * 50_000)
    assert two.get("old")
    os.replace(backup, path)
    one.set("from one", 1)
    two.set("from two", 1)
    assert one.list_keys() == two.list_keys() == ["backed up", "from one", "from two"]
    assert two.store.check()["problems"] == []


@posix
def test_the_log_is_removed_while_it_is_open(path, memory, run):
    """What it held is still open here, and is written into the database before anything else."""
    for number in range(10):
        memory.set(f"key {number}", "x" * 5_000)
    (path.parent / "memory.db-wal").unlink()
    memory.set("later", 1)
    expected = sorted([*(f"key {number}" for number in range(10)), "later"])
    assert memory.list_keys() == expected
    assert run("list_keys", path) == expected
    assert memory.store.check()["problems"] == []


@posix
def test_the_log_is_removed_while_two_processes_have_it_open(path, memory, run, start):
    other = start("set_and_wait", path, "theirs")
    for number in range(10):
        memory.set(f"key {number}", "x" * 5_000)
    (path.parent / "memory.db-wal").unlink()
    memory.set("later", 1)
    other.stdin.close()
    other.wait()
    expected = sorted([*(f"key {number}" for number in range(10)), "later", "theirs", "theirs later"])
    assert memory.list_keys() == expected
    memory.close()
    assert run("list_keys", path) == expected


@posix
def test_the_folder_is_removed_while_the_store_is_open(tmp_path, run):
    path = tmp_path / "folder" / "deeper" / "memory.db"
    with Memory("n", url=f"sqlite://{path}") as memory:
        memory.set("key", 1)
        shutil.rmtree(tmp_path / "folder")
        assert memory.set("new", 1) == 1
        assert memory.list_keys() == ["new"]
    assert run("list_keys", path) == ["new"]


def test_readers_see_what_another_process_does_to_the_file(path, memory, start):
    process = start("set_and_wait", path, "theirs")
    assert memory.get("theirs") == "theirs"
    process.stdin.close()
    process.wait()
    assert memory.get("theirs later") == "theirs"


def wait_for(condition):
    """Readers look every 20 ms whether the file is still the one it was."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
