"""What a model may be shown: every tool call with its result, every result with its call.

A call is stored before its tool runs, so that a crash leaves one without a result; and a window over a conversation may
cut a pair in two. Models' services refuse either.
"""

from __future__ import annotations

from collections.abc import Sequence

from botwire.integrations.autogen_classic._messages import Shape

INTERRUPTED = "This call was interrupted before its result was known; it may or may not have had its effect."


def window_start(view: Sequence[Shape], size: int | None) -> int:
    """Where the last ``size`` messages begin, or a little earlier, so that no result is without its call."""
    start = 0 if size is None else max(0, len(view) - size)
    while start and is_result(view[start]):
        start -= 1
    return start


def repaired(view: Sequence[Shape], *, ended: bool = False) -> list[Shape]:
    """``view`` with a result made up for each call that has none, and without results whose call is not there.

    Calls in the last message stay as they are, since they are to be answered now; unless it ``ended``.
    """
    shown: list[Shape] = []
    waiting: dict[str | None, Shape] = {}
    for shape in view:
        if is_result(shape):
            if kept := _answering(shape, waiting):
                shown.append(kept)
            continue
        shown += waiting.values()
        waiting = _made_up_results(shape)
        shown.append(shape)
    if ended or (view and is_result(view[-1])):
        shown += waiting.values()
    return shown


def unanswered(view: Sequence[Shape]) -> list[Shape]:
    """Made-up results for the calls with which ``view`` ends."""
    return repaired(view, ended=True)[len(repaired(view)) :]


def is_result(shape: Shape) -> bool:
    """Whether the message holds results of calls."""
    return shape.get("role") in ("tool", "function") or bool(shape.get("tool_responses"))


def _made_up_results(shape: Shape) -> dict[str | None, Shape]:
    """For each call of a message, by its id, the result that it gets if there is no other."""
    made_up: dict[str | None, Shape] = {}
    for call in shape.get("tool_calls") or ():
        response = {"tool_call_id": call.get("id"), "role": "tool", "content": INTERRUPTED}
        made_up[call.get("id")] = {"role": "tool", "content": INTERRUPTED, "tool_responses": [response]}
    if function := shape.get("function_call"):
        name = function.get("name")
        made_up[f"function {name}"] = {"role": "function", "name": name, "content": INTERRUPTED}
    return made_up


def _answering(shape: Shape, waiting: dict[str | None, Shape]) -> Shape | None:
    """The message as far as it answers calls that wait, which they then do no longer; None if it answers none."""
    if responses := shape.get("tool_responses"):
        kept = [response for response in responses if waiting.pop(response.get("tool_call_id"), None)]
        if len(kept) == len(responses):
            return shape
        return {**shape, "tool_responses": kept} if kept or shape.get("role") != "tool" else None
    identifier = f"function {shape.get('name')}" if shape.get("role") == "function" else shape.get("tool_call_id")
    return shape if waiting.pop(identifier, None) else None
