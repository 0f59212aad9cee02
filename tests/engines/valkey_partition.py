"""A Valkey Cluster whose nodes see each other through proxies, so that some can be parted from the others without root.

with PartedCluster(folder, replicas=2) as cluster:
    store = open_store(cluster.url)
    cluster.part([cluster.nodes[0]])      # clients reach it, the other nodes do not
    cluster.heal()

Each node calls the others from a loopback address of its own, by which the proxies know who calls, and names the proxies'
ports as its own: that of its clients and replicas, and that of the Cluster's bus.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from engines.proxy import Proxy
from engines.valkey import Valkey
from engines.valkey_cluster import SLOTS, ValkeyCluster


class PartedCluster(ValkeyCluster):
    """As ``ValkeyCluster``; ``primary_of`` a slot and ``part`` take the nodes themselves, not their proxies."""

    def __init__(self, folder: Path, kind: str = "valkey", *, primaries: int = 3, replicas: int = 1, **options: Any) -> None:
        super().__init__(folder, kind, primaries=primaries, replicas=replicas, **options)
        self._stack = ExitStack()
        self.addresses = [f"127.0.1.{number + 1}" for number in range(len(self.nodes))]
        self.ports: list[Proxy] = []
        self.buses: list[Proxy] = []
        for node, address in zip(self.nodes, self.addresses, strict=True):
            self.ports.append(self._stack.enter_context(Proxy(node.port)))
            self.buses.append(self._stack.enter_context(Proxy(node.port + 10_000)))
            node.options |= {
                "bind-source-addr": address,
                "cluster-announce-ip": "127.0.0.1",
                "cluster-announce-port": self.ports[-1].port,
                "cluster-announce-bus-port": self.buses[-1].port,
            }

    @property
    def url(self) -> str:
        """What to open a store with."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.ports)

    def start(self) -> Self:
        for number, node in enumerate(self.nodes):
            node.start()
            self.ports[number].upstream, self.buses[number].upstream = ("127.0.0.1", node.port), ("127.0.0.1", node.port + 10_000)
        clients = [node.client() for node in self.nodes]
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.ports[0].port, self.buses[0].port)
        share = SLOTS // self.primaries + 1
        for number in range(self.primaries):
            first, last = number * share, min((number + 1) * share, SLOTS) - 1
            clients[number].execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
        for number in range(self.primaries, len(clients)):
            self._insist(lambda number=number: clients[number].execute_command("CLUSTER", "REPLICATE", ids[number % self.primaries]))
        for client in clients:
            client.close()
        self.wait_until_whole()
        return self

    def stop(self) -> None:
        super().stop()
        self._stack.close()

    def part(self, nodes: Collection[Valkey]) -> None:
        """Let these nodes see each other and the others see each other, but not these those."""
        inside = {address for node, address in zip(self.nodes, self.addresses, strict=True) if node in nodes}
        outside = set(self.addresses) - inside
        for number, node in enumerate(self.nodes):
            for proxy in (self.ports[number], self.buses[number]):
                proxy.part_from(outside if node in nodes else inside)

    def heal(self) -> None:
        """Let all see each other again."""
        for proxy in (*self.ports, *self.buses):
            proxy.part_from(())
