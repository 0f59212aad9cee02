"""Runs in an interpreter that has diskcache: takes `op count` lines, answers with seconds per call."""

from __future__ import annotations

import json
import random
import sys
import time

import diskcache


def main() -> None:
    """``folder synchronous value``: serve until the input ends."""
    folder, synchronous, text = sys.argv[1:]
    value = json.loads(text)
    cache = diskcache.Cache(folder, **({"sqlite_synchronous": int(synchronous)} if synchronous else {}))
    keys = [f"user:{number}" for number in range(1_000)]
    for key in keys:
        cache.set(key, value)
    print("ready", flush=True)
    for line in sys.stdin:
        operation, count = line.split()
        chosen = random.choices(keys, k=int(count))
        start = time.perf_counter()
        if operation == "set":
            for key in chosen:
                cache.set(key, value)
        else:
            for key in chosen:
                cache.get(key)
        print((time.perf_counter() - start) / int(count), flush=True)
    cache.close()


if __name__ == "__main__":
    main()
