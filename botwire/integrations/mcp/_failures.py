"""What a caller is told when something cannot be done: a stable code, what happened, and what to do."""

from __future__ import annotations

from typing import Any

from botwire import (
    BotWireError,
    InvalidName,
    InvalidValue,
    QuotaExceeded,
    StoreReadOnly,
    ValueTooLarge,
    VersionConflict,
)


class Refusal(Exception):
    """A call that is answered by an error the model can act on.

    Args:
        code: the stable word with which the text begins.
        text: what happened, and what to do.
        details: the same for programs.
    """

    def __init__(self, code: str, text: str, **details: Any) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.details = {"code": code, **details}


def invalid(text: str) -> Refusal:
    """An argument that cannot be taken as it is."""
    return Refusal("invalid_argument", text)


def unknown_session(session_id: str, hint: str = "") -> Refusal:
    """A session that is not there, or not for this caller: the two are not told apart."""
    return Refusal(
        "unknown_or_expired_session", f"there is no session {session_id!r:.80}{hint or '; call session_create, or session_list'}"
    )


def refusal_of(error: BotWireError) -> Refusal:
    """What a caller is told of one of botwire's errors."""
    text = str(error)
    match error:
        case VersionConflict(current=current):
            return Refusal("version_conflict", f"{text}, merge your change into it, and retry", current_version=current)
        case QuotaExceeded(retry_after=None):
            return Refusal("quota_exceeded", text)
        case QuotaExceeded(retry_after=seconds):
            return Refusal("quota_exceeded", f"{text}; retry after {seconds:g} s", retry_after_seconds=seconds)
        case ValueTooLarge():
            return Refusal("too_large", text)
        case InvalidName() | InvalidValue():
            return invalid(text)
        case StoreReadOnly():
            return Refusal("read_only", text)
        case _:
            return Refusal(error.code, text)
