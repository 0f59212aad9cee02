"""A thread of checkpoints in any of LangGraph's savers."""

from __future__ import annotations

import time
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from bench.langchain_talk import conversation


class Thread:
    """A conversation of about so many messages in one saver, that grows by one with each checkpoint."""

    def __init__(self, saver: Any, length: int, name: str = "t") -> None:
        self.saver, self.length, self.step = saver, length, 0
        self.messages: list[Any] = list(conversation(length))
        self.newest: Any = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        self.any = self.newest
        self.put()

    def put(self) -> float:
        """Seconds that the next checkpoint took."""
        self.step += 1
        if len(self.messages) > self.length * 1.5:
            self.messages = list(conversation(self.length))
        self.messages = [*self.messages, HumanMessage(f"one more {self.step} " + "x" * 280)]
        version = f"{self.step:032}.0"
        values = {"channel_values": {"messages": self.messages}, "channel_versions": {"messages": version}}
        checkpoint: Any = {**empty_checkpoint(), "id": str(uuid6()), **values}
        start = time.perf_counter()
        self.newest = self.saver.put(self.newest, checkpoint, {"step": self.step}, {"messages": version})
        return time.perf_counter() - start

    def put_writes(self) -> float:
        """Seconds that one task's write took."""
        self.step += 1
        start = time.perf_counter()
        self.saver.put_writes(self.newest, [("messages", self.messages[-1])], f"task {self.step}")
        return time.perf_counter() - start

    def get_tuple(self) -> None:
        """Read the newest checkpoint."""
        self.saver.get_tuple(self.any)

    def list_ten(self) -> None:
        """Read the ten newest."""
        list(self.saver.list(self.any, limit=10))
