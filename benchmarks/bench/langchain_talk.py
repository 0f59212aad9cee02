"""A conversation as LangChain has it, for the topics that compare histories and checkpoints."""

from __future__ import annotations

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage


def conversation(length: int) -> list[BaseMessage]:
    """Questions and answers, these with what a provider says about them."""
    usage = {"input_tokens": 30, "output_tokens": 40, "total_tokens": 70}
    about = {"model_name": "some-model", "finish_reason": "stop"}
    return [
        AIMessage(f"answer {number} " + "y" * 200, id=f"run-{number}", usage_metadata=usage, response_metadata=about)  # type: ignore[arg-type]
        if number % 2
        else HumanMessage(f"question {number} " + "x" * 100)
        for number in range(length)
    ]
