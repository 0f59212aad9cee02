"""What the page offers to paste does what it says, with any name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from botwire import Memory
from botwire._errors import Unauthorized
from botwire.stores import Store

NAMES = ["it's \"so\" $HOME `id` \\n ${x} ;#?&=%41/+!*() {a}[b] <i> ü\U0001f600\u202e\U000e0041 '''", "-n*"]


class Run:
    """Runs what a page shows, as its language is run."""

    def __init__(self, page: Any, node: str) -> None:
        self._page = page
        self._commands = {
            "Python": [sys.executable, "-W", "error", "-c"],
            "curl": ["sh", "-ec"],
            "JavaScript": [node, "--input-type=module", "-e"],
        }

    def __call__(self, language: str, way: str, within: Any = None) -> str:
        place = within or self._page
        place.get_by_role("button", name=language, exact=True).first.click()
        place.get_by_role("button", name=way, exact=True).first.click()
        text = place.locator("pre").first.inner_text()
        env = {**os.environ, "BOTWIRE_TOKEN": "sesame"}
        done = subprocess.run([*self._commands[language], text], capture_output=True, text=True, timeout=30, env=env)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert '"status": 4' not in done.stdout, f"{text}\n{done.stdout}"
        return done.stdout


@pytest.fixture(params=["Python", "curl", "JavaScript"])
def language(request: Any, need: Any) -> str:
    if request.param == "curl":
        need.command("curl")
    return request.param


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_snippets_work_for_every_place(open_page: Callable[..., Any], store: Store, node: str, language: str, name: str) -> None:
    memory = Memory(name, store=store)
    memory.set(name, {"it's": ["12 'x' \"y\"", 12345678901234567890123, 1.5, None, True]}, ttl=1_000)
    session = memory.session(name, agent=name)
    session.append(("user", "first words"))
    before = store.get(name, name)
    assert before is not None
    ns = quote(name, safe="")
    page = open_page(f"#/{ns}?view=code")
    run = Run(page, node)

    run(language, "Write")
    assert memory.get("example") == {"theme": "dark"}
    assert "example" in run(language, "Read")

    page.goto(f"{page.url.split('#')[0]}#/{ns}/{ns}")
    page.get_by_text("Use it from code").click()
    assert "12 'x'" in run(language, "Read").replace("\\'", "'")
    run(language, "Write")
    after = store.get(name, name)
    assert after is not None
    assert (after.version, after.expires_at) == (2, before.expires_at)
    assert memory.get(name) == {"it's": ["12 'x' \"y\"", 12345678901234567890123, 1.5, None, True]}

    page.goto(f"{page.url.split('#')[0]}#/{ns}?session={ns}&agent={ns}")
    page.get_by_text("Use it from code").click()
    assert "first words" in run(language, "Read")
    run(language, "Write")
    assert [message.text for message in session.messages()] == ["first words", "hi"]


def test_snippets_take_the_token_from_the_environment_and_never_show_it(
    open_page: Callable[..., Any], store: Store, node: str, language: str, serve_app: Callable[..., Any]
) -> None:
    def rule(headers: Any, *_: Any) -> None:
        if headers.get(b"authorization") != b"Bearer sesame":
            raise Unauthorized("a token is needed")

    with serve_app(store, authorize=rule) as url:
        page = open_page("#/ns?view=code", at=url)
        page.get_by_label("Token").fill("sesame")
        page.keyboard.press("Enter")
        page.locator("pre").first.wait_for()
        Run(page, node)(language, "Write")
        assert Memory("ns", store=store).get("example") == {"theme": "dark"}
        assert "sesame" not in page.content()
        assert "BOTWIRE_TOKEN" in page.locator("pre").first.inner_text()


def test_a_snippet_is_copied_as_it_is_shown(open_page: Callable[..., Any], store: Store) -> None:
    Memory("ns", store=store).set("k", 1)
    page = open_page("#/ns?view=code", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_text("Snippet copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("pre").first.text_content()
