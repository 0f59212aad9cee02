"""A Flow that waits for a human is resumed from what is stored, by anybody, once."""

from __future__ import annotations

from typing import Any

import pytest
from flows import review

from botwire import Memory, VersionConflict
from botwire.integrations.crewai import BotWireFlowPersistence


def paused(url: str) -> None:
    review(BotWireFlowPersistence(url=url))(suppress_flow_events=True).kickoff(inputs={"id": "r1"})


def resume(url: str) -> Any:
    persistence = BotWireFlowPersistence(url=url)
    return review(persistence).from_pending("r1", persistence, suppress_flow_events=True)


def test_a_paused_flow_is_resumed_from_the_store_and_no_longer_waits(any_url: str):
    paused(any_url)
    state, context = BotWireFlowPersistence(url=any_url).load_pending_feedback("r1")
    assert (state["draft"], context.message, context.method_output) == ("a poem", "Is it good?", "a poem")

    assert resume(any_url).resume("yes") == "published after: yes"

    persistence = BotWireFlowPersistence(url=any_url)
    assert persistence.load_pending_feedback("r1") is None
    assert persistence.load_state("r1")["published"] == 1
    with Memory(url=any_url) as memory:
        assert memory.list_keys() == ["crewai:flow:r1"]


def test_of_two_that_resume_one_flow_the_second_is_refused_and_does_nothing(any_url: str):
    paused(any_url)
    first, second = resume(any_url), resume(any_url)

    assert first.resume("yes") == "published after: yes"
    with pytest.raises(Exception, match=r"another run|resumed elsewhere"):
        second.resume("no")

    assert BotWireFlowPersistence(url=any_url).load_state("r1")["published"] == 1


def test_of_two_that_have_read_that_a_flow_waits_one_may_clear_it(any_url: str):
    """Where no method of the flow is followed by a save, this alone keeps the second from going on."""
    paused(any_url)
    first, second = BotWireFlowPersistence(url=any_url), BotWireFlowPersistence(url=any_url)
    for persistence in (first, second):
        assert persistence.load_pending_feedback("r1") is not None

    first.clear_pending_feedback("r1")
    with pytest.raises(VersionConflict, match="resumed elsewhere"):
        second.clear_pending_feedback("r1")


def test_a_flow_may_pause_again(url: str):
    paused(url)
    resume(url).resume("yes")
    paused(url)

    assert resume(url).resume("once more") == "published after: once more"
    assert BotWireFlowPersistence(url=url).load_state("r1")["published"] == 2
