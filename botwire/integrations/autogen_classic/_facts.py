"""What an agent knows: the entries of a namespace, told to the model."""

from __future__ import annotations

import json

from botwire import Memory
from botwire.integrations.autogen_classic._messages import Shape


def facts_message(memory: Memory) -> list[Shape]:
    """One message that tells all entries of a namespace, as they are now; none if there are none.

    It is a user's: some providers refuse a second system message.

    Raises:
        StoreUnavailable: if the store cannot be read.
    """
    lines = [f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for key, value in memory.items()]
    if not lines:
        return []
    return [{"role": "user", "name": "memory", "content": "\n".join(["What is known from before:", *lines])}]
