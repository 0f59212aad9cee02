"""The classic AutoGen's messages as botwire's, and back.

They are dicts in the common chat shape, with a few members of their own. The neutral fields hold what the shape has;
under ``native["autogen_classic"]`` lies only what they do not give back. One dict may hold the results of several calls:
others read a message for each, and here the first of them stands for all.
"""

from __future__ import annotations

import base64
import io
import logging
import sys
from typing import Any, TypeAlias, cast

from botwire import InvalidValue, Message

logger = logging.getLogger("botwire")

Shape: TypeAlias = dict[str, Any]
"""A message as autogen keeps it."""

NATIVE = "autogen_classic"

_MEMBERS = ("content", "role", "name", "tool_calls", "tool_call_id", "function_call")
"""What of the common chat shape a model may be sent; more than these is refused by providers."""
_PNG = "data:image/png;base64,"


def to_botwire(shape: Shape, metadata: dict[str, Any], role: str | None = None) -> list[Message]:
    """The botwire messages, of the first of which ``from_botwire`` makes an equal dict.

    Args:
        shape: the message.
        metadata: what all of them are to carry.
        role: under which role others read it, if it is the message of a user.

    Raises:
        InvalidValue: if it cannot be stored exactly; names the member.
    """
    exact, native = _storable(shape)
    lead, *rest = messages = _neutral(exact)
    if _is_one_result(exact):
        native["responses"] = True
    if role is not None and exact.get("role") == "user" == lead.role:
        lead.role, native["role"] = cast("Any", role), "user"
    if _given_back(lead, native) != exact:
        native["message"] = exact
    lead.native = {NATIVE: native} if native else {}
    for message in rest:
        message.native = {NATIVE: {"part": True}}
    for message in messages:
        message.metadata = dict(metadata)
    return messages


def from_botwire(message: Message) -> Shape | None:
    """The dict of a botwire message, whichever framework wrote it; None if the message before it holds this one too."""
    native = message.native.get(NATIVE)
    native = cast("dict[str, Any]", native) if isinstance(native, dict) else {}
    if native.get("part"):
        return None
    exact = native.get("message")
    shape: Shape = cast("Shape", exact) if isinstance(exact, dict) else _given_back(message, native)
    if pictures := native.get("pictures"):
        shape["content"] = [_with_picture(part) if index in pictures else part for index, part in enumerate(shape["content"])]
    return shape


# -------------------------------------------------------------------------------- to botwire


def _storable(shape: Shape) -> tuple[Shape, dict[str, Any]]:
    """The message without what JSON has no form for, and what to remember of that."""
    shape, native = dict(shape), dict[str, Any]()
    content = shape.get("content")
    if callable(content):
        if not shape.get("context"):
            raise InvalidValue("content: a function cannot be stored; give text, or 'context' to call the function with")
        shape["content"] = content(shape.pop("context"))
    elif isinstance(content, list):
        given = cast("list[Any]", content)
        shape["content"] = parts = [_without_picture(part) for part in given]
        if pictures := [index for index, part in enumerate(parts) if part is not given[index]]:
            native["pictures"] = pictures
    return shape, native


def _neutral(exact: Shape) -> list[Message]:
    responses = exact.get("tool_responses")
    if not responses:
        return [_spoken(exact)]
    results = [_result(exact, response) for response in responses]
    if exact.get("role") == "tool":  # then the content only repeats the results
        return results
    return [*results, _spoken({name: value for name, value in exact.items() if name != "tool_responses"})]


def _result(exact: Shape, response: Shape) -> Message:
    return Message("tool", response.get("content"), exact.get("name"), tool_call_id=response.get("tool_call_id"))


def _spoken(exact: Shape) -> Message:
    try:
        return Message.from_dict({name: exact[name] for name in _MEMBERS if name in exact})
    except InvalidValue:  # nothing that others know: they are shown its text, while we get it back as it was
        role, content, name = exact.get("role"), exact.get("content"), exact.get("name")
        text = content if isinstance(content, str) else "" if content is None else str(content)
        return Message("assistant" if role == "assistant" else "user", text, name if isinstance(name, str) else None)


def _is_one_result(exact: Shape) -> bool:
    responses = exact.get("tool_responses") or ()
    return exact.get("role") == "tool" and len(responses) == 1 and exact.get("content") == responses[0].get("content")


# ------------------------------------------------------------------------------ from botwire


def _given_back(message: Message, native: dict[str, Any]) -> Shape:
    shape = {name: value for name, value in message.to_dict().items() if name in _MEMBERS}
    if native.get("responses"):
        identifier = {} if message.tool_call_id is None else {"tool_call_id": shape.pop("tool_call_id")}
        shape["tool_responses"] = [{**identifier, "role": "tool", "content": message.content}]
    if "role" in native:
        shape["role"] = native["role"]
    return shape


# ---------------------------------------------------------------------------------- pictures


def _without_picture(part: Any) -> Any:
    """A part of a content with its picture, which is a PIL image, as a data URI."""
    pil = sys.modules.get("PIL.Image")  # not loaded: nobody has made an image
    where = cast("Any", part).get("image_url") if isinstance(part, dict) else None
    picture: Any = cast("Any", where).get("url") if isinstance(where, dict) else None
    if pil is None or not isinstance(picture, pil.Image):
        return cast("Any", part)
    file = io.BytesIO()
    try:
        picture.save(file, "PNG")
    except (OSError, ValueError) as error:
        raise InvalidValue(f"content: an image that PNG cannot hold ({error}); convert it first: image.convert('RGB')") from error
    return _with_url(part, _PNG + base64.b64encode(file.getvalue()).decode())


def _with_picture(part: Any) -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError:  # models are sent the data URI anyway
        return part
    file = io.BytesIO(base64.b64decode(part["image_url"]["url"].removeprefix(_PNG)))
    return _with_url(part, Image.open(file).copy())


def _with_url(part: Any, url: Any) -> Any:
    return {**part, "image_url": {**part["image_url"], "url": url}}
