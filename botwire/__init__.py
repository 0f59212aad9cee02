"""botwire: persistent memory for AI agents.

``Memory("my-agent").set("plan", {...})`` is there after the restart, the crash and the deploy, from another
process, machine or framework.
"""

from typing import TYPE_CHECKING, Any

from botwire._errors import (
    BotWireError,
    Closed,
    InvalidName,
    InvalidValue,
    MissingExtra,
    OutcomeUnknown,
    QuotaExceeded,
    RequestConflict,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
    Unauthorized,
    Unsupported,
    ValueTooLarge,
    VersionConflict,
)
from botwire._memory import Memory
from botwire._message import Message, MessageLike, ToolCall
from botwire._records import Entry, EntryChange, MessageHit, SearchHit, SessionInfo
from botwire._session import Session
from botwire._version import __version__

if TYPE_CHECKING:
    from botwire._aio import AsyncMemory, AsyncSession
    from botwire.integrations.langchain import BotWireChatHistory as BotWireChatHistory  # not in __all__: needs botwire[langchain]

_LATE = {
    "AsyncMemory": "botwire._aio",
    "AsyncSession": "botwire._aio",
    "BotWireChatHistory": "botwire.integrations.langchain",
}
"""Names whose module is imported when they are first asked for: it takes its time, and many programs do without."""

__all__ = [
    "AsyncMemory",
    "AsyncSession",
    "BotWireError",
    "Closed",
    "Entry",
    "EntryChange",
    "InvalidName",
    "InvalidValue",
    "Memory",
    "Message",
    "MessageHit",
    "MessageLike",
    "MissingExtra",
    "OutcomeUnknown",
    "QuotaExceeded",
    "RequestConflict",
    "SearchHit",
    "Session",
    "SessionInfo",
    "StoreBusy",
    "StoreCorrupt",
    "StoreFull",
    "StoreIncompatible",
    "StoreReadOnly",
    "StoreUnavailable",
    "ToolCall",
    "Unauthorized",
    "Unsupported",
    "ValueTooLarge",
    "VersionConflict",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'botwire' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_LATE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
