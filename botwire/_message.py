"""The neutral message: what every framework's message becomes, and may be read as by any other.

A ``Message`` has the fields that all frameworks share. What only one framework understands lies in
``native`` under that framework's name, so that it gets back exactly what it wrote, while the others read
a faithful conversation from the shared fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias, cast, get_args

from botwire._codec import MAX_VALUE_BYTES, decode, encode
from botwire._errors import InvalidValue, StoreCorrupt, shown

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)

_ROLE_ALIASES: dict[str, Role] = {"developer": "system", "function": "tool", "human": "user", "ai": "assistant"}

JSON: TypeAlias = Any
"""None, bool, int, finite float, str, or lists and str-keyed dicts of these."""


@dataclass(slots=True)
class ToolCall:
    """A call that the model asks for.

    ``arguments`` is the JSON text that the model wrote (the common chat shape's form), or the arguments
    as an object; it comes back in the form in which it was given.
    """

    id: str | None
    name: str
    arguments: str | dict[str, JSON] = ""
    extra: dict[str, JSON] = field(default_factory=dict[str, Any])
    """Members of the call's dict that are none of the above, for example its type."""

    def parsed(self) -> dict[str, JSON]:
        """The arguments as an object.

        Raises:
            InvalidValue: if their text is not the JSON text of an object.
        """
        if isinstance(self.arguments, dict):
            return self.arguments
        try:
            arguments = json.loads(self.arguments or "{}")
        except ValueError as error:
            raise InvalidValue(f"the arguments of the call of {self.name!r} are not JSON: {error}") from error
        if not isinstance(arguments, dict):
            raise InvalidValue(f"the arguments of the call of {self.name!r} are no object")
        return cast("dict[str, Any]", arguments)

    def to_dict(self) -> dict[str, JSON]:
        """The call in the common chat shape: ``{"id", "type": "function", "function": {"name", "arguments"}}``.

        One of a custom tool has ``"custom": {"name", "input"}`` in place of the function.
        """
        arguments = self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)
        call: dict[str, Any] = {} if self.id is None else {"id": self.id}
        kind, said = ("custom", "input") if self.extra.get("type") == "custom" else ("function", "arguments")
        return {**call, "type": kind, **self.extra, kind: {"name": self.name, said: arguments, **self.extra.get(kind, {})}}


@dataclass(slots=True)
class Message:
    """One message of a session.

    Args:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        content: text; or typed parts, each a dict with a ``type``; or None (an assistant that only calls tools).
        name: who speaks, where there are several: an agent's, a user's or the tool's name.
        tool_calls: what the assistant asks to be called.
        tool_call_id: which call a tool message answers.
        id: the message's own id, if its framework gave it one.
        metadata: the caller's own JSON object.
        native: what only one framework understands, by that framework's name.
        extra: members of the common chat shape that botwire has no field for; ``to_dict`` gives them back.
        created_at: when it was made, with a time zone; if None, the time of the append is stored.
        seq: its number in the session; set by reading it. Does not count in comparisons, nor does created_at.
    """

    role: Role
    content: str | list[dict[str, JSON]] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] = field(default_factory=list[ToolCall])
    tool_call_id: str | None = None
    id: str | None = None
    metadata: dict[str, JSON] = field(default_factory=dict[str, Any])
    native: dict[str, JSON] = field(default_factory=dict[str, Any])
    extra: dict[str, JSON] = field(default_factory=dict[str, Any])
    created_at: datetime | None = field(default=None, compare=False)
    seq: int | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """The content's text alone: of parts, the text parts, joined by line ends; empty if there is none."""
        if isinstance(self.content, str):
            return self.content
        texts = (part.get("text") for part in self.content or [])
        return "\n".join(text for text in texts if isinstance(text, str))

    def to_dict(self) -> dict[str, JSON]:
        """The message in the common chat shape, as ``{"role": "user", "content": "hi"}``.

        Holds ``name``, ``tool_calls``, ``tool_call_id`` and ``id`` where the message has them, and whatever else a
        dict that it was made from held. botwire's own fields (metadata, native, created_at, seq) are left out.
        """
        shape: dict[str, Any] = {"role": self.role, "content": self.content}
        for member in ("name", "tool_call_id", "id"):
            if (value := getattr(self, member)) is not None:
                shape[member] = value
        if self.tool_calls:
            shape["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        shape.update(self.extra)
        return shape

    @classmethod
    def from_dict(cls, shape: Mapping[str, JSON]) -> Message:
        """A message from the common chat shape; the reverse of ``to_dict``.

        Takes the roles ``developer``, ``function``, ``human`` and ``ai`` too; ``to_dict`` gives them back.

        Raises:
            InvalidValue: if a member is not what the shape has there; names it.
        """
        members = dict(shape)
        role = members.pop("role", None)
        extra: dict[str, Any] = {}
        if isinstance(role, str) and role in _ROLE_ALIASES:
            extra["role"] = role
            role = _ROLE_ALIASES[role]
        fields: dict[str, Any] = {"role": role}
        for member in ("content", "name", "tool_call_id", "id"):
            fields[member] = members.pop(member, None)
        if calls := members.pop("tool_calls", None):
            fields["tool_calls"] = [_call_from_dict(call) for call in _expect(calls, list, "tool_calls")]
        message = cls(**fields, extra={**extra, **members})
        _check_message(message)
        return message


MessageLike: TypeAlias = "Message | Mapping[str, JSON] | str | tuple[str, str]"
"""What ``append`` takes: a Message, a dict in the common chat shape, ``(role, text)``, or text with ``role=`` given."""


def to_message(given: MessageLike, role: str | None = None) -> Message:
    """The message that a caller means.

    Raises:
        InvalidValue: if it is none, saying what would be.
    """
    if isinstance(given, Message):
        _check_message(given)
        return given
    if isinstance(given, str):
        if role is None:
            raise InvalidValue("text alone is no message: say whose it is, as append('hi', role='user') or append(('user', 'hi'))")
        return Message.from_dict({"role": role, "content": given})
    if isinstance(given, Mapping):
        return Message.from_dict(given)
    if isinstance(given, tuple) and len(given) == 2:
        return Message.from_dict({"role": given[0], "content": given[1]})
    raise InvalidValue(
        f"{type(given).__name__} is no message; give a Message, a dict as {{'role': 'user', 'content': 'hi'}}, or ('user', 'hi')"
    )


def encode_message(message: Message, max_bytes: int = MAX_VALUE_BYTES) -> str:
    """The JSON text under which a message is stored.

    It holds ``created_at`` only if the message has one; otherwise the time of the append counts, which the store
    keeps. So the text of one message is the same each time, and a repeated request can be told from another one.

    Raises:
        InvalidValue: if a field would not come back equal; names it.
    """
    record: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.created_at is not None:
        record["created_at"] = _time_text(message.created_at)
    for member in ("name", "tool_call_id", "id"):
        if (value := getattr(message, member)) is not None:
            record[member] = value
    for member in ("metadata", "native", "extra"):
        if value := getattr(message, member):
            record[member] = value
    if message.tool_calls:
        record["tool_calls"] = [_call_record(call) for call in message.tool_calls]
    return encode(record, "message", max_bytes)


def decode_message(body: str, seq: int, appended_at: datetime, where: str) -> Message:
    """The message stored under ``seq``.

    Raises:
        StoreCorrupt: if it cannot be read; ``where`` names its session.
    """
    what = f"message {seq} of {where}"
    record = decode(body, what)
    try:
        if len(record) == 2:  # a role and text, as most: to look for what else there may be takes longer than the rest
            return Message(record["role"], record["content"], None, [], None, None, {}, {}, {}, appended_at, seq)
        calls = [_call_from_record(call) for call in record.get("tool_calls", ())]
        return Message(
            record["role"],
            record["content"],
            record.get("name"),
            calls,
            record.get("tool_call_id"),
            record.get("id"),
            record.get("metadata", {}),
            record.get("native", {}),
            record.get("extra", {}),
            datetime.fromisoformat(record["created_at"]) if "created_at" in record else appended_at,
            seq,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreCorrupt(f"{what} is not a message botwire wrote ({type(error).__name__}: {error})") from error


def _call_record(call: ToolCall) -> dict[str, Any]:
    record: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
    if call.id is not None:
        record["id"] = call.id
    if call.extra:
        record["extra"] = call.extra
    return record


def _call_from_record(record: dict[str, Any]) -> ToolCall:
    return ToolCall(record.get("id"), record["name"], record.get("arguments", ""), record.get("extra", {}))


def _call_from_dict(shape: Any) -> ToolCall:
    members = dict(_expect(shape, dict, "tool_calls[]"))
    identifier = members.pop("id", None)
    kind, said = ("custom", "input") if members.get("type") == "custom" else ("function", "arguments")
    if kind in members:
        function = dict(_expect(members.pop(kind), dict, f"tool_calls[].{kind}"))
        if members.get("type") == "function":
            del members["type"]
    else:  # the flat shape: {"id", "name", "arguments" or "args"}
        given = "args" if "args" in members and "arguments" not in members else "arguments"
        function = {"name": members.pop("name", None), said: members.pop(given, "")}
        if members.get("type") in ("function", "tool_call"):
            del members["type"]
    call = ToolCall(identifier, function.pop("name", None), function.pop(said, ""), members)  # type: ignore[arg-type]
    if function:
        call.extra[kind] = function
    _check_call(call)
    return call


def _check_message(message: Message) -> None:
    if message.role not in ROLES:
        raise InvalidValue(f"role must be one of {', '.join(ROLES)}, not {shown(message.role, 60)}")
    if message.content is not None and not isinstance(message.content, str):
        for index, part in enumerate(_expect(message.content, list, "content")):
            if type(part) is not dict or not isinstance(cast("Any", part).get("type"), str):
                raise InvalidValue(f"content[{index}] must be a dict with a 'type', not {shown(cast('Any', part), 60)}")
    for member in ("name", "tool_call_id", "id"):
        value = getattr(message, member)
        if value is not None and not isinstance(value, str):
            raise InvalidValue(f"{member} must be text or None, not {type(value).__name__}: {shown(value, 60)}")
    for member in ("metadata", "native", "extra"):
        _expect(getattr(message, member), dict, member)
    for call in _expect(message.tool_calls, list, "tool_calls"):
        _check_call(call)
    if message.created_at is not None:
        _expect(message.created_at, datetime, "created_at")


def _check_call(call: ToolCall) -> None:
    if not isinstance(cast("Any", call), ToolCall):
        raise InvalidValue(f"tool_calls must hold ToolCall objects, not {type(call).__name__}")
    if not isinstance(cast("Any", call.name), str):
        raise InvalidValue(f"a tool call needs the tool's name as text, not {shown(call.name, 60)}")
    if call.id is not None and not isinstance(cast("Any", call.id), str):
        raise InvalidValue(f"a tool call's id must be text or None, not {shown(call.id, 60)}")
    if not isinstance(cast("Any", call.arguments), (str, dict)):
        raise InvalidValue(f"a tool call's arguments must be JSON text or a dict, not {type(call.arguments).__name__}")
    _expect(call.extra, dict, "a tool call's extra")


def _expect(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise InvalidValue(f"{what} must be a {kind.__name__}, not {type(value).__name__}: {shown(value, 60)}")
    return value


def _time_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise InvalidValue(f"created_at needs a time zone: {moment!r}; use datetime.now(UTC)")
    return moment.isoformat()
