"""A real Valkey Cluster on loopback, three primaries with a replica each, and a primary with a replica under sentinels."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import redis
from engines.valkey import Valkey, program

SLOTS = 16_384


class ValkeyCluster:
    """``with ValkeyCluster(folder) as cluster: cluster.url``. Options are given to every node.

    ``nodes`` are the primaries first, then the replicas in the same order, as they were at the start.
    """

    def __init__(self, folder: Path, kind: str = "valkey", *, primaries: int = 3, replicas: int = 1, **options: Any) -> None:
        self.primaries = primaries
        settings = {"cluster_enabled": "yes", "cluster_node_timeout": 1500, "cluster_config_file": "nodes.conf", **options}
        total = primaries * (1 + replicas)
        self.nodes = [Valkey(folder / f"node{number}", kind, **settings) for number in range(total)]

    @property
    def url(self) -> str:
        """What to open a store with: all nodes, so that it opens whichever are up."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        """Start the nodes, make them one Cluster, and wait until every node knows that it is whole."""
        for node in self.nodes:
            node.start()
        clients = [node.client() for node in self.nodes]
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
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

    @staticmethod
    def _insist(call: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                call()
            except redis.ResponseError:  # it has not heard of the other node yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def wait_until_whole(self, seconds: float = 60) -> None:
        """Until every node that is up says that the Cluster is, and every replica follows its primary."""
        deadline = time.monotonic() + seconds
        for node in self.nodes:
            while node.process is not None and not self._is_content(node):
                assert time.monotonic() < deadline, (node.folder / "server.log").read_text(errors="replace")[-2000:]
                time.sleep(0.05)

    def _is_content(self, node: Valkey) -> bool:
        with contextlib.suppress(redis.RedisError), node.client() as client:
            state = client.execute_command("CLUSTER", "INFO")
            text = state.decode() if isinstance(state, bytes) else str(state)
            whole = "cluster_state:ok" in text or "'cluster_state': 'ok'" in text
            known = len(client.execute_command("CLUSTER", "SLOTS")) >= self.primaries
            role: dict[str, Any] = client.info("replication")  # type: ignore[assignment]
            followed = role["role"] == "master" or role.get("master_link_status") == "up"
            return whole and known and followed
        return False

    def primary_of(self, slot: int) -> Valkey:
        """The node that serves a slot now."""
        for node in self.nodes:
            if node.process is None:
                continue
            with contextlib.suppress(redis.RedisError), node.client() as client:
                for first, last, primary, *_ in client.execute_command("CLUSTER", "SLOTS"):
                    port = int(primary["primary"][1]) if isinstance(primary, dict) else int(primary[1])
                    if int(first) <= slot <= int(last):
                        return next(each for each in self.nodes if each.port == port)
        raise AssertionError(f"no node serves slot {slot}")

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()


class ValkeySentinels:
    """A primary, a replica, and three sentinels that watch them: ``url`` names the sentinels."""

    SERVICE = "memory"

    def __init__(self, folder: Path, kind: str = "valkey", **options: Any) -> None:
        self.primary = Valkey(folder / "primary", kind, **options)
        self.folder, self.kind, self.options = folder, kind, options
        self.replica: Valkey
        self.sentinels: list[_Sentinel] = []

    @property
    def url(self) -> str:
        """What to open a store with."""
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels) + f"/{self.SERVICE}"

    def __enter__(self) -> Self:
        self.primary.start()
        self.replica = Valkey(self.folder / "replica", self.kind, replicaof=f"127.0.0.1 {self.primary.port}", **self.options).start()
        for number in range(3):
            self.sentinels.append(_Sentinel(self.folder / f"sentinel{number}", self.kind, self.SERVICE, self.primary.port))
            self.sentinels[-1].start()
        deadline = time.monotonic() + 60
        while not all(each.sees_all() for each in self.sentinels):
            assert time.monotonic() < deadline, "the sentinels do not see the servers"
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        for each in (*self.sentinels, self.primary, self.replica):
            each.kill()


class _Sentinel(Valkey):
    def __init__(self, folder: Path, kind: str, service: str, port: int) -> None:
        super().__init__(folder, kind)
        self.service = service
        self.settings = folder / "sentinel.conf"
        lines = (
            f"sentinel monitor {service} 127.0.0.1 {port} 2",
            f"sentinel down-after-milliseconds {service} 1000",
            f"sentinel failover-timeout {service} 5000",
        )
        self.settings.write_text("\n".join(lines) + "\n")

    def start(self) -> Self:
        path = program(self.kind)
        assert path is not None
        command = [path, str(self.settings), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        assert self._wait_until_it_answers(), (self.folder / "server.log").read_text(errors="replace")[-2000:]
        return self

    def sees_all(self) -> bool:
        """Whether it knows the replica and the other two."""
        with self.client() as client:
            state = client.execute_command("SENTINEL", "MASTER", self.service)
            if isinstance(state, list):
                state = dict(zip(state[::2], state[1::2], strict=True))
            facts = {(k.decode() if isinstance(k, bytes) else k): (v.decode() if isinstance(v, bytes) else v) for k, v in state.items()}
            return int(facts["num-slaves"]) >= 1 and int(facts["num-other-sentinels"]) >= 2
