"""An agent that asks before it acts, and goes on in another process once there is an answer.

python agent.py start "Tell Bob that the meeting is at ten"      says what it would do, and which thread waits for you
python agent.py answer THREAD yes                                on this day or another
python agent.py list                                             the threads, and where each is
"""

from __future__ import annotations

import os
import sys
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from botwire.integrations.langgraph import BotWireSaver

PROMPT = "Write the mail that the user asks for, and nothing else."


def model(messages: list[BaseMessage]) -> BaseMessage:
    if "OPENAI_API_KEY" in os.environ:
        from langchain.chat_models import init_chat_model

        chat = init_chat_model(os.environ.get("OPENAI_MODEL", "gpt-5-mini"), model_provider="openai")
        return chat.invoke([("system", PROMPT), *messages])
    _, name, _, *message = messages[-1].text.split()  # a script for "Tell NAME that ...", so that it runs anywhere
    return AIMessage(f"Dear {name}, {' '.join(message)}.")


def draft(state: MessagesState) -> dict[str, Any]:
    return {"messages": [model(state["messages"])]}


def send(state: MessagesState) -> dict[str, Any]:
    mail = state["messages"][-1].text
    if interrupt(mail) != "yes":  # the process may end here; the node begins again when the answer is there
        return {"messages": [AIMessage("Not sent.")]}
    return {"messages": [AIMessage(f"Sent: {mail}")]}  # the place to really send it


graph = StateGraph(MessagesState)
graph.add_node(draft)
graph.add_node(send)
graph.add_edge(START, "draft")
graph.add_edge("draft", "send")
saver = BotWireSaver()
agent = graph.compile(checkpointer=saver)


def main(command: str, *rest: str) -> None:
    if command == "start":
        thread = uuid4().hex[:8]
        result = agent.invoke({"messages": [("user", rest[0])]}, {"configurable": {"thread_id": thread}})
        print(f"I would send: {result['__interrupt__'][0].value}\nanswer with: python agent.py answer {thread} yes")
    elif command == "answer":
        thread, answer = rest
        result = agent.invoke(Command(resume=answer), {"configurable": {"thread_id": thread}})
        print(result["messages"][-1].text)
    elif command == "list":
        for thread in sorted({checkpoint.config["configurable"]["thread_id"] for checkpoint in saver.list(None)}):
            waiting = agent.get_state({"configurable": {"thread_id": thread}}).next
            print(thread, "waits for an answer" if waiting else "is done")


if __name__ == "__main__":
    main(*sys.argv[1:])
