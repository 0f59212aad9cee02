"""MCP, the Model Context Protocol: memory for servers of your own, and what ``botwire mcp`` serves.

``BotWireKeyValue`` and ``session_namespace`` need no ``mcp`` package; all else needs ``botwire[mcp]``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from botwire import MissingExtra

if TYPE_CHECKING:
    from botwire.integrations.mcp._add_tools import add_memory_tools
    from botwire.integrations.mcp._bus import BotWireSubscriptionBus
    from botwire.integrations.mcp._key_value import BotWireKeyValue
    from botwire.integrations.mcp._lifespan import memory_lifespan
    from botwire.integrations.mcp._names import session_namespace
    from botwire.integrations.mcp._principal import principal_namespace
    from botwire.integrations.mcp._probe import probe as probe  # for `botwire mcp doctor`
    from botwire.integrations.mcp._serving import Address as Address
    from botwire.integrations.mcp._serving import run_http as run_http
    from botwire.integrations.mcp._serving import run_stdio as run_stdio
    from botwire.integrations.mcp._tokens import new_token as new_token
    from botwire.integrations.mcp._tools import Settings as Settings

_HOMES = {
    "BotWireKeyValue": "_key_value",
    "BotWireSubscriptionBus": "_bus",
    "add_memory_tools": "_add_tools",
    "memory_lifespan": "_lifespan",
    "principal_namespace": "_principal",
    "probe": "_probe",
    "session_namespace": "_names",
    # What the command is made of.
    "Address": "_serving",
    "Settings": "_tools",
    "new_token": "_tokens",
    "run_http": "_serving",
    "run_stdio": "_serving",
}
"""Where each name is; imported when it is asked for, since loading the SDK takes its time and some parts do without."""

__all__ = ["BotWireKeyValue", "BotWireSubscriptionBus", "add_memory_tools", "memory_lifespan", "principal_namespace", "session_namespace"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'botwire.integrations.mcp' has no attribute {name!r}")
    try:
        module = import_module(f"botwire.integrations.mcp.{_HOMES[name]}")
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"mcp", "mcp_types"}:
            raise  # something that the SDK itself needs: its own message says what
        what = "needs the 'mcp' package, 2.2 or newer; install it with: pip install 'botwire[mcp]'"
        raise MissingExtra(f"botwire.integrations.mcp {what}", name="mcp") from error
    value = globals()[name] = getattr(module, name)
    return value
