"""Checkpoints to store, made by hand."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from botwire.integrations.langgraph import BotWireSaver


def thread(name: str = "t", ns: str = "", **more: Any) -> Any:
    return {"configurable": {"thread_id": name, "checkpoint_ns": ns, **more}}


def put(saver: BotWireSaver, config: Any, metadata: Any = None, *, changed: set[str] | None = None, **values: Any) -> Any:
    """Store a checkpoint of these channel values; those not said to be changed keep the version they had."""
    before = saver.get_tuple(config) if "checkpoint_id" in config["configurable"] else None
    versions = dict(before.checkpoint["channel_versions"]) if before else {}
    new = {name: saver.get_next_version(versions.get(name), None) for name in (values if changed is None else changed)}
    checkpoint = {**empty_checkpoint(), "id": str(uuid6()), "channel_values": values, "channel_versions": {**versions, **new}}
    return saver.put(config, checkpoint, metadata or {}, new)  # type: ignore[arg-type]


def values(saver: BotWireSaver, config: Any) -> dict[str, Any]:
    found = saver.get_tuple(config)
    assert isinstance(found, CheckpointTuple)
    return found.checkpoint["channel_values"]


def latest(config: Any) -> Any:
    settings = config["configurable"]
    return thread(settings["thread_id"], settings["checkpoint_ns"])
