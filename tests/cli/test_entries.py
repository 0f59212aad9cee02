from __future__ import annotations

import json
import os

import pytest

from botwire.cli import main


@pytest.mark.parametrize(
    ("given", "value", "printed"),
    [
        ('{"step": 1}', {"step": 1}, '{"step":1}'),
        ("Alice", "Alice", "Alice"),
        ("01234", "01234", "01234"),
        ("12", 12, "12"),
        ("-5", -5, "-5"),
        ("-1.5e3", -1500.0, "-1500.0"),
        ("null", None, "null"),
        ("NaN", "NaN", "NaN"),
        ('"12"', "12", "12"),
        ("9" * 5_000, 10**5_000 - 1, "9" * 5_000),
        ("", "", ""),
        ("ü😀", "ü😀", "ü😀"),
    ],
    ids=["object", "text", "zero", "int", "negative", "float", "null", "nan", "string", "long", "empty", "unicode"],
)
def test_a_value_comes_back_as_it_was_set(run, memory, given, value, printed) -> None:
    assert run("set", "key", given).status == 0
    assert memory.get("key") == value
    assert run("get", "key").out == printed + "\n"


def test_how_a_value_is_taken_can_be_forced(run, memory) -> None:
    run("set", "zip", "12", "--text")
    assert memory.get("zip") == "12"
    refused = run("set", "zip", "not json", "--json-value")
    assert (refused.status, memory.get("zip")) == (2, "12")
    assert "not JSON" in refused.err
    assert run("set", "zip", "1", "--json-value", "--text").status == 2


def test_a_value_from_standard_input_loses_one_line_end_only(run, memory) -> None:
    for stdin, value in [
        (b"hello\n", "hello"),
        (b"hello\n\n", "hello\n"),
        (b"hello", "hello"),
        (b"hello\r\n", "hello"),
        (b"[1,\n2]\n", [1, 2]),
        (b"", ""),
    ]:
        assert run("set", "key", "-", stdin=stdin).status == 0
        assert memory.get("key") == value
        assert run("set", "key", stdin=stdin).status == 0
    assert run("set", "key", "-", stdin=b"\xff\xfe").status == 2


def test_bytes_that_are_no_text_are_refused_as_an_argument_too(process, memory) -> None:
    refused = process("set", "key", os.fsdecode(b"\xff"))
    assert (refused.returncode, b"not UTF-8" in refused.stderr) == (2, True)
    assert process("set", os.fsdecode(b"\xff"), "1").returncode == 2
    assert memory.list_keys() == []


def test_get_prints_text_as_it_is_and_json_when_asked(run, memory) -> None:
    memory.set("key", "a\x1b[31mb\tc\n")
    assert run("get", "key").out == "a\x1b[31mb\tc\n\n"
    entry = run("get", "key", "--json").json
    assert (entry["namespace"], entry["key"], entry["value"], entry["version"], entry["expires_at"]) == (
        "default",
        "key",
        "a\x1b[31mb\tc\n",
        1,
        None,
    )
    assert "\x1b" not in run("get", "key", "--json").out


def test_json_keeps_what_a_number_says(run, memory) -> None:
    memory.set("key", [10**5_000, 1e5])
    assert f"[1{'0' * 5_000},100000.0]" in run("get", "key", "--json").out


def test_a_lone_surrogate_does_not_keep_a_value_from_being_printed(run, process, memory) -> None:
    memory.set("key", "a\ud800b")
    assert run("get", "key", "--json").json["value"] == "a\ud800b"
    printed = process("get", "key")
    assert (printed.returncode, printed.stdout) == (0, b"a\\ud800b\n")
    assert process("get", "key", "--json", PYTHONIOENCODING="ascii").returncode == 0


def test_a_missing_key_is_status_1(run) -> None:
    missing = run("get", "nope")
    assert (missing.status, missing.out, missing.err) == (1, "", "botwire: no key 'nope' in namespace 'default'\n")
    assert run("get", "nope", "--json").error["code"] == "not_found"
    assert run("get", "nope", "--default", "0").out == "0\n"


def test_compare_and_set(run) -> None:
    assert run("set", "key", "1", "--if-version", "0", "--json").json == {"namespace": "default", "key": "key", "version": 1}
    assert run("set", "key", "2", "--if-version", "1").status == 0
    lost = run("set", "key", "3", "--if-version", "1", "--json")
    assert (lost.status, lost.error["code"], lost.error["current"]) == (3, "version_conflict", 2)
    assert run("delete", "key", "--if-version", "1").status == 3
    assert run("delete", "key", "--if-version", "2").status == 0


def test_ttl(run, memory) -> None:
    run("set", "key", "1", "--ttl", "100")
    entry = memory.get_entry("key")
    assert 99 < (entry.expires_at - entry.updated_at).total_seconds() < 101
    for bad in ("0", "-1", "nan", "1e20"):
        assert run("set", "key", "1", "--ttl", bad).status == 2


@pytest.mark.parametrize("key", ["", ".", "a\nb", "x" * 513, "\ud800"])
def test_a_bad_key_is_one_line_and_status_2(run, key) -> None:
    refused = run("set", key, "1")
    assert (refused.status, refused.err.count("\n"), refused.out) == (2, 1, "")
    assert refused.err.startswith("botwire: key ")


def test_a_misspelt_option_is_never_stored_as_a_value(run, memory) -> None:
    assert run("set", "key", "--tll").status == 2
    assert run("set", "key", "value", "--tll", "5").status == 2
    assert memory.list_keys() == []
    assert run("set", "key", "--", "--tll").status == 0
    assert memory.get("key") == "--tll"


def test_delete(run, memory) -> None:
    memory.set_many({"a": 1, "b": 2, "c": 3})
    assert run("delete", "a").status == 0
    partly = run("delete", "b", "nope", "--json")
    assert (partly.status, partly.json) == (1, {"namespace": "default", "deleted": 1, "missing": 1})
    assert run("delete").status == 2
    assert run("delete", "a", "--prefix", "b").status == 2
    assert memory.list_keys() == ["c"]


def test_deleting_by_prefix_asks_and_without_a_terminal_refuses(run, terminal, memory) -> None:
    memory.set_many({"cache:1": 1, "cache:2": 2, "other": 3})
    refused = run("delete", "--prefix", "cache:")
    assert (refused.status, len(memory.list_keys())) == (2, 3)
    assert "--yes" in refused.err
    assert terminal("delete", "--prefix", "cache:", answer="n\n").status == 1
    assert len(memory.list_keys()) == 3
    asked = terminal("delete", "--prefix", "cache:", answer="y\n")
    assert "every key that starts with 'cache:' (2)" in asked.out
    assert (asked.status, memory.list_keys()) == (0, ["other"])
    assert run("delete", "--prefix", "", "--yes").status == 0
    assert memory.list_keys() == []


def test_keys(run, memory) -> None:
    memory.set_many({"user:1": 1, "user:2": "x" * 2_000, "user:2:name": 3, "other": 4})
    memory.set("user:1", 2, ttl=100)
    assert run("keys").out == "other\nuser:1\nuser:2\nuser:2:name\n"
    assert run("keys", "user:").out == "user:1\nuser:2\nuser:2:name\n"
    assert run("keys", "user:*:name").out == "user:2:name\n"
    assert run("keys", "user:*:name", "--json").json == {"namespace": "default", "keys": ["user:2:name"]}
    rows = [line.split() for line in run("keys", "user:", "--long").out.splitlines()]
    assert rows[0] == ["KEY", "VERSION", "SIZE", "UPDATED", "(UTC)", "EXPIRES"]
    assert [row[:4] for row in rows[1:3]] == [["user:1", "2", "1", "B"], ["user:2", "1", "2.0", "KiB"]]
    entry = run("keys", "user:2", "--long", "--json").json["entries"][0]
    assert (entry["key"], entry["bytes"], entry["version"]) == ("user:2", 2_002, 1)
    assert "value" not in entry
    assert run("keys", "nothing", "--json").json["keys"] == []


def test_a_piped_table_cuts_nothing(run, memory) -> None:
    key = "k" * 512
    memory.set(key, 1)
    assert run("keys", "--long").out.splitlines()[1].split()[0] == key


def test_more_keys_than_a_page(run, memory) -> None:
    memory.set_many({f"{number:04}": number for number in range(2_500)})
    assert run("keys").out.split() == [f"{number:04}" for number in range(2_500)]
    assert len(run("keys", "--long").out.splitlines()) == 2_501
    assert len(run("keys", "--long", "--json").json["entries"]) == 2_500


def test_namespaces_are_walls(run) -> None:
    run("set", "key", "here")
    run("-n", "other", "set", "key", "there")
    assert run("get", "key").out == "here\n"
    assert run("get", "key", "-n", "other").out == "there\n"
    assert run("--json", "-n", "other", "keys").json == {"namespace": "other", "keys": ["key"]}


def test_main_takes_arguments(capsys) -> None:
    assert main(["keys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] == []
