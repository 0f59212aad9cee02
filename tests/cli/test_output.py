"""Stored text comes from anywhere: none of it may act on the terminal, and none may be lost without a mark."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botwire.cli._output import cut, safe, safe_json, safe_line, size_text

EVIL = "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x9b31m\r\x08\u202egnp.exe [bold]markup[/bold] [link=file:///]x[/link] :smile: \ud800"
OURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # what rich and readline send themselves


def assert_harmless(screen: str) -> None:
    rest = OURS.sub("", screen).replace("\r\n", "\n")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", rest), repr(rest)
    assert "\x1b[2J" not in screen
    assert "\x1b[31mred" not in screen


@pytest.fixture
def evil(memory):
    memory.set("text", EVIL)
    memory.set("object", {EVIL: [EVIL]})
    memory.set("[bold]key[/bold] \u202e", 1)
    memory.session("[red]s[/red]").append({"role": "user", "content": f"pizza {EVIL}", "name": EVIL.replace("\ud800", "")})
    memory.session("s").append(("tool", EVIL))
    return memory


@pytest.mark.parametrize(
    "command",
    [
        ("get", "text"), ("get", "object"), ("get", "object", "--json"), ("keys",), ("keys", "--long"), ("keys", "--json"),
        ("sessions",), ("sessions", "--json"), ("show", "[red]s[/red]"), ("show", "[red]s[/red]", "--json"), ("show", "s"),
        ("search", "pizza"), ("search", "red"), ("search", "pizza", "--json"), ("export",), ("info",), ("get", EVIL.replace("\ud800", "")),
        ("show", "\u202ex"), ("get", "nope", "--namespace", "\u202e"),
    ],
)  # fmt: skip
def test_nothing_stored_acts_on_a_terminal(terminal, evil, command) -> None:
    shown = terminal(*command)
    assert shown.status in (0, 1, 2)
    assert_harmless(shown.out)


def test_markup_in_stored_text_is_shown_as_it_is(terminal, evil) -> None:
    assert "[bold]markup[/bold] [link=file:///]x[/link] :smile: \\ud800" in terminal("get", "text").out
    assert "[bold]key[/bold] \\u202e" in terminal("keys", "--long").out.replace("\r\n", "")
    assert "[red]s[/red]" in terminal("sessions").out


def test_a_table_fits_80_columns(terminal, evil) -> None:
    evil.set("k" * 500, "x" * 2_000)
    for command in (("keys", "--long"), ("sessions",)):
        lines = OURS.sub("", terminal(*command).out).splitlines()
        assert max(map(len, lines)) <= 80


def test_a_large_value_is_cut_for_the_terminal_with_a_mark_and_never_for_a_file(terminal, process, memory) -> None:
    memory.set("big", "x" * 150_000)
    assert "50,000 more characters" in terminal("get", "big").out
    assert process("get", "big").stdout == b"x" * 150_000 + b"\n"


def test_a_reader_that_has_seen_enough_is_no_error(memory) -> None:
    memory.set_many({f"{number:06}" * 20: 1 for number in range(3_000)})
    with subprocess.Popen([sys.executable, "-m", "botwire", "keys"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


@given(st.text())
def test_safe_text_holds_nothing_that_acts(text: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]", safe(text))
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]", safe_line(text))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_safe_json_is_equal(text: str) -> None:
    document = json.dumps({text: text}, ensure_ascii=False)
    assert json.loads(safe_json(document)) == {text: text}
    assert not re.search("[\x7f-\x9f\u2028-\u202e]", safe_json(document))


def test_figures_for_people() -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 1536, 5 << 20, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "5.0 MiB",
        "3,072.0 GiB",
    ]
    assert cut("x" * 10, 4) == "xxxx… (+6 characters)"
