"""A chat client that says what it is told to, and remembers what it was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
)


class Chatty(FunctionInvocationLayer, ChatMiddlewareLayer, BaseChatClient):
    def __init__(self, *says: str | Content) -> None:
        super().__init__()
        self.says = list(says)
        self.seen: list[list[Any]] = []

    def _inner_get_response(self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any) -> Any:
        self.seen.append([short(message) for message in messages])
        contents = [self.says.pop(0)]
        if not stream:
            return self._answer(contents)

        async def updates() -> Any:
            for word in str(contents[0]).split(" "):
                yield ChatResponseUpdate(role="assistant", contents=[Content.from_text(word)])

        return ResponseStream(updates(), finalizer=ChatResponse.from_updates)

    async def _answer(self, contents: list[Any]) -> ChatResponse:
        return ChatResponse(messages=[Message("assistant", contents)])


def short(message: Message) -> Any:
    """Its text, the names of its calls, or its results."""
    calls = [content.name for content in message.contents if content.type == "function_call"]
    results = [content.result for content in message.contents if content.type == "function_result"]
    return calls or results or message.text


def call(name: str, identifier: str = "call-1", **arguments: Any) -> Content:
    return Content.from_function_call(identifier, name, arguments=arguments)
