"""A team whose discussion goes on from process to process: each run is one turn of one member.

python team.py "A letter to the customer, please"        the writer speaks
python team.py "What do you think?"                      the critic
python team.py                                           the discussion so far
"""

from __future__ import annotations

import asyncio
import os
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.models import ChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient

from botwire import Memory
from botwire.integrations.autogen import BotWireTeamSession

SESSION = "autogen-team-example"
MEMBERS = {
    "writer": ("You write letters of one sentence.", "We are sorry, and your parcel is on its way."),
    "critic": ("You say in one sentence what to improve.", "Say when it arrives."),
}


def model(line: str) -> ChatCompletionClient:
    """A real model if there is a key, else one that says its line."""
    if "OPENAI_API_KEY" in os.environ:
        from autogen_ext.models.openai import OpenAIChatCompletionClient

        return OpenAIChatCompletionClient(model=os.environ.get("OPENAI_MODEL", "gpt-5-mini"))
    return ReplayChatCompletionClient([line])


async def turn(task: str) -> None:
    members = [AssistantAgent(name, model(line), system_message=prompt) for name, (prompt, line) in MEMBERS.items()]
    team = RoundRobinGroupChat(members, max_turns=1)
    async with BotWireTeamSession(team, SESSION):  # loads whose turn it is and what each has heard; saves at the end
        result = await team.run(task=task)
    answer = result.messages[-1]
    if isinstance(answer, TextMessage):
        print(f"{answer.source}: {answer.content}")


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(turn(sys.argv[1]))
    else:
        for message in Memory().session(SESSION).messages():
            print(f"{message.name or message.role}: {message.text}")
