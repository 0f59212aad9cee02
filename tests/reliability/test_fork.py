"""Forks of a process that has the store open."""

from __future__ import annotations

import os

import pytest

from botwire import Memory

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: this system has no fork")


@pytest.mark.parametrize("how", ["_exit", "exit"])
def test_parent_and_child_write_and_one_closing_takes_nothing_from_the_other(path, run, how):
    """With inherited connections SQLite takes the log away from the child, whose writes are then lost."""
    report = run("fork_and_outlive", path, how)
    assert report["status"] == 0
    assert report["log_was_there"], "the child's exit removed the log under the parent"
    assert report["keys"] == ["before", "in the child", "in the child, later", "in the parent"]


def test_a_fork_while_other_threads_write_and_read_loses_nothing(path, run):
    report = run("fork_while_writing", path, 40)
    assert report["statuses"] == [0] * 40
    assert report["check"]
    with Memory("n", url=f"sqlite://{path}") as memory:
        messages = memory.session("shared").messages()
    assert [message.seq for message in messages] == list(range(1, 1 + report["threads"] + 40 * 5 + 1))
    assert sum(message.content.startswith("child") for message in messages) == 200


def test_a_pool_of_multiprocessing_shares_the_store(path, run):
    numbers = run("fork_by_multiprocessing", path, 100)
    assert len({number for each in numbers for number in each}) == 100
    with Memory("n", url=f"sqlite://{path}") as memory:
        assert [message.seq for message in memory.session("shared").messages()] == list(range(1, 103))


def test_the_child_has_a_copy_of_what_is_in_ram(run):
    assert run("fork_ram") == {"child": ["a", "b"], "parent": ["a"]}
