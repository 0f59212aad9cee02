"""What the demo's processes do: the code that an agent would have, over whatever store the URL names.

Run as ``python -m botwire.cli._demo_worker ROLE URL ...``. Each ends when its standard input does, so none outlives the demo.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import count

from botwire import Memory, StoreUnavailable

NAMESPACE = "demo"
PATIENCE = 30.0
"""Seconds for which a write is tried again while the store cannot be reached."""


def converse(url: str) -> None:
    """Go on with the conversation, and with notes about it, for ever; say so after each write that was acknowledged."""
    memory = Memory(NAMESPACE, url=url)
    session = memory.session("user-42")
    for turn in count(session.count() // 2 + 1):
        question, answer = ("user", f"question {turn}"), ("assistant", f"answer {turn}")
        persist(lambda question=question, answer=answer, turn=turn: session.append(question, answer, request_id=f"turn-{turn}"))
        say(f"turn {turn}")
        persist(lambda turn=turn: memory.set(f"note:{turn}", {"turn": turn}))
        say(f"note {turn}")


def recall(url: str) -> None:
    """Tell what is there of the conversation and the notes, and add to it."""
    memory = Memory(NAMESPACE, url=url)
    session = memory.session("user-42")
    messages = session.messages()
    answers = [int(message.text.split()[1]) for message in messages if message.role == "assistant"]
    notes = [int(key.partition(":")[2]) for key in memory.list_keys("note:")]
    (seq,) = session.append(("user", "do you remember me?"))
    session.pop()
    last = messages[-1].text if messages else None
    say(json.dumps({"answers": answers, "notes": notes, "seqs": [message.seq for message in messages], "next": seq, "last": last}))


def append(url: str, name: str, number: str) -> None:
    """Once told to go, append so many messages to the session that all share."""
    session = Memory(NAMESPACE, url=url).session("shared")
    session.count()  # opens the store: what is to be shown is the writing
    say("ready")
    sys.stdin.readline()
    for index in range(int(number)):
        persist(lambda index=index: session.append({"role": "user", "name": name, "content": str(index)}, request_id=f"{name}-{index}"))
    say("done")


def serve(url: str, port: str) -> None:
    """``botwire serve``."""
    from botwire.cli import main

    sys.exit(main(["serve", "--store", url, "--port", port]))


def persist(write: Callable[[], object]) -> None:
    """Write; again while the store is away. The request id keeps a write that did arrive from being done twice."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            write()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            say("waiting")
            time.sleep(0.05)
        else:
            return


def say(line: str) -> None:
    """A line to whoever started this process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    """Standard input ends when the demo does, however that came about."""
    while os.read(0, 4096):
        pass
    os._exit(1)


_ROLES: dict[str, Callable[..., None]] = {"converse": converse, "recall": recall, "append": append, "serve": serve}


def main() -> None:
    """Take on the role that the arguments name."""
    role, *arguments = sys.argv[1:]
    if role != "append":  # which waits for a line first
        threading.Thread(target=_end_with_parent, daemon=True).start()
    _ROLES[role](*arguments)


if __name__ == "__main__":
    main()
