"""The bodies and answers of the service, for its OpenAPI document.

Requests are read by ``_fields``, which passes values through as text; the tests hold both against each other.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from botwire._names import MAX_NAME_BYTES, MAX_TTL_SECONDS

NAME_PATTERN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_BYTES,
        pattern=NAME_PATTERN,
        description="Any text of 1 to 512 bytes of UTF-8 without control characters, not '.' or '..'.",
        json_schema_extra={"not": {"enum": [".", ".."]}},
    ),
]
Agent = Annotated[
    str,
    Field(
        max_length=MAX_NAME_BYTES,
        pattern=NAME_PATTERN.replace("+$", "*$"),
        description="Empty: the session's own.",
        json_schema_extra={"not": {"enum": [".", ".."]}},
    ),
]
Seconds = Annotated[float, Field(gt=0, le=MAX_TTL_SECONDS, description="Seconds from the write on.")]
Lifetime = Seconds | Literal["keep"] | None
Version = Annotated[int, Field(ge=1, le=(1 << 63) - 1)]
IfVersion = Annotated[int, Field(ge=0, le=(1 << 63) - 1, description="The version the entry must be at; 0: it must be absent.")]
Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Limit = Annotated[int, Field(ge=1, le=(1 << 63) - 1)]
Time = Annotated[AwareDatetime, Field(description="ISO 8601 in UTC with microseconds.", examples=["2026-11-22T14:00:00.000000Z"])]
JSONValue = Annotated[Any, Field(description="Any JSON value; with as=text its JSON text in a string.")]


class Given(BaseModel):
    """A body: unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable; `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str = Field(description="The request's id, as the server's log has it.")
    current: int | None = Field(
        None, description="version_conflict: the version the entry is at, 0 if there is none. quota_exceeded: what is used."
    )
    retry_after: float | None = Field(None, description="quota_exceeded: seconds to wait; null if waiting does not help.")
    limit: str | None = Field(None, description="quota_exceeded: which limit: `writes_per_day`, `bytes`, `keys`, ...")
    allowed: int | None = Field(None, description="quota_exceeded: how much of it there is; `current` is what is used.")


# ------------------------------------------------------------------------------------------- entries


class EntryGiven(Given):
    """A value to store."""

    value: JSONValue
    ttl: Lifetime = None


class EntryStored(BaseModel):
    namespace: str
    key: str
    stored: Literal[True]
    version: Version


class EntryState(BaseModel):
    key: str
    value: JSONValue
    version: Version
    created_at: Time
    updated_at: Time
    expires_at: Time | None


class Entry(EntryState):
    """A key's value, and what the store knows about it."""

    namespace: str


class EntryDeleted(BaseModel):
    namespace: str
    key: str
    deleted: Literal[True]


class Increment(Given):
    """Add to a number; an absent entry counts as 0."""

    increment: float
    ttl: Lifetime = "keep"


class AppendItems(Given):
    """Add to the end of a list; an absent entry counts as empty."""

    append: list[Any]
    max_items: Limit | None = Field(None, description="Keep only so many, the newest ones.")
    ttl: Lifetime = "keep"


class EntryChanged(BaseModel):
    namespace: str
    key: str
    version: Version
    value: JSONValue = None
    length: Count | None = Field(None, description="After an append: how many items the list has.")


class KeyPage(BaseModel):
    namespace: str
    count: Count
    keys: list[str]
    next_cursor: str | None


class Stamp(BaseModel):
    key: Name
    version: Version
    updated_at: Time
    expires_at: Time | None


class StampPage(BaseModel):
    namespace: str
    count: Count
    stamps: list[Stamp]
    next_cursor: str | None


class Change(BaseModel):
    """The data of an event `change`: what may have changed."""

    keys: list[str] | None = Field(description="Null: any.")
    sessions: list[str] | None = Field(description="Null: any.")


class EntryPage(BaseModel):
    namespace: str
    count: Count
    entries: list[EntryState]
    next_cursor: str | None


class NamespacePage(BaseModel):
    count: Count
    namespaces: list[str]
    next_cursor: str | None


class EntryCount(BaseModel):
    namespace: str
    count: Count


class EntriesDeleted(BaseModel):
    namespace: str
    deleted: Count


class Lookup(Given):
    keys: list[Name] = Field(max_length=10_000)


class LookupAnswer(BaseModel):
    namespace: str
    count: Count
    entries: list[EntryState]


class EntryHit(EntryState):
    score: float
    snippet: str


class EntryHits(BaseModel):
    namespace: str
    count: Count
    hits: list[EntryHit]


# ------------------------------------------------------------------------------------------ sessions


class FunctionCall(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    arguments: str | dict[str, Any] = ""


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str | None = None
    type: Any = "function"
    function: FunctionCall


class Part(BaseModel):
    """A typed part of a content, such as text or an image."""

    model_config = ConfigDict(extra="allow")

    type: str


class ChatMessage(BaseModel):
    """A message in the common chat shape; further members are kept."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "user", "assistant", "tool", "developer", "function", "human", "ai"]
    content: str | list[Part] | None = Field(None, examples=["hi"])
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    id: str | None = None


class MessageRow(BaseModel):
    seq: Version
    created_at: Time
    message: Any = Field(description="The message in the common chat shape; with as=text the stored record's JSON text.")


class SessionInfo(BaseModel):
    """A session's state. `epoch` changes when the session is cleared or begun anew."""

    session: str
    agent: str
    epoch: str
    head: Count
    count: Count
    created_at: Time
    updated_at: Time
    ttl: float | None
    expires_at: Time | None
    metadata: Any = Field(description="An object; with as=text its JSON text.")


class SessionPage(BaseModel):
    namespace: str
    count: Count
    sessions: list[SessionInfo]
    next_cursor: str | None


class SessionGiven(Given):
    """What to change; what is left out stays."""

    ttl: Lifetime = "keep"
    metadata: dict[str, Any] = Field(default={}, description="Merged into what there is (RFC 7396), or put in its place.")
    merge: bool = True


class SessionsDeleted(BaseModel):
    namespace: str
    session: str
    deleted: Count


class SessionPart(BaseModel):
    namespace: str
    session: str
    agent: str


class Messages(SessionPart):
    info: SessionInfo | None
    messages: list[MessageRow]
    more: bool


class MessagesGiven(Given):
    messages: list[ChatMessage] = Field(min_length=1)
    ttl: Lifetime = "keep"


class MessagesAppended(SessionPart):
    epoch: str
    first: Version
    last: Version


class MessagePopped(SessionPart):
    popped: MessageRow | None


class Trim(Given):
    keep_last: Annotated[int, Field(ge=0, le=(1 << 63) - 1)]


class MessagesRemoved(SessionPart):
    removed: Count


class MessageHit(MessageRow):
    session: str
    agent: str
    score: float
    snippet: str


class MessageHits(BaseModel):
    namespace: str
    count: Count
    hits: list[MessageHit]


# -------------------------------------------------------------------------------------------- others


_FOR_THE_KNOWN = "Left out where tokens are asked for and the request has none that is known."


class Health(BaseModel):
    service: Literal["botwire"]
    version: str
    protocol: int
    store: str = Field(default="", description=_FOR_THE_KNOWN)
    ok: bool


class DayUsage(BaseModel):
    """What was last written on one day (UTC) and is still there."""

    day: date
    entries: Count
    messages: Count
    bytes: Count


class Usage(BaseModel):
    """What a namespace holds; bytes are those of values and messages as UTF-8."""

    namespace: str
    entries: Count
    entry_bytes: Count
    sessions: Count
    messages: Count
    message_bytes: Count
    days: list[DayUsage]


class Gone(BaseModel):
    entries: Count
    sessions: Count
    messages: Count
    entirely: bool = Field(description="Whether what the store remembers of requests and counts of writes went too.")


class NamespaceDeleted(BaseModel):
    namespace: str
    deleted: Gone


class SessionsGone(BaseModel):
    sessions: Count
    messages: Count


class ManySessionsDeleted(BaseModel):
    namespace: str
    deleted: SessionsGone


class Ready(BaseModel):
    ready: Literal[True]
    store: str = Field(default="", description=_FOR_THE_KNOWN)


class Check(BaseModel):
    model_config = ConfigDict(extra="allow")

    ok: bool
    problems: list[str]
