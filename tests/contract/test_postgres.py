"""The contract, on a real PostgreSQL: for threads, and natively async."""

from __future__ import annotations

import pytest
from engines.postgres import shared

from botwire.stores import open_store
from botwire.testing import AsyncStoreContract, StoreContract


@pytest.fixture(scope="module")
def database():
    server = shared()
    with server.database() as name:
        yield server.url(name)


class TestPostgres(StoreContract):
    lifetime = 3_600.0

    @pytest.fixture
    def store(self, database, clock):
        self.url, self.clock = database, clock
        store = self.open()
        yield store
        store.close()

    def open(self):
        return open_store(self.url, clock=self.clock)

    def reopen(self):
        self.subject.close()
        return self.open()

    def advance(self, seconds):
        self.clock.advance(seconds)
        with shared().connect(self.url.rpartition("/")[2]) as connection:  # who listens would have said since that it still does
            connection.execute("UPDATE botwire.listener SET expires_at = expires_at + %s", (round(seconds * 1_000_000),))

    def corrupt_entry(self, namespace, key, text):
        self._damage("UPDATE botwire.entry SET value = %s WHERE namespace = %s AND key = %s", _storable(text), namespace, key)

    def corrupt_message(self, namespace, session, seq, text):
        log = "SELECT id FROM botwire.log WHERE namespace = %s AND session = %s AND agent = ''"
        sql = f"UPDATE botwire.message SET body = %s WHERE namespace = %s AND log = ({log}) AND seq = %s"
        self._damage(sql, _storable(text), namespace, namespace, session, seq)

    def _damage(self, sql, *parameters):
        with shared().connect(self.url.rpartition("/")[2]) as connection:
            assert connection.execute(sql, parameters).rowcount == 1


class TestPostgresAsync(AsyncStoreContract, TestPostgres):
    pass


def _storable(text):
    return text.replace("\0", "\x01")  # a NUL is what PostgreSQL's text cannot hold, even if damaged
