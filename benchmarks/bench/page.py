"""The page in a browser: from navigation to the first rows painted, with many keys and a long session."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.measure import Samples, interleave
from bench.settings import Settings, message
from bench.table import Row, time_text
from botwire import Memory

NAME = "page"
BAR = 1.0
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

# When the first frame that shows a row has been painted: the frame in which it is found, and the one after.
_WATCH = """selector => { const look = () => document.querySelector(selector)
  ? requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now() }))
  : requestAnimationFrame(look); requestAnimationFrame(look) }"""


def rows(settings: Settings) -> Iterator[Row]:
    """First views, each in a browser profile that has never seen the page."""
    from playwright.sync_api import sync_playwright

    keys, messages = settings.size(100_000, 5_000), settings.size(10_000, 500)
    path = settings.place("page") / "botwire.db"
    _fill(path, keys, messages)
    browser_path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    with _serving(path) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path)
        views = {
            "namespaces": ("#/", ".namespaces .row"),
            "keys": ("#/bench", "[aria-label=Keys] .row"),
            "entry": ("#/bench/user:0000007", ".json"),
            "session": ("#/bench?session=long", ".message"),
        }
        found = interleave({name: _view(browser, url, *view) for name, view in views.items()}, settings.rounds(15))
        browser.close()
    yield _row(found, "namespaces", "the page: first view of namespaces")
    yield _row(found, "keys", f"the page: first view of {keys:,} keys")
    yield _row(found, "entry", f"the page: first view of one of {keys:,} entries")
    yield _row(found, "session", f"the page: first view of a session of {messages:,} messages")


def _fill(path: Path, keys: int, messages: int) -> None:
    with Memory("bench", url=f"sqlite:///{path}") as memory:
        for start in range(0, keys, 10_000):
            memory.set_many({f"user:{number:07}": {"n": number} for number in range(start, min(start + 10_000, keys))})
        session = memory.session("long")
        for start in range(0, messages, 500):
            session.append(*[message(0, index) for index in range(start, start + 500)])


@contextmanager
def _serving(path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "botwire", "serve", "--port", "0", "--store", f"sqlite:///{path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" at ")[1].split()[0]
        finally:
            process.kill()


def _view(browser: Any, url: str, place: str, selector: str) -> Callable[[], float]:
    def sample() -> float:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.add_init_script(f"({_WATCH})({selector!r})")
        page.goto(f"{url}/{place}")
        page.wait_for_function("() => window.painted")
        seconds = page.evaluate("window.painted") / 1_000
        context.close()
        return seconds

    return sample


def _row(found: Samples, side: str, what: str) -> Row:
    median = found.median(side)
    slowest = time_text(max(found.rounds[side]))
    return Row(NAME, what, time_text(median), bar=time_text(BAR), passed=median < BAR, load=found.load, note=f"the slowest: {slowest}")
