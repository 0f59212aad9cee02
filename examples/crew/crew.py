"""A crew that remembers what it found out, in whichever process that was.

python crew.py "Our project is called Bluebird. What is it called?"
python crew.py "What is our project called?"
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

# Read when CrewAI is imported: no telemetry, no questions at the first run.
os.environ |= {"OTEL_SDK_DISABLED": "true", "CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_TESTING": "true"}

from crewai import LLM, Agent, BaseLLM, Crew, Task

from botwire.integrations.crewai import botwire_memory


class Scripted(BaseLLM):
    """Stands in for a model; like one, it knows only what it is shown."""

    def call(self, messages: Any, *_: Any, **__: Any) -> str:
        found = re.search(r"is called (\w+)\.", str(messages))
        return f"The project is called {found[1]}." if found else "I do not know what it is called."

    def get_input_tokens_count(self, *_: Any, **__: Any) -> int:
        return 100  # CrewAI warns if a model cannot count


def main(request: str) -> None:
    real = "OPENAI_API_KEY" in os.environ
    model = LLM(model="openai/" + os.environ.get("OPENAI_MODEL", "gpt-5-mini")) if real else Scripted(model="scripted")
    clerk = Agent(role="clerk", goal="know what matters to the team", backstory="You are tidy.", llm=model)
    writer = Agent(role="writer", goal="answer in one sentence", backstory="You are brief.", llm=model)
    tasks = [
        Task(description=f"Collect what is known about this: {request}", expected_output="facts", agent=clerk),
        Task(description=f"Answer: {request}", expected_output="one sentence", agent=writer),
    ]
    crew = Crew(agents=[clerk, writer], tasks=tasks, memory=botwire_memory("crew-example"))
    print(crew.kickoff().raw)


if __name__ == "__main__":
    main(sys.argv[1])
