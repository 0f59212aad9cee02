"""Stored text is text in every view, whatever it says: it makes no element, runs nothing, and hides and reorders nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from botwire import Memory
from botwire.stores import Store
from botwire.stores._protocol import Append, Batch, SetLog

NAMES = [
    "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>",
    "\"'><svg onload=window.hurt=1>",
    "javascript:window.hurt=1",
    "${window.hurt=1}`{{7*7}}</title></textarea><b>",
    "cod\u202eexe.txt\u2066 zero\u200bwidth\ufeff soft\u00adhyphen \U000e0041tag",
    "../..%2f%2e%2e?view=usage#/x&amp;&lt;",
    "__proto__",
    "שלום " + "ی" * 200,
    "w" * 512,
]
VALUES = [*NAMES, "\x1b[31mred\x1b[0m\x00\x07\u0085\u2028end", "x" * 300_000 + "<img src=x onerror=window.hurt=1>"]

LOOK = r"""() => {
  const odd = /[\p{Bidi_Control}\u200b\ufeff\u00ad\u{e0041}\u001b\u0000\u0007\u0085\u2028]/u;
  const found = [];
  if (window.hurt) found.push('a script ran');
  if (odd.test(document.title)) found.push('the title is reordered');
  if (document.scripts.length !== 1) found.push('scripts: ' + document.scripts.length);
  const known = new Set(('html head meta title link script body div noscript main nav header section article a svg rect path g h1 h2 p '
    + 'span button input label form textarea ul li dl dt dd bdi code pre details summary time dialog figure figcaption i small kbd '
    + 'table thead tbody tr th td').split(' '));
  for (const one of document.querySelectorAll('*')) {
    if (!known.has(one.localName)) found.push('an element ' + one.localName);
    for (const { name, value } of one.attributes) {
      if (/^on/i.test(name)) found.push('a handler ' + name);
      const leads = /^(href|src|action|formaction)$/.test(name);
      if (leads && !/^(#\/|#main$|\/docs$|\/page\/)/.test(value)) found.push(name + ' ' + value.slice(0, 80));
      if (odd.test(value) && name !== 'value') found.push('attribute ' + name + ' holds what does not show itself');
    }
  }
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data;
    if (odd.test(text)) found.push('text that does not show itself: ' + JSON.stringify(text.slice(0, 60)));
    const isolated = walk.currentNode.parentElement.closest('bdi, .snippet');
    if (/[\u0590-\u08ff]/.test(text) && !isolated) found.push('right-to-left text that is not isolated');
  }
  const areas = [...document.querySelectorAll('textarea')];
  if (areas.some(area => odd.test(area.value))) found.push('an editor shows what does not show itself');
  return found;
}"""


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    return open_page()


def see(page: Any, place: str, wait: str) -> None:
    """Go to a place, wait for something there, open all that is folded, and look."""
    page.goto(f"{page.url.split('#')[0]}{place}")
    page.locator(wait).first.wait_for()
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate("for (const one of document.querySelectorAll('.j-fold[aria-expanded=false]')) one.click()")
    page.wait_for_timeout(50)
    assert page.evaluate(LOOK) == [], place


def escaped(name: str) -> str:
    return quote(name, safe="")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_hostile_names_are_text_in_every_view(page: Any, store: Store, name: str) -> None:
    memory = Memory(name, store=store)
    memory.set(name, {name: [name, {name: name}]})
    memory.session(name, agent=name).append({"role": "user", "content": name})
    memory.session(name).append({"role": "user", "content": name})
    ns = escaped(name)
    see(page, "#/", ".namespaces .row")
    see(page, f"#/{ns}", "[aria-label=Keys] .row")
    see(page, f"#/{ns}?prefix={ns}", "[aria-label=Keys] .row")
    see(page, f"#/{ns}/{ns}", ".json")
    for language in ("curl", "JavaScript", "Python"):
        page.get_by_role("button", name=language, exact=True).click()
        page.get_by_role("button", name="Write", exact=True).click()
        see(page, f"#/{ns}/{ns}", ".json")
    page.get_by_role("button", name="Raw text").click()
    see(page, f"#/{ns}/{ns}", ".raw")
    page.get_by_role("button", name="Edit", exact=True).click()
    see(page, f"#/{ns}/{ns}", "textarea")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Delete", exact=True).click()
    see(page, f"#/{ns}/{ns}", "dialog")
    page.get_by_role("button", name="Cancel", exact=True).click()
    see(page, f"#/{ns}/{ns}-absent", ".empty, .failure")
    see(page, f"#/{ns}?view=sessions", "[aria-label=Sessions] .row")
    see(page, f"#/{ns}?session={ns}&agent={ns}", ".message")
    see(page, f"#/{ns}?view=usage", ".figures")
    page.get_by_role("button", name="Delete entries").click()
    see(page, f"#/{ns}?view=usage", "dialog")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Export entries").click()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("button", name="Export").click()
    file = download.value.suggested_filename
    assert file.endswith(".jsonl") or len(file) == 80
    assert not set(file) & set("<>\"'/\\:?*|\u202e\u2066\u200b ")
    see(page, f"#/{ns}?view=code", ".snippet")
    see(page, f"#/{ns}?new=", "textarea")


@pytest.mark.parametrize("text", VALUES, ids=range(len(VALUES)))
def test_hostile_values_and_messages_are_text(page: Any, store: Store, text: str) -> None:
    memory = Memory("ns", store=store)
    memory.set("value", text)
    memory.set("members", {text: text, "list": [text] * 3})
    call = {"id": text, "name": text, "arguments": text}
    message = {
        "role": text, "content": text, "name": text, "tool_calls": [call, {"name": text, "arguments": {text: text}}],
        "native": {text: {text: text}}, "metadata": {text: text}, "extra": {text: text}, text: text, "created_at": text, "id": text,
    }  # fmt: skip
    answer = {"role": "tool", "content": text, "tool_call_id": text}
    parts = {
        "role": "user",
        "content": [{"type": text, "text": text}, {"type": "image_url", "image_url": {"url": text}}, {"type": "text", "text": text}],
    }
    bodies = [json.dumps(one) for one in (message, answer, parts, text)] + ["no json " + json.dumps(text)[1:-1]]
    store.write([Batch("ns", (Append("s", "", tuple(bodies)), SetLog("s", "", metadata=json.dumps({text: text}))))])
    see(page, "#/ns/value", ".json")
    page.get_by_role("button", name="Raw text").click()
    see(page, "#/ns/value", ".raw")
    if len(text) > 200_000:
        memory.set("value", text := text[-10_000:])
        page.locator(".version", has_text="2").wait_for()
    page.get_by_role("button", name="Edit", exact=True).click()
    see(page, "#/ns/value", "textarea")
    before = store.get("ns", "value")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved value").wait_for()
    after = store.get("ns", "value")
    assert before is not None
    assert after is not None
    assert json.loads(after.value) == json.loads(before.value), "what an editor shows by escapes is stored as it was"
    see(page, "#/ns/members", ".json")
    see(page, "#/ns?session=s", ".message")
    assert page.locator(".message").count() == 5


def test_markup_is_there_to_be_read(page: Any, store: Store) -> None:
    Memory(NAMES[1], store=store).set(NAMES[0], NAMES[3])
    see(page, f"#/{escaped(NAMES[1])}/{escaped(NAMES[0])}", ".json")
    assert page.get_by_role("heading", level=1).inner_text() == NAMES[1]
    assert page.get_by_role("heading", level=2, name=NAMES[0]).count() == 1
    assert page.locator(".j-s").inner_text() == NAMES[3]


def test_what_does_not_show_itself_is_shown(page: Any, store: Store) -> None:
    Memory("ns", store=store).set("a\u202eb", "c\u200bd \x1b[1m family \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f")
    see(page, "#/ns/a%E2%80%AEb", ".json")
    assert page.locator("h2 .odd").first.inner_text() == "U+202E"
    assert page.locator(".j-s .odd").all_inner_texts() == ["U+200B", "U+001B"], "a joiner inside a picture is none of them"


def test_an_error_of_the_server_is_text(page: Any) -> None:
    see(page, "#/ns?new=", "textarea")
    page.get_by_label("Key", exact=True).fill("<img src=x onerror=window.hurt=1>\u202e" * 20)
    page.get_by_role("button", name="Create").click()
    page.get_by_text("over the limit of 512").wait_for()
    page.get_by_label("Key", exact=True).fill("")
    assert page.evaluate(LOOK) == []


def test_an_address_made_by_a_stranger_does_no_harm(page: Any) -> None:
    for place in (
        "#/%",
        "#/%ff/%C0",
        "#javascript:window.hurt=1",
        "#/a/b/c/d",
        "#/x?view=<b>&session=%E2%80%AE",
        "#/__proto__?view=constructor",
        "#?&&==",
        "#/%E2%80%AE/%3Cimg%3E",
    ):
        page.goto(f"{page.url.split('#')[0]}{place}")
        page.wait_for_timeout(100)
        assert page.evaluate(LOOK) == [], place
