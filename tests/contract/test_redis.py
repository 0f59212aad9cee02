"""The contract, on Valkey: one server and a Cluster, with threads and natively async; and on Debian's Redis."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from engines.valkey import Valkey, program
from engines.valkey_cluster import ValkeyCluster

from botwire.stores.redis import RedisStore
from botwire.stores.redis._keys import Keys, log_name
from botwire.testing import AsyncStoreContract, StoreContract


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ValkeyCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def debians_redis(tmp_path_factory):
    if program("redis") is None:
        pytest.skip("redis-server is not installed")
    with Valkey(tmp_path_factory.mktemp("redis"), "redis") as server:
        yield server


class TestValkey(StoreContract):
    lifetime = 3_600.0

    @pytest.fixture(autouse=True)
    def _place(self, valkey, clock):
        self.prefix, self.clock = f"{secrets.token_hex(4)}:", clock
        self.url = f"{valkey.url}?prefix={self.prefix}"
        self.server_of = lambda _: valkey

    @pytest.fixture
    def store(self, _place):
        store = RedisStore(self.url, clock=self.clock)
        yield store
        store.close()

    def reopen(self):
        self.subject.close()
        return RedisStore(self.url, clock=self.clock)

    def advance(self, seconds):
        self.clock.advance(seconds)

    def corrupt_entry(self, namespace, key, text):
        keys = Keys(self.prefix, namespace)
        with self.server_of(keys.slot).client() as client:
            header, _, _ = client.hget(keys.e, key.encode()).partition(b"\n")
            client.hset(keys.e, key.encode(), header + b"\n" + text.encode())

    def corrupt_message(self, namespace, session, seq, text):
        keys = Keys(self.prefix, namespace)
        stream = keys.stream(log_name(session, ""))
        with self.server_of(keys.slot).client() as client:
            rows = client.xrange(stream)
            client.delete(stream)
            for place, fields in rows:
                found = place.startswith(b"%d-" % seq)
                client.xadd(stream, {b"b": text.encode() if found else fields[b"b"]}, id=place)


class TestAsyncValkey(AsyncStoreContract, TestValkey):
    pass


class TestDebiansRedis(TestValkey):
    @pytest.fixture(autouse=True)
    def _place(self, debians_redis, clock):
        self.prefix, self.clock = f"{secrets.token_hex(4)}:", clock
        self.url = f"{debians_redis.url}/3?prefix={self.prefix}"
        self.server_of = lambda _: _Database(debians_redis)


class _Database:
    """The server, by another of its databases."""

    def __init__(self, server):
        self.server = server

    def client(self):
        return self.server.client(db=3)


class TestCluster(TestValkey):
    @pytest.fixture(autouse=True)
    def _place(self, cluster, clock):
        self.prefix, self.clock = f"{secrets.token_hex(4)}:", clock
        self.url = f"{cluster.url}?prefix={self.prefix}"
        self.server_of = cluster.primary_of


class TestAsyncCluster(AsyncStoreContract, TestCluster):
    pass
