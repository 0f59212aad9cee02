"""Before a memory server on HTTP: who are you, and may you?

Without a token, or with one that nobody has: 401, with the address of the metadata that says what is wanted. With one
that does not allow what is asked: 403. What is behind reads who is calling from the token, never from an argument.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias, cast

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from botwire.integrations.mcp._callers import READ, WRITE, Caller, Principal
from botwire.integrations.mcp._failures import Refusal
from botwire.integrations.mcp._tokens import TokenFile

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

METADATA = "/.well-known/oauth-protected-resource"
_PRINCIPAL = "botwire"
_READING = frozenset(
    {"resources/list", "resources/read", "resources/subscribe", "subscriptions/listen", "completion/complete", "prompts/get"}
)


def caller_of_token() -> Caller:
    """Whose token came with the present request.

    Raises:
        Refusal: if there is none: nobody is let by without.
    """
    token = get_access_token()
    principal = None if token is None else (token.claims or {}).get(_PRINCIPAL)
    if not isinstance(principal, Principal):
        raise Refusal("unauthorized", "this request came without a token")
    return principal


class Gate:
    """An ASGI application before the server's.

    Args:
        app: what is behind.
        path: where that answers.
        tokens: who is let in.
        scopes: what each tool needs, by its name.
        public_url: the server's URL as clients know it; None for what each request says.
        max_body_bytes: the largest request.
    """

    def __init__(
        self, app: Any, *, path: str, tokens: TokenFile, scopes: Mapping[str, str], public_url: str | None, max_body_bytes: int
    ) -> None:
        self._app = app
        self._inside: App = AuthContextMiddleware(app)
        self._path = path
        self._tokens = tokens
        self._scopes = scopes
        self._public_url = public_url
        self._most = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request by, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in (METADATA, METADATA + self._path):
            await _send_json(send, 200, self._metadata(scope))
        else:
            await self._guard(scope, receive, send)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _bearer(scope)
        principal = None if token is None else self._tokens.principal(token)
        if token is None or principal is None:
            said = "send a token: Authorization: Bearer ..." if token is None else "nobody has this token, or it has expired"
            await self._refuse(send, scope, 401, "invalid_token", said)
            return
        missing: str | None = None
        if principal.scopes != {READ, WRITE}:
            body, receive = await _read_body(receive, self._most)
            missing = self._missing(principal, body)
        if missing is not None:
            await self._refuse(send, scope, 403, "insufficient_scope", f"this token does not allow to {missing}", missing)
            return
        access = AccessToken(
            token=token, client_id=principal.name, subject=principal.name, scopes=sorted(principal.scopes), claims={_PRINCIPAL: principal}
        )
        await self._inside({**scope, "user": AuthenticatedUser(access)}, receive, send)

    def _missing(self, principal: Principal, body: bytes) -> str | None:
        """The scope that the request needs and the principal has not. The server behind checks again, for each call."""
        try:
            message: Any = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            return None  # no request: the server says so
        messages = cast("list[Any]", message) if isinstance(message, list) else [message]
        needed = {self._needed(cast("dict[str, Any]", each)) for each in messages if isinstance(each, dict)}
        return next((scope for scope in (READ, WRITE) if scope in needed and not principal.may(scope)), None)

    def _needed(self, message: Mapping[str, Any]) -> str | None:
        method, params = message.get("method"), message.get("params")
        if method == "tools/call" and isinstance(params, dict):
            return self._scopes.get(str(cast("dict[str, Any]", params).get("name")))
        return READ if method in _READING else None

    # ----------------------------------------------------------------------------------------- answers

    async def _refuse(self, send: Send, scope: Scope, status: int, error: str, text: str, wanted: str | None = None) -> None:
        parts = [f'error="{error}"', f'error_description="{text}"', f'resource_metadata="{self._origin(scope)}{METADATA}{self._path}"']
        if wanted is not None:
            parts.append(f'scope="{wanted}"')
        await _send_json(send, status, {"error": error, "error_description": text}, [(b"www-authenticate", f"Bearer {', '.join(parts)}")])

    def _metadata(self, scope: Scope) -> dict[str, Any]:
        """RFC 9728. There is no authorization server to name: tokens are handed out by whoever runs this one."""
        return {
            "resource": self._origin(scope) + self._path,
            "resource_name": "botwire memory",
            "scopes_supported": [READ, WRITE],
            "bearer_methods_supported": ["header"],
        }

    def _origin(self, scope: Scope) -> str:
        if self._public_url is not None:
            return self._public_url
        host = next((value for name, value in scope["headers"] if name == b"host"), b"localhost")
        name = "".join(letter for letter in host.decode("latin-1") if letter.isalnum() or letter in ".-:[]_")
        return f"{scope.get('scheme', 'http')}://{name}"


def _bearer(scope: Scope) -> str | None:
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1:
        return None
    kind, _, token = given[0].decode("latin-1").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


async def _read_body(receive: Receive, most: int) -> tuple[bytes, Receive]:
    """The body, and what gives it once more."""
    messages: list[MutableMapping[str, Any]] = []
    size = 0
    while size <= most:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            break

    async def again() -> MutableMapping[str, Any]:
        return messages.pop(0) if messages else await receive()

    return b"".join(message.get("body", b"") for message in messages), again


async def _send_json(send: Send, status: int, record: Mapping[str, Any], headers: Iterable[tuple[bytes, str]] = ()) -> None:
    body = json.dumps(record).encode()
    plain = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    extra = [(name, value.encode("latin-1", "replace")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *extra]})
    await send({"type": "http.response.body", "body": body})
