from __future__ import annotations

import re
import subprocess
import sys

import pytest

import botwire
from botwire import _errors
from botwire.cli import _exit

COMMANDS = ["get", "set", "delete", "keys", "sessions", "show", "search", "export", "import", "info", "doctor", "serve", "demo"]


def test_python_m_botwire_is_the_command(process) -> None:
    assert process("--version").stdout.decode() == f"botwire {botwire.__version__}\n"


def test_help_names_every_command_and_every_exit_status(run) -> None:
    shown = run("--help")
    assert shown.status == 0
    for command in COMMANDS:
        assert re.search(rf"│ {command} ", shown.out), command
    for code, meaning in _exit.MEANINGS.items():
        assert re.search(rf"{code}  {meaning[:20]}", shown.out), code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(run, command) -> None:
    shown = run(command, "--help")
    assert shown.status == 0
    assert re.search(rf"^ +botwire.* {command}\b", shown.out, re.MULTILINE)
    assert max(map(len, shown.out.splitlines())) <= 80
    for line in re.findall(r"^[│ ] +--[a-z-]+ .*", shown.out, re.MULTILINE):
        assert re.search(r"[A-Za-z]{3}.*\s{2,}[^ ]", line), f"no help: {line}"


def test_no_arguments_show_the_help(process) -> None:
    shown = process()
    assert b"Usage: botwire" in shown.stdout + shown.stderr
    assert shown.returncode in (0, 2)


@pytest.mark.parametrize(
    "arguments", [("frob",), ("get",), ("get", "a", "b"), ("get", "a", "--nope"), ("show", "a", "--last", "x"), ("--nope",)]
)
def test_wrong_usage_is_one_line_and_status_2(run, arguments) -> None:
    wrong = run(*arguments)
    assert (wrong.status, wrong.out, wrong.err.count("\n")) == (2, "", 1)
    assert wrong.err.startswith("botwire: ")
    assert "--help" in wrong.err
    assert run(*arguments, "--json").error["code"] == "usage"


def test_every_error_has_a_status_that_is_documented() -> None:
    def family(kind):
        return [kind, *(one for child in kind.__subclasses__() for one in family(child))]

    for kind in family(_errors.BotWireError):
        made = kind.__new__(kind)
        assert _exit.exit_code(made) in _exit.MEANINGS
        assert _exit.exit_code(made) not in (_exit.OK, _exit.BUG)
    assert _exit.exit_code(_errors.VersionConflict("", 1)) == 3
    assert _exit.exit_code(_errors.StoreBusy()) == 4
    assert _exit.exit_code(_errors.Unauthorized()) == 5
    assert _exit.exit_code(KeyError()) == 70


def test_an_error_of_ours_is_one_line_without_a_traceback(run, monkeypatch) -> None:
    def broken(*_):
        raise ZeroDivisionError("x\x1b[31m")

    monkeypatch.setattr("botwire.stores.sqlite._store.SQLiteStore.get", broken)
    failed = run("get", "a")
    assert (failed.status, failed.err) == (70, "botwire: unexpected ZeroDivisionError: x\\x1b[31m (this is a bug; --debug shows where)\n")
    assert "Traceback" in run("get", "a", "--debug").err


def test_interrupting_is_status_130(run, monkeypatch) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("botwire.stores.sqlite._store.SQLiteStore.get", interrupted)
    assert run("get", "a").status == 130
    assert run("get", "a", "--json").error["code"] == "interrupted"


def test_an_unknown_url_lists_those_that_are_known(run) -> None:
    unknown = run("get", "a", "--url", "foo://user:secret@x")
    assert unknown.status == 2
    assert "sqlite://" in unknown.err
    assert "secret" not in unknown.err


def test_starting_loads_neither_rich_nor_httpx_nor_the_server() -> None:
    code = "import sys; from botwire.cli import main; main(['keys']); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"rich", "httpx", "uvicorn", "starlette", "asyncio"} & set(ran.stdout.split())


def test_common_options_stand_before_the_command_or_after_it(run, tmp_path) -> None:
    url = f"sqlite://{tmp_path / 'a.db'}"
    assert run("--url", url, "-n", "x", "set", "a", "1").status == 0
    assert run("get", "a", "--url", url, "--namespace", "x").out == "1\n"
    assert run("--url", "memory://", "get", "a", "--url", url, "-n", "x").out == "1\n"
    assert run("get", "a", "--timeout", "0").status == 2  # given, although it is as false as what is not
