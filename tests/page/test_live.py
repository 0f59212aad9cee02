"""What others write is shown as they write it: by server-sent events, and by asking where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from botwire import Memory
from botwire.stores import Store


@pytest.fixture(params=["events", "asking"])
def url(request: Any, store: Store, serve_app: Callable[..., Any]) -> Iterator[str]:
    with serve_app(store, events=request.param == "events") as url:
        yield url


@pytest.fixture
def memory(url: str) -> Memory:
    return Memory("ns", url=url)


def test_a_key_appears_and_goes_as_others_write(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("a", 1)
    page = open_page("#/ns")
    page.get_by_role("option", name="a", exact=True).wait_for()
    memory.set("b", 2)
    page.get_by_role("option", name="b", exact=True).wait_for()
    memory.delete("a")
    page.get_by_role("option", name="a", exact=True).wait_for(state="detached")


def test_an_open_entry_changes_as_others_write_it(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", "first")
    page = open_page("#/ns/k")
    page.get_by_text("first").wait_for()
    memory.set("k", "second")
    page.get_by_text("second").wait_for()
    assert page.locator(".version").inner_text() == "2"
    memory.delete("k")
    page.get_by_text("This entry was deleted").wait_for()
    memory.set("k", "again")
    page.get_by_text("again").wait_for()


def test_a_conversation_grows_and_its_end_stays_in_sight(open_page: Callable[..., Any], memory: Memory) -> None:
    session = memory.session("s")
    session.append(*[("user", f"message {number}.") for number in range(150)])
    page = open_page("#/ns?session=s")
    page.get_by_text("message 149.").wait_for()
    session.append(("assistant", "the answer"))
    answer = page.get_by_text("the answer")
    answer.wait_for()
    page.wait_for_function(
        "() => { const box = document.querySelector('.conversation'); return box.scrollHeight - box.scrollTop - box.clientHeight < 5 }"
    )


def test_who_reads_further_up_is_told_of_new_messages_and_left_in_place(open_page: Callable[..., Any], memory: Memory) -> None:
    session = memory.session("s")
    session.append(*[("user", f"message {number}.") for number in range(90)])
    page = open_page("#/ns?session=s")
    page.get_by_text("message 89.").wait_for()
    page.locator(".conversation").evaluate("box => { box.scrollTop = 700 }")
    place = page.get_by_text("message 20.").evaluate("one => one.getBoundingClientRect().top")
    session.append(("assistant", "the answer"))
    page.get_by_role("button", name="1 new message").wait_for()
    assert abs(page.get_by_text("message 20.").evaluate("one => one.getBoundingClientRect().top") - place) < 2
    page.get_by_role("button", name="1 new message").click()
    page.get_by_text("the answer").wait_for()
    page.get_by_role("button", name="1 new message").wait_for(state="detached")


def test_what_is_taken_away_from_a_conversation_goes(open_page: Callable[..., Any], memory: Memory) -> None:
    session = memory.session("s")
    session.append(("user", "one."), ("user", "two."), ("user", "three."))
    page = open_page("#/ns?session=s")
    page.get_by_text("three.").wait_for()
    session.pop()
    page.get_by_text("three.").wait_for(state="detached")
    session.trim(keep_last=1)
    page.get_by_text("one.").wait_for(state="detached")
    session.clear()
    page.get_by_text("two.").wait_for(state="detached")
    session.append(("user", "anew."))
    page.get_by_text("anew.").wait_for()
    memory.delete_session("s")
    page.get_by_text("There is no such session").wait_for()


def test_a_session_appears_as_others_begin_it(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.session("first").append(("user", "hi"))
    page = open_page("#/ns?view=sessions")
    page.get_by_role("option", name="first").wait_for()
    memory.session("second").append(("user", "hi"))
    page.get_by_role("option", name="second").wait_for()


def test_a_namespace_appears_with_its_first_entry(open_page: Callable[..., Any], url: str) -> None:
    page = open_page()
    page.get_by_text("Nothing is stored yet").wait_for()
    Memory("new", url=url).set("k", 1)
    page.get_by_role("option", name="new").wait_for()
