from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import botwire
from botwire import Memory
from botwire.cli import _store
from botwire.cli._doctor import file_system_of


def findings(report) -> dict[str, str]:
    return {finding["what"]: finding["level"] for finding in report["findings"]}


# --------------------------------------------------------------------------------------------- info


def test_info_says_which_store_and_why_and_makes_none(run, monkeypatch, tmp_path) -> None:
    about = run("info", "--json").json
    assert about["why"] == "the default: neither --url nor BOTWIRE_URL is set"
    assert (about["bytes"], about["entries"], about["namespaces"]) == (None, 0, [])
    assert not Path(about["path"]).exists()
    monkeypatch.setenv("BOTWIRE_URL", f"sqlite://{tmp_path / 'a.db'}")
    assert run("info", "--json").json["why"] == "from the environment variable BOTWIRE_URL"
    assert run("info", "--json", "--url", "memory://").json["why"] == "given as --url"
    assert run("info", "--json", "--url", "memory://").json["path"] is None


def test_info_counts(run, memory) -> None:
    memory.set_many({"a": 1, "b": 2})
    memory.session("s").append(("user", "x"), ("user", "y"))
    Memory("other").set("c", 3)
    about = run("info", "--json").json
    assert (about["entries"], about["sessions"], about["messages"], about["version"]) == (3, 1, 2, botwire.__version__)
    assert about["namespaces"] == [
        {"namespace": "default", "entries": 2, "sessions": 1, "messages": 2},
        {"namespace": "other", "entries": 1, "sessions": 0, "messages": 0},
    ]
    assert about["bytes"] > 0
    assert run("info", "-n", "other", "--json").json["entries"] == 1
    assert "default          2         1         2" in run("info").out


# ------------------------------------------------------------------------------------------- doctor


def test_doctor_finds_nothing_wrong(run, memory) -> None:
    memory.set("a", 1)
    report = run("doctor", "--json")
    assert (report.status, report.json["ok"]) == (0, True)
    assert {"SQLite", "permissions", "space", "contents"} <= set(findings(report.json))
    assert report.json["check"]["entry_rows"] == 1
    assert "0 problems" in run("doctor").out


@pytest.mark.skipif(os.name != "posix", reason="not applicable: no file modes")
def test_doctor_finds_a_file_that_others_can_read(run, memory) -> None:
    memory.set("a", 1)
    path = Path(memory.store.path)
    path.chmod(0o644)
    report = run("doctor")
    assert report.status == 1
    assert f"chmod 600 {path}" in report.out
    path.chmod(0o600)
    path.parent.chmod(0o777)
    assert f"chmod o-w {path.parent}" in run("doctor").out
    path.parent.chmod(0o700)
    assert run("doctor").status == 0


def test_doctor_finds_a_damaged_file(run, tmp_path) -> None:
    path = tmp_path / "memory.db"
    url = f"sqlite://{path}"
    with Memory(url=url) as memory:
        memory.set_many({f"key-{number}": "x" * 1_000 for number in range(200)})
    raw = bytearray(path.read_bytes())
    raw[4096 * 10 : 4096 * 20] = b"\xa5" * 4096 * 10
    path.write_bytes(raw)
    report = run("doctor", "--url", url, "--json")
    assert (report.status, report.json["ok"]) == (1, False)
    assert "botwire export" in run("doctor", "--url", url).out
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    assert run("doctor", "--url", url).status == 1


def test_doctor_warns_of_lax_durability_and_of_plain_http(run, tmp_path) -> None:
    url = f"sqlite://{tmp_path / 'a.db'}?durability=normal"
    assert findings(run("doctor", "--url", url, "--json").json)["durability"] == "warning"
    assert run("doctor", "--url", url).status == 0
    assert run("doctor", "--url", url, "--strict").status == 1
    far = run("doctor", "--url", "http://192.0.2.1:1", "--timeout", "1", "--json").json
    assert (findings(far)["transport"], findings(far)["contents"]) == ("warning", "problem")


def test_doctor_finds_an_old_sqlite(run, monkeypatch) -> None:
    monkeypatch.setattr("apsw.sqlite_lib_version", lambda: "3.45.1")
    report = run("doctor", "--json")
    assert (report.status, findings(report.json)["SQLite"]) == (1, "problem")


def test_doctor_finds_a_network_file_system(run, memory, tmp_path, monkeypatch) -> None:
    memory.set("a", 1)
    for kind, level in [("nfs4", "problem"), ("cifs", "problem"), ("fuse.sshfs", "problem"), ("tmpfs", "warning"), ("ext4", "ok")]:
        monkeypatch.setattr("botwire.cli._doctor.file_system_of", lambda path, kind=kind: ("/mnt", kind))
        assert findings(run("doctor", "--json").json)["file system"] == level


def test_the_file_system_is_that_of_the_longest_mount_that_holds_the_file(tmp_path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n/dev/b /data/local xfs rw 0 0\n/dev/c /da ext3 rw 0 0\n"
        "/dev/d /with\\040space btrfs rw 0 0\nold /twice ext4 rw 0 0\nnew /twice 9p rw 0 0\nbroken\n"
    )
    for path, found in {
        "/data/x.db": ("/data", "nfs4"),
        "/data/local/x.db": ("/data/local", "xfs"),
        "/data/localx/x.db": ("/data", "nfs4"),
        "/database/x.db": ("/", "ext4"),
        "/da": ("/da", "ext3"),
        "/with space/x": ("/with space", "btrfs"),
        "/twice/x": ("/twice", "9p"),
    }.items():
        assert file_system_of(path, str(mounts)) == found
    assert file_system_of("/x", str(tmp_path / "nope")) is None


# -------------------------------------------------------------------------------------------- serve


@pytest.fixture
def server(need, tmp_path):
    need.module("uvicorn")
    store = f"sqlite://{tmp_path / 'served.db'}"
    with subprocess.Popen(
        [sys.executable, "-m", "botwire", "serve", "--port", "0", "--store", store, "--max-value-bytes", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert store in line, running.stderr.read() if running.stderr else ""
        yield line.partition(" at ")[2].partition(" ")[0], running
        running.terminate()
        assert running.wait(30) == 0
        assert running.stderr is not None
        assert running.stderr.read() == "botwire: stopped\n"


def test_the_same_commands_work_with_a_servers_url(run, server) -> None:
    url, _ = server
    assert run("set", "a", '{"x": 1}', "--url", url).status == 0
    assert run("get", "a", "--url", url).out == '{"x":1}\n'
    assert run("get", "nope", "--url", url).status == 1
    assert run("keys", "--long", "--url", url).out.splitlines()[1].startswith("a ")
    assert run("set", "a", "2", "--if-version", "7", "--url", url).status == 3
    assert run("set", "a", "x" * 2_000, "--url", url).status == 2
    assert run("search", "x", "--url", url, "--json").json["entries"][0]["key"] == "a"
    assert run("info", "--url", url, "--json").json["entries"] == 1
    assert run("doctor", "--url", url).status == 0
    assert run("sessions", "--url", url).status == 0
    assert run("show", "nope", "--url", url).status == 1
    assert run("delete", "--prefix", "", "--yes", "--url", url).status == 0


def test_serving_refuses_what_is_unsafe_or_impossible(run, need, tmp_path) -> None:
    need.module("uvicorn")
    store = f"sqlite://{tmp_path / 'served.db'}"
    open_to_all = run("serve", "--host", "0.0.0.0", "--store", store)
    assert (open_to_all.status, "--no-auth" in open_to_all.err) == (2, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = run("serve", "--port", str(taken.getsockname()[1]), "--store", store)
    assert (busy.status, "Address already in use" in busy.err) == (4, True)
    assert run("serve", "--store", store, "--url", "memory://").status == 2
    assert run("serve", "--store", "nope://x").status == 2


def test_without_its_extra_serve_says_how_to_get_it(run, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("botwire.server", "uvicorn"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    missing = run("serve", "--json")
    assert (missing.status, missing.error["code"]) == (8, "missing_extra")
    assert "pip install 'botwire[server]'" in missing.err
    assert not _store.server_is_installed()


def test_a_server_that_is_down_is_status_4(run) -> None:
    down = run("get", "a", "--url", "http://127.0.0.1:9", "--timeout", "1", "--json")
    assert (down.status, down.error["code"]) == (4, "store_unavailable")
