"""Tokens and limits, for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from botwire._names import MAX_NAME_BYTES, RESERVED_NAMESPACE
from botwire._tokens import LABEL_PATTERN, MAX_LABEL_CHARS
from botwire.server._models import Given, Time

Pattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_BYTES,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029*]*\*?$",
        description="A namespace, or how namespaces begin, with a `*` at the end.",
        examples=["team-a*"],
        json_schema_extra={"not": {"enum": [".", "..", RESERVED_NAMESPACE]}},
    ),
]
Scopes = list[Literal["read", "write", "admin"]]
Lifetime = Annotated[float | None, Field(gt=0, lt=1e10, description="Seconds until it opens nothing any more; null for never.")]
Label = Annotated[str, Field(max_length=MAX_LABEL_CHARS, pattern=LABEL_PATTERN, description="What it is for, for people.")]


class TokenGiven(Given):
    """What a token is to open."""

    namespaces: Annotated[list[Pattern], Field(min_length=1)]
    scopes: Annotated[
        list[Literal["read", "write"]],
        Field(
            default_factory=lambda: ["read", "write"],
            description="`write` needs `read`.",
            json_schema_extra={"enum": [["read"], ["read", "write"]]},
        ),
    ]
    expires_in: Lifetime = None
    label: Label = ""


class AdminTokenGiven(Given):
    """A token that opens everything: all namespaces, the tokens, the store as a whole."""

    scopes: Annotated[list[Literal["admin"]], Field(min_length=1, max_length=1)]
    expires_in: Lifetime = None
    label: Label = ""


class TokenState(BaseModel):
    id: str
    label: str
    namespaces: list[Pattern]
    scopes: Scopes
    created_at: Time
    expires_at: Time | None


class TokenMade(TokenState):
    token: Annotated[str, Field(description="To be sent as `Authorization: Bearer ...`. Nobody can ask for it again.")]


class TokenList(BaseModel):
    tokens: list[TokenState]


class TokenRevoked(BaseModel):
    id: str
    revoked: Literal[True]


SECURITY: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token, as `botwire token create` prints it, in the header `Authorization: Bearer bw_...` and nowhere else: no "
        "cookies, so that no other web page can make a browser send it.",
    }
}

_CHALLENGE = {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}, "required": True}}
_WAIT = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_LIMIT = {
    "RateLimit": {"description": "What is left: draft-ietf-httpapi-ratelimit-headers-11.", "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": "The limit; likewise.", "schema": {"type": "string"}},
}
REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "401": ("A token is asked for, or nobody has the one that was sent.", _CHALLENGE),
    "403": ("The token does not allow that. Whether there is such a namespace it does not say.", {}),
    "429": ("Over a limit of the operator's that time lifts.", _WAIT | _LIMIT),
}
"""Answers that every route but the public ones may give: what they mean, and their headers."""

NO_ROOM = ("507", "The namespace may hold no more, or the disk is full.")
