"""Flows that the tests run, here and in processes of their own."""

from __future__ import annotations

from typing import Any

from crewai.events.event_listener import event_listener
from crewai.flow.async_feedback import HumanFeedbackPending, PendingFeedbackContext
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.flow.persistence import persist
from pydantic import Field
from scripted import ScriptedLLM

from botwire.integrations.crewai import BotWireFlowPersistence, botwire_memory

try:
    from crewai.flow.conversational import ConversationConfig, ConversationState

    INHERITED = {}
except ImportError:  # CrewAI 1.14: they are elsewhere, and only what a class itself defines is followed by a save
    from crewai.experimental.conversational import ConversationConfig, ConversationState

    INHERITED = {name: getattr(Flow, name) for name in ("route_conversation", "converse_turn")}

event_listener.formatter.verbose = False  # no panels

MEMORY = botwire_memory("unused", url="memory://")
"""A flow without a memory makes one of LanceDB, which takes seconds to import."""


def chat(persistence: BotWireFlowPersistence, *replies: Any, state: Any = ConversationState, **more: Any) -> Any:
    """A conversational flow with a scripted model, which is its ``model``."""
    llm = ScriptedLLM(*(replies or ("answer",)))

    @persist(persistence)
    @ConversationConfig(llm=llm, system_prompt="Be kind.")
    class Chat(Flow[state]):
        conversational = True
        model = llm
        vars().update(INHERITED)

    return Chat(suppress_flow_events=True, memory=MEMORY, **more)


class Waits:
    """Asks no human, but ends the run until somebody resumes it."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Any) -> str:
        raise HumanFeedbackPending(context=context)


def review(persistence: BotWireFlowPersistence) -> Any:
    """A flow that pauses for a human between two steps."""

    @persist(persistence)
    class Review(Flow[dict]):
        memory: Any = Field(default_factory=lambda: MEMORY)

        @start()
        @human_feedback(message="Is it good?", provider=Waits())
        def draft(self):
            self.state["draft"] = "a poem"
            return "a poem"

        @listen(draft)
        def publish(self, result):
            self.state["published"] = self.state.get("published", 0) + 1
            return f"published after: {result.feedback}"

    return Review


def said(messages: Any) -> list[tuple[str, Any]]:
    """Role and text of messages, be they dicts or objects."""
    return [(message["role"], message["content"]) if isinstance(message, dict) else (message.role, message.content) for message in messages]
