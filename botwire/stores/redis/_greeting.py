"""What a server says of itself at first, and what its settings may lose of what it has acknowledged."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple, cast

from botwire.stores.redis._settings import Settings
from botwire.stores.redis._wire import TIME, Command, packed

logger = logging.getLogger("botwire.stores.redis")


def greeting_commands() -> list[Command]:
    """What to ask: the time, how it is doing, and what it is set to."""
    return [TIME, Command(None, packed(b"INFO")), Command(None, packed(b"CONFIG", b"GET", b"appendfsync"))]


class Greeting(NamedTuple):
    """What a server is set to; None for what it does not tell."""

    version: str
    facts: dict[str, str]
    appendfsync: str | None
    replicas: int | None
    publishes_to_shards: bool

    @classmethod
    def of(cls, answers: list[Any], replicas: int | None) -> Greeting:
        """From the answers to ``greeting_commands``."""
        info, config = answers[1:3]
        lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else []
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        version = facts.get("redis_version", "")
        pair = cast("list[bytes]", config) if isinstance(config, list) else []
        known = pair[1].decode() if len(pair) > 1 else None
        connected = facts.get("connected_slaves", "")
        if replicas is None and connected.isdecimal():
            replicas = int(connected)
        shards = version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) >= 7
        return cls(version, facts, known, replicas, shards)

    def warnings(self, settings: Settings) -> list[str]:
        """What of acknowledged writes these settings may lose, and how much."""
        found: list[str] = []
        policy = self.facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            found.append(f"maxmemory-policy is {policy}: when memory is full the server removes whole namespaces; set noeviction")
        if self.facts.get("aof_enabled") == "0":
            found.append("there is no append-only file: a restart loses all since the last snapshot, or everything; set appendonly yes")
        elif self.appendfsync == "everysec":
            found.append("appendfsync is everysec: a crash loses up to about two seconds of acknowledged writes; always loses none")
        elif self.appendfsync == "no":
            found.append("appendfsync is no: a crash loses what the system had not written yet, often 30 seconds; set always")
        if settings.kind != "single" and not self.replicas:
            found.append("a primary has no replica: what it holds cannot be read while it is down, and is lost with its disk; add two")
        elif self.replicas and not settings.wait:
            found.append(
                "replicas copy with a delay: a failover loses what the primary had acknowledged and not yet sent on, and if the network is "
                "cut apart, seconds of writes; ?wait=1 in the URL acknowledges nothing that a replica does not have"
            )
        return found

    def unknowns(self) -> list[str]:
        """What could not be checked."""
        hidden = [
            name for name, fact in (("maxmemory-policy", "maxmemory_policy"), ("appendonly", "aof_enabled")) if fact not in self.facts
        ]
        if self.appendfsync is None and self.facts.get("aof_enabled") != "0":
            hidden.append("appendfsync")
        return hidden

    def warn(self, settings: Settings) -> None:
        """Say so once, in the log."""
        for warning in self.warnings(settings):
            logger.warning("%s may lose acknowledged writes: %s", settings.shown, warning)
        if hidden := self.unknowns():
            names = ", ".join(hidden)
            logger.warning(
                "%s does not let its settings be read, so it could not be checked whether %s loses acknowledged writes",
                settings.shown,
                names,
            )
