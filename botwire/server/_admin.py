"""Routes that manage tokens, for whoever has one with the scope admin."""

from __future__ import annotations

import json
from typing import Any

from botwire._errors import InvalidValue, shown
from botwire._tokens import TokenBook, make_token
from botwire.server._problems import Reply, json_reply, not_found
from botwire.server._request import Call, refuse_conditions

_NO_STORE = (b"cache-control", b"no-store")


async def list_tokens(call: Call) -> Reply:
    """``GET /admin/tokens``: all but their texts, which are nowhere."""
    call.service.authorize(call.headers, None, "admin")
    call.query()
    tokens = await call.service.run(TokenBook(call.service.store).list)
    return _reply({"tokens": [token.to_dict() for token in tokens]})


async def create_token(call: Call) -> Reply:
    """``POST /admin/tokens``: the answer has the token's text, which nobody can ask for again."""
    call.service.authorize(call.headers, None, "admin")
    call.query()
    refuse_conditions(call.headers)
    fields = await call.fields()
    given: dict[str, Any] = {name: fields.plain(name, None) for name in ("namespaces", "scopes", "expires_in", "label")}
    fields.done()
    if given["expires_in"] is not None and (isinstance(given["expires_in"], bool) or not isinstance(given["expires_in"], (int, float))):
        raise InvalidValue(f"expires_in must be a number of seconds, not {shown(given['expires_in'])}")
    text, token = make_token(**{name: value for name, value in given.items() if value is not None})
    await call.service.write_own(TokenBook.addition(token))
    if call.service.gate is not None:
        call.service.gate.forget()
    return _reply({**token.to_dict(), "token": text})


async def revoke_token(call: Call) -> Reply:
    """``DELETE /admin/tokens/{id}``: from now on it opens nothing, elsewhere within a second."""
    call.service.authorize(call.headers, None, "admin")
    token_id = call.name("id", "token id")
    call.query()
    refuse_conditions(call.headers)
    removed = (await call.service.write_own(TokenBook.removal(token_id)))[0]
    if call.service.gate is not None:
        call.service.gate.forget()
    if not removed:
        raise not_found(f"there is no token {token_id!r}")
    return _reply({"id": token_id, "revoked": True})


def _reply(document: dict[str, Any]) -> Reply:
    return json_reply(json.dumps(document).encode(), _NO_STORE)
