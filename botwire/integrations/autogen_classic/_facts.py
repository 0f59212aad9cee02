"""What an agent knows: the entries of a namespace, told to the model."""

from __future__ import annotations

import json

from botwire import Memory
from botwire.integrations.autogen_classic._messages import Shape

MOST_FACTS = 100
MOST_CHARACTERS = 8_000
"""What one message tells at most; that there is more is said in it."""


def facts_message(memory: Memory) -> list[Shape]:
    """One message that tells the entries of a namespace, as they are now; none if there are none.

    It is a user's: some providers refuse a second system message.

    Raises:
        StoreUnavailable: if the store cannot be read.
    """
    told = ["What is known from before:"]
    room = MOST_CHARACTERS
    for key, value in memory.items():
        line = f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        room -= len(line) + 1
        if room < 0 or len(told) > MOST_FACTS:
            told.append("(More is remembered than is told here.)")
            break
        told.append(line)
    return [{"role": "user", "name": "memory", "content": "\n".join(told)}] if len(told) > 1 else []
