"""Models that say what they are told to, and what they were shown."""

from __future__ import annotations

import json
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_core import FunctionCall, Image
from autogen_core.models import CreateResult, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from PIL import Image as Pillow

INFO = ModelInfo(vision=True, function_calling=True, json_output=True, family="unknown", structured_output=True)


def client(*says: str | CreateResult) -> ReplayChatCompletionClient:
    return ReplayChatCompletionClient(list(says), model_info=INFO)


def calling(name: str, identifier: str = "call-1", thought: str | None = None, **arguments: Any) -> CreateResult:
    call = FunctionCall(id=identifier, name=name, arguments=json.dumps(arguments))
    usage = RequestUsage(prompt_tokens=1, completion_tokens=1)
    return CreateResult(finish_reason="function_calls", content=[call], usage=usage, cached=False, thought=thought)


def agent(name: str, model: ReplayChatCompletionClient, **options: Any) -> AssistantAgent:
    return AssistantAgent(name, model, system_message="SYSTEM", **options)


def seen(model: ReplayChatCompletionClient, call: int = -1) -> list[Any]:
    """What the model was shown at a call, in short: text, or the names of calls, or results."""
    return [short(message) for message in model.create_calls[call]["messages"]]


def short(message: Any) -> Any:
    if message.type == "FunctionExecutionResultMessage":
        return [result.content for result in message.content]
    if isinstance(message.content, list) and message.type == "AssistantMessage":
        return [call.name for call in message.content]
    return message.content


def image() -> Image:
    picture = Pillow.new("RGB", (3, 2))
    picture.putdata([(n, 2 * n, 255 - n) for n in range(6)])
    return Image(picture)


def pixels(picture: Image) -> tuple[Any, ...]:
    return picture.image.mode, picture.image.size, picture.image.tobytes()


def comparable(value: Any) -> Any:
    """Models as plain values of the same types, images as pixels: images have no equality of their own."""
    if isinstance(value, Image):
        return ("image", *pixels(value))
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if hasattr(type(value), "model_fields"):
        return (type(value).__name__, {name: comparable(getattr(value, name)) for name in type(value).model_fields})
    return (type(value).__name__, value)
