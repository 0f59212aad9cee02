"""The operations of a batch, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from botwire.server._models import Agent, ChatMessage, Count, Given, IfVersion, JSONValue, Lifetime, Limit, Name, Seconds, Time, Version

Prefix = Annotated[str, Field(max_length=512, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")]
MaxBytes = Annotated[Limit | None, Field(description="Refuse a result larger than this; the server's own limit holds as well.")]


class SetOperation(Given):
    op: Literal["set"]
    key: Name
    value: JSONValue
    if_version: IfVersion | None = None
    ttl: Lifetime = None


class DeleteOperation(Given):
    op: Literal["delete"]
    key: Name
    if_version: IfVersion | None = None


class IncrementOperation(Given):
    op: Literal["increment"]
    key: Name
    by: float = 1
    max_bytes: MaxBytes = None
    ttl: Lifetime = "keep"


class AppendOperation(Given):
    op: Literal["append"]
    key: Name
    items: list[Any]
    max_items: Limit | None = None
    max_bytes: MaxBytes = None
    ttl: Lifetime = "keep"


class MergeOperation(Given):
    op: Literal["merge"]
    key: Name
    patch: JSONValue
    max_bytes: MaxBytes = None
    ttl: Lifetime = "keep"


class ClearOperation(Given):
    op: Literal["clear"]
    prefix: Prefix = ""


class RestoreOperation(Given):
    op: Literal["restore"]
    key: Name
    value: JSONValue
    version: Annotated[int, Field(ge=1, le=(1 << 63) - 1)]
    created_at: Time
    updated_at: Time
    expires_at: Time | None = None


class AppendMessagesOperation(Given):
    op: Literal["append_messages"]
    session: Name
    agent: Agent = ""
    messages: list[ChatMessage] = Field(min_length=1)
    ttl: Lifetime = "keep"


class PopMessageOperation(Given):
    op: Literal["pop_message"]
    session: Name
    agent: Agent = ""


class SessionPlace(Given):
    """What a session's state says of its messages: as long as it stays the same, so do they."""

    epoch: Name
    head: Count
    count: Count


class TrimSessionOperation(Given):
    op: Literal["trim_session"]
    session: Name
    agent: Agent = ""
    keep_last: Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
    if_at: Annotated[SessionPlace | None, Field(description="Trim only if the session is there, else 412.")] = None


class ClearSessionOperation(Given):
    op: Literal["clear_session"]
    session: Name
    agent: Agent = ""
    if_at: Annotated[SessionPlace | None, Field(description="Clear only if the session is there, else 412.")] = None


class SetSessionOperation(Given):
    op: Literal["set_session"]
    session: Name
    agent: Agent = ""
    ttl: Lifetime = "keep"
    metadata: dict[str, Any] = Field(default={})
    merge: bool = False


class DeleteSessionOperation(Given):
    op: Literal["delete_session"]
    session: Name
    agent: Agent | None = Field(None, description="Null: all transcripts of the session.")


class RestoredInfo(Given):
    session: Name
    agent: Agent = ""
    epoch: Name
    head: Count
    count: Count
    created_at: Time
    updated_at: Time
    ttl: Seconds | None = None
    expires_at: Time | None = None
    metadata: dict[str, Any]


class RestoredMessage(Given):
    seq: Version
    created_at: Time
    message: ChatMessage


class RestoreSessionOperation(Given):
    op: Literal["restore_session"]
    info: RestoredInfo
    messages: list[RestoredMessage]


Operation = Annotated[
    SetOperation
    | DeleteOperation
    | IncrementOperation
    | AppendOperation
    | MergeOperation
    | ClearOperation
    | RestoreOperation
    | AppendMessagesOperation
    | PopMessageOperation
    | TrimSessionOperation
    | ClearSessionOperation
    | SetSessionOperation
    | DeleteSessionOperation
    | RestoreSessionOperation,
    Field(discriminator="op"),
]


class Batch(Given):
    """Operations on one namespace that happen together, in order, or not at all."""

    operations: list[Operation] = Field(min_length=1)


class BatchAnswer(BaseModel):
    """A result for each operation.

    set: the version; delete: whether it was there; increment, append, merge: version and value; append_messages: epoch,
    first and last sequence number; pop_message: the message or null; set_session: the session's state; restore and
    restore_session: null; the others: how many were removed.
    """

    namespace: str
    results: list[Any]
