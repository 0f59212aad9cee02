"""Graphs and models that need no network."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt


class ScriptedModel(FakeMessagesListChatModel):
    """Answers what it was given, in order. The fakes that come with LangChain refuse tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> ScriptedModel:
        return self


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def calling(*calls: dict[str, Any]) -> AIMessage:
    return AIMessage("", tool_calls=[{**call, "id": f"call-{number}"} for number, call in enumerate(calls)])


def adder(saver: Any, **options: Any) -> Any:
    """An agent that calls a tool, and then answers."""
    from langchain.agents import create_agent  # takes seconds, which not every program that is started here needs

    model = ScriptedModel(responses=[calling({"name": "add", "args": {"a": 1, "b": 2}}), AIMessage("3")])
    return create_agent(model, [add], checkpointer=saver, **options)


def said(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def echo(saver: Any, **options: Any) -> Any:
    """A graph of one node that says how many messages there are."""

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{len(state['messages'])}")]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=saver, **options)


def approval(saver: Any) -> Any:
    """A graph that asks before it acts."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"you said {interrupt('sure?')}")]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph.compile(checkpointer=saver)
