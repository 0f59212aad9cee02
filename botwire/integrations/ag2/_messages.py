"""A stream's events as botwire's messages, and what any other framework wrote as events.

What was said becomes messages that others read: a request, a response, the results of tools. All else that AG2 keeps
(usage, progress, the same calls and results once more in groups) is of no use to others, and lies beside the conversation.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from ag2.events import (
    BaseEvent,
    BinaryInput,
    DataInput,
    Input,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextInput,
    ToolCallEvent,
    ToolCallsEvent,
    ToolResult,
    ToolResultEvent,
    ToolResultsEvent,
    UrlInput,
)

from botwire import Message, ToolCall
from botwire.integrations.ag2._codec import UnknownClass, from_json, to_json

logger = logging.getLogger("botwire")

NATIVE = "ag2"
INTERRUPTED = "This call was interrupted before its result was known; it may or may not have had its effect."


def encoded(event: BaseEvent) -> Any:
    """The event as JSON.

    Raises:
        InvalidValue: if it could not come back; names the member.
    """
    return to_json(event, type(event).__name__)


def decoded(stored: Any, modules: Sequence[str], warned: set[str]) -> BaseEvent | None:
    """The event of its JSON; None if it cannot be read, of which a class is warned once."""
    try:
        event = from_json(stored, modules)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = str(error) if isinstance(error, UnknownClass) else f"{type(error).__name__}: {error}"
        if what not in warned:
            warned.add(what)
            logger.warning("passed over events of AG2 that cannot be read, and stay stored: %s", what)
        return None
    return event if isinstance(event, BaseEvent) else None


def said(event: BaseEvent, answered: set[str]) -> list[Message]:
    """The messages that others read of an event; none if it is nothing that was said.

    Args:
        event: of which the first message carries all that AG2 needs.
        answered: the ids of calls whose result was said already; those of this event are added.
    """
    results = note_results(event, answered)
    if isinstance(event, ModelRequest):
        messages = [Message("user", _content(event.parts))]
    elif isinstance(event, ModelResponse):
        messages = [Message("assistant", event.content, tool_calls=[_call(call) for call in event.tool_calls.calls])]
    else:
        messages = [_result(result) for result in results]
    for message in messages:
        message.native = {NATIVE: {"part": True}}
    if messages:
        messages[0].native = {NATIVE: {"event": encoded(event)}}
    return messages


def heard(message: Message) -> BaseEvent:
    """The event of a message that another framework wrote."""
    if message.role == "assistant":
        calls = [_call_event(call) for call in message.tool_calls]
        response = ModelResponse(ModelMessage(message.text) if message.text else None, tool_calls=ToolCallsEvent(calls))
        return _timed(response, message)
    if message.role == "tool":
        result = ToolResultEvent(parent_id=message.tool_call_id or "", name=message.name, result=ToolResult(message.text))
        return _timed(ToolResultsEvent([result]), message)
    return _timed(ModelRequest([TextInput(message.text)]), message)


def repaired(events: Iterable[BaseEvent]) -> list[BaseEvent]:
    """``events`` with a result for each call that was given up: one with none, before the next request.

    A crash leaves such calls, and models' services refuse them. What was known of their results is kept.
    """
    shown: list[BaseEvent] = []
    waiting: list[ToolCallEvent] = []
    loose: dict[str, ToolResultEvent] = {}
    for event in events:
        if isinstance(event, ModelRequest) and waiting:
            shown.append(ToolResultsEvent([loose.get(call.id) or _made_up(call) for call in waiting]))
            waiting = []
        shown.append(event)
        if isinstance(event, ModelResponse) and event.tool_calls.calls:
            waiting, loose = list(event.tool_calls.calls), {}
        elif isinstance(event, ToolResultEvent):
            loose[event.parent_id] = event
        elif isinstance(event, ToolResultsEvent):
            done = {result.parent_id for result in event.results}
            waiting = [call for call in waiting if call.id not in done]
    return shown


def note_results(event: BaseEvent, answered: set[str]) -> list[ToolResultEvent]:
    """The results in an event that were not said yet; ``answered`` then has the ids of their calls.

    A model may give a later call the id of an earlier one, which is then open again.
    """
    if isinstance(event, ModelResponse):
        answered.difference_update(call.id for call in event.tool_calls.calls)
    results = event.results if isinstance(event, ToolResultsEvent) else [event] if isinstance(event, ToolResultEvent) else []
    new = [result for result in results if result.parent_id not in answered]
    answered.update(result.parent_id for result in new)
    return new


def _timed(event: BaseEvent, message: Message) -> BaseEvent:
    if message.created_at is not None:
        event.created_at = message.created_at.timestamp()
    return event


def _made_up(call: ToolCallEvent) -> ToolResultEvent:
    return ToolResultEvent(parent_id=call.id, name=call.name, result=ToolResult(INTERRUPTED))


def _call(call: ToolCallEvent) -> ToolCall:
    return ToolCall(call.id, call.name, call.arguments)


def _call_event(call: ToolCall) -> ToolCallEvent:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)
    event = ToolCallEvent(call.name, arguments=arguments or "{}")
    if call.id is not None:
        event.id = call.id
    return event


def _result(result: ToolResultEvent) -> Message:
    return Message("tool", _content(result.result.parts), result.name, tool_call_id=result.parent_id)


def _content(parts: Sequence[Input]) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], (TextInput, DataInput)):
        return _text(parts[0])
    return [_part(part) for part in parts]


def _part(part: Input) -> dict[str, Any]:
    if isinstance(part, UrlInput):
        return {"type": "image_url", "image_url": {"url": part.url}} if part.kind == "image" else {"type": "file", "url": part.url}
    if isinstance(part, BinaryInput):
        url = f"data:{part.media_type};base64,{base64.b64encode(part.data).decode()}"
        return {"type": "image_url", "image_url": {"url": url}} if part.kind == "image" else {"type": "file", "file": {"file_data": url}}
    return {"type": "text", "text": _text(part)}


def _text(part: Input) -> str:
    if isinstance(part, TextInput):
        return part.content
    if isinstance(part, DataInput):
        return part.data if isinstance(part.data, str) else json.dumps(part.data, ensure_ascii=False, default=str)
    return repr(part)
