"""What all handlers share: the store, the settings, and who is calling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from botwire.integrations.mcp._access import Access
from botwire.integrations.mcp._callers import READ, Caller
from botwire.integrations.mcp._changes import Changes
from botwire.integrations.mcp._failures import Refusal
from botwire.integrations.mcp._tools import Settings


@dataclass(frozen=True)
class Desk:
    """Where handlers find what they need."""

    access: Access
    settings: Settings
    changes: Changes
    caller: Callable[[], Caller]
    """Who sent the present request."""

    def allowed(self, scope: str) -> Caller:
        """The caller, who may do this.

        Raises:
            Refusal: if the caller's token does not allow it.
        """
        caller = self.caller()
        if not caller.may(scope):
            raise Refusal("forbidden", f"your token does not allow to {scope}")
        return caller

    def reader(self) -> Caller:
        """The caller, who may read."""
        return self.allowed(READ)
