"""Scopes: paths such as ``/user/1``, which hold themselves and what lies below, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable


def normal(scope: str | None) -> str:
    """The scope with one leading slash, none at its end and none doubled; ``/`` for the root."""
    return "/" + "/".join(part for part in (scope or "").split("/") if part)


def within(scope: str, prefix: str) -> bool:
    """Whether a scope is ``prefix`` or lies below it; both normal. ``/user/10`` does not lie below ``/user/1``."""
    return prefix in ("/", scope) or scope.startswith(prefix + "/")


def children(scopes: Iterable[str], parent: str) -> list[str]:
    """The scopes immediately below ``parent`` in which there is something, as full paths, in order."""
    start = parent.rstrip("/") + "/"
    return sorted({start + scope[len(start) :].partition("/")[0] for scope in scopes if scope.startswith(start) and scope != start})
