"""What a model may be shown: every tool call with its result, every result with its call.

A call is stored before its tool runs, so that a crash leaves one without a result; and a window over a conversation may
cut a pair in two. Models' services refuse either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autogen_core import FunctionCall
from autogen_core.models import AssistantMessage, FunctionExecutionResult, FunctionExecutionResultMessage

from botwire.integrations.autogen._messages import ModelMessage

INTERRUPTED = "This call was interrupted before its result was known; it may or may not have had its effect."
NOT_SHOWN = "The result of this call is no longer shown."


def call_ids(messages: Iterable[ModelMessage]) -> set[str]:
    """The ids of all calls that have a result among these messages."""
    return {result.call_id for message in messages if isinstance(message, FunctionExecutionResultMessage) for result in message.content}


def repaired(view: Sequence[ModelMessage], answered: set[str]) -> list[ModelMessage]:
    """``view`` with a result made up for each call that has none, and without results whose call is not there.

    Args:
        view: what a window shows of a conversation.
        answered: the ids of calls of the whole conversation that have a result.
    """
    shown: list[ModelMessage] = []
    open_calls: list[FunctionCall] = []
    for message in view:
        if isinstance(message, FunctionExecutionResultMessage):
            results = [result for result in message.content if _take(open_calls, result)]
            if len(results) == len(message.content):
                shown.append(message)
            elif results:
                shown.append(FunctionExecutionResultMessage(content=results))
            continue
        _close(shown, open_calls, answered)
        shown.append(message)
        if isinstance(message, AssistantMessage) and not isinstance(message.content, str):
            open_calls = list(message.content)
    _close(shown, open_calls, answered)
    return shown


def _take(open_calls: list[FunctionCall], result: FunctionExecutionResult) -> bool:
    """Whether one of the calls waits for this result, which it then does no longer."""
    for call in open_calls:
        if call.id == result.call_id:
            open_calls.remove(call)
            return True
    return False


def _close(shown: list[ModelMessage], open_calls: list[FunctionCall], answered: set[str]) -> None:
    """Answer the calls that still wait, in the message that answers the others, if there is one."""
    if not open_calls:
        return
    made_up = [
        FunctionExecutionResult(content=NOT_SHOWN if call.id in answered else INTERRUPTED, name=call.name, call_id=call.id, is_error=True)
        for call in open_calls
    ]
    if isinstance(last := shown[-1], FunctionExecutionResultMessage):
        made_up = [*last.content, *made_up]
        shown.pop()
    shown.append(FunctionExecutionResultMessage(content=made_up))
    open_calls.clear()
