"""BotWireFlowPersistence: the state of CrewAI's Flows in botwire's memory, and their messages as sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast
from uuid import uuid4

from crewai.flow.async_feedback.types import PendingFeedbackContext
from crewai.flow.persistence.base import FlowPersistence
from pydantic import BaseModel, PrivateAttr, field_serializer

from botwire import BotWireError, Entry, InvalidValue, Memory, StoreBusy, StoreFull, StoreReadOnly, StoreUnavailable, VersionConflict
from botwire.integrations.crewai import _transcript
from botwire.integrations.crewai._messages import are_messages, digest, from_botwire
from botwire.integrations.crewai._state import State, dump_to_json, state_to_json
from botwire.integrations.crewai._transcript import Seen
from botwire.stores import KEEP, Batch, Change, Operation, Result, Set, SetLog, Ttl, encode_value

STATE = "crewai:flow:"
PENDING = "crewai:pending:"
HISTORY = "crewai:history:"
"""How the keys of entries begin; the flow's id follows."""

RETRY_AFTER = 0.05
"""Seconds after which a write that did not reach the store is tried once more."""

_MOST_RUNS = 64
"""Runs of flows that one context remembers: a program that only loads states would gather them without end."""


@dataclass(slots=True)
class _Run:
    """What one run of a flow knows of what is stored. ``version`` and ``pending`` are those of its entries, 0 for none."""

    version: int = 0
    pending: int = 0
    messages: Seen = field(default_factory=Seen)


_runs: ContextVar[Mapping[tuple[str, str], _Run]] = ContextVar("botwire_crewai_runs")
"""The runs that were begun by loading a state: by persistence object and flow id, in the context of the one kickoff.

CrewAI names a flow by its id alone. Two runs on one id would be taken for one without this.
"""


class BotWireFlowPersistence(FlowPersistence):
    """Where a Flow's state lies: give it to ``@persist(...)`` or ``Flow(persistence=...)``, and a flow outlives the process.

    Args:
        namespace: the namespace of states and sessions.
        url: where memory lies; as for ``Memory``.
        memory: a Memory to use, in place of ``url`` and ``namespace``; it stays yours to close.
        ttl: seconds, or a timedelta, after its last save at which a flow with its session expires.
        history: how many earlier states to keep for ``earlier_states``; without it, only the last one is there.
        messages_in: the member of the state that holds the conversation. Where it is a list of messages, it is the botwire session
            of the flow's id, which any framework reads and may have begun. None leaves it in the state.

    The state is one entry, written over at each save, in one step with the messages that are new. Two runs that go on from one
    state cannot both save: the slower one is refused by ``VersionConflict``, which CrewAI turns into a ``RuntimeError``, and has
    changed nothing. Messages that another framework appends meanwhile stay. Costs no I/O until its first call; may be
    used from many threads and processes at once.

    Raises:
        InvalidName: if the namespace cannot be one.
        InvalidValue: if an argument cannot be used.
    """

    persistence_type: str = "BotWireFlowPersistence"
    namespace: str = "default"
    url: str | None = None
    ttl: float | None = None
    history: int = 0
    messages_in: str | None = "messages"

    _memory: Memory = PrivateAttr()
    _name: str = PrivateAttr(default_factory=lambda: uuid4().hex)
    _locks: list[threading.Lock] = PrivateAttr(default_factory=lambda: [threading.Lock() for _ in range(64)])

    def __init__(
        self,
        namespace: str = "default",
        *,
        url: str | None = None,
        memory: Memory | None = None,
        ttl: float | timedelta | None = None,
        history: int = 0,
        messages_in: str | None = "messages",
        **registered: Any,  # what CrewAI adds when it restores a flow from JSON
    ) -> None:
        if memory is not None and (url is not None or namespace not in ("default", memory.namespace)):
            raise InvalidValue("give memory=, or url= and namespace=, not both")
        if type(history) is not int or history < 0:
            raise InvalidValue(f"history must be an int of 0 or more, not {history!r:.80}")
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        used = Memory(namespace, url=url) if memory is None else memory
        used.session("any", ttl=seconds)  # says now what is wrong with it; costs no I/O
        fields: dict[str, Any] = {"namespace": used.namespace, "url": url, "ttl": seconds, "history": history, "messages_in": messages_in}
        super().__init__(**registered, **fields)
        self._memory = used

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # it stands for what is stored, of which there is one

    @field_serializer("url")
    def _url_without_secrets(self, url: str | None) -> str | None:
        """What a flow's JSON says: the address of the store, without a password."""
        given = Memory(self.namespace)
        return None if url is None and self._memory.store is given.store else self._memory.store.url

    # --------------------------------------------------------------------------------------- states

    def init_db(self) -> None:
        """Nothing is to be prepared: the store is made when it is first written."""

    def save_state(self, flow_uuid: str, method_name: str, state_data: State | BaseModel) -> None:
        """Store a flow's state over the one before, and its new messages, in one step. Durable when it returns.

        Raises:
            InvalidValue: if something in it would not come back equal; names the path. Nothing is stored.
            VersionConflict: if another run has saved since this one read the state. Nothing is stored.
            StoreUnavailable: if the store cannot be written, also after a second try.
        """
        to_json = dump_to_json if method_name == "_ask_checkpoint" else state_to_json
        with self._lock(flow_uuid):  # methods that run side by side each save what there is once it is their turn
            self._save(flow_uuid, method_name, to_json(state_data), [])

    def load_state(self, flow_uuid: str) -> State | None:
        """The state that was saved last, with the session's messages in it; None if there is neither.

        A session that another framework began is a state with nothing but messages.

        Raises:
            StoreUnavailable: if the store cannot be read.
        """
        run, state = self._read(flow_uuid)
        self._remember(flow_uuid, run)
        return state

    def earlier_states(self, flow_uuid: str) -> list[State]:
        """The last ``history`` saves, oldest first: ``{"saved_at", "method", "state"}``, without the session's messages."""
        return self._memory.get(HISTORY + flow_uuid, [])

    # ------------------------------------------------------------------------------------- feedback

    def save_pending_feedback(self, flow_uuid: str, context: PendingFeedbackContext, state_data: State | BaseModel) -> None:
        """Store the state of a flow that waits for a human, and what it waits for, in one step.

        Raises what ``save_state`` does.
        """
        pending = Set(PENDING + flow_uuid, encode_value({"context": context.to_dict()}, "the pending feedback"), ttl=self._ttl())
        with self._lock(flow_uuid):
            self._save(flow_uuid, context.method_name, dump_to_json(state_data), [pending])

    def load_pending_feedback(self, flow_uuid: str) -> tuple[State, PendingFeedbackContext] | None:
        """The state and what is waited for; None if the flow does not wait."""
        entry = self._memory.get_entry(PENDING + flow_uuid)
        run, state = self._read(flow_uuid)
        if entry is None or state is None:
            return None
        run.pending = entry.version
        self._remember(flow_uuid, run)
        return state, PendingFeedbackContext.from_dict(entry.value["context"])

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Note that the flow no longer waits.

        Raises:
            VersionConflict: if another process has resumed the flow since this one read that it waits, so that only one goes on.
        """
        run = _runs.get({}).get((self._name, flow_uuid))
        try:
            self._memory.delete(PENDING + flow_uuid, if_version=run.pending if run is not None and run.pending else None)
        except VersionConflict as error:
            raise VersionConflict(f"flow {flow_uuid!r} was resumed elsewhere; this run of it must not go on", error.current) from error

    # ----------------------------------------------------------------------------------- privately

    def _lock(self, flow_id: str) -> threading.Lock:
        return self._locks[hash(flow_id) % len(self._locks)]

    def _ttl(self) -> Ttl:
        return None if self.ttl is None else max(1, round(self.ttl * 1_000_000))

    def _remember(self, flow_id: str, run: _Run) -> None:
        runs = {**_runs.get({}), (self._name, flow_id): run}
        _runs.set(dict(list(runs.items())[-_MOST_RUNS:]))

    def _run(self, flow_id: str) -> _Run:
        """What the run that is saving knows: from when it loaded, or, if it began anew, what this object wrote itself."""
        run = _runs.get({}).get((self._name, flow_id))
        if run is not None:
            return run
        run, _, writer = self._read_with_writer(flow_id)
        if run.version and writer != self._name:
            raise _overtaken(flow_id, run.version)
        if not run.version and run.messages.digests:
            run.messages.place = None  # a conversation that this run has not read: it may add to it, no more
        return run

    def _save(self, flow_id: str, method: str, state: State, more: Sequence[Operation]) -> None:
        run = self._run(flow_id)
        rest, messages = self._split(state)
        session = self._memory.session(flow_id)
        said = (
            [] if messages is None else _transcript.operations(run.messages, messages, session, KEEP if self.ttl is None else self._ttl())
        )
        if self.ttl is not None and run.messages.digests and not said:
            more = [*more, SetLog(flow_id, "", self._ttl())]  # so that both expire together
        record: State = {"state": rest, "method": method, "writer": self._name}
        if messages is not None:
            record["messages"] = {"full": _transcript.is_full(messages), "digest": _digest(messages)}
        if self.history:
            earlier = {"saved_at": datetime.now(UTC).isoformat(), "method": method, "state": rest}
            more = [*more, Change(HISTORY + flow_id, "append", encode_value([earlier]), self.history, ttl=self._ttl())]
        kept = Set(STATE + flow_id, encode_value(record, "state"), run.version, self._ttl())
        operations = [kept, *said, *more]
        results = self._write(flow_id, operations)
        run.version = cast("int", results[0])
        if messages is not None:
            _transcript.written(run.messages, messages, said, results[1 : 1 + len(said)])
        for operation, result in zip(operations, results, strict=True):
            if isinstance(operation, Set) and operation.key == PENDING + flow_id:
                run.pending = cast("int", result)

    def _split(self, state: State) -> tuple[State, list[State] | None]:
        messages = None if self.messages_in is None else state.get(self.messages_in)
        if not are_messages(messages):
            return state, None
        return {name: value for name, value in state.items() if name != self.messages_in}, messages

    def _write(self, flow_id: str, operations: Sequence[Operation]) -> list[Result]:
        batch = Batch(self.namespace, tuple(operations), uuid4().hex)
        try:
            return self._apply(batch)
        except VersionConflict as error:
            raise _overtaken(flow_id, error.current) from error
        except StoreUnavailable as error:
            if isinstance(error, (StoreBusy, StoreFull, StoreReadOnly)):  # waited its time already, or will not change at once
                raise
            time.sleep(RETRY_AFTER)
            return self._apply(batch)  # the same request id: applied once, whatever became of the first

    def _apply(self, batch: Batch) -> list[Result]:
        outcome = self._memory.store.write((batch,))[0]
        if isinstance(outcome, BotWireError):
            raise outcome
        return outcome

    def _read(self, flow_id: str) -> tuple[_Run, State | None]:
        return self._read_with_writer(flow_id)[:2]

    def _read_with_writer(self, flow_id: str) -> tuple[_Run, State | None, str | None]:
        """What is stored, as it was at one moment."""
        entry = self._memory.get_entry(STATE + flow_id)
        while True:
            found = self._with_messages(flow_id, entry)
            run, state, as_saved = found
            if as_saved:
                break
            again = self._memory.get_entry(STATE + flow_id)
            if _version(again) == run.version:  # others have added to the session
                break
            entry = again
        return run, state, None if entry is None else entry.value.get("writer")

    def _with_messages(self, flow_id: str, entry: Entry | None) -> tuple[_Run, State | None, bool]:
        """A state with its session's messages, and whether these are the ones that were saved with it."""
        record: State = {} if entry is None else entry.value
        state: State | None = record.get("state")
        said: State | None = record.get("messages")
        if self.messages_in is None or (entry is not None and said is None):
            return _Run(_version(entry)), state, True
        full = said is not None and said["full"]
        info, messages = self._memory.session(flow_id).snapshot()
        shapes = [from_botwire(message, full=full) for message in messages]
        run = _Run(_version(entry), messages=_transcript.seen(info, messages, shapes, full=full))
        if entry is None:
            return run, {"id": flow_id, self.messages_in: shapes} if shapes else None, not shapes
        return run, {**(state or {}), self.messages_in: shapes}, said is not None and said["digest"] == _digest(shapes)


def _version(entry: Entry | None) -> int:
    return 0 if entry is None else entry.version


def _digest(shapes: Sequence[State]) -> str:
    return digest({"all": [digest(shape) for shape in shapes]})


def _overtaken(flow_id: str, version: int) -> VersionConflict:
    text = (
        f"flow {flow_id!r} was saved by another run since this one read it, or this one has not read it; nothing of this save is stored."
        " Run the turn again with this id: it begins with what is stored"
    )
    return VersionConflict(text, version)
