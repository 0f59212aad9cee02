"""What many clients see at the same time is what they could have seen one after another."""

from __future__ import annotations

import secrets
from functools import partial

from botwire.testing._base import ContractBase, together
from botwire.testing._history import Client, Line, histories, violations

CLIENTS = 6
CALLS = 40


class LinearizabilityContract(ContractBase):
    """Random calls of clients at once, checked by ``botwire.testing.violations``."""

    def test_every_history_of_an_entry_has_an_order_that_explains_it(self) -> None:
        """Gets, sets, compare-and-sets and deletes happen at one moment each, and versions tell how often."""
        lines = self._history("entry")
        assert len(histories(lines)) == 4
        assert violations(lines) == []

    def test_every_history_of_a_session_has_an_order_that_explains_it(self) -> None:
        """Appends, reads of the tail, pops and clears happen at one moment each, and numbers have no gap."""
        lines = self._history("session")
        assert len(histories(lines)) == 4
        assert violations(lines) == []

    def _history(self, kind: str) -> list[Line]:
        lines: list[Line] = []
        seed = secrets.token_hex(4)
        clients = [Client(self.memory(), f"{seed}-{number}", lines.append) for number in range(CLIENTS)]
        together(*[partial(_busy, client, kind) for client in clients])
        return lines


def _busy(client: Client, kind: str) -> None:
    use = client.use_entry if kind == "entry" else client.use_session
    for number in range(CALLS):
        assert use(f"{kind} {number // (CALLS // 4)}"), "a call was not answered"
