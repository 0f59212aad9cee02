"""botwire: persistent memory for AI agents.

``Memory("my-agent").set("plan", {...})`` is there after the restart, the crash and the deploy, from another
process, machine or framework.
"""

from botwire._aio import AsyncMemory, AsyncSession
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
from botwire._records import Entry, MessageHit, SearchHit, SessionInfo
from botwire._session import Session
from botwire._version import __version__

__all__ = [
    "AsyncMemory",
    "AsyncSession",
    "BotWireError",
    "Closed",
    "Entry",
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
