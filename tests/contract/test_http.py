"""The contract over HTTP: client, wire and server as one store, on a real socket; and through AsyncMemory's native async."""

from __future__ import annotations

import pytest

from botwire.stores import open_store
from botwire.testing import AsyncStoreContract, StoreContract


class TestHTTP(StoreContract):
    cannot = frozenset({"charge", "cap"})  # what a server charges for is its own affair: clients do not send terms
    lifetime = 3_600.0

    @pytest.fixture
    def store(self, service):
        self.url, self.behind, self.clock = service
        store = open_store(self.url)
        yield store
        store.close()

    def reopen(self):
        self.subject.close()
        return open_store(self.url)

    def advance(self, seconds):
        self.clock.advance(seconds)

    def corrupt_entry(self, namespace, key, text):
        self._damage("UPDATE entry SET value = ? WHERE namespace = ? AND key = ?", text, namespace, key)

    def corrupt_message(self, namespace, session, seq, text):
        log = "SELECT id FROM log WHERE namespace = ? AND session = ? AND agent = ''"
        self._damage(f"UPDATE message SET body = ? WHERE log = ({log}) AND seq = ?", text, namespace, session, seq)

    def _damage(self, sql, *bindings):
        with self.behind._writer.mutex:
            connection = self.behind._connections.writer()
            connection.execute(sql, bindings)
            assert connection.changes() == 1


class TestAsyncHTTP(AsyncStoreContract, TestHTTP):
    pass
