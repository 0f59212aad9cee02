"""The page for everyone: by keyboard alone, on a phone, dark and light, read aloud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from botwire import Memory, Message, ToolCall
from botwire.stores import Store

PLACES = {
    "home": ("#/", ".namespaces .row"),
    "keys": ("#/ns", "[aria-label=Keys] .row"),
    "entry": ("#/ns/k", ".json"),
    "absent": ("#/ns/absent", ".empty"),
    "new": ("#/ns?new=", "textarea"),
    "sessions": ("#/ns?view=sessions", "[aria-label=Sessions] .row"),
    "conversation": ("#/ns?session=s", ".message"),
    "usage": ("#/ns?view=usage", ".chart"),
    "code": ("#/ns?view=code", ".snippet"),
}
USAGE = {
    "entries": 3, "entry_bytes": 20, "sessions": 1, "messages": 5, "message_bytes": 90,
    "days": [{"day": "2026-11-20", "entries": 2, "messages": 1, "bytes": 50},
             {"day": "2026-11-21", "entries": 1, "messages": 4, "bytes": 60}],
}  # fmt: skip


@pytest.fixture
def url(store: Store, serve_app: Callable[..., Any]) -> Any:
    memory = Memory("ns", store=store)
    memory.set("k", {"a": [1, "two", None, {"deep": "x" * 400}], "long name " * 20: True})
    memory.set("n" * 500, "long")
    session = memory.session("s")
    session.append(
        Message("system", "Be brief."),
        Message("user", "u" * 3_000, "anna"),
        Message("assistant", "I look.", "tracker", [ToolCall("c", "find", '{"n": 1}')], native={"langchain": {}}),
        Message("tool", '{"a": 1}', tool_call_id="c"),
    )
    with serve_app(store, usage=USAGE) as url:
        yield url


@pytest.fixture(scope="session")
def axe(node_modules: Path) -> str:
    return (node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Any, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})")
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_axe_finds_nothing_in_any_view(open_page: Callable[..., Any], axe: str, phone: bool, scheme: str) -> None:
    page = open_page(phone=phone, color_scheme=scheme, reduced_motion="reduce")
    for name, (place, wait) in PLACES.items():
        page.goto(f"{page.url.split('#')[0]}{place}")
        page.locator(wait).first.wait_for()
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert violations(page, axe) == [], name
        if phone:
            wide = page.evaluate(
                "[document.documentElement, ...document.querySelectorAll('main, .detail, .page, .entry')].map(one => one.scrollWidth)"
            )
            assert max(wide) <= 360, f"{name} is wider than the screen: {wide}"


def test_axe_finds_nothing_in_dialogs_messages_and_the_sign_in(
    open_page: Callable[..., Any], axe: str, store: Store, serve_app: Callable[..., Any]
) -> None:
    from botwire._errors import Unauthorized

    page = open_page("#/ns/k", reduced_motion="reduce")
    page.get_by_role("button", name="Copy value").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").wait_for()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.locator("#value").fill("no json")
    page.keyboard.press("Control+Enter")
    page.get_by_text("This is no JSON").wait_for()
    assert violations(page, axe) == []

    def refuse(*_: Any) -> None:
        raise Unauthorized("no")

    with serve_app(store, authorize=refuse) as guarded:
        page = open_page(at=guarded)
        page.get_by_label("Token").wait_for()
        assert violations(page, axe) == []


def test_everything_is_reached_by_keyboard_and_the_focus_is_seen(open_page: Callable[..., Any]) -> None:
    page = open_page("#/ns/k")
    page.locator(".json").wait_for()
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            "() => { const one = document.activeElement; const style = getComputedStyle(one); const box = one.getBoundingClientRect();"
            "return {what: one.getAttribute('aria-label') || one.innerText.trim().slice(0, 30) || one.id || one.placeholder, "
            "seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.width > 0, tag: one.localName} }"
        )
        if stop["tag"] == "body":
            break
        assert stop["seen"], stop
        stops.append(stop["what"])
    expected = [
        "To the content",
        "botwire: all namespaces",
        "Namespaces",
        "Open by name…",
        "Keys",
        "Sessions",
        "Usage",
        "Code",
        "filter",
        "New",
        "Keys",
        "Edit",
        "Copy value",
        "Export",
        "Delete",
        "Tree",
        "Raw text",
    ]
    places = iter(stops)
    assert all(name in places for name in expected), stops  # in this order


def test_a_reader_without_a_mouse_finds_edits_and_leaves(open_page: Callable[..., Any], store: Store) -> None:
    page = open_page()
    page.get_by_role("option", name="ns").wait_for()
    press = page.keyboard.press
    page.get_by_role("listbox", name="Namespaces").focus()
    press("ArrowDown")
    press("Enter")
    page.get_by_role("option", name="k", exact=True).wait_for()
    page.get_by_role("listbox", name="Keys").focus()
    press("j")
    press("Enter")
    page.get_by_role("heading", name="k", exact=True).wait_for()
    press("e")
    page.locator("#value").focus()
    press("Control+A")
    page.keyboard.type("[1]")
    press("Control+Enter")
    page.get_by_text("Saved k").wait_for()
    assert Memory("ns", store=store).get("k") == [1]
    press("Escape")
    page.get_by_role("heading", name="Choose a key").wait_for()
    press("2")
    page.locator("[aria-label=Sessions] .row").wait_for()
    press("3")
    page.get_by_role("heading", name="Writes per day").wait_for()
    press("4")
    page.get_by_role("heading", name="Entries").wait_for()
    press("1")
    press("n")
    page.get_by_role("heading", name="New entry").wait_for()
    page.wait_for_function("() => document.activeElement.id === 'key'")
    page.keyboard.type("made by keys")
    press("Tab")
    page.keyboard.type("\b\b7")
    press("Control+A")
    page.keyboard.type("7")
    press("Control+Enter")
    page.get_by_role("heading", name="made by keys").wait_for()


def test_single_keys_can_be_turned_off(open_page: Callable[..., Any]) -> None:
    page = open_page("#/ns")
    page.get_by_role("option", name="k", exact=True).wait_for()
    page.keyboard.press("?")
    page.get_by_label("Single keys do these things").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("3")
    page.wait_for_timeout(200)
    assert page.url.endswith("#/ns")
    page.reload()
    page.get_by_role("option", name="k", exact=True).wait_for()
    page.keyboard.press("3")
    page.wait_for_timeout(200)
    assert page.url.endswith("#/ns")


def test_focus_comes_back_after_a_dialog(open_page: Callable[..., Any]) -> None:
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.innerText") == "Cancel", "what does no harm comes first"
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.innerText") == "Delete"


def test_colours_follow_the_system_until_a_reader_chooses(open_page: Callable[..., Any]) -> None:
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    page.get_by_role("button", name="Colours: auto").wait_for()
    assert page.evaluate(background) == "rgb(20, 23, 26)"
    page.get_by_role("button", name="Colours: auto").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.reload()
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(background) == "rgb(20, 23, 26)"


def test_a_phone_shows_one_thing_at_a_time(open_page: Callable[..., Any]) -> None:
    page = open_page(phone=True)
    page.get_by_role("option", name="ns").tap()
    key = page.get_by_role("option", name="k", exact=True)
    key.tap()
    page.locator(".json").wait_for()
    assert not key.is_visible()
    page.get_by_role("link", name="‹ Keys").tap()
    key.wait_for()
    assert key.bounding_box()["height"] >= 44, "wide enough for a finger"
