"""Who is calling, and which namespaces are open to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from botwire.integrations.mcp._failures import Refusal, invalid
from botwire.stores import RESERVED_NAMESPACE

READ, WRITE = "read", "write"


class Caller(Protocol):
    """Whose calls are answered."""

    def namespace(self, wanted: str | None) -> str:
        """The namespace that a call is about: the one that it names, or the caller's own.

        Raises:
            Refusal: if it is not the caller's, whether it exists or not.
        """
        ...

    def sees(self, namespace: str) -> bool:
        """Whether the namespace is open to the caller."""
        ...

    def may(self, scope: str) -> bool:
        """Whether the caller may read, or write."""
        ...

    @property
    def local(self) -> bool:
        """Whether this is whoever runs the server, who may know where its file lies."""
        ...


@dataclass(frozen=True)
class Local:
    """Whoever started the server, or can reach it while it asks for no tokens."""

    default: str
    locked: bool = False
    local: bool = True

    def namespace(self, wanted: str | None) -> str:
        """See ``Caller``."""
        if wanted is not None and not self.sees(wanted):
            raise invalid(f"this server is locked to the namespace {self.default!r}" if self.locked else "that namespace is botwire's own")
        return self.default if wanted is None else wanted

    def sees(self, namespace: str) -> bool:
        """See ``Caller``."""
        return namespace != RESERVED_NAMESPACE and (not self.locked or namespace == self.default)

    def may(self, scope: str) -> bool:  # noqa: ARG002 - the same for both
        """See ``Caller``."""
        return True


@dataclass(frozen=True)
class Principal:
    """Whoever holds a token.

    Args:
        name: who it is.
        namespaces: the names that are open to it; one that ends in ``*`` stands for all that begin so.
        scopes: ``read``, ``write``, or both.
        locked: whether it has its own namespace alone, and calls cannot name one.
    """

    name: str
    namespaces: tuple[str, ...]
    scopes: frozenset[str]
    locked: bool = False
    local: bool = False

    @property
    def own(self) -> str | None:
        """The namespace that is meant where none is named: the first that is no pattern."""
        return next((name for name in self.namespaces if not name.endswith("*")), None)

    def namespace(self, wanted: str | None) -> str:
        """See ``Caller``."""
        if wanted is None:
            wanted = self.own
        if wanted is None:
            raise invalid(f"say which namespace; open to you are {', '.join(self.namespaces)}")
        if not self.sees(wanted):
            raise Refusal("forbidden", f"the namespace {wanted!r:.80} is not open to you; leave it out to use your own")
        return wanted

    def sees(self, namespace: str) -> bool:
        """See ``Caller``."""
        if self.locked or namespace == RESERVED_NAMESPACE:
            return namespace == self.own
        return any(namespace.startswith(name[:-1]) if name.endswith("*") else namespace == name for name in self.namespaces)

    def may(self, scope: str) -> bool:
        """See ``Caller``."""
        return scope in self.scopes
