"""Agents whose model is scripted. As a program, one process of a story: ``python streams.py URL TEXT``, told on standard output."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ag2 import Agent
from ag2.config import LLMClient
from ag2.events import BaseEvent, ModelMessage, ModelRequest, ModelResponse, ToolCallEvent, ToolCallsEvent, ToolResultsEvent
from ag2.testing import TestConfig


def spoken(events: Sequence[BaseEvent]) -> list[Any]:
    """What a model is sent of events: who says what, calls and results."""
    said: list[Any] = []
    for event in events:
        if isinstance(event, ModelRequest):
            said.append(["user", "".join(getattr(part, "content", "?") for part in event.parts)])
        elif isinstance(event, ModelResponse):
            said.append(["assistant", event.content, *(call.id for call in event.tool_calls.calls)])
        elif isinstance(event, ToolResultsEvent):
            said += [["tool", result.parent_id, result.result.parts[0].to_dict()] for result in event.results]
    return said


class Scripted(LLMClient):
    """A model that answers from a script, and keeps what it was asked."""

    def __init__(self, seen: list[Any], script: Callable[[list[Any]], Any]) -> None:
        self.seen, self.script = seen, script

    async def __call__(self, messages: Sequence[BaseEvent], context: Any, **options: Any) -> ModelResponse:
        asked = [*(["system", prompt] for prompt in context.prompt), *spoken(messages)]
        self.seen.append(asked)
        answer = self.script(asked)
        return ModelResponse(ModelMessage(answer)) if isinstance(answer, str) else ModelResponse(tool_calls=ToolCallsEvent(answer))


class Config(TestConfig):
    """The configuration of a scripted model."""

    def __init__(self, seen: list[Any], script: Callable[[list[Any]], Any]) -> None:
        super().__init__()
        self.client = Scripted(seen, script)

    def create(self) -> Any:
        return self.client


def count(asked: list[Any]) -> str:
    return f"answer {len(asked) - 1}"


def thinker(script: Callable[[list[Any]], Any] = count, **options: Any) -> tuple[Agent, list[Any]]:
    """An agent with a model, and what that model was asked."""
    seen: list[Any] = []
    return Agent("assistant", prompt="SYS", config=Config(seen, script), **options), seen


def call(identifier: str = "c1") -> list[ToolCallEvent]:
    return [ToolCallEvent("add", id=identifier, arguments='{"a": 1, "b": 2}')]


async def story(url: str, text: str) -> None:
    """A turn, in which the process is killed while the tool runs, if ``text`` says so."""
    from botwire.integrations.ag2 import botwire_stream

    def add(a: int, b: int) -> int:
        """Add."""
        os.kill(os.getpid(), signal.SIGKILL)
        return a + b

    agent, seen = thinker(lambda asked: call() if asked[-1][1] == "die" else count(asked), tools=[add])
    await agent.ask(text, stream=botwire_stream("s1", url=url))
    print("TOLD", json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(story(*sys.argv[1:]))
