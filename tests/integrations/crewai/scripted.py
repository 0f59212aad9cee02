"""Models that follow a script, and crews of them."""

from __future__ import annotations

import json
from typing import Any

from crewai import Agent, BaseLLM, Crew, Task


class ScriptedLLM(BaseLLM):
    """Answers with ``replies``, one after another: text is an answer, a list native tool calls. The last one repeats.

    ``seen`` holds the messages of each call. What memory asks of a model is answered by ``structured``, by the name of the
    response's model; without it, as a model that cannot be reached.
    """

    def __init__(self, *replies: Any, structured: dict[str, Any] | None = None, **more: Any) -> None:
        super().__init__(model="scripted", **more)
        self._replies = list(replies)
        self._structured = structured
        self._seen: list[list[dict[str, Any]]] = []

    @property
    def seen(self) -> list[list[dict[str, Any]]]:
        return self._seen

    def prompt(self, number: int = 0) -> str:
        """All text of a call's messages."""
        return "\n".join(str(message.get("content")) for message in self._seen[number])

    def call(
        self, messages, tools=None, callbacks=None, available_functions=None, from_task=None, from_agent=None, response_model=None, **more
    ):
        if response_model is not None:
            if self._structured is None or response_model.__name__ not in self._structured:
                raise ConnectionError("the scripted model cannot be reached")
            return response_model.model_validate(self._structured[response_model.__name__])
        self._seen.append([dict(message) for message in messages] if isinstance(messages, list) else [{"content": messages}])
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    async def acall(self, *arguments, **more):
        return self.call(*arguments, **more)

    def supports_function_calling(self) -> bool:
        return True

    def supports_stop_words(self) -> bool:
        return False

    def get_context_window_size(self) -> int:
        return 128_000


def tool_call(name: str, identifier: str = "c1", **arguments: Any) -> list[dict[str, Any]]:
    """A reply that calls a tool."""
    return [{"id": identifier, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}]


def agent(llm: Any, role: str = "clerk", **more: Any) -> Agent:
    return Agent(role=role, goal="file facts", backstory="tidy", llm=llm, **more)


def crew(llm: Any, description: str = "Say what you know of the colour", *, role: str = "clerk", tools: Any = (), **more: Any) -> Crew:
    """A crew of one agent with one task."""
    worker = agent(llm, role, tools=list(tools))
    task = Task(description=description, expected_output="a sentence", agent=worker)
    return Crew(agents=[worker], tasks=[task], **more)
