"""Which of a server's settings endanger what was acknowledged. ``botwire doctor`` shows it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple


class Advice(NamedTuple):
    """One setting that was looked at."""

    level: Literal["ok", "warning", "problem"]
    what: str
    detail: str


def advise(figures: dict[str, Any]) -> list[Advice]:
    """What is to be said of the settings in the figures of ``PostgresStore.check``."""
    settings: dict[str, str | None] = figures.get("settings") or {}
    found: list[Advice] = []
    if settings.get("fsync") == "off":
        found.append(Advice("problem", "fsync", "off: a crash of the machine can destroy the whole database; set fsync = on"))
    if settings.get("full_page_writes") == "off":
        found.append(Advice("problem", "full_page_writes", "off: a crash of the machine can tear pages; set full_page_writes = on"))
    commit, standbys = settings.get("synchronous_commit"), settings.get("synchronous_standby_names")
    if commit == "off":
        found.append(
            Advice("problem", "synchronous_commit", "off: a crash loses writes that were acknowledged; set synchronous_commit = on")
        )
    elif commit == "local" and standbys:
        text = "local: a standby is named, but commits do not wait for it, so a failover loses writes; set synchronous_commit = on"
        found.append(Advice("problem", "synchronous_commit", text))
    if figures.get("standby"):
        found.append(Advice("warning", "role", "this server is a standby: it can be read, not written; name the primary in the URL"))
    elif not standbys:
        text = "no synchronous standby: what was acknowledged survives a crash of this server, but not the loss of its disk"
        found.append(Advice("ok", "standby", text))
    else:
        found.append(Advice("ok", "standby", f"commits wait for {standbys}"))
    if not any(advice.level == "problem" for advice in found):
        found.insert(0, Advice("ok", "durability", "fsync, full_page_writes and synchronous_commit are on"))
    return found
