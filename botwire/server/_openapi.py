"""The OpenAPI 3.1 document of the service, built from one table of its routes."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from botwire._version import __version__
from botwire._wire import KEEP_ALIVE_SECONDS, MAX_LIMIT
from botwire.server import _batch_models as batch
from botwire.server import _models as models
from botwire.server import _token_models as tokens
from botwire.server._watch import MOST_QUIET

_TEMPLATE = "#/components/schemas/{model}"


class Route(NamedTuple):
    """One operation of the document: method and path, what it does, what it takes, what it answers."""

    method: str
    path: str
    name: str
    summary: str
    answer: tuple[type[BaseModel], ...] = ()
    query: str = ""
    body: tuple[type[BaseModel], ...] = ()
    headers: str = ""
    about: str = ""
    example: str = ""
    content: str = ""
    """The media type of an answer that is no JSON."""
    missing: bool = False
    """Whether 404 is an ordinary answer."""
    stream: bool = False
    """Whether the answer is server-sent events that go on."""


_NAME = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": models.NAME_PATTERN, "not": {"enum": [".", ".."]}}
_PREFIX = {"type": "string", "maxLength": 512, "pattern": r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "prefix": (_PREFIX, "Only keys that start with this."),
    "id_prefix": (_PREFIX, "Only sessions whose ids start with this."),
    "limit": ({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}, "Rows in the answer at most."),
    "cursor": ({"type": "string"}, "`next_cursor` of the page before."),
    "place": (
        {"type": "string", "pattern": "^(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+/(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})*$"},
        "`next_cursor` of the page before.",
    ),
    "values": ({"type": "string", "enum": ["true", "false"]}, "`true`: whole entries instead of keys; a page ends at about 8 MiB."),
    "as": ({"type": "string", "enum": ["json", "text"]}, "`text`: values travel as JSON text in strings, exact for every reader."),
    "q": ({"type": "string", "minLength": 1}, "At least one word; all must be there, in any case."),
    "session": (_NAME, "Only messages of the session of that id."),
    "agent": ({**_PREFIX, "not": {"enum": [".", ".."]}}, "One agent's transcript; empty: the session's own."),
    "after": (_NUMBER, "Only messages after this sequence number."),
    "before": (_NUMBER, "Only messages before this sequence number."),
    "keep_alive": (
        {"type": "integer", "minimum": 1, "maximum": MOST_QUIET},
        f"Seconds of silence after which a comment is sent, to show that the connection lives; {KEEP_ALIVE_SECONDS} unless given.",
    ),
    "only": (_NAME, "Only what happens to the session of that id."),
    "last": ({"type": "integer", "minimum": 0, "maximum": MAX_LIMIT}, "So many of the newest messages; `limit` then does not count."),
}
_HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "If-Match": ({"type": "string", "pattern": '^("[0-9]{1,18}"|[0-9]{1,18})$'}, 'Only if the entry is at this version: `"3"`.'),
    "If-None-Match": ({"type": "string", "enum": ["*"]}, "`*`: only if there is no such entry."),
    "If-None-Match ": ({"type": "string"}, "Answer 304 if the entry is still at this version."),
    "Idempotency-Key": (
        {"type": "string", "pattern": '^("[!#-~]{1,255}"|[!#-~]{1,255})$'},
        "However often the request is sent with this key, it is done once.",
    ),
}

_SENT_AS = {"place": "cursor", "id_prefix": "prefix", "only": "session"}

_ENTRY = "/memory/{namespace}/{key}"
_SESSION = "/sessions/{namespace}/{session}"
_ONCE = "Idempotency-Key"
ROUTES: tuple[Route, ...] = (
    Route("put", _ENTRY, "set_entry", "Create or replace an entry", (models.EntryStored,), body=(models.EntryGiven,),
          headers=f"If-Match If-None-Match {_ONCE}", about="Durable once it is answered.", example='{"value": {"theme": "dark"}}'),
    Route("get", _ENTRY, "get_entry", "Read an entry", (models.Entry,), "as", headers="If-None-Match ", missing=True),
    Route("delete", _ENTRY, "delete_entry", "Delete an entry", (models.EntryDeleted,), headers=f"If-Match {_ONCE}", missing=True),
    Route("patch", _ENTRY, "merge_entry", "Merge into an entry (RFC 7396)", (models.EntryChanged,), headers=_ONCE,
          about="Null removes a member, objects merge, all else replaces. Atomic.", example='{"theme": null, "language": "en"}'),
    Route("post", _ENTRY, "change_entry", "Increment a number, or append to a list", (models.EntryChanged,),
          body=(models.Increment, models.AppendItems), headers=_ONCE, about="Atomic.", example='{"increment": 1}'),
    Route("get", "/memory", "list_namespaces", "List namespaces", (models.NamespacePage,), "limit cursor"),
    Route("get", "/memory/{namespace}", "list_entries", "List keys or entries, in code point order",
          (models.KeyPage, models.EntryPage), "prefix limit cursor values as"),
    Route("delete", "/memory/{namespace}", "clear_entries", "Delete all entries, or those with a prefix", (models.EntriesDeleted,),
          "prefix", headers=_ONCE),
    Route("get", "/count/{namespace}", "count_entries", "Count entries", (models.EntryCount,), "prefix"),
    Route("get", "/usage/{namespace}", "read_usage", "How much a namespace holds, and from which days", (models.Usage,)),
    Route("post", "/lookup/{namespace}", "look_up", "Read many entries, as they are at one moment", (models.LookupAnswer,), "as",
          (models.Lookup,), example='{"keys": ["a", "b"]}'),
    Route("post", "/batch/{namespace}", "write_batch", "Do several things together or not at all", (batch.BatchAnswer,), "",
          (batch.Batch,), _ONCE, example='{"operations": [{"op": "set", "key": "a", "value": 1}, {"op": "delete", "key": "b"}]}'),
    Route("get", "/stamps/{namespace}", "list_stamps", "List entries without their values", (models.StampPage,), "prefix limit cursor",
          about="Enough to tell which entries changed: a written entry has another version or time."),
    Route("get", "/watch/{namespace}", "watch", "Hear of changes (server-sent events)", (models.Change,), "only keep_alive", stream=True,
          about="After an event `ready` come events `change`, each with the names of what may have changed since the one before, or null "
          "for anything: hints to look, without values. What happens once `ready` was sent is not missed. After a new connection, look at "
          "all of it. Without `session` it tells of entries, and of sessions where the store does."),
    Route("get", "/search/{namespace}", "search_entries", "Search keys and the text in values", (models.EntryHits,), "q limit as"),
    Route("get", "/search/{namespace}/messages", "search_messages", "Search messages", (models.MessageHits,), "q limit session agent as"),
    Route("get", "/sessions/{namespace}", "list_sessions", "List sessions", (models.SessionPage,), "limit place as"),
    Route("delete", "/sessions/{namespace}", "delete_sessions", "Delete all sessions, or those whose ids begin with a prefix",
          (models.ManySessionsDeleted,), "id_prefix"),
    Route("delete", "/namespaces/{namespace}", "delete_namespace", "Delete a namespace: entries, sessions, remembered requests, meters",
          (models.NamespaceDeleted,), about="For a token with the scope `admin`, where there are tokens."),
    Route("get", "/admin/backup", "backup", "A copy of the store, made while others write", content="application/vnd.sqlite3",
          about="An SQLite file, for `botwire restore`; `Content-Digest` has its SHA-256. For a token with the scope `admin`."),
    Route("get", _SESSION, "read_session", "Read a session's state", (models.SessionInfo,), "agent as", missing=True),
    Route("patch", _SESSION, "change_session", "Change a session's ttl or metadata", (models.SessionInfo,), "agent",
          (models.SessionGiven,), _ONCE, example='{"ttl": 86400, "metadata": {"topic": "travel"}}'),
    Route("delete", _SESSION, "delete_session", "Delete a session", (models.SessionsDeleted,), "agent", headers=_ONCE, missing=True,
          about="Of one agent if `agent` is given, else of all."),
    Route("get", f"{_SESSION}/messages", "read_messages", "Read messages, oldest first", (models.Messages,),
          "agent after before last limit as", about="A session that is not there has none."),
    Route("post", f"{_SESSION}/messages", "append_messages", "Append messages", (models.MessagesAppended,), "agent",
          (models.MessagesGiven,), _ONCE, "Atomic, with gapless sequence numbers under any number of writers.",
          '{"messages": [{"role": "user", "content": "hi"}]}'),
    Route("delete", f"{_SESSION}/messages", "clear_session", "Remove all messages and begin a new epoch", (models.MessagesRemoved,),
          "agent", headers=_ONCE),
    Route("post", f"{_SESSION}/pop", "pop_message", "Take off the last message", (models.MessagePopped,), "agent as", headers=_ONCE),
    Route("post", f"{_SESSION}/trim", "trim_session", "Keep the newest messages alone", (models.MessagesRemoved,), "agent",
          (models.Trim,), _ONCE, example='{"keep_last": 20}'),
    Route("get", "/admin/tokens", "list_tokens", "List tokens", (tokens.TokenList,), about="For the scope `admin`, as all of `/admin`."),
    Route("post", "/admin/tokens", "create_token", "Make a token", (tokens.TokenMade,), body=(tokens.TokenGiven, tokens.AdminTokenGiven),
          about="Servers know it at once. From the first one on, every server of the store asks for a token.",
          example='{"namespaces": ["team-a*"], "scopes": ["read", "write"]}'),
    Route("delete", "/admin/tokens/{id}", "revoke_token", "Revoke a token", (tokens.TokenRevoked,), missing=True,
          about="It opens nothing any more: here at once, at other servers of the store within a second."),
    Route("get", "/health", "health", "What this is, and whether its store can be read", (models.Health,)),
    Route("get", "/ready", "ready", "Whether requests should be sent here", (models.Ready,), about="503 if not."),
    Route("get", "/metrics", "metrics", "What the server counts, for Prometheus", content="text/plain",
          about="For a token with the scope `admin`, where there are tokens."),
    Route("get", "/check", "check", "Examine the whole store", (models.Check,)),
)  # fmt: skip

CODES: dict[str, str] = {
    "invalid_name": "400: a name breaks the rules for names.",
    "invalid_value": "400: a body, query or header is not what the route takes.",
    "unauthorized": "401: a token is needed, or nobody has this one. 403: it does not open this.",
    "not_found": "404: there is no such entry or session.",
    "no_such_route": "404: there is no such route.",
    "method_not_allowed": "405: the route has other methods, which `Allow` lists.",
    "version_conflict": "412: the entry is at another version, which `current` tells.",
    "value_too_large": "413: over a limit of this server.",
    "unsupported_media_type": "415: the body must be JSON.",
    "request_conflict": "422: this Idempotency-Key was used for another request.",
    "quota_exceeded": "429: over a limit of the operator's; `Retry-After` says how long. 507: the namespace may hold no more.",
    "store_busy": "503: try again a little later.",
    "store_unavailable": "503: the store cannot be used now.",
    "stopping": "503: the server is shutting down.",
    "store_read_only": "503: the store can be read but not written.",
    "store_full": "507: no space is left where the store lies.",
    "store_corrupt": "500: what is stored cannot be read back.",
    "outcome_unknown": "500: the write may or may not have happened; send it again with the same Idempotency-Key.",
    "internal_error": "500: the server failed; its log says why.",
}
"""Every code of a problem document, and when it comes."""


PUBLIC = {"/health", "/ready"}
"""Paths in the document that ask for no token."""


@cache
def document(asks_for_tokens: bool = True) -> dict[str, Any]:
    """The OpenAPI document, of a server that asks for tokens or of one that takes them, but does without."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "botwire",
            "version": __version__,
            "summary": "Persistent memory for AI agents",
            "description": "Names in paths are percent-encoded whole: `/` is `%2F`. Errors are problem documents (RFC 9457) with a stable "
            "`code`. `POST /records/{namespace}`, which botwire's own client uses, takes what `POST /batch/{namespace}` takes, with every "
            "value, message and metadata as its stored JSON text in a string, and the Idempotency-Key as a member request_id; "
            "no schema can say what such a string must hold.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"bearer": []}] if asks_for_tokens else [{"bearer": []}, {}],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": tokens.SECURITY},
    }


def _schemas() -> dict[str, Any]:
    used = {model for route in ROUTES for model in (*route.answer, *route.body)} | {models.Problem}
    ordered = sorted(used, key=lambda model: model.__name__)
    _, found = models_json_schema([(model, "validation") for model in ordered], ref_template=_TEMPLATE)
    return found["$defs"]


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary}
    if route.about:
        operation["description"] = route.about
    if parameters := [*_path_parameters(route.path), *_query_parameters(route), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.method == "patch" and not route.body:
        operation["requestBody"] = {"required": True, "content": {"application/merge-patch+json": {"schema": {}}}}
    elif route.body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _any_of(route.body)}}}
    if route.path in PUBLIC:
        operation["security"] = []
    operation["responses"] = _responses(route)
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [{"name": part[1:-1], "in": "path", "required": True, "schema": _NAME} for part in path.split("/") if part.startswith("{")]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": _SENT_AS.get(name, name),
            "in": "query",
            "required": name == "q",
            "description": _PARAMETERS[name][1],
            "schema": _PARAMETERS[name][0],
        }
        for name in route.query.split()
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    names = [route.headers] if route.headers in _HEADERS else route.headers.split()
    return [
        {"name": name.strip(), "in": "header", "required": False, "description": _HEADERS[name][1], "schema": _HEADERS[name][0]}
        for name in names
        if name
    ]


def _responses(route: Route) -> dict[str, Any]:
    problem = {"content": {"application/problem+json": {"schema": _any_of((models.Problem,))}}}
    answer = {_media(route): {"schema": {"type": "string"} if route.content else _any_of(route.answer)}}
    responses: dict[str, Any] = {
        "200": {"description": "Done.", "content": answer},
        "default": {"description": "A problem; its `code` says which.", **problem},
    }
    if "If-None-Match " in route.headers:
        responses["304"] = {"description": "Not changed."}
    if route.missing:
        responses["404"] = {"description": "There is none.", **problem}
    if route.path not in PUBLIC:
        responses |= {status: {"description": text, "headers": headers, **problem} for status, (text, headers) in tokens.REFUSALS.items()}
    if route.body or route.method in ("put", "patch"):
        responses[tokens.NO_ROOM[0]] = {"description": tokens.NO_ROOM[1], **problem}
    return responses


def _media(route: Route) -> str:
    return route.content or ("text/event-stream" if route.stream else "application/json")


def _any_of(used: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    references = [{"$ref": _TEMPLATE.format(model=model.__name__)} for model in used]
    return references[0] if len(references) == 1 else {"anyOf": references}
