"""What there is to know about a team and its state.

agentchat 0.7 is the last of its line. Of it two private attributes are used, for which nothing public stands: whether a team
is running, and who its participants are. A team of another make, which has neither, is taken at its word.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

from autogen_agentchat.base import Team

from botwire import InvalidValue, StoreCorrupt
from botwire.integrations.autogen._context import BotWireChatCompletionContext

State = Mapping[str, Any]


def is_running(team: Team) -> bool:
    """Whether a run of the team is going on."""
    return bool(getattr(team, "_is_running", False))


def check_contexts(team: Team, transcript: tuple[Any, ...]) -> None:
    """See that no transcript is that of two agents, or of an agent and the team.

    Raises:
        InvalidValue: otherwise; names the agents.
    """
    owners = {transcript: "the team itself"}
    for agent in getattr(team, "_participants", ()):
        context = getattr(agent, "model_context", None)
        if not isinstance(context, BotWireChatCompletionContext):
            continue
        other = owners.setdefault(context.transcript, repr(agent.name))
        if other != repr(agent.name):
            raise InvalidValue(
                f"agent {agent.name!r} and {other} have the same transcript; give the agent its own:"
                f" BotWireChatCompletionContext(session_id, agent={agent.name!r})"
            )


def thread(state: State) -> list[State]:
    """What the agents said to each other, oldest first."""
    for member in cast("Mapping[str, Any]", state.get("agent_states", {})).values():
        if isinstance(member, Mapping) and isinstance(found := cast("State", member).get("message_thread"), list):
            return cast("list[State]", found)
    return []


def team_state(value: Any, session_id: str) -> State:
    """The state in a stored value.

    Raises:
        StoreCorrupt: if there is none.
    """
    state = cast("dict[str, Any]", value).get("state") if isinstance(value, dict) else None
    if not isinstance(state, dict) or not isinstance(cast("dict[str, Any]", state).get("agent_states"), dict):
        raise StoreCorrupt(f"what is stored for session {session_id!r} is not the state of a team")
    return cast("State", state)


def check_agents(now: State, then: State, session_id: str) -> None:
    """See that a team has the agents that a state is of, also in teams within it.

    Raises:
        InvalidValue: otherwise; names the ones that are missing, and those that are too many.
    """
    have, had = set(_names(now)), set(_names(then))
    if have == had:
        return
    missing, more = ", ".join(sorted(had - have)), ", ".join(sorted(have - had))
    parts = [f"it lacks {missing}"] if missing else []
    parts += [f"it has {more}, which the state does not know"] if more else []
    raise InvalidValue(
        f"the team is not the one that was saved as session {session_id!r}: {'; '.join(parts)}. Agents are told by their names:"
        " name them as before, or begin another session. The saved state is as it was"
    )


def _names(state: State, within: str = "") -> Iterator[str]:
    for name, member in cast("Mapping[str, Any]", state.get("agent_states", {})).items():
        yield f"{within}{name}"
        inner = cast("Mapping[str, Any]", member).get("agent_state") if isinstance(member, Mapping) else None
        if isinstance(inner, Mapping) and "agent_states" in inner:
            yield from _names(cast("State", inner), f"{within}{name}/")


async def undo(team: Team, before: State) -> None:
    """Bring the team back to where it was, as far as it lets itself: what hindered it is the error to report."""
    with contextlib.suppress(Exception):
        await team.load_state(before)
