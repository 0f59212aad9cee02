"""A namespace from who is calling: what a server stores for one principal is no other's to see."""

from __future__ import annotations

import json

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components

from botwire import Unauthorized
from botwire.integrations.mcp._names import digest


def principal_namespace(base: str) -> str:
    """The namespace of whoever sent the present request, from the token that the server verified.

    Client, issuer and subject of the token together are the principal, as they are for the SDK. Nothing that a caller
    could choose has a part in it: no argument, no header, no session id. Two principals never share a namespace. A
    token without a subject stands for its client: all who use that client are then one principal.

    Args:
        base: what the namespace begins with, at most 447 bytes: the server's name, say.

    Returns:
        ``base``, a colon, and 64 hexadecimal digits.

    Raises:
        Unauthorized: if the request has no verified token: it came over stdio, or the server asks for none.
    """
    token = get_access_token()
    if token is None:
        raise Unauthorized(
            "this request has no verified token, so whose memory it may use is not known: serve over HTTP, "
            "with a token_verifier and auth settings; over stdio there is one user, and a fixed namespace does"
        )
    return f"{base}:{digest(json.dumps(principal_components(token)))}"
