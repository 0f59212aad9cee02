"""What a reader may do: edit, create, delete, export; and that nobody's change is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from botwire import Memory, Message, ToolCall
from botwire._errors import Unauthorized
from botwire.server._problems import HTTPProblem
from botwire.stores import Store, open_store


@pytest.fixture
def memory(store: Store) -> Memory:
    return Memory("ns", store=store)


def stored_text(store: Store, key: str) -> str:
    row = store.get("ns", key)
    assert row is not None
    return row.value


def test_an_edit_replaces_the_version_it_began_with(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", {"a": 1})
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Edit").click()
    page.locator("#value").fill('{"a": 2}')
    page.get_by_role("button", name="Save over version 1").click()
    page.get_by_text("Saved k").wait_for()
    assert page.locator(".version").inner_text() == "2"
    assert memory.get("k") == {"a": 2}


def test_an_edit_keeps_numbers_and_time_to_live_as_they_were(open_page: Callable[..., Any], store: Store, url: str) -> None:
    text = '{"int":123456789012345678901234567890,"float":1.50,"big":1E+300,"text":"\\u0041\\n"}'
    httpx.put(f"{url}/memory/ns/k", content=f'{{"value":{text},"ttl":1000}}', headers={"content-type": "application/json"})
    before = store.get("ns", "k")
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Edit").click()
    page.locator("#value").press("End")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Saved k").wait_for()
    after = store.get("ns", "k")
    assert before is not None
    assert after is not None
    assert after.value == text
    assert after.version == 2
    assert after.expires_at == before.expires_at


def test_what_is_no_json_is_refused_and_says_where(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", 1)
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Edit").click()
    page.locator("#value").fill('{"a": 1,\n"b": x}')
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").get_by_text("line 2, column 6").wait_for()
    assert memory.get("k") == 1


def test_a_conflict_is_shown_and_nothing_is_overwritten_until_the_reader_says_so(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", "mine at first")
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Edit").click()
    page.locator("#value").fill('"mine"')
    memory.set("k", "theirs")
    page.get_by_text("it is at version 2 now").wait_for()
    page.get_by_role("button", name="Save over version 1").click()
    dialog = page.get_by_role("dialog", name="Someone else changed this entry")
    dialog.get_by_text('"theirs"').wait_for()
    dialog.get_by_role("button", name="Back to my text").click()
    assert memory.get("k") == "theirs"
    assert page.locator("#value").input_value() == '"mine"'
    page.get_by_role("button", name="Save over version 1").click()
    page.get_by_role("button", name="Replace version 2 with mine").click()
    page.get_by_text("Saved k").wait_for()
    assert memory.get("k") == "mine"


def test_of_a_conflict_theirs_may_be_taken(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", 1)
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Edit").click()
    page.locator("#value").fill("2")
    memory.set("k", 3)
    page.get_by_role("button", name="Save over version 1").click()
    page.get_by_role("button", name="Take theirs").click()
    assert page.locator("#value").input_value() == "3"
    page.get_by_role("button", name="Save over version 2").wait_for()
    assert memory.get("k") == 3


def test_what_was_deleted_meanwhile_is_said_and_may_be_made_again(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", 1)
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Edit").click()
    page.locator("#value").fill("2")
    memory.delete("k")
    page.get_by_text("This entry was deleted meanwhile").wait_for()
    page.get_by_role("button", name="Save over version 1").click()
    page.get_by_role("button", name="Create it again with mine").click()
    page.get_by_text("Saved k").wait_for()
    assert memory.get("k") == 2


def test_a_new_entry_never_replaces_one_that_is_there(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("taken", 1)
    page = open_page("#/ns")
    page.get_by_role("link", name="New").click()
    page.get_by_label("Key", exact=True).fill("taken")
    page.locator("#value").fill("2")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("There is an entry of that name already").wait_for()
    assert memory.get("taken") == 1
    page.get_by_label("Key", exact=True).fill("free / one")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="free / one").wait_for()
    assert memory.get("free / one") == 2


def test_a_name_that_the_server_refuses_is_explained(open_page: Callable[..., Any]) -> None:
    page = open_page("#/ns?new=")
    page.get_by_label("Key", exact=True).fill("x" * 600)
    page.get_by_role("button", name="Create").click()
    page.get_by_text("over the limit of 512").wait_for()


def test_a_deletion_is_asked_for_and_can_be_called_off(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", 1)
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Cancel").click()
    assert memory.get("k") == 1
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted k").wait_for()
    assert "k" not in memory


def test_what_changed_since_it_was_seen_is_not_deleted(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set("k", 1)
    page = open_page("#/ns/k")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").wait_for()
    memory.set("k", 2)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Not deleted").wait_for()
    assert memory.get("k") == 2


def test_a_session_is_deleted_and_its_agents_transcripts_stay(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.session("s").append(("user", "hi"))
    memory.session("s", agent="a").append(("user", "hi"))
    page = open_page("#/ns?session=s")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted s").wait_for()
    assert [(info.session_id, info.agent) for info in memory.sessions()] == [("s", "a")]


def test_all_entries_are_deleted_only_by_who_types_the_namespaces_name(open_page: Callable[..., Any], memory: Memory) -> None:
    memory.set_many({"a": 1, "b": 2})
    memory.session("s").append(("user", "hi"))
    page = open_page("#/ns?view=usage")
    page.get_by_role("button", name="Delete entries").click()
    delete = page.get_by_role("button", name="Delete 2 entries")
    assert delete.is_disabled()
    page.get_by_label("Type").fill("ns")
    delete.click()
    page.get_by_text("Deleted 2 entries").wait_for()
    assert len(memory) == 0
    assert len(memory.session("s")) == 1


# ------------------------------------------------------------------------------------------- exports


def test_an_export_of_a_namespace_is_imported_without_loss(open_page: Callable[..., Any], store: Store, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from botwire.cli._main import app

    memory = Memory("ns", store=store)
    memory.set_many({f"key {number}": {"n": 10**30 + number, "t": "\ud800 \u2028 ü"} for number in range(230)})
    memory.set("key 1", "changed", ttl=3600)
    session = memory.session("s & t", agent="a/b")
    session.append(
        *[Message("assistant", f"{number}", tool_calls=[ToolCall("c", "f", {"x": 1.5})], native={"n": 2**70}) for number in range(250)]
    )
    session.set_metadata({"topic": "ü"})
    page = open_page("#/ns?view=usage")
    page.get_by_role("button", name="Export everything").click()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
    file = tmp_path / "ns.jsonl"
    download.value.save_as(file)
    assert download.value.suggested_filename == "ns.jsonl"
    target = f"sqlite://{tmp_path}/copy.db"
    result = CliRunner().invoke(app, ["--url", target, "import", str(file)])
    assert result.exit_code == 0, result.output
    copy = open_store(target)
    assert copy.scan("ns", "", None, 1_000) == store.scan("ns", "", None, 1_000)
    assert copy.read_log("ns", "s & t", "a/b") == store.read_log("ns", "s & t", "a/b")
    copy.close()


def test_one_entry_and_one_session_are_exported_too(open_page: Callable[..., Any], memory: Memory, tmp_path: Path) -> None:
    memory.set("k", 1.50)
    memory.session("s").append(("user", "hi"))
    page = open_page("#/ns/k")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 3
    assert '"value":1.5' in lines[1]
    page.goto(f"{page.url.split('#')[0]}#/ns?session=s")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
    assert '"messages":1' in Path(download.value.path()).read_text().splitlines()[-1]


# -------------------------------------------------------------------------------------------- tokens


def rule(headers: Any, namespace: str | None, action: str) -> None:
    token = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    if token not in (b"read-all", b"only-ns"):
        raise Unauthorized("a token is needed: send Authorization: Bearer TOKEN")
    if action != "read" or (token == b"only-ns" and namespace != "ns"):
        raise HTTPProblem(403, "unauthorized", "this token does not open that")


@pytest.fixture
def guarded(store: Store, memory: Memory, serve_app: Callable[..., Any]) -> Iterator[str]:
    memory.set("k", "value")
    with serve_app(store, authorize=rule) as url:
        yield url


def test_a_token_is_asked_for_only_by_a_server_that_wants_one(open_page: Callable[..., Any], guarded: str) -> None:
    page = open_page("#/ns/k", at=guarded)
    page.get_by_text("This server asks for a token").wait_for()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This token opens nothing here").wait_for()
    page.get_by_label("Token").fill("read-all")
    page.keyboard.press("Enter")
    page.get_by_text("value").first.wait_for()
    assert page.evaluate("[Object.values(localStorage), document.cookie].flat().join().includes('read-all')") is False
    page.reload()
    page.get_by_text("value").first.wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token").wait_for()
    assert page.evaluate("sessionStorage.getItem('botwire-token')") is None


def test_another_tab_does_not_know_the_token(open_page: Callable[..., Any], guarded: str) -> None:
    page = open_page(at=guarded)
    page.get_by_label("Token").fill("read-all")
    page.keyboard.press("Enter")
    page.get_by_role("option", name="ns").wait_for()
    other = page.context.new_page()
    other.goto(f"{guarded}/")
    other.get_by_label("Token").wait_for()


def test_a_token_that_may_not_list_namespaces_opens_its_own_by_name(open_page: Callable[..., Any], guarded: str) -> None:
    page = open_page(at=guarded)
    page.get_by_label("Token").fill("only-ns")
    page.keyboard.press("Enter")
    page.get_by_text("this token does not open that").wait_for()
    page.get_by_placeholder("Open by name").fill("ns")
    page.keyboard.press("Enter")
    page.get_by_role("option", name="k", exact=True).wait_for()


def test_where_a_token_may_only_read_the_page_says_so_and_offers_no_more_writes(
    open_page: Callable[..., Any], guarded: str, memory: Memory
) -> None:
    page = open_page("#/ns/k", at=guarded)
    page.get_by_label("Token").fill("read-all")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("this token does not open that").wait_for()
    page.get_by_text("This token may only read here").wait_for()
    assert page.get_by_role("button", name="Edit").is_disabled()
    assert page.get_by_role("button", name="Delete").is_disabled()
    assert memory.get("k") == "value"
