"""``Session.replace``: other messages in place of all there are, in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from botwire import AsyncMemory, InvalidValue, Memory


@pytest.fixture(params=["file", "ram"])
def memory(request: pytest.FixtureRequest, tmp_path: Path):
    with Memory(url=f"sqlite://{tmp_path}/m.db" if request.param == "file" else "memory://") as memory:
        yield memory


def texts(memory: Memory) -> list[str]:
    return [message.text for message in memory.session("s").messages()]


def test_the_new_messages_take_the_place_of_all_old_ones(memory: Memory):
    memory.session("s").append(("user", "old"), ("user", "older"))

    assert memory.session("s").replace(("user", "new"), {"role": "assistant", "content": "yes"}) == [1, 2]
    assert texts(memory) == ["new", "yes"]


def test_replacing_by_nothing_clears(memory: Memory):
    memory.session("s").append(("user", "old"))

    assert memory.session("s").replace() == []
    assert texts(memory) == []


def test_a_message_that_cannot_be_stored_leaves_the_old_ones(memory: Memory):
    memory.session("s").append(("user", "old"))

    with pytest.raises(InvalidValue):
        memory.session("s").replace(("user", "new"), ("nobody", "bad role"))
    assert texts(memory) == ["old"]


def test_a_new_epoch_begins_and_metadata_stays(memory: Memory):
    session = memory.session("s")
    session.append(("user", "old"))
    session.set_metadata({"topic": "boats"})
    before = session.info()
    session.replace(("user", "new"))
    after = session.info()

    assert before is not None
    assert after is not None
    assert after.epoch != before.epoch
    assert after.metadata == {"topic": "boats"}


def test_a_repetition_of_a_request_is_applied_once(memory: Memory):
    session = memory.session("s")
    session.replace(("user", "new"), request_id="r1")
    session.append(("assistant", "answer"))
    session.replace(("user", "new"), request_id="r1")

    assert texts(memory) == ["new", "answer"]


@pytest.mark.anyio
async def test_replace_can_be_awaited(tmp_path: Path):
    async with AsyncMemory(url=f"sqlite://{tmp_path}/m.db") as memory:
        session = memory.session("s")
        await session.append(("user", "old"))

        assert await session.replace(("user", "new")) == [1]
        assert [message.text for message in await session.messages()] == ["new"]
