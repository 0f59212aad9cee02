"""What the command's exit status says. Scripts depend on these numbers: they do not change."""

from __future__ import annotations

from botwire import _errors

OK = 0
PROBLEM = 1
USAGE = 2
CONFLICT = 3
UNAVAILABLE = 4
UNAUTHORIZED = 5
UNREADABLE = 6
QUOTA = 7
UNSUPPORTED = 8
BUG = 70
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    PROBLEM: "not found, or problems found",
    USAGE: "bad input: wrong usage, a name or value that cannot be stored",
    CONFLICT: "version conflict: somebody else was faster",
    UNAVAILABLE: "the store cannot be used now: down, locked, full, read-only",
    UNAUTHORIZED: "no token, or not one for this",
    UNREADABLE: "not readable: damaged, not botwire's, or a newer botwire's",
    QUOTA: "over a limit of the store's operator",
    UNSUPPORTED: "the store cannot do that, or something is not installed",
    BUG: "an error in botwire itself",
    INTERRUPTED: "interrupted",
}
"""Every status with its meaning, as ``botwire --help`` tells them."""

_CODES: dict[type[BaseException], int] = {
    _errors.InvalidName: USAGE,
    _errors.InvalidValue: USAGE,
    _errors.VersionConflict: CONFLICT,
    _errors.RequestConflict: CONFLICT,
    _errors.QuotaExceeded: QUOTA,
    _errors.Unauthorized: UNAUTHORIZED,
    _errors.Unsupported: UNSUPPORTED,
    _errors.MissingExtra: UNSUPPORTED,
    _errors.StoreUnavailable: UNAVAILABLE,
    _errors.StoreCorrupt: UNREADABLE,
    _errors.StoreIncompatible: UNREADABLE,
    _errors.BotWireError: UNAVAILABLE,
    OSError: USAGE,  # a file that was named: those of the store are mapped before
}


def exit_code(error: BaseException) -> int:
    """The exit status for an error."""
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), BUG)
