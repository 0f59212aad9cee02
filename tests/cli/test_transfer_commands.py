from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def filled(memory):
    memory.set_many({f"key-{number:03}": {"number": number} for number in range(50)})
    memory.session("s").append(*(("user", f"message {number}") for number in range(50)))
    return memory


@pytest.fixture
def other(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path / 'other.db'}"


def test_an_export_is_imported_and_verified(run, filled, other, tmp_path) -> None:
    file = str(tmp_path / "backup.jsonl")
    done = run("export", file)
    assert done.status == 0
    assert done.err.endswith(": 50 entries, 1 session, 50 messages\n")
    assert done.out == ""
    put = run("import", file, "--url", other, "--verify")
    assert put.status == 0
    assert put.err.endswith("verified: 101 of 101 are as in the file\n")
    assert run("keys", "--url", other).out == run("keys").out
    assert run("show", "s", "--url", other).out == run("show", "s").out


def test_counts_as_json(run, filled, other, tmp_path) -> None:
    file = str(tmp_path / "backup.jsonl")
    assert run("export", file, "--json").json == {"file": file, "entries": 50, "sessions": 1, "messages": 50}
    put = run("import", file, "--url", other, "--json", "--verify").json
    assert (put["ok"], put["entries"], put["messages"], put["bad"], put["verify"]["different"]) == (True, 50, 50, 0, 0)


def test_one_command_feeds_the_other(process, run, filled, other) -> None:
    raw = process("export").stdout
    assert process("import", "-", "--url", other, stdin=raw).returncode == 0
    assert run("keys", "--url", other).out == run("keys").out


def test_a_file_is_private_and_never_replaced_unasked(run, filled, tmp_path) -> None:
    file = tmp_path / "backup.jsonl"
    assert run("export", str(file)).status == 0
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    refused = run("export", str(file))
    assert (refused.status, file.read_bytes()) == (2, before)
    assert "--resume" in refused.err
    filled.set("more", 1)
    assert run("export", str(file), "--force").status == 0
    assert b'"key":"more"' in file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["backup.jsonl"]


def test_a_forced_export_that_fails_leaves_the_older_file(run, filled, tmp_path) -> None:
    file = tmp_path / "backup.jsonl"
    file.write_bytes(b"the older backup")
    failed = run("export", str(file), "--force", "--url", "http://127.0.0.1:9", "--timeout", "1")
    assert failed.status == 4
    assert "was left as it was" in failed.err
    assert [path.name for path in tmp_path.iterdir()] == ["backup.jsonl"]
    assert file.read_bytes() == b"the older backup"


def test_resume(run, filled, other, tmp_path) -> None:
    file = tmp_path / "backup.jsonl"
    run("export", str(file))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert run("export", str(file), "--resume").status == 0
    assert run("import", str(file), "--url", other, "--verify").status == 0
    assert "was complete already" in run("export", str(file), "--resume").err
    assert run("export", "-", "--resume").status == 2
    assert run("export", str(tmp_path / "new.jsonl"), "--resume").status == 0


@pytest.mark.skipif(os.name != "posix", reason="not applicable: no signals to interrupt with")
def test_an_interrupted_export_says_how_to_go_on(filled, tmp_path) -> None:
    for batch in range(20):
        filled.set_many({f"more-{batch:02}-{number:04}": "x" * 100 for number in range(2_000)})
    file = tmp_path / "backup.jsonl"
    with subprocess.Popen([sys.executable, "-m", "botwire", "export", str(file)], stderr=subprocess.PIPE) as running:
        while not file.exists() or not file.stat().st_size:
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        said = running.stderr.read().decode()
    assert running.returncode == 130
    assert f"botwire export {file} --resume" in said
    assert "botwire: interrupted" in said
    assert "Traceback" not in said


def test_parts(run, filled, other, tmp_path) -> None:
    filled.set("other:1", 1)
    run("set", "elsewhere", "1", "-n", "b")
    file = str(tmp_path / "part.jsonl")
    run("export", file, "-n", "b", "-n", "default", "--prefix", "key-00")
    run("import", file, "--url", other, "-n", "default")
    assert run("keys", "--url", other).out.split() == [f"key-00{number}" for number in range(10)]
    assert run("import", file, "-n", "").status == 2


def test_bad_lines(run, filled, other, tmp_path) -> None:
    file = tmp_path / "bad.jsonl"
    run("export", str(file))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:5], b"garbage\n", *lines[6:]]))
    refused = run("import", str(file), "--url", other)
    assert refused.status == 2
    assert "line 6" in refused.err
    assert "can simply be run again" in refused.err
    skipped = run("import", str(file), "--url", other, "--skip-bad")
    assert skipped.status == 1
    assert "skipped: line 6" in skipped.err
    assert len(run("keys", "--url", other).out.split()) == 49


def test_a_truncated_file_is_status_1(run, filled, other, tmp_path) -> None:
    file = tmp_path / "cut.jsonl"
    run("export", str(file))
    file.write_bytes(file.read_bytes()[:-200])
    cut = run("import", str(file), "--url", other)
    assert cut.status == 1
    assert "the export has no end" in cut.err
    assert run("import", str(file), "--url", other, "--json").json["ok"] is False


def test_verify_tells_of_differences(run, filled, other, tmp_path, monkeypatch) -> None:
    file = str(tmp_path / "backup.jsonl")
    run("export", file)
    from botwire import Memory, _transfer

    real = _transfer.import_store

    def meddle(store, *args, **kwargs):
        done = real(store, *args, **kwargs)
        Memory(store=store).set("key-007", "changed behind the import's back")
        return done

    monkeypatch.setattr(_transfer, "import_store", meddle)
    found = run("import", file, "--url", other, "--verify")
    assert found.status == 1
    assert "different: entry 'key-007' in namespace 'default'" in found.err
    assert run("import", "-", "--verify").status == 2


@pytest.mark.parametrize("command", [("export", "{}/no/such/folder/x"), ("import", "{}/nope"), ("import", "{}"), ("export", "{}")])
def test_files_that_cannot_be_used_are_one_line(run, tmp_path, command) -> None:
    failed = run(*(part.format(tmp_path) for part in command))
    assert failed.status == 2
    assert "Traceback" not in failed.err
    assert str(tmp_path) in failed.err


def test_progress_is_shown_on_a_terminal_only(terminal, process, filled, other, tmp_path) -> None:
    file = str(tmp_path / "backup.jsonl")
    shown = terminal("export", file)
    assert shown.status == 0
    assert "exporting" in shown.out
    assert "101/101" in shown.out
    shown = terminal("import", file, "--url", other, "--verify")
    assert "importing" in shown.out
    assert "comparing" in shown.out
    assert b"importing" not in process("import", file, "--url", other).stderr
