"""To-do lists for MCP clients, which outlive the server: an MCP server that keeps nothing in its own process.

python server.py            over stdio, for whoever started it
python server.py --http     over HTTP, for everyone in TODO_TOKENS, each with lists of their own
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import AnyHttpUrl

from botwire import InvalidValue, Memory
from botwire.integrations.mcp import principal_namespace

UNKNOWN = "unknown list_id; call list_create, and pass the list_id that it returns"
TOMBSTONE_SECONDS = 3_600


def make_server(namespace: Callable[[], str], **settings: Any) -> MCPServer[Any]:
    """The server; ``namespace`` is asked at each call whose lists these are."""
    server: MCPServer[Any] = MCPServer("todo", **settings)

    @server.tool()
    def list_create() -> dict[str, str]:
        """Create a to-do list. It is kept until list_delete is called."""
        list_id = "lst_" + secrets.token_urlsafe(16)  # a handle: the protocol has no sessions to hang a list on
        Memory(namespace()).set(list_id, [])
        return {"list_id": list_id}

    @server.tool()
    def list_add(list_id: str, item: str) -> dict[str, int]:
        """Add an item to a list made by list_create; returns how many there are."""
        memory = Memory(namespace())
        items_of(memory, list_id)
        try:
            return {"count": memory.append(list_id, item)}  # atomic: others may add at the same moment
        except InvalidValue as error:
            items_of(memory, list_id)  # deleted meanwhile?
            raise ToolError(str(error)) from error

    @server.tool()
    def list_show(list_id: str) -> dict[str, list[str]]:
        """The items of a list, oldest first."""
        return {"items": items_of(Memory(namespace()), list_id)}

    @server.tool()
    def list_delete(list_id: str) -> dict[str, bool]:
        """Delete a list and its items for good."""
        memory = Memory(namespace())
        items_of(memory, list_id)
        # What is no list cannot be appended to: a list_add on its way now fails, where after delete() it would begin a new list.
        memory.set(list_id, "deleted", ttl=TOMBSTONE_SECONDS)
        return {"deleted": True}

    return server


def items_of(memory: Memory, list_id: str) -> list[str]:
    """The items of a list that there is.

    Raises:
        ToolError: if there is none; the model reads what to do about it.
    """
    try:
        items = memory.get(list_id)
    except ValueError:  # a list_id that no key could be
        items = None
    if not isinstance(items, list):
        raise ToolError(UNKNOWN)
    return items


class Tokens:
    """Who each token stands for. A real server asks its identity provider instead."""

    def __init__(self, users: dict[str, str], resource: str) -> None:
        self.users = users
        self.resource = resource

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who holds this token; None if nobody does."""
        user = self.users.get(token)
        return None if user is None else AccessToken(token=token, client_id="todo", scopes=["todo"], subject=user, resource=self.resource)


def serve_http(host: str, port: int) -> None:
    here = f"http://{host}:{port}"
    resource = f"{here}/mcp"
    tokens = Tokens(json.loads(os.environ["TODO_TOKENS"]), resource)  # {"a-secret": "ada", "another": "bob"}
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(here), resource_server_url=AnyHttpUrl(resource), required_scopes=["todo"], validate_token_resource=True
    )
    # Whose lists they are is said by the verified token, never by an argument.
    server = make_server(lambda: principal_namespace("todo"), token_verifier=tokens, auth=auth)
    server.run("streamable-http", host=host, port=port)


if __name__ == "__main__":
    if "--http" in sys.argv:
        serve_http("127.0.0.1", int(os.environ.get("TODO_PORT", "8766")))
    else:
        make_server(lambda: "todo").run()
