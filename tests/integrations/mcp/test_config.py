"""``botwire mcp config`` puts the server into a client's settings, and never harms what else is there."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from commands import Runner
from hypothesis import given
from hypothesis import strategies as st

from botwire.cli._mcp_merge import Refused, merged, read_settings

ENTRY = {"command": "botwire", "args": ["mcp"]}
CLIENTS = ["claude-desktop", "claude-code", "cursor", "vscode", "windsurf", "codex"]
KEYS = {"vscode": "servers", "codex": "mcp_servers"}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(capsys)


def read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


# ----------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize("client", CLIENTS)
def test_it_prints_what_it_would_write(run, client):
    printed = run("mcp", "config", "--client", client)
    about = run("mcp", "config", "--client", client, "--write", "--json").json
    assert printed.status == 0
    assert about["changed"] is True
    assert about["backup"] is None
    assert printed.out == Path(about["file"]).read_text()
    assert about["file"] in printed.err
    servers = read(Path(about["file"]))[KEYS.get(client, "mcpServers")]
    assert servers == {"botwire": about["entry"]}
    assert about["entry"]["args"][-1] == "mcp"


@pytest.mark.parametrize("client", CLIENTS)
def test_doing_it_twice_changes_nothing(run, client):
    first = run("mcp", "config", "--client", client, "--write", "--json").json
    path = Path(first["file"])
    before = path.read_bytes(), path.stat().st_mtime_ns
    again = run("mcp", "config", "--client", client, "--write", "--json").json
    assert (again["changed"], again["backup"]) == (False, None)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert len(list(path.parent.iterdir())) == 1


def test_the_users_file_names_the_whole_path_of_the_program_and_a_shared_one_does_not(run):
    own = run("mcp", "config", "--client", "cursor", "--json").json["entry"]
    shared = run("mcp", "config", "--client", "cursor", "--project", "--json").json
    assert Path(own["command"]).is_absolute()
    assert Path(own["command"]).exists()
    assert shared["entry"]["command"] == "botwire"
    assert shared["file"].endswith(os.path.join(".cursor", "mcp.json"))
    assert run("mcp", "config", "--client", "cursor", "--uvx", "--json").json["entry"]["command"] == "uvx"


def test_options_of_the_server_go_into_its_arguments(run, tmp_path):
    words = ("--url", "sqlite://team.db", "-n", "app", "--", "--namespace-from", "git", "--read-only")
    entry = run("mcp", "config", "--client", "cursor", "--json", *words).json["entry"]
    url = f"sqlite://{tmp_path}/team.db"  # the client decides where the server is started
    assert entry["args"] == ["mcp", "--url", url, "--namespace", "app", "--namespace-from", "git", "--read-only"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--client", "emacs"), "there is no client 'emacs' here; there are claude-desktop"),
        (("--client", "codex", "--project"), "Codex has no file for a project"),
    ],
)
def test_what_cannot_be_asked_for(run, arguments, said):
    ran = run("mcp", "config", *arguments, "--json")
    assert ran.status == 2
    assert said in ran.error["message"]


FILES = {
    "plain": '{\n  "mcpServers": {\n    "other": {"command": "x"}\n  },\n  "theme": "dark"\n}\n',
    "one line": '{"theme":"dark","mcpServers":{"other":{"command":"x"}}}',
    "no servers": '{\n\t"theme": "dark"\n}',
    "empty servers": '{"mcpServers": {}, "theme": "dark"}',
    "empty object": "{}",
    "empty file": "",
    "blank": " \n\n",
    "comments": '// mine\n{\n  /* a */ "mcpServers": { // b\n    "other": {"command": "x // no"}, // c\n  }, // d\n  "theme": "dark",\n}\n',
    "a comment alone": '{\n  "mcpServers": {\n    // nothing yet\n  }\n}\n',
    "a comment behind the last": '{\n  "mcpServers": {\n    "other": {} // c\n    /* d */\n  }\n}',
    "windows": '{\r\n  "mcpServers": {\r\n    "other": {}\r\n  }\r\n}\r\n',
    "escapes": '{"mcpServers": {"a\\"},{": {"command": "\\u00e9 \\\\"}}, "z": [1, {"mcpServers": 2}], "n": 1e400}',
    "nested of the same name": '{"projects": {"mcpServers": {"botwire": 1}}, "mcpServers": {"other": {}}}',
    "mark": '\ufeff{"theme": "dark"}',
    "numbers": '{"big": 123456789012345678901234567890, "float": 1.10, "mcpServers": {}}',
}


@pytest.mark.parametrize("name", FILES)
def test_all_else_in_a_file_stays_byte_for_byte(run, tmp_path, name):
    path = tmp_path / "settings.json"
    old = FILES[name].encode()
    path.write_bytes(old)
    ran = run("mcp", "config", "--client", "cursor", "--write", "--file", str(path), "--json")
    assert ran.status == 0, ran.err
    new = path.read_bytes()
    text = new.decode()
    before, after = read_settings(old.decode(), "json"), read_settings(text, "json")
    assert after.pop("mcpServers")["botwire"] == ran.json["entry"]
    before.pop("mcpServers", None)
    assert repr(after) == repr(before)
    assert is_subsequence(old.decode().strip().replace(" ", ""), text.replace(" ", ""))
    assert ("\r\n" in text) == (b"\r\n" in old)
    assert "\r" not in text.replace("\r\n", "")
    backup = Path(ran.json["backup"])
    assert backup.read_bytes() == old


def is_subsequence(part: str, whole: str) -> bool:
    characters = iter(whole)
    return all(character in characters for character in part)


def test_comments_stay_with_what_they_are_about():
    after = merged(FILES["comments"], "json", "mcpServers", "botwire", ENTRY, replace=False)
    before, _, behind = after.partition('    "botwire": {\n      "command": "botwire",\n      "args": [\n        "mcp"\n      ]\n    }\n')
    assert before.endswith('"mcpServers": { // b\n    "other": {"command": "x // no"}, // c\n')
    assert behind == '  }, // d\n  "theme": "dark",\n}\n'


@pytest.mark.parametrize(
    "text",
    [
        '{"mcpServers": {',
        "[]",
        '"x"',
        '{"mcpServers": []}',
        '{"mcpServers": {"a": NaN,}} trailing',
        "{'mcpServers': {}}",
        "\x00",
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_left_alone(run, tmp_path, text):
    path = tmp_path / "settings.json"
    path.write_text(text)
    ran = run("mcp", "config", "--client", "cursor", "--write", "--file", str(path), "--json")
    assert ran.status == 6
    assert ran.error["code"] == "config_refused"
    assert f"{path} is left as it is: " in ran.error["message"]
    assert path.read_text() == text
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_no_text_is_left_alone(run, tmp_path):
    path = tmp_path / "settings.json"
    path.write_bytes(b"\xff\xfe{\x00}\x00")
    ran = run("mcp", "config", "--client", "cursor", "--write", "--file", str(path))
    assert ran.status == 6
    assert "not text in UTF-8" in ran.err
    assert path.read_bytes() == b"\xff\xfe{\x00}\x00"


@pytest.mark.parametrize("client", ["cursor", "codex"])
def test_another_server_of_the_name_is_not_overwritten_unless_told_so(run, client):
    first = run("mcp", "config", "--client", client, "--write", "--json", "--", "--read-only").json
    path = Path(first["file"])
    before = path.read_bytes()
    refused = run("mcp", "config", "--client", client, "--write", "--json")
    assert refused.status == 3
    assert "--replace changes it, --name adds another" in refused.error["message"]
    assert path.read_bytes() == before
    second = run("mcp", "config", "--client", client, "--write", "--name", "memory 2", "--json").json
    servers = read(path)[KEYS.get(client, "mcpServers")]
    assert servers == {"botwire": first["entry"], "memory 2": second["entry"]}
    replaced = run("mcp", "config", "--client", client, "--write", "--replace", "--json").json
    assert read(path)[KEYS.get(client, "mcpServers")] == {"botwire": replaced["entry"], "memory 2": second["entry"]}


def test_what_a_replaced_server_has_besides_stays():
    old = '{"mcpServers": {"botwire": {"command": "x", "env": {"A": "b"}, "disabled": true}, "z": {}}}'
    after = json.loads(merged(old, "json", "mcpServers", "botwire", ENTRY, replace=True))
    assert after == {"mcpServers": {"botwire": {**ENTRY, "env": {"A": "b"}, "disabled": True}, "z": {}}}
    old = '[mcp_servers.botwire]\ncommand = "x"\nenabled = false\n[mcp_servers.botwire.env]\nA = "b"\n# end\n'
    text = merged(old, "toml", "mcp_servers", "botwire", ENTRY, replace=True)
    assert tomllib.loads(text)["mcp_servers"]["botwire"] == {**ENTRY, "enabled": False, "env": {"A": "b"}}
    assert text.endswith("# end\n")


def test_a_server_with_more_members_than_ours_is_the_same_server(run, tmp_path):
    path = tmp_path / "mcp.json"
    entry = run("mcp", "config", "--client", "cursor", "--json").json["entry"]
    path.write_text(json.dumps({"mcpServers": {"botwire": {**entry, "env": {"A": "b"}}}}))
    assert run("mcp", "config", "--client", "cursor", "--write", "--file", str(path), "--json").json["changed"] is False


TOMLS = {
    "empty": "",
    "plain": '# mine\nmodel = "x"  # why\n\n[mcp_servers.other]\ncommand = "x"\nargs = [\n  "a", # b\n]\n',
    "no end of line": 'model = "x"',
    "a table after": '[mcp_servers]\n\n[history]\npersistence = "none"\n',
    "windows": 'model = "x"\r\n[mcp_servers.other]\r\ncommand = "x"\r\n',
    "text that looks like a header": 'notes = """\n[mcp_servers.botwire]\n"""\n',
    "dates": "at = 2025-01-01T00:00:00Z\ninf = inf\n",
}


@pytest.mark.parametrize("name", TOMLS)
def test_all_else_in_a_toml_file_stays_byte_for_byte(run, tmp_path, name):
    path = tmp_path / "config.toml"
    old = TOMLS[name].encode()
    path.write_bytes(old)
    ran = run("mcp", "config", "--client", "codex", "--write", "--file", str(path), "--json")
    assert ran.status == 0, ran.err
    new = path.read_bytes()
    assert new.startswith(old)
    assert tomllib.loads(new.decode())["mcp_servers"]["botwire"] == ran.json["entry"]
    assert new.count(b"\r\n") in (0, new.count(b"\n"))


@pytest.mark.parametrize(
    "text",
    ["mcp_servers = {}\n", 'mcp_servers = { other = { command = "x" } }\n', "[[mcp_servers]]\n", "mcp_servers = 1\n", "a = \n", "[a\n"],
)
def test_a_toml_file_that_cannot_be_changed_safely_is_left_alone(run, tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    ran = run("mcp", "config", "--client", "codex", "--write", "--file", str(path))
    assert ran.status == 6
    assert f"{path} is left as it is" in ran.err
    assert path.read_text() == text


def test_a_replaced_server_written_in_another_way_is_left_alone():
    for text in ('mcp_servers.botwire.command = "x"\n', '[mcp_servers]\nbotwire = { command = "x" }\n'):
        with pytest.raises(Refused, match="by hand"):
            merged(text, "toml", "mcp_servers", "botwire", ENTRY, replace=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.none() | st.dictionaries(st.text(), JSON, max_size=3),
    st.sampled_from([None, 2, "\t"]),
    st.booleans(),
)
def test_whatever_a_json_file_holds_it_holds_afterwards(others, servers, indent, ascii_only):
    settings = {**others, **({} if servers is None else {"mcpServers": servers})}
    settings["mcpServers"] = settings.get("mcpServers") if isinstance(settings.get("mcpServers"), dict) else {}
    text = json.dumps(settings, indent=indent, ensure_ascii=ascii_only)
    after = merged(text, "json", "mcpServers", 'bot"wire', ENTRY, replace=True)
    expected = {**settings, "mcpServers": {**settings["mcpServers"], 'bot"wire': {**settings["mcpServers"].get('bot"wire', {}), **ENTRY}}}
    assert repr(json.loads(after)) == repr(expected)


# ------------------------------------------------------------------------------------------ the file


def test_mode_and_links_stay_and_the_backup_has_the_same_mode(run, tmp_path):
    real, link = tmp_path / "dotfiles.json", tmp_path / "mcp.json"
    real.write_text("{}")
    real.chmod(0o640)
    link.symlink_to(real)
    ran = run("mcp", "config", "--client", "cursor", "--write", "--file", str(link), "--json")
    assert link.is_symlink()
    assert "botwire" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert stat.S_IMODE(os.stat(ran.json["backup"]).st_mode) == 0o640


def test_no_backup_is_overwritten(run, tmp_path):
    path = tmp_path / "mcp.json"
    path.write_text("{}")
    backups = [
        run("mcp", "config", "--client", "cursor", "--write", "--file", str(path), "--name", f"n{n}", "--json").json["backup"]
        for n in range(5)
    ]
    assert len(set(backups)) == 5
    assert Path(backups[0]).read_text() == "{}"


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    ran = run("mcp", "config", "--client", "cursor", "--write", "--file", str(blocked / "mcp.json"))
    assert ran.status == 2
    assert f"{blocked / 'mcp.json'} cannot be written" in ran.err
    ran = run("mcp", "config", "--client", "cursor", "--write", "--file", str(tmp_path))
    assert ran.status == 6


def test_what_someone_else_writes_at_the_same_moment_is_not_lost(run, tmp_path, monkeypatch):
    import botwire.cli._mcp_config as module

    path = tmp_path / "mcp.json"
    path.write_text("{}")
    merge = module.merged

    def slow(*arguments: Any, **options: Any) -> str:
        path.write_text('{"theirs": 1}')
        return merge(*arguments, **options)

    monkeypatch.setattr(module, "merged", slow)
    ran = run("mcp", "config", "--client", "cursor", "--write", "--file", str(path))
    assert ran.status == 3
    assert path.read_text() == '{"theirs": 1}'


def test_a_reader_sees_the_old_or_the_new_file_and_nothing_between(run, tmp_path):
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {}, "filler": "x" * 100_000}))
    stop, broken = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            try:
                json.loads(path.read_text())
            except ValueError as error:
                broken.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(20):
        assert run("mcp", "config", "--client", "cursor", "--write", "--file", str(path), "--name", f"n{number}").status == 0
    stop.set()
    reader.join()
    assert not broken
    assert len(read(path)["mcpServers"]) == 20


def test_the_printed_command_starts_the_server(run, tmp_path):
    entry = run("mcp", "config", "--client", "windsurf", "--json").json["entry"]
    ended = subprocess.run([entry["command"], *entry["args"], "--help"], capture_output=True, text=True)
    assert ended.returncode == 0
    assert "Serve memory to MCP clients" in ended.stdout
    assert Path(entry["command"]).parent == Path(sys.executable).parent
