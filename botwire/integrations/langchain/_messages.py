"""LangChain's messages as botwire's, and back.

The neutral fields hold what every framework reads. Under ``native["langchain"]`` lies only what they do not
determine: the class, if the role does not tell it, and the fields that differ from what the neutral ones give. So a
plain exchange of text costs nothing extra, and a message begun by any other framework is read the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from langchain_core import messages as lc
from langchain_core.messages import BaseMessage

from botwire import InvalidValue, Message, ToolCall
from botwire.integrations.langchain._tagged import Objects, from_json, plain, same, to_json

logger = logging.getLogger("botwire")

CLASSES: dict[str, type[BaseMessage]] = {
    cls.model_fields["type"].default: cls
    for cls in (
        lc.AIMessage,
        lc.AIMessageChunk,
        lc.ChatMessage,
        lc.ChatMessageChunk,
        lc.FunctionMessage,
        lc.FunctionMessageChunk,
        lc.HumanMessage,
        lc.HumanMessageChunk,
        lc.RemoveMessage,
        lc.SystemMessage,
        lc.SystemMessageChunk,
        lc.ToolMessage,
        lc.ToolMessageChunk,
    )
}
_TYPES = {cls: name for name, cls in CLASSES.items()}
_ROLES = {
    "ai": "assistant",
    "assistant": "assistant",
    "function": "tool",
    "human": "user",
    "model": "assistant",
    "remove": "system",
    "developer": "system",
    "system": "system",
    "tool": "tool",
    "user": "user",
}
_BY_ROLE: dict[str, type[BaseMessage]] = {
    "assistant": lc.AIMessage,
    "system": lc.SystemMessage,
    "tool": lc.ToolMessage,
    "user": lc.HumanMessage,
}
_TEXT_ROLES: dict[type[BaseMessage], Any] = {lc.AIMessage: "assistant", lc.HumanMessage: "user", lc.SystemMessage: "system"}
_TEXT_CLASSES: dict[str, type[BaseMessage]] = {role: cls for cls, role in _TEXT_ROLES.items()}
_CALL_PARTS = frozenset({"function_call", "input_json_delta", "tool_call", "tool_call_chunk", "tool_use"})
_NOTHING: dict[str, Any] = {}
_set = object.__setattr__  # as pydantic's own __setstate__ does
_DEVELOPER = {"__openai_role__": "developer"}  # how langchain-openai remembers that a system message was a developer's


def to_botwire(message: BaseMessage, objects: Objects = "refuse") -> Message:
    """The botwire message from which ``from_botwire`` makes an equal one.

    Raises:
        InvalidValue: if there is none; names the field.
    """
    cls = type(message)
    if cls not in _TYPES:
        raise InvalidValue(
            f"{cls.__name__} is not one of langchain_core's message classes, and would not come back as what it is;"
            " give one of those, with what is special about it in additional_kwargs"
        )
    fields = _fields(message)
    text = _text_alone(cls, fields)
    if text is not None:
        return text
    neutral = _neutral(message)
    native = _native(cls, fields, neutral, objects)
    if native:
        neutral.native = {"langchain": native}
    if objects == "refuse" and not same(_fields(from_botwire(neutral)), fields):
        raise InvalidValue(f"this {cls.__name__} would not come back equal: {message!r:.200}")
    return neutral


def from_botwire(message: Message) -> BaseMessage:
    """The LangChain message of a botwire one, whichever framework wrote it."""
    if message.role in _TEXT_CLASSES and not (message.native or message.extra or message.tool_calls):
        return _build_text(_TEXT_CLASSES[message.role], message)
    native = message.native.get("langchain")
    cls, data = _default_class(message), _NOTHING
    if native is not None:
        try:
            # A dict with no tags in it is as it was; to look for them would take longer than all the rest.
            data = {**(native["data"] if "data" in native else from_json(native.get("tagged", _NOTHING)))}
            cls = CLASSES[native["type"]] if "type" in native else cls
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            logger.warning("message %s holds LangChain data that cannot be read (%r); its neutral fields are used", message.seq, error)
            data = _NOTHING
    fields = _derived(message, cls)
    fields.update(data)
    return _build(cls, fields, data)


def to_envelope(message: BaseMessage) -> dict[str, Any]:
    """A message alone, as JSON: its class and all its fields.

    Raises:
        InvalidValue: if it could not come back equal; names the field.
    """
    cls = type(message)
    if cls not in _TYPES:
        raise InvalidValue(f"{cls.__name__} is not one of langchain_core's message classes, and would not come back as what it is")
    return {"type": _TYPES[cls], "data": {name: to_json(value, f"{cls.__name__}.{name}") for name, value in _fields(message).items()}}


def from_envelope(envelope: dict[str, Any]) -> BaseMessage:
    """The reverse of ``to_envelope``.

    Raises:
        KeyError, TypeError, ValueError: if it is none.
    """
    fields = {**from_json(envelope["data"])}
    return _build(CLASSES[envelope["type"]], fields, fields)


# --------------------------------------------------------------------------------- LangChain to botwire


def _text_alone(cls: type[BaseMessage], fields: dict[str, Any]) -> Message | None:
    """The botwire message of one that is text and nothing else, as most are: from that alone ``from_botwire`` makes an equal one."""
    role = _TEXT_ROLES.get(cls)
    content, name, identity = fields.get("content"), fields.get("name"), fields.get("id")
    if (
        role is None
        or type(content) is not str
        or not (name is None or type(name) is str)
        or not (identity is None or type(identity) is str)
    ):
        return None
    rest = _beside_text(cls)
    if len(fields) != len(rest) + 3 or not all(each in fields and same(fields[each], default) for each, default in rest.items()):
        return None
    return Message(role, content, name, id=identity)


def _neutral(message: BaseMessage) -> Message:
    kind, role = message.type.removesuffix("MessageChunk").lower(), None
    if kind == "chat":
        role = cast("str", getattr(message, "role"))  # noqa: B009 - of ChatMessage and its chunk
        kind = role.lower()
    content = message.content if isinstance(message.content, str) else _parts(message.content) or ""
    neutral = Message(cast("Any", _ROLES.get(kind, "user")), content, message.name, id=message.id)
    if role is not None and kind not in _ROLES and message.name is None:
        neutral.name = role
    if kind in ("function", "developer") or (kind == "system" and message.additional_kwargs == _DEVELOPER):
        neutral.extra = {"role": "function" if kind == "function" else "developer"}
    if isinstance(message, lc.AIMessage):
        neutral.tool_calls = _calls(message)
    elif isinstance(message, lc.ToolMessage):
        neutral.tool_call_id = message.tool_call_id
    return neutral


def _parts(content: Iterable[str | dict[Any, Any]]) -> list[dict[str, Any]]:
    """Content as typed parts, without those that only repeat the tool calls."""
    parts: list[dict[str, Any]] = []
    for part in content:
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        elif not isinstance(part.get("type"), str):
            parts.append({**plain(part), "type": "other"})
        elif part["type"] not in _CALL_PARTS:
            parts.append(plain(part))
    return parts


def _calls(message: lc.AIMessage) -> list[ToolCall]:
    valid = [ToolCall(call["id"], call["name"], plain(call["args"])) for call in message.tool_calls]
    broken = [ToolCall(call.get("id"), call.get("name") or "", call.get("args") or "") for call in message.invalid_tool_calls]
    return valid + broken


def _native(cls: type[BaseMessage], fields: dict[str, Any], neutral: Message, objects: Objects) -> dict[str, Any]:
    native: dict[str, Any] = {}
    if cls is not _default_class(neutral):
        native["type"] = _TYPES[cls]
    default = {**_defaults(cls), **_derived(neutral, cls)}
    data = {name: value for name, value in fields.items() if name not in default or not same(value, default[name])}
    if data:
        members = {name: to_json(value, f"{cls.__name__}.{name}", objects) for name, value in data.items()}
        native["data" if same(members, data) else "tagged"] = members
    return native


def _fields(message: BaseMessage) -> dict[str, Any]:
    fields = {name: message.__dict__[name] for name in type(message).model_fields if name in message.__dict__}
    return {**fields, **(message.model_extra or {})}


# --------------------------------------------------------------------------------- botwire to LangChain


def _default_class(message: Message) -> type[BaseMessage]:
    if message.extra.get("role") == "function":
        return lc.FunctionMessage
    return _BY_ROLE[message.role]


def _derived(message: Message, cls: type[BaseMessage]) -> dict[str, Any]:
    """What the neutral fields say about the fields of ``cls``."""
    content = message.content
    fields: dict[str, Any] = {"content": "" if content is None else content, "name": message.name, "id": message.id}
    if message.extra:
        fields["additional_kwargs"] = _additional(message.extra)
    if issubclass(cls, lc.AIMessage):
        if message.tool_calls:
            fields["tool_calls"], fields["invalid_tool_calls"] = _langchain_calls(message.tool_calls)
    elif issubclass(cls, lc.ToolMessage):
        fields["tool_call_id"] = message.tool_call_id or ""
    elif issubclass(cls, lc.FunctionMessage):
        fields["name"] = message.name or ""
    elif issubclass(cls, lc.ChatMessage):
        fields["role"] = message.role
    return fields


def _additional(extra: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in extra.items() if name != "role"}
    return rest | _DEVELOPER if extra.get("role") == "developer" else rest


def _langchain_calls(calls: list[ToolCall]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    valid: list[dict[str, Any]] = []
    broken: list[dict[str, Any]] = []
    for call in calls:
        arguments = _arguments(call)
        if call.name and arguments is not None:
            valid.append({"name": call.name, "args": arguments, "id": call.id, "type": "tool_call"})
        else:  # as the model wrote it: LangChain keeps such calls apart
            text = call.arguments if isinstance(call.arguments, str) else None
            broken.append({"name": call.name or None, "args": text or None, "id": call.id, "error": None, "type": "invalid_tool_call"})
    return valid, broken


def _arguments(call: ToolCall) -> dict[str, Any] | None:
    try:
        return call.parsed()
    except InvalidValue:
        return None


@cache
def _empty(cls: type[BaseMessage]) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...], frozenset[str]]:
    """The defaults of a class's fields: those that may be shared, the makers of those that may not; and all its fields."""
    fields = cls.model_fields
    shared = {name: field.default for name, field in fields.items() if not field.is_required() and field.default_factory is None}
    made = tuple((name, field.default_factory) for name, field in fields.items() if field.default_factory is not None)
    return shared, made, frozenset(fields)


@cache
def _beside_text(cls: type[BaseMessage]) -> dict[str, Any]:
    """The defaults of all fields but text, name and id, to compare with."""
    return {name: value for name, value in _defaults(cls).items() if name not in ("content", "name", "id")}


def _defaults(cls: type[BaseMessage]) -> dict[str, Any]:
    shared, made, _ = _empty(cls)
    return {**shared, **{name: make() for name, make in made}}


def _build_text(cls: type[BaseMessage], message: Message) -> BaseMessage:
    """What ``_build`` makes of a message of which only the neutral fields are set, as most are, in half of its time."""
    shared, made, _ = _empty(cls)
    content = message.content
    fields = {**shared, "content": "" if content is None else content, "name": message.name, "id": message.id}
    for name, make in made:
        fields[name] = make()
    return _of_fields(cls, fields, {}, {"content", "name", "id"})


def _build(cls: type[BaseMessage], given: dict[str, Any], doubtful: dict[str, Any]) -> BaseMessage:
    """A message of exactly these fields, by the way of pickle: validation would change some, and takes five times as long.

    Those that are ``doubtful`` may be none of the class's own, which allows for others too.
    """
    shared, made, known = _empty(cls)
    fields = {**shared, **given}
    for name, make in made:
        if name not in fields:
            fields[name] = make()
    return _of_fields(cls, fields, {name: fields.pop(name) for name in doubtful if name not in known}, set(given))


def _of_fields(cls: type[BaseMessage], fields: dict[str, Any], extra: dict[str, Any], given: set[str]) -> BaseMessage:
    message = cls.__new__(cls)
    _set(message, "__dict__", fields)
    _set(message, "__pydantic_extra__", extra)
    _set(message, "__pydantic_fields_set__", given)
    _set(message, "__pydantic_private__", None)
    return message
