"""Starts memory servers, writes through each, and kills it once some writes were acknowledged.

``killer.py FILE NAME ROUNDS``: prints as JSON what was acknowledged. The servers are forked from this process, which has
loaded them before: what is killed is a process, while loading it two hundred times would test the importing of modules.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from clients import call, opening

import botwire.integrations.mcp._serving  # noqa: F401 - loaded before the forks
from botwire.cli import main


def start(file: str) -> tuple[int, int, int]:
    """A server; its process, its standard input and its standard output."""
    to_server, requests = os.pipe()
    answers, from_server = os.pipe()
    if (process := os.fork()) == 0:
        os.dup2(requests_in := to_server, 0)
        os.dup2(from_server, 1)
        for fd in (requests_in, requests, answers, from_server):
            os.close(fd)
        os._exit(main(["mcp", "--store", file]))
    os.close(to_server)
    os.close(from_server)
    return process, requests, answers


def one_round(file: str, name: str) -> dict[str, int]:
    """What was acknowledged before the kill, which comes while more writes are under way."""
    process, requests, answers = start(file)
    os.write(requests, opening() + b"".join(call(n, "memory_set", {"key": f"{name}/{n}", "value": n}) for n in range(1, 60)))
    wanted, seen = random.randint(1, 50), dict[str, int]()
    with os.fdopen(answers, "rb") as lines:
        for line in lines:
            answer = json.loads(line)
            if "isError" in answer["result"]:
                assert not answer["result"]["isError"], line
                seen[f"{name}/{answer['id']}"] = answer["id"]
            if len(seen) == wanted:
                break
        os.kill(process, signal.SIGKILL)
    os.close(requests)
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    return seen


if __name__ == "__main__":
    file, name, rounds = sys.argv[1:]
    acknowledged: dict[str, int] = {}
    for number in range(int(rounds)):
        acknowledged |= one_round(file, f"{name}/{number}")
    print(json.dumps(acknowledged))
