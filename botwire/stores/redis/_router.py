"""Where a command goes, how long it is tried, and what it comes to when no good answer arrives.

Written as generators that yield what is to be sent or waited for, so that it is the same with threads and with asyncio.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from redis import exceptions as driver

from botwire._errors import BotWireError, OutcomeUnknown, StoreBusy, StoreReadOnly, StoreUnavailable
from botwire.stores.redis import _scripts
from botwire.stores.redis._errors import from_redis, is_passing, unauthorized
from botwire.stores.redis._greeting import Greeting, greeting_commands
from botwire.stores.redis._settings import Address, Settings
from botwire.stores.redis._topology import Topology
from botwire.stores.redis._wire import ASKING, Command, packed

T = TypeVar("T")

FIRST_DELAY = 0.01
"""Seconds that the first wait takes at most; each further one up to twice as long, up to half a second."""
LONGEST_DELAY = 0.5

FEW = 5
"""Attempts to reach a server that this store has never reached: it is more likely to be no server than to be restarting."""

_PATIENCE = 3
"""Rounds of redirections that follow each other at once."""


class Exchange(NamedTuple):
    """Send ``data`` to a server and read so many ``answers``, of which errors are some."""

    address: Address
    data: bytes
    answers: int
    deadline: float
    sentinel: bool = False


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class UnsentError(Exception):
    """No connection could be made, so nothing was sent; the cause says why."""


class _UntoldError(Exception):
    """No answer came; ``error`` says why."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


Step: TypeAlias = "Exchange | Pause"
Call: TypeAlias = Generator[Step, Any, T]

REFUSED = driver.ResponseError
"""What a server answers to the making of a connection."""
TRANSPORT = (driver.ConnectionError, driver.TimeoutError, OSError, TimeoutError, UnsentError)


class Router:
    """The servers of one URL as its calls see them; shared by the threads and event loops that use them.

    Args:
        settings: where they are.
        clock: microseconds since 1970, for tests; None for the servers' own time.
    """

    def __init__(self, settings: Settings, clock: Callable[[], int] | None) -> None:
        self.settings = settings
        self.clock = clock
        self.topology = Topology(settings)
        self.greeting: Greeting | None = None
        self._ahead_us = 0.0
        self._reached = False

    # ------------------------------------------------------------------------------------ greeting

    def ready(self) -> Call[Greeting]:
        """Ask the server once, before the first write, what it is and what its settings may lose."""
        if self.greeting is None:
            commands = greeting_commands()
            began = time.monotonic()
            answers = yield from self.ask(commands)
            if isinstance(answers[0], BotWireError):
                raise answers[0]
            self._ahead_us = _microseconds(answers[0]) - began * 1e6
            first = self.greeting is None
            self.greeting = Greeting.of(answers, self.topology.replicas_known())
            if first:
                self.greeting.warn(self.settings)
        return self.greeting

    def server_time(self) -> Call[int]:
        """Microseconds since 1970 by the server's clock, or the test's."""
        if self.clock is not None:
            return self.clock()
        answers = yield from self.ask((Command(None, packed(b"TIME")),))
        if isinstance(answers[0], BotWireError):
            raise answers[0]
        now = _microseconds(answers[0])
        self._ahead_us = now - time.monotonic() * 1e6
        return now

    def not_after(self, margin_us: int) -> int:
        """When the server must not carry out any more what is sent now, by its own clock."""
        return int(time.monotonic() * 1e6 + self._ahead_us) + margin_us

    # -------------------------------------------------------------------------------------- asking

    def ask(self, commands: Sequence[Command], deadline: float | None = None) -> Call[list[Any]]:
        """Have all commands carried out, in order within each slot; their answers, or a BotWireError in place of one.

        A command whose answer is missing is sent again until the deadline, so a write must carry a request id.
        """
        if deadline is None:
            deadline = time.monotonic() + self.settings.timeout
        address = self._address_of(commands)
        if address is None:
            effort = _Effort(self, commands, deadline)
        else:  # the usual case: one command, to a server that is known, which answers it
            answer: Any
            try:
                answers: list[Any] = yield Exchange(address, commands[0].data, 1, deadline)
                answer = answers[0]
                if not isinstance(answer, Exception):
                    return answers
            except (*TRANSPORT, REFUSED) as error:
                answer = _UntoldError(error)
            effort = _Effort(self, commands, deadline)
            yield from self._take_error(effort, address, answer)
        while effort.todo:
            try:
                yield from self._round(effort)
            except TRANSPORT as error:
                effort.troubled(error)
            if effort.todo:
                delay = effort.delay()
                if delay is None:
                    effort.give_up()
                elif delay:
                    yield Pause(delay)
        return effort.answers

    def _address_of(self, commands: Sequence[Command]) -> Address | None:
        """Where a single command goes, if nothing must be asked or waited for before and after it."""
        if len(commands) > 1 or not self._reached or (self.settings.wait and commands[0].writes):
            return None
        return self.topology.known(commands[0].slot)

    def _take_error(self, effort: _Effort, address: Address, answer: Exception) -> Call[None]:
        """What an error says, by itself or as an answer, of the only command there is."""
        if isinstance(answer, _UntoldError):
            error = answer.error
            if isinstance(error, (driver.AuthenticationError, driver.ResponseError)):
                return  # to what makes a connection: the next one says it again
            effort.lost([0], error)
            self.topology.suspect(address)
        elif effort.judge(0, address, answer):
            yield from self._load(effort, address)

    def _load(self, effort: _Effort, address: Address) -> Call[None]:
        """Give a server the scripts."""
        try:
            yield Exchange(address, b"".join(script.load for script in _scripts.ALL), len(_scripts.ALL), effort.deadline)
        except TRANSPORT as error:
            effort.troubled(error)

    def _round(self, effort: _Effort) -> Call[None]:
        groups: dict[tuple[Address, bool], list[int]] = {}
        for index in effort.todo:
            redirect = effort.redirects.pop(index, None)
            address = redirect or (yield from self._locate(effort.commands[index].slot, effort.deadline))
            groups.setdefault((address, redirect is not None), []).append(index)
        for (address, asking), members in groups.items():
            yield from self._send(effort, address, asking, members)

    def _send(self, effort: _Effort, address: Address, asking: bool, members: list[int]) -> Call[None]:
        writes = any(effort.commands[index].writes for index in members)
        waits = self.settings.wait if writes else 0
        data, count = effort.data(members, asking)
        if waits:
            data += packed(b"WAIT", b"%d" % waits, b"%d" % (self.settings.wait_timeout * 1000))
        try:
            answers: list[Any] = yield Exchange(address, data, count + bool(waits), effort.deadline)
        except driver.AuthenticationError as error:
            effort.settle_all(members, unauthorized(error, self.settings.shown))
            return
        except driver.ResponseError as error:  # to what makes a connection: its user, or its database
            effort.settle_all(members, from_redis(error, self.settings.shown))
            return
        except TRANSPORT as error:
            effort.lost(members, error)
            self.topology.suspect(address)
            return
        self._reached = True
        confirmed = answers.pop() if waits else None
        missing = [
            index for index, answer in zip(members, answers[asking :: 1 + asking], strict=True) if effort.judge(index, address, answer)
        ]
        if missing:
            yield from self._load(effort, address)
        if waits and (not isinstance(confirmed, int) or confirmed < waits):
            effort.unconfirmed(members, confirmed, waits)

    def _locate(self, slot: int | None, deadline: float) -> Call[Address]:
        for address, data, sentinel in self.topology.questions():
            try:
                answers = yield Exchange(address, data, 1, deadline, sentinel=sentinel)
                self._reached = True
                self.topology.learn(address, answers[0])
            except (*TRANSPORT, REFUSED) as error:
                self.topology.unreachable(address, error)
        return self.topology.locate(slot)


class _Effort:
    """All attempts at some commands, within one deadline."""

    def __init__(self, router: Router, commands: Sequence[Command], deadline: float) -> None:
        self.commands = commands
        self.deadline = deadline
        self.answers: list[Any] = [None] * len(commands)
        self.todo = list(range(len(commands)))
        self.redirects: dict[int, Address] = {}
        self._router = router
        self._may_have_happened: set[int] = set()
        self._trouble: Exception | None = None
        self._next_delay = FIRST_DELAY
        self._rounds = 0
        self._read_only = 0
        self._wait = False

    def data(self, members: list[int], asking: bool) -> tuple[bytes, int]:
        """What is sent for them, and how many answers come."""
        parts: list[bytes] = []
        for index in members:
            command = self.commands[index]
            parts += [ASKING] * asking
            parts.append(command.data if command.again is None or index not in self._may_have_happened else command.again())
        return parts[0] if len(parts) == 1 else b"".join(parts), len(parts)

    def troubled(self, error: Exception) -> None:
        """Nothing could be sent in this round."""
        self._trouble, self._wait = error, True

    def lost(self, members: list[int], error: Exception) -> None:
        """No answers came."""
        self.troubled(error)
        if not isinstance(error, (UnsentError, driver.BusyLoadingError)):
            self._may_have_happened.update(index for index in members if self.commands[index].writes)

    def settle(self, index: int, answer: Any) -> None:
        """This is the answer."""
        self.answers[index] = answer
        self.todo.remove(index)

    def settle_all(self, members: list[int], error: BotWireError) -> None:
        """None of them will be answered otherwise."""
        for index in members:
            self.settle(index, self._unknown(error) if index in self._may_have_happened else error)

    def judge(self, index: int, address: Address, answer: Any) -> bool:
        """Take an answer, or leave the command to be sent again; whether a script is missing there."""
        if not isinstance(answer, driver.ResponseError):
            self.settle(index, answer)
            return False
        if self._rounds > _PATIENCE:
            self.troubled(answer)  # servers that do not agree yet: give them time
        if isinstance(answer, driver.NoScriptError):
            return True
        topology = self._router.topology
        if isinstance(answer, driver.MovedError):
            topology.moved(answer.slot_id, _target(answer, address))
        elif isinstance(answer, driver.AskError):
            self.redirects[index] = _target(answer, address)
        elif is_passing(answer) or (isinstance(answer, driver.ReadOnlyError) and self._primary_may_be_elsewhere()):
            topology.suspect(address)
            self.troubled(answer)
        else:
            self._settle_error(index, answer)
        return False

    def _primary_may_be_elsewhere(self) -> bool:
        """On one server: a name may lead to another one by now, so it is asked once more over a new connection."""
        self._read_only += 1
        return self._router.settings.kind != "single" or self._read_only == 1

    def _settle_error(self, index: int, answer: driver.ResponseError) -> None:
        error = from_redis(answer, self._router.settings.shown)
        if index in self._may_have_happened and isinstance(error, (StoreReadOnly, PermissionError)):
            error = self._unknown(error)  # another server's answer, which says nothing of the attempt before
        self.settle(index, error)

    def unconfirmed(self, members: list[int], confirmed: Any, wanted: int) -> None:
        """Too few replicas have what was written."""
        found = confirmed if isinstance(confirmed, int) else 0
        message = (
            f"{self._router.settings.shown} wrote, but only {found} of {wanted} replicas confirmed it within "
            f"{self._router.settings.wait_timeout:g} s (?wait={wanted}): the write may be lost if the primary fails now; "
            "see whether its replicas are up, and read before writing again"
        )
        for index in members:
            answer: Any = self.answers[index]
            kind = None if answer is None or isinstance(answer, (int, BotWireError)) else answer[:1]
            if self.commands[index].writes and kind in ([b"+"], [b"="], b"+", b"="):
                self.answers[index] = OutcomeUnknown(message)

    def delay(self) -> float | None:
        """How many seconds to wait before the next round; None if there is to be none."""
        self._rounds += 1
        if not self._wait:
            return 0.0
        self._wait = False
        never = not self._router._reached and self._rounds >= FEW  # noqa: SLF001 - of this module
        delay = random.uniform(self._next_delay / 4, self._next_delay)
        self._next_delay = min(self._next_delay * 2, LONGEST_DELAY)
        return None if never or time.monotonic() + delay >= self.deadline else delay

    def give_up(self) -> None:
        """Say of what is left that it was not answered."""
        where, timeout = self._router.settings.shown, self._router.settings.timeout
        trouble = self._trouble.__cause__ or self._trouble if self._trouble is not None else None
        reason = str(trouble)[:200] or type(trouble).__name__
        failure: BotWireError
        if isinstance(trouble, (TimeoutError, driver.TimeoutError)):
            failure = StoreBusy(f"{where} did not answer within {timeout:g} s; it may be overloaded or out of reach")
        elif isinstance(trouble, driver.ResponseError):
            failure = from_redis(trouble, where)
        else:
            failure = StoreUnavailable(f"cannot reach {where}: {reason}; is the server running, and the URL right?")
        failure.__cause__ = trouble
        self.settle_all(list(self.todo), failure)

    def _unknown(self, cause: BotWireError) -> OutcomeUnknown:
        error = OutcomeUnknown(
            f"{self._router.settings.shown} did not say within {self._router.settings.timeout:g} s what became of a write: it may or may "
            "not have happened; read before writing again, or repeat the call with a request_id of your own, under which it is applied once"
        )
        error.__cause__ = cause
        return error


def _target(redirection: Any, asked: Address) -> Address:
    """Where an answer sends us; a server that does not know its own name leaves it out."""
    return redirection.host or asked[0], int(redirection.port)


def _microseconds(answer: Any) -> int:
    seconds, fraction = answer
    return int(seconds) * 1_000_000 + int(fraction)
