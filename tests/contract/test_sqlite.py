"""The contract, on a SQLite file: with a moved clock, with the real one, and at the lower durability."""

from __future__ import annotations

import apsw
import pytest

from botwire.stores.sqlite import SQLiteStore
from botwire.testing import StoreContract


class TestSQLiteFile(StoreContract):
    lifetime = 3_600.0

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path, clock):
        self.path, self.clock = tmp_path / "a folder" / "memory 100%.db", clock

    @pytest.fixture
    def store(self, _place):
        store = self.open()
        yield store
        store.close()

    def open(self):
        return SQLiteStore(f"sqlite://{str(self.path).replace('%', '%25')}", clock=self.clock)

    def reopen(self):
        self.subject.close()
        return self.open()

    def advance(self, seconds):
        self.clock.advance(seconds)

    def corrupt_entry(self, namespace, key, text):
        self._damage("UPDATE entry SET value = ? WHERE namespace = ? AND key = ?", text, namespace, key)

    def corrupt_message(self, namespace, session, seq, text):
        log = "SELECT id FROM log WHERE namespace = ? AND session = ? AND agent = ''"
        self._damage(f"UPDATE message SET body = ? WHERE log = ({log}) AND seq = ?", text, namespace, session, seq)

    def _damage(self, sql, *bindings):
        connection = apsw.Connection(str(self.path))
        connection.execute(sql, bindings)
        assert connection.changes() == 1
        connection.close()


class TestSQLiteFileByTheRealClock(StoreContract):
    """What a store can be tested for that brings none of the hooks but reopening."""

    cannot = frozenset({"advance", "corrupt"})

    @pytest.fixture
    def store(self, tmp_path):
        store = SQLiteStore(f"sqlite://{tmp_path}/memory.db?durability=normal")
        yield store
        store.close()

    def reopen(self):
        self.subject.close()
        return SQLiteStore(self.subject.url)
