"""Every error botwire raises.

    BotWireError
    ├── InvalidName (ValueError)             a namespace, key, session id or agent that cannot be one
    ├── InvalidValue (ValueError)            a value, message, ttl or version that cannot be stored exactly
    │   └── ValueTooLarge                    over the size limit in force
    ├── VersionConflict                      compare-and-set lost; carries the current version
    ├── RequestConflict                      one request id used for two different writes
    ├── QuotaExceeded                        over a limit of the operator's; carries retry_after
    ├── Unauthorized (PermissionError)       no token, a wrong one, or one for something else
    ├── Unsupported (NotImplementedError)    this store cannot do that, and will not pretend to
    ├── Closed                               the Memory or store was closed
    ├── StoreUnavailable (ConnectionError)   the store cannot be used now; the call may succeed later
    │   ├── StoreBusy (TimeoutError)         waited for another writer, or for an answer, too long
    │   ├── StoreFull                        no space left where the store lies
    │   ├── StoreReadOnly                    the store can be read but not written
    │   └── OutcomeUnknown                   the write may or may not have happened
    ├── StoreCorrupt                         what is stored cannot be read back
    ├── StoreIncompatible                    not botwire's file, or written by a newer botwire
    └── MissingExtra (ImportError)           an optional dependency is not installed

Each has a stable ``code`` for programs.
"""

from __future__ import annotations


def shown(value: object, chars: int = 80) -> str:
    """What a message shows of something that the caller gave: its repr, cut short."""
    try:
        return repr(value)[:chars]
    except Exception:  # noqa: BLE001 - an int of more digits than Python turns into text, say; the error at hand matters more
        return f"<{type(value).__name__}>"


class BotWireError(Exception):
    """Root of all errors that botwire raises on purpose.

    ``code`` is a stable, machine-readable name; the HTTP service sends it, the client maps it back.
    """

    code = "error"


class InvalidName(BotWireError, ValueError):
    """A namespace, key, session id or agent name that breaks the rules for names."""

    code = "invalid_name"


class InvalidValue(BotWireError, ValueError):
    """A value, message, ttl or version that cannot be stored exactly as given."""

    code = "invalid_value"


class ValueTooLarge(InvalidValue):
    """A value or message over the size limit in force."""

    code = "value_too_large"


class VersionConflict(BotWireError):
    """The entry is not at the version that the write asked for.

    ``current`` is the version it is at; 0 means that there is no such entry.
    """

    code = "version_conflict"

    def __init__(self, message: str, current: int) -> None:
        super().__init__(message)
        self.current = current

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.current)


class RequestConflict(BotWireError):
    """A request id was used again, for a different write."""

    code = "request_conflict"


class QuotaExceeded(BotWireError):
    """A limit set by the operator of the store is used up.

    ``retry_after`` is the number of seconds to wait, or None if waiting does not help. ``limit`` is the name of the limit
    (``writes_per_day``, ``bytes``, ``keys``, ``sessions``, ``requests_per_second``), ``current`` what was used of it before this
    call, and ``allowed`` how much may be; each None where the store does not tell.
    """

    code = "quota_exceeded"

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        limit: str | None = None,
        current: int | None = None,
        allowed: int | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.limit = limit
        self.current = current
        self.allowed = allowed

    def __reduce__(self) -> tuple[object, ...]:
        return _quota_exceeded, (str(self), self.retry_after, self.limit, self.current, self.allowed)


def _quota_exceeded(message: str, retry_after: float | None, limit: str | None, current: int | None, allowed: int | None) -> QuotaExceeded:
    """Make one again from its parts, as pickle does."""
    return QuotaExceeded(message, retry_after, limit=limit, current=current, allowed=allowed)


class Unauthorized(BotWireError, PermissionError):
    """The store wants a token, or the one given does not open this."""

    code = "unauthorized"


class Unsupported(BotWireError, NotImplementedError):
    """The store cannot do this; nothing was sent or written."""

    code = "unsupported"


class Closed(BotWireError):
    """The Memory, or the store under it, was closed before this call."""

    code = "closed"


class StoreUnavailable(BotWireError, ConnectionError):
    """The store cannot be used now. Nothing was written, unless the class says otherwise."""

    code = "store_unavailable"


class StoreBusy(StoreUnavailable, TimeoutError):
    """Waiting for the store took longer than the timeout."""

    code = "store_busy"


class StoreFull(StoreUnavailable):
    """There is no space left where the store lies. Nothing was written."""

    code = "store_full"


class StoreReadOnly(StoreUnavailable):
    """The store can be read but not written. Nothing was written."""

    code = "store_read_only"


class OutcomeUnknown(StoreUnavailable):
    """A write was sent and no outcome came back: it may or may not have happened.

    Read before writing again, or repeat the call with the same ``request_id``, which is applied once.
    """

    code = "outcome_unknown"


class StoreCorrupt(BotWireError):
    """Stored data cannot be read back."""

    code = "store_corrupt"


class StoreIncompatible(BotWireError):
    """The file or server is not botwire's, or needs a newer botwire. Nothing was changed."""

    code = "store_incompatible"


class MissingExtra(BotWireError, ImportError):
    """An optional dependency is not installed; the message has the command that installs it."""

    code = "missing_extra"
