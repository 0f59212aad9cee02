"""Messages: equal when they come back, and a faithful conversation for all others."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from botwire import InvalidValue, Memory
from botwire.integrations.autogen_classic._messages import from_botwire, to_botwire
from botwire.integrations.autogen_classic._view import repaired

RESPONSE = {"tool_call_id": "c1", "role": "tool", "content": "3"}
OTHER = {"tool_call_id": "c2", "role": "tool", "content": "4"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
SHAPES: list[dict[str, Any]] = [
    {"content": "hi", "role": "user", "name": "user"},
    {"content": "", "role": "assistant", "name": "a\x00\ud800"},
    {
        "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
        "role": "user",
    },
    {"content": [], "role": "user", "name": "u"},
    {"content": ["not", "typed"], "role": "user", "name": "u"},
    {"content": None, "role": "assistant", "tool_calls": [CALL]},
    {"content": "thinking", "role": "assistant", "name": "a", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
    {"content": None, "role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": "{"}}]},
    {"content": None, "role": "assistant", "function_call": {"name": "add", "arguments": "{}"}},
    {"content": "3", "role": "function", "name": "add"},
    {"content": "3", "role": "tool", "tool_responses": [RESPONSE], "name": "user"},
    {"content": "3\n\n4", "role": "tool", "tool_responses": [RESPONSE, OTHER], "name": "user"},
    {"content": "said too", "role": "user", "tool_responses": [RESPONSE], "name": "user"},
    {"content": "3", "role": "tool", "tool_responses": [{"role": "tool", "content": "3"}], "name": "user"},
    {"content": "3", "role": "tool", "tool_call_id": "c1"},
    {"content": "hi", "role": "user", "name": "u", "context": {"topic": [1, None, 2.5]}},
    {"content": "hi", "role": "moderator", "name": "u"},
    {"content": "hi", "role": "user", "name": 7},
    {"content": "hi", "role": "assistant", "tool_calls": []},
    {"role": "assistant", "name": "silent"},
]


@pytest.mark.parametrize("role", [None, "assistant"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_message_comes_back_equal(memory: Memory, shape: dict[str, Any], role: str | None):
    given = copy.deepcopy(shape)
    memory.session("s").append(*to_botwire(shape, {"peer": "p"}, role))
    back = [found for message in memory.session("s").messages() if (found := from_botwire(message)) is not None]

    assert back == [shape] == [given]


def test_others_read_a_result_for_each_call():
    shape = {"content": "3\n\n4", "role": "tool", "tool_responses": [RESPONSE, OTHER], "name": "user"}
    assert [message.to_dict() for message in to_botwire(shape, {})] == [
        {"role": "tool", "content": "3", "name": "user", "tool_call_id": "c1"},
        {"role": "tool", "content": "4", "name": "user", "tool_call_id": "c2"},
    ]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P", "I;16"])
def test_images_come_back_pixel_for_pixel(memory: Memory, mode: str):
    image_module = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    image = image_module.new(mode, (3, 2))
    image.putpixel((1, 1), (1, 2, 3, 4)[: len(image.getbands())] if len(image.getbands()) > 1 else 1)
    uri = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    shape = {"role": "user", "name": "u", "content": [{"type": "image_url", "image_url": {"url": image, "detail": "low"}}, uri]}
    (message,) = to_botwire(shape, {})
    memory.session("s").append(message)
    (back,) = [from_botwire(message) for message in memory.session("s").messages()]

    assert back is not None
    found = back["content"][0]["image_url"]["url"]
    assert (found.mode, found.size, found.tobytes()) == (image.mode, image.size, image.tobytes())
    assert back["content"][0]["image_url"]["detail"] == "low"
    assert back["content"][1] == uri
    assert shape["content"][0]["image_url"]["url"] is image
    assert message.content[0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")  # type: ignore[index]


def test_an_image_that_png_cannot_hold_is_refused():
    image_module = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    part = {"type": "image_url", "image_url": {"url": image_module.new("CMYK", (1, 1))}}
    with pytest.raises(InvalidValue, match=r"convert it first: image.convert\('RGB'\)"):
        to_botwire({"role": "user", "content": [part]}, {})


def test_a_function_as_content_is_called_with_its_context():
    shape = {"role": "user", "name": "u", "content": lambda context: f"about {context['topic']}", "context": {"topic": "tea"}}
    (message,) = to_botwire(shape, {})
    assert from_botwire(message) == {"role": "user", "name": "u", "content": "about tea"}
    assert callable(shape["content"])


def test_a_function_without_context_is_refused():
    with pytest.raises(InvalidValue, match="content: a function cannot be stored"):
        to_botwire({"role": "user", "content": lambda context: ""}, {})


@pytest.mark.parametrize("native", [None, 7, {}, {"message": 7}, {"role": "user"}, {"pictures": []}, {"unknown": 1}])
def test_what_a_newer_version_wrote_is_read_by_its_shared_fields(memory: Memory, native: Any):
    memory.session("s").append({"role": "user", "content": "hi"})
    (message,) = memory.session("s").messages()
    message.native = {"autogen_classic": native}
    assert from_botwire(message) == {"role": "user", "content": "hi"}


def tool(*identifiers: str) -> dict[str, Any]:
    return {"role": "tool", "content": "", "tool_responses": [{"tool_call_id": i, "role": "tool", "content": ""} for i in identifiers]}


def calls(*identifiers: str) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": i} for i in identifiers]}


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        (["ab", "A", "u"], ["ab", "A", "B!", "u"]),
        (["ab", "A"], ["ab", "A", "B!"]),
        (["ab", "AB", "u"], ["ab", "AB", "u"]),
        (["A", "u"], ["u"]),
        (["a", "u", "A", "u"], ["a", "A!", "u", "u"]),
        (["a"], ["a"]),
        (["a", "a", "A"], ["a", "A!", "a", "A"]),
        (["a", "AB", "u"], ["a", "A", "u"]),
        ([], []),
    ],
)
def test_every_call_has_its_result_and_every_result_its_call(view: list[str], shown: list[str]):
    def shape(word: str) -> dict[str, Any]:
        if word == "u":
            return {"role": "user", "content": "u"}
        return calls(*word) if word.islower() else tool(*word.lower())

    def word(found: dict[str, Any]) -> str:
        if found["role"] == "user":
            return "u"
        if found["role"] == "assistant":
            return "".join(call["id"] for call in found["tool_calls"])
        made_up = "!" if "interrupted" in found["content"] else ""
        return "".join(response["tool_call_id"] for response in found["tool_responses"]).upper() + made_up

    assert [word(found) for found in repaired([shape(one) for one in view])] == shown


def test_a_function_call_of_old_is_answered_too():
    call = {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}}
    result = {"role": "function", "name": "add", "content": "3"}
    user = {"role": "user", "content": "u"}
    assert repaired([call, result, user]) == [call, result, user]
    assert [found["role"] for found in repaired([call, user])] == ["assistant", "function", "user"]
    assert repaired([result, user]) == [user]
