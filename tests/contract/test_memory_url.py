"""The contract, on RAM: all but reopening, since nothing is there once it is closed."""

from __future__ import annotations

import pytest

from botwire.stores import open_store
from botwire.testing import StoreContract


class TestMemoryURL(StoreContract):
    cannot = frozenset({"reopen"})
    lifetime = 3_600.0

    @pytest.fixture
    def store(self, clock):
        self.clock = clock
        store = open_store("memory://", clock=clock)
        yield store
        store.close()

    def advance(self, seconds):
        self.clock.advance(seconds)

    def corrupt_entry(self, namespace, key, text):
        self._damage("UPDATE entry SET value = ? WHERE namespace = ? AND key = ?", text, namespace, key)

    def corrupt_message(self, namespace, session, seq, text):
        log = "SELECT id FROM log WHERE namespace = ? AND session = ? AND agent = ''"
        self._damage(f"UPDATE message SET body = ? WHERE log = ({log}) AND seq = ?", text, namespace, session, seq)

    def _damage(self, sql, *bindings):
        connection = self.subject._connections.writer()
        connection.execute(sql, bindings)
        assert connection.changes() == 1
