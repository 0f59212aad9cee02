"""Power cuts, simulated: what was acknowledged before one is there after it, and what is there is whole."""

from __future__ import annotations

import os
import random

import pytest
from hurtful_vfs import HurtfulVFS

from botwire import Memory
from botwire.stores.sqlite import SQLiteStore

CUTS = int(os.environ.get("BOTWIRE_TEST_CUTS", "150"))
WRITES = 120


def write_with_photos(path, folder, durability, dice):
    """A session of writes on a VFS that takes photos at random moments; returns (photo, what was acknowledged by then)."""
    vfs = HurtfulVFS(f"photo-{durability}-{dice.random()}")
    store = SQLiteStore(f"sqlite://{path}?durability={durability}", vfs=vfs.name)
    told, photos = [], []

    def maybe_photograph(_):
        if len(photos) < CUTS and dice.random() < 0.1:
            photo = folder / str(len(photos))
            vfs.photograph(photo, dice)
            photos.append((photo, list(told)))

    vfs.before_call = maybe_photograph
    memory = Memory("n", store=store)
    session = memory.session("s")
    number = 0
    while number < WRITES or len(photos) < CUTS:
        number += 1
        memory.set(f"key {number}", {"number": number, "fill": "x" * dice.randrange(60_000)})
        told.append(("entry", number))
        session.append({"role": "user", "content": str(number)}, {"role": "assistant", "content": str(number)})
        told.append(("messages", number))
    vfs.before_call = lambda _: None
    store.close()
    vfs.unregister()
    return photos


def lost(photo, told):
    """How many acknowledged writes are not in the photo; fails if it is damaged or holds half a write."""
    with Memory("n", url=f"sqlite://{photo / 'memory.db'}") as memory:
        assert memory.store.check()["problems"] == []
        entries = {value["number"] for _, value in memory.items()}
        messages = memory.session("s").messages()
        assert entries == set(range(1, len(entries) + 1)), "a later write survived an earlier one"
        assert [(message.seq, message.content) for message in messages] == [(n + 1, str(n // 2 + 1)) for n in range(len(messages))]
        assert len(messages) % 2 == 0, "half of an append"
        assert len(messages) // 2 in (len(entries), len(entries) - 1)
        memory.set("after", {"number": 0})  # it can be written again
    there = {("entry", number) for number in entries} | {("messages", int(message.content)) for message in messages}
    return len(set(told) - there)


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_after_a_power_cut_acknowledged_writes_are_there_unless_durability_is_normal(path, tmp_path, durability):
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    photos = write_with_photos(path, tmp_path, durability, random.Random(seed))
    losses = [lost(photo, told) for photo, told in photos]
    assert len(losses) == CUTS
    print(f"{durability}: {sum(map(bool, losses))} of {CUTS} cuts lost acknowledged writes, {max(losses)} at most")
    if durability == "full":
        assert sum(losses) == 0
    else:
        assert sum(losses) > 0, "the simulation does not cut deep enough to prove anything"
