"""Calls without a result, as a crash leaves them: models' services refuse to go on from one."""

from __future__ import annotations

from collections.abc import Sequence

from agent_framework import Content, Message

INTERRUPTED = "This call was interrupted before its result was known; it may or may not have had its effect."


def repaired(history: Sequence[Message], coming: Sequence[Message]) -> list[Message]:
    """``history`` with a result made up for each call that has none, neither in it nor in what is ``coming``."""
    messages: list[Message] = []
    waiting: dict[str, None] = {}
    later = _answers(coming)
    for message in history:
        answers = _answers([message])
        if not answers:
            _close(messages, waiting)
        for call_id in answers:
            waiting.pop(call_id, None)
        messages.append(message)
        waiting |= dict.fromkeys(_calls(message))
    for call_id in later:
        waiting.pop(call_id, None)
    _close(messages, waiting)
    return messages


def _calls(message: Message) -> list[str]:
    """The ids of the calls that are to be answered here, not by the service."""
    calls = [content for content in message.contents if content.type == "function_call" and content.call_id is not None]
    answered = _answers([message])
    return [str(call.call_id) for call in calls if not getattr(call, "hosted", False) and call.call_id not in answered]


def _answers(messages: Sequence[Message]) -> set[str]:
    """The ids of the calls that have a result in these messages, or whose approval a user decides."""
    ids: set[str] = set()
    for message in messages:
        for content in message.contents:
            call = content.function_call if content.type.startswith("function_approval_") else content
            if content.type != "function_call" and isinstance(call, Content) and call.call_id is not None:
                ids.add(call.call_id)
    return ids


def _close(messages: list[Message], waiting: dict[str, None]) -> None:
    if waiting:
        messages.append(Message("tool", [Content.from_function_result(call_id, result=INTERRUPTED) for call_id in waiting]))
        waiting.clear()
