"""BotWireTeamSession: a team that goes on where it stopped, after a restart too."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, cast
from uuid import uuid4

from autogen_agentchat.base import Team

from botwire import AsyncMemory, AsyncSession, BotWireError, Memory, VersionConflict
from botwire.integrations.autogen._messages import NATIVE
from botwire.integrations.autogen._place import Place
from botwire.integrations.autogen._states import State, check_agents, check_contexts, is_running, team_state, thread, undo
from botwire.integrations.autogen._transcript import ChatItem, from_transcript, message_id, to_transcript

logger = logging.getLogger("botwire")

STATES = "autogen-teams"
"""What the name of the namespace with the teams' states ends in."""


class BotWireTeamSession:
    """The state of a team, loaded on entering and saved on leaving.

    ``async with BotWireTeamSession(team, "user-42"): await team.run(task="...")``

    Args:
        team: a RoundRobinGroupChat, SelectorGroupChat, Swarm or any other team of agentchat.
        session_id: any text of 1 to 512 bytes of UTF-8.
        namespace: the namespace of the session. The state lies beside it, in the namespace ``<namespace>.autogen-teams``
            under the session's id, so that it is no fact that an agent is shown.
        memory: a Memory or AsyncMemory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        url: where memory lies; as for ``Memory``.
        ttl: seconds, or a timedelta, after the last save at which state and session expire.
        stop_timeout: seconds to wait on leaving for a run that is still going.

    What the agents said to each other is added to the botwire session of that id, where any other framework reads it. The
    team itself goes by its state: next speaker, messages not yet delivered, what each agent was told. An agent's
    ``BotWireChatCompletionContext`` is part of it, and goes back to it on entering.

    The state is saved once the team has stopped, also if its run failed; never during a run, which would lose or repeat a
    turn. A team that is used by two processes at once is saved by the one that leaves first.

    Raises:
        InvalidName: if the session id or the namespace cannot be one.
        InvalidValue: on entering, if the team's agents are not those of the state, which stays as it was.
        VersionConflict: on leaving, if another process saved the team meanwhile.
        StoreUnavailable: if the store cannot be reached.
    """

    def __init__(
        self,
        team: Team,
        session_id: str,
        *,
        namespace: str = "default",
        memory: Memory | AsyncMemory | None = None,
        url: str | None = None,
        ttl: float | timedelta | None = None,
        stop_timeout: float = 5.0,
    ) -> None:
        self._place = Place(namespace, "default", memory, url)
        Memory(f"{self._place.namespace}.{STATES}").session(session_id, ttl=ttl)  # says now what is wrong with them; costs no I/O
        self.team, self.session_id = team, session_id
        self._ttl, self._stop_timeout = ttl, stop_timeout
        self._version: int | None = None
        self._said: set[str] = set()

    def __repr__(self) -> str:
        return f"<BotWireTeamSession {self.session_id!r} of {self._place.namespace!r}>"

    async def __aenter__(self) -> Self:
        await self.load()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            await self.save()
            return
        try:
            await self.save()
        except Exception as failure:  # noqa: BLE001 - what went wrong first is what the caller has to see
            error.add_note(f"besides, the team's state was not saved: {failure}")
            logger.error("session %r in namespace %r: the team's state was not saved: %s", self.session_id, self._place.namespace, failure)  # noqa: TRY400

    async def load(self) -> bool:
        """Bring the team to where it was saved; returns whether there was anything.

        Raises:
            InvalidValue: if its agents are not those of the state; names the missing and the additional ones.
            StoreCorrupt: if what is stored is not a team's state.
        """
        check_contexts(self.team, self._place.transcript(self.session_id, None))
        entry = await self._states.get_entry(self.session_id)
        if entry is None:
            self._version, self._said = 0, set()
            return False
        state = team_state(entry.value, self.session_id)
        before = await self.team.save_state()
        check_agents(before, state, self.session_id)
        try:
            await self.team.load_state(state)
        except Exception:
            await undo(self.team, before)
            raise
        self._version, self._said = entry.version, {message_id(message) for message in thread(state)}
        await self._complete(state, entry.value)
        return True

    async def save(self) -> None:
        """Store the team's state, durably, and what was said since the last time.

        Raises:
            VersionConflict: if another process saved the team since it was loaded here; this one's state is not stored.
            BotWireError: if the team is still running, or was not loaded first; nothing is stored.
        """
        if self._version is None:
            raise BotWireError("load the team's state first, or use 'async with BotWireTeamSession(...)'")
        await self._wait_until_stopped()
        state, save = await self.team.save_state(), uuid4().hex
        new = [message_id(message) for message in thread(state) if message_id(message) not in self._said]
        value = {"state": state, "save": save, "new": new}
        try:
            self._version = await self._states.set(self.session_id, value, ttl=self._ttl, if_version=self._version, request_id=save)
        except VersionConflict as conflict:
            raise VersionConflict(
                f"the team of session {self.session_id!r} in namespace {self._place.namespace!r} was saved by another process since it"
                " was loaded here; what this one did is not saved: enter the session again and repeat it",
                conflict.current,
            ) from conflict
        self._said.update(new)
        await self._write_down(state, save, set(new))

    async def delete(self) -> None:
        """Remove the state, and the session with all its agents' transcripts. The team in this process stays as it is."""
        await self._states.delete(self.session_id)
        await self._place.awaitable.delete_session(self.session_id)
        self._version = None

    async def messages(self, *types: type[ChatItem]) -> list[ChatItem]:
        """What is in the session, as agentchat's messages; what another framework said there, as TextMessage.

        Args:
            types: the classes of the team's own messages, as ``StructuredMessage[Answer]``. One whose class is not known is
                given as a TextMessage.
        """
        rows = await self._session.messages()
        return [from_transcript(row, types) for row in rows]

    # ------------------------------------------------------------------------------------ privately

    @property
    def _session(self) -> AsyncSession:
        return self._place.awaitable.session(self.session_id, ttl=self._ttl)

    @property
    def _states(self) -> AsyncMemory:
        return self._place.beside(STATES)

    async def _write_down(self, state: State, save: str, new: set[str]) -> None:
        """Add what was said to the session, and note there that this is done."""
        said = [to_transcript(message) for message in thread(state) if message_id(message) in new]
        if said:
            await self._session.append(*said, request_id=save)
            await self._session.merge_metadata({NATIVE: {"team_save": save}})

    async def _complete(self, state: State, value: dict[str, Any]) -> None:
        """Add what a process that ended between saving the state and writing down what was said left out."""
        save, new = value.get("save"), value.get("new")
        noted = (await self._session.metadata).get(NATIVE)
        if not new or (isinstance(noted, dict) and cast("dict[str, Any]", noted).get("team_save") == save):
            return
        there = {message.id for message in await self._session.messages()}
        if there.isdisjoint(new):
            await self._write_down(state, str(save), set(new))
        else:  # written in one step, so all of it
            await self._session.merge_metadata({NATIVE: {"team_save": save}})

    async def _wait_until_stopped(self) -> None:
        deadline = asyncio.get_running_loop().time() + self._stop_timeout
        while is_running(self.team):
            if asyncio.get_running_loop().time() > deadline:
                raise BotWireError(
                    f"the team of session {self.session_id!r} is still running, and a state saved now would lose or repeat a turn;"
                    " await its run, or close its stream, before leaving the session"
                )
            await asyncio.sleep(0.01)
