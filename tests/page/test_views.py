"""What a reader sees: lists, values, conversations, figures; and how they get there."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from botwire import Memory, Message, ToolCall
from botwire.stores import Store

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC"


def names(page: Any, label: str) -> list[str]:
    return page.get_by_role("listbox", name=label).get_by_role("option").all_inner_texts()


def test_an_empty_server_shows_how_to_begin(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_text("Nothing is stored yet").wait_for()
    assert 'Memory("my-agent"' in page.locator("pre").inner_text()


def test_namespaces_lead_to_keys_and_keys_to_values_and_back_again(open_page: Callable[..., Any], store: Store) -> None:
    Memory("app", store=store).set("user/42", {"theme": "dark"})
    Memory("other", store=store).set("k", 1)
    page = open_page()
    page.get_by_role("option", name="app").click()
    page.get_by_role("option", name="user/42").click()
    page.get_by_role("heading", name="user/42").wait_for()
    assert page.url.endswith("#/app/user%2F42")
    assert page.title() == "user/42 · app · botwire"
    assert page.locator(".version").inner_text() == "1"
    page.go_back()
    page.get_by_role("heading", name="Choose a key").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Begin").wait_for()
    page.go_forward()
    page.go_forward()
    page.get_by_role("heading", name="user/42").wait_for()
    page.reload()
    page.get_by_role("heading", name="user/42").wait_for()


def test_numbers_are_shown_as_they_are_stored(open_page: Callable[..., Any], url: str) -> None:
    import httpx

    text = '{"int":123456789012345678901234567890,"float":1.50,"exponent":1E+2,"minus":-0,"twice":1,"twice":2}'
    httpx.put(f"{url}/memory/ns/numbers", content=f'{{"value":{text}}}', headers={"content-type": "application/json"})
    page = open_page("#/ns/numbers")
    tree = page.locator(".json")
    tree.wait_for()
    assert page.locator(".j-n").all_inner_texts() == ["123456789012345678901234567890", "1.50", "1E+2", "-0", "1", "2"]
    page.get_by_role("button", name="Raw text").click()
    assert page.locator(".raw").inner_text() == text


@pytest.mark.parametrize("value", [None, True, "", "text", [], {}, 12, "two\nlines", {"": {"": []}}])
def test_values_of_each_kind_are_shown(open_page: Callable[..., Any], store: Store, value: Any) -> None:
    Memory("ns", store=store).set("k", value)
    page = open_page("#/ns/k")
    page.locator(".json").wait_for()


def test_a_value_of_a_megabyte_is_shown_at_once_and_in_parts(open_page: Callable[..., Any], store: Store) -> None:
    memory = Memory("ns", store=store)
    memory.set("list", [{"id": number, "text": "word " * 5} for number in range(20_000)])
    memory.set("text", "x" * 1_000_000)
    page = open_page("#/ns/list")
    page.get_by_text("list of 20,000").wait_for()
    assert page.locator(".json li").count() < 250
    page.get_by_role("button", name="Show 100 more").click()
    page.get_by_text("of 19,800").wait_for()
    page.get_by_role("button", name="Raw text").click()
    assert len(page.locator(".raw").inner_text()) < 20_000
    page.goto(f"{page.url.split('#')[0]}#/ns/text")
    page.locator(".json .more").wait_for()
    assert len(page.locator(".json").inner_text()) < 5_000
    assert page.get_by_role("button", name="Edit").is_disabled(), "a text field of a megabyte stands still for seconds"


def test_keys_come_a_hundred_at_a_time_as_they_are_scrolled_to(open_page: Callable[..., Any], store: Store) -> None:
    Memory("ns", store=store).set_many({f"key-{number:05}": number for number in range(1_000)})
    page = open_page("#/ns")
    page.get_by_text("key-00000").wait_for()
    box = page.get_by_role("listbox", name="Keys")
    assert len(names(page, "Keys")) < 60, "only what is in sight is in the document"
    for _ in range(40):
        box.evaluate("box => { box.scrollTop = box.scrollHeight }")
        page.wait_for_timeout(50)
        if page.get_by_text("key-00999").count():
            break
    page.get_by_text("key-00999").wait_for()
    asked = [parse_qs(urlsplit(one).query) for one in set(page.watch.requests) if "/memory/ns" in one]
    assert len(asked) == 10
    assert all(int(one["limit"][0]) <= 100 for one in asked)
    box.evaluate("box => { box.scrollTop = 0 }")
    page.get_by_text("key-00000").wait_for()


def test_no_request_of_any_view_asks_for_more_than_a_hundred_rows(open_page: Callable[..., Any], store: Store) -> None:
    memory = Memory("ns", store=store)
    memory.set_many({f"key-{number:04}": number for number in range(250)})
    memory.session("long").append(*[("user", f"message {number}") for number in range(450)])
    for number in range(120):
        memory.session(f"s-{number:03}").append(("user", "hi"))
    page = open_page()
    for place in ("#/ns", "#/ns/key-0001", "#/ns?view=sessions", "#/ns?view=usage", "#/ns?view=code", "#/ns?session=long"):
        page.goto(f"{page.url.split('#')[0]}{place}")
        page.wait_for_timeout(200)
    page.get_by_text("message 449").wait_for()
    box = page.locator(".conversation")
    for _ in range(60):
        box.evaluate("box => { box.scrollTop = 0 }")
        page.wait_for_timeout(30)
        if page.get_by_text("message 0", exact=True).count():
            break
    assert page.get_by_text("message 0", exact=True).count() == 1
    rows = [url for url in page.watch.requests if re.search(r"/(memory|sessions)(/ns)?(\?|$)|/messages\?", url)]
    assert len(rows) >= 9
    for one in rows:
        query = parse_qs(urlsplit(one).query)
        limit = query.get("limit") or query.get("last")
        assert limit is not None, one
        assert int(limit[0]) <= 100, one


def test_keys_are_filtered_by_how_they_start(open_page: Callable[..., Any], store: Store) -> None:
    Memory("ns", store=store).set_many({"user:1": 1, "user:2": 2, "order:1": 3, "a&b?c#d%/": 4})
    page = open_page("#/ns")
    page.get_by_text("order:1").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("user:")
    page.get_by_text("order:1").wait_for(state="detached")
    assert names(page, "Keys") == ["user:1", "user:2"]
    assert "prefix=user%3A" in page.url
    page.locator("#filter").fill("a&b?c#")
    page.get_by_text("a&b?c#d%/").wait_for()
    page.locator("#filter").fill("none")
    page.get_by_text("No key starts like that").wait_for()


def test_what_is_not_there_is_said(open_page: Callable[..., Any], store: Store) -> None:
    Memory("ns", store=store).set("k", 1)
    open_page("#/ns/absent").get_by_text("There is no such entry").wait_for()
    open_page("#/ns?session=absent").get_by_text("There is no such session").wait_for()
    open_page("#/empty").get_by_text("No keys here").wait_for()


def test_a_server_that_is_gone_is_said_and_asked_again(open_page: Callable[..., Any], store: Store) -> None:
    Memory("ns", store=store).set("k", "here")
    page = open_page("#/ns")
    page.get_by_role("option", name="k", exact=True).wait_for()
    page.context.set_offline(True)
    page.get_by_role("option", name="k", exact=True).click()
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("here").wait_for()


# ------------------------------------------------------------------------------------------ sessions


def test_a_conversation_shows_who_said_what_and_which_framework_wrote_it(open_page: Callable[..., Any], store: Store) -> None:
    session = Memory("ns", store=store).session("s")
    session.append(
        Message("system", "Be brief."),
        Message("user", "Where is 4711?", "anna"),
        Message(
            "assistant", None, "tracker", [ToolCall("c1", "find", '{"number": 47110000000000000000}')], native={"langchain": {"type": "x"}}
        ),
        Message("tool", "in transit", tool_call_id="c1"),
        Message("assistant", "On its way.", native={"autogen_classic": {}}, metadata={"mood": "good"}),
    )
    page = open_page("#/ns?session=s")
    page.get_by_text("On its way.").wait_for()
    messages = page.locator(".message")
    assert [messages.nth(index).locator(".role").inner_text() for index in range(5)] == ["system", "user", "assistant", "tool", "assistant"]
    assert messages.nth(1).locator(".speaker").inner_text() == "anna"
    assert messages.nth(2).locator(".framework").inner_text() == "LangChain"
    assert messages.nth(4).locator(".framework").inner_text() == "AutoGen classic"
    assert not messages.nth(2).get_by_text("47110000000000000000", exact=True).is_visible(), "tool calls are folded"
    messages.nth(2).locator("summary").first.click()
    assert messages.nth(2).get_by_text("47110000000000000000", exact=True).is_visible()
    assert "find" in messages.nth(3).locator("summary").inner_text(), "the result names the tool that was called"
    messages.nth(4).get_by_text("metadata, native").click()
    messages.nth(4).get_by_text("mood").wait_for()


def test_pictures_that_lie_in_a_message_are_shown_and_others_are_never_loaded(open_page: Callable[..., Any], store: Store) -> None:
    session = Memory("ns", store=store).session("s")
    svg = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIG9ubG9hZD0iYWxlcnQoMSkiLz4="
    session.append(
        Message("user", [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}}]),
        Message("user", [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL.split(",")[1]}}]),
        Message("user", [{"type": "image_url", "image_url": {"url": "https://elsewhere.example/x.png"}}]),
        Message("user", [{"type": "image_url", "image_url": {"url": svg}}]),
        Message("user", [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]),
    )
    page = open_page("#/ns?session=s")
    page.get_by_text("input_audio").first.wait_for()
    assert page.locator("img").count() == 2
    page.wait_for_function("() => [...document.images].every(one => one.naturalWidth === 10)")
    page.get_by_text("https://elsewhere.example/x.png, not loaded").wait_for()
    assert not [one for one in page.watch.requests if "elsewhere" in one]


def test_transcripts_of_agents_are_apart_from_the_session(open_page: Callable[..., Any], store: Store) -> None:
    memory = Memory("ns", store=store)
    memory.session("s").append(("user", "for all"))
    memory.session("s", agent="writer").append(("user", "for the writer"))
    page = open_page("#/ns?view=sessions")
    page.get_by_role("option", name="s › writer").click()
    page.get_by_text("for the writer").wait_for()
    assert page.get_by_text("for all").count() == 0
    assert page.url.endswith("#/ns?session=s&agent=writer")


def test_a_long_session_is_read_from_its_end_or_its_beginning(open_page: Callable[..., Any], store: Store) -> None:
    Memory("ns", store=store).session("s").append(*[("user", f"message {number}.") for number in range(1_000)])
    page = open_page("#/ns?session=s")
    last = page.get_by_text("message 999.")
    last.wait_for()
    assert last.evaluate("one => one.getBoundingClientRect().bottom <= innerHeight"), "the newest is in sight"
    page.get_by_role("button", name="First").click()
    page.get_by_text("message 0.", exact=True).wait_for()
    box = page.locator(".conversation")
    for _ in range(60):
        box.evaluate("box => { box.scrollTop = box.scrollHeight }")
        page.wait_for_timeout(30)
        if page.get_by_text("message 999.").count():
            break
    assert page.get_by_text("message 999.").count() == 1
    assert page.locator(".message").count() <= 600


def test_a_message_that_botwire_did_not_write_is_shown_as_it_is(open_page: Callable[..., Any], store: Store) -> None:
    from botwire.stores._protocol import Append, Batch

    store.write([Batch("ns", (Append("s", "", ('["no", "message"]', '{"role":"user","content":7}')),))])
    page = open_page("#/ns?session=s")
    page.get_by_text('["no", "message"]').wait_for()
    page.get_by_text("not a message").wait_for()


# --------------------------------------------------------------------------------------------- usage


def test_usage_is_drawn_and_also_a_table(open_page: Callable[..., Any], store: Store, serve_app: Callable[..., Any]) -> None:
    today = datetime.now(UTC).date()
    days = [{"day": str(today - timedelta(days=back)), "entries": back, "messages": 2 * back, "bytes": 1000} for back in (30, 3, 1)]
    usage = {"entries": 34, "entry_bytes": 2048, "sessions": 2, "messages": 68, "message_bytes": 1024, "days": days}
    with serve_app(store, usage=usage) as url:
        page = open_page("#/ns?view=usage", at=url)
        page.get_by_role("heading", name="Writes per day").wait_for()
        assert page.locator(".figures").inner_text().split() == [
            "Entries",
            "34",
            "2.0",
            "KiB",
            "Sessions",
            "2",
            "Messages",
            "68",
            "1.0",
            "KiB",
            "Together",
            "3.0",
            "KiB",
        ]
        assert page.locator("rect.bar-messages").count() == page.locator("rect.bar-entries").count() == 31
        page.get_by_text("As a table").first.click()
        assert page.locator("table").first.locator("tbody tr").count() == 3


def test_without_figures_the_number_of_entries_is_shown(open_page: Callable[..., Any], store: Store) -> None:
    Memory("ns", store=store).set_many({"a": 1, "b": 2})
    page = open_page("#/ns?view=usage")
    page.locator(".figures dd", has_text="2").first.wait_for()
