"""Which server is asked for what: the one of the URL, the primary that sentinels name, or the node that serves a slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis import exceptions as driver

from botwire.stores.redis._settings import Address, Settings
from botwire.stores.redis._wire import packed

_CLUSTER_SLOTS = packed(b"CLUSTER", b"SLOTS")
_MANY = 64


class Topology:
    """What is known of the servers; told of every redirection and every server that does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._primary: Address | None = settings.hosts[0] if settings.kind == "single" else None
        self._ranges: list[tuple[int, int, Address]] = []
        self._moved: dict[int, Address] = {}
        self._fewest_replicas = 0
        self._last_error: Exception | None = None
        self.suspects: set[Address] = set()
        """Servers whose idle connections are not to be used any more."""

    def replicas_known(self) -> int | None:
        """The fewest replicas that any primary of a Cluster has; None where that is not known."""
        return self._fewest_replicas if self._ranges else None

    def primaries(self) -> list[Address]:
        """All servers that hold data, as far as is known."""
        return list(dict.fromkeys(address for _, _, address in self._ranges)) or ([self._primary] if self._primary else [])

    def questions(self) -> Iterator[tuple[Address, bytes, bool]]:
        """Whom to ask what before a server can be located: none if it is known. Goes on until ``learn`` has learnt it."""
        if self._settings.kind == "single":
            return
        self._last_error = None
        if self._settings.kind == "sentinel":
            for host in self._settings.hosts:
                if self._primary is not None:
                    return
                question = packed(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._settings.service.encode())
                yield host, question, True
            return
        for host in (*self._nodes(), *self._settings.hosts):
            if self._ranges:
                return
            yield host, _CLUSTER_SLOTS, False

    def _nodes(self) -> list[Address]:
        return list(dict.fromkeys(self._moved.values()))

    def learn(self, asked: Address, answer: Any) -> None:
        """Take the answer to a question."""
        if isinstance(answer, driver.ResponseError):
            self._last_error = answer
        elif self._settings.kind == "sentinel":
            if answer:
                self._primary = (answer[0].decode(), int(answer[1]))
            else:
                self._last_error = driver.ResponseError(f"the sentinels know no service {self._settings.service!r}")
        else:
            self._learn_slots(asked, answer)

    def _learn_slots(self, asked: Address, answer: Any) -> None:
        ranges: list[tuple[int, int, Address]] = []
        replicas: list[int] = []
        for first, last, primary, *others in answer:
            host = primary[0].decode() if primary[0] else asked[0]
            ranges.append((int(first), int(last), (host, int(primary[1]))))
            replicas.append(len(others))
        self._ranges, self._moved = sorted(ranges), {}
        self._fewest_replicas = min(replicas, default=0)

    def unreachable(self, address: Address, error: Exception) -> None:
        """A question was not answered."""
        self._last_error = error
        self.suspects.add(address)

    def known(self, slot: int | None) -> Address | None:
        """The server for a slot, if it is known and not in doubt."""
        if self._settings.kind == "cluster":
            return self._moved.get(slot) or self._in_ranges(slot) if self._ranges and slot is not None else None
        return self._primary

    def _in_ranges(self, slot: int) -> Address | None:
        return next((address for first, last, address in self._ranges if first <= slot <= last), None)

    def locate(self, slot: int | None) -> Address:
        """The server for a slot, None for any.

        Raises:
            Exception: what kept it from being known.
        """
        if self._settings.kind != "cluster":
            if self._primary is not None:
                return self._primary
        elif slot is not None and slot in self._moved:
            return self._moved[slot]
        else:
            for first, last, address in self._ranges:
                if slot is None or first <= slot <= last:
                    return address
        if self._last_error is None:
            self._ranges = []
            raise driver.ConnectionError(f"no server of the Cluster serves slot {slot}")
        error, self._last_error = self._last_error, None
        raise error if not isinstance(error, driver.ResponseError) else driver.ConnectionError(str(error))

    def moved(self, slot: int, address: Address) -> None:
        """A server says that another one serves the slot now. Once it is many slots, all are asked for anew."""
        self._moved[slot] = address
        if len(self._moved) > _MANY:
            self._ranges = []

    def suspect(self, address: Address) -> None:
        """A server did not answer, or is not what it was: ask who is, and trust no idle connection to it."""
        self.suspects.add(address)
        if self._settings.kind == "sentinel":
            self._primary = None
        elif self._settings.kind == "cluster":
            others = [node for node in self.primaries() if node != address]
            self._ranges = []
            self._moved = {-1 - number: node for number, node in enumerate(others)}  # no slots: nodes to ask first
